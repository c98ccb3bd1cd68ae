//! IPv4 and IPv6: only what this host can route, and what the configuration wants.

use std::net::Ipv6Addr;

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Host, Port};

use crate::moved::{answered, behind, resolution, rounds};

/// A host without a route for a family does not use its addresses; not even first.
#[test]
fn only_families_with_a_route() {
    isolated(|network| {
        network.sysctl("ipv6/conf/lo/disable_ipv6", "1");
        network.address("203.0.113.3");
        let (dns, port) = (Dns::start(), Port::reserve());
        let _new = Host::start(port.at([203, 0, 113, 3]), "new");
        dns.set("app.test", Zone::addresses(["2001:db8::3", "2001:db8::4", "203.0.113.3"]));
        let nginx = behind(&dns, &port).hosts(&[("203.0.113.2", "app.test")]);
        let nginx = nginx.start();
        let seen = answered(&nginx, "new");
        let tried = format!("{}, {}", port.at([203, 0, 113, 2]), port.at([203, 0, 113, 3]));
        assert_eq!(seen.line.field("upstream_addr"), tried);
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["203.0.113.3"]));
        for _ in 0..5 {
            let seen = answered(&nginx, "new");
            assert!(seen.line.diagnosis.is_none());
        }
    });
}

#[test]
fn only_families_that_are_wanted() {
    for (parameters, kinds, current) in [
        ("ipv6=off", [1, 0], "127.0.0.3"),
        ("ipv4=off", [0, 1], "::1"),
        ("ipv4=on ipv6=on", [1, 1], ""),
    ] {
        let (dns, port) = (Dns::start(), Port::reserve());
        let _new = Host::start(port.at([127, 0, 0, 3]), "new");
        let _six = Host::start(port.at(Ipv6Addr::LOCALHOST), "new");
        dns.set("app.test", Zone::addresses(["127.0.0.3", "::1"]));
        let nginx = behind(&dns, &port);
        let nginx = nginx.set("resolve", format!("failure {parameters}")).start();
        let seen = answered(&nginx, "new");
        dns.wait_for_questions(kinds.iter().sum());
        let asked = [Kind::A, Kind::Aaaa].map(|kind| rounds(&dns, "app.test", kind));
        assert_eq!(asked, kinds, "{parameters}");
        // Of both, whichever came first.
        if !current.is_empty() {
            assert_eq!(*resolution(&seen, "current"), serde_json::json!([current]));
        }
    }
}
