//! Answers that are right in form: aliases, strangers' records, hundreds of addresses, addresses
//! that nobody's name may move to, and times to live of all lengths.

use std::net::Ipv4Addr;

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Host, Nginx, Port};

use crate::moved::{Moved, answered, behind, resolution, rounds, until_answered};

const RESOLVE: &str = "failure min=10ms wait=20s timeout=300ms";

/// Nobody's name moves to this machine, or to this wire, from elsewhere: that is an attack on what
/// listens there. Where it has been there already, it may.
#[test]
fn loopback_where_none_was() {
    isolated(|network| {
        for address in ["203.0.113.2", "203.0.113.3"] {
            network.address(address);
        }
        let (dns, port) = (Dns::start(), Port::reserve());
        let inside = Host::start(port.at([127, 0, 0, 3]), "inside");
        let outside = Host::start(port.at([203, 0, 113, 3]), "outside");
        let nginx = || behind(&dns, &port).hosts(&[("203.0.113.2", "app.test")]).start();
        for wrong in ["127.0.0.3", "::1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.3"] {
            dns.set("app.test", Zone::addresses([wrong]));
            let nginx = nginx();
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{wrong}");
            let then = port.at([203, 0, 113, 2]).to_string();
            assert_eq!(seen.line.field("upstream_addr"), then, "{wrong}");
            // Some have no route here.
            let error = resolution(&seen, "error").as_str();
            assert!(matches!(error, Some("invalid" | "no_data")), "{wrong}: {error:?}");
        }
        // The right ones among them are used.
        dns.set("app.test", Zone::addresses(["127.0.0.3", "203.0.113.3", "0.0.0.0"]));
        let nginx = nginx();
        let seen = answered(&nginx, "outside");
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["203.0.113.3"]));
        assert_eq!(inside.connections(), 0);
        drop(outside);
    });
}

/// Hundreds of addresses, too many for one packet over UDP: a bounded part is used.
#[test]
fn many_addresses() {
    let moved = Moved::start();
    let many: Vec<_> = (0..250).map(|n| Ipv4Addr::new(127, 0, 3, n)).collect();
    let hosts: Vec<_> =
        many.iter().map(|ip| Host::start(moved.port.at(*ip), "one of many")).collect();
    moved.dns.set("app.test", Zone::addresses(&many));
    let nginx = moved.nginx().start();
    let seen = answered(&nginx, "one of many");
    assert!(moved.dns.questions().iter().any(|question| question.tcp));
    assert_eq!(*resolution(&seen, "current_left_out"), 64 - 8);
    for _ in 0..70 {
        answered(&nginx, "one of many");
    }
    drop((nginx, hosts));
}

/// What a lookup asks for is bounded whatever the answers are.
#[test]
fn aliases() {
    let moved = Moved::start();
    let dns = &moved.dns;
    let start = || moved.nginx().set("resolve", RESOLVE).start();
    // A chain, told in one answer, and one link at a time.
    dns.set("end.test", Zone::addresses(["127.0.0.3"]).ttl(7));
    dns.set("b.test", Zone::cname("end.test"));
    dns.set("a.test", Zone::cname("b.test"));
    dns.set("app.test", Zone::cname("a.test"));
    let seen = answered(&start(), "new");
    assert_eq!(*resolution(&seen, "ttl_s"), 7);
    for (name, target) in [("app.test", "a.test"), ("a.test", "b.test"), ("b.test", "end.test")] {
        dns.set(name, Zone::cname_only(target));
    }
    answered(&start(), "new");
    // No end of it.
    for looping in [Zone::cname, Zone::cname_only] {
        for ring in [&["app.test"][..], &["app.test", "a.test"], &["app.test", "a.test", "b.test"]]
        {
            for (name, next) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                dns.set(name, looping(next));
            }
            dns.forget();
            let nginx = start();
            assert_eq!(nginx.fetch("/").reply.status, 502);
            moved.dns.wait_for_questions(2);
            assert!(dns.questions().len() < 60, "{ring:?}: {}", dns.questions().len());
        }
    }
    for n in 0..40 {
        dns.set(&format!("n{n}.test"), Zone::cname_only(&format!("n{}.test", n + 1)));
    }
    dns.set("app.test", Zone::cname_only("n0.test"));
    dns.forget();
    assert_eq!(start().fetch("/").reply.status, 502);
    assert!(dns.questions().len() < 60, "{}", dns.questions().len());
}

/// Two names in one configuration: an answer about one says nothing about the other.
#[test]
fn strangers_poison_nobody() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let new = Host::start(port.at([127, 0, 0, 3]), "new");
    let evil = Host::start(port.at([127, 0, 0, 66]), "evil");
    let other = Host::start(port.at([127, 0, 0, 4]), "other");
    for zone in [
        Zone::addresses(["127.0.0.3"]).stranger("other.test", "127.0.0.66"),
        Zone::addresses(["127.0.0.3"]).additional("other.test", "127.0.0.66"),
        Zone::addresses(["127.0.0.3"])
            .stranger("app.test.evil", "127.0.0.66")
            .stranger("test", "127.0.0.66")
            .stranger("localhost", "127.0.0.66"),
    ] {
        dns.set("app.test", zone);
        dns.set("other.test", Zone::addresses(["127.0.0.4"]));
        let nginx = two_names(&dns, &port).start();
        answered(&nginx, "new");
        let seen = nginx.fetch("/other");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "other"));
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["127.0.0.4"]));
        assert_eq!(rounds(&dns, "other.test", Kind::A), 1);
        dns.forget();
    }
    assert_eq!(evil.connections(), 0);
    drop((new, other));
}

fn two_names(dns: &Dns, port: &Port) -> Nginx {
    behind(dns, port)
        .set("beside", "upstream other { server other.test:%port%; }")
        .set("server", "location /other { proxy_pass http://other; }")
        .hosts(&[("127.0.0.2", "app.test"), ("127.0.0.5", "other.test")])
}

/// Only records of strangers: the name has no address.
#[test]
fn only_strangers() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::no_data().stranger("evil.test", "127.0.0.3"));
    let nginx = moved.nginx().start();
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.member().token("dns")), (502, Some("unresolved")));
    assert_eq!(*resolution(&seen, "error"), "no_data");
}

#[test]
fn times_to_live_of_all_lengths() {
    for ttl in [0, 1, 30, 2_147_483_647, 2_147_483_648, 4_294_967_295] {
        for mode in ["failure", "ttl"] {
            let moved = Moved::start();
            moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(ttl));
            let nginx = moved.nginx().set("resolve", mode).start();
            let seen = until_answered(&nginx, "new");
            if mode == "failure" {
                // With the highest bit it is none (RFC 2181, section 8).
                let told = if ttl > 2_147_483_647 { 0 } else { ttl };
                assert_eq!(*resolution(&seen, "ttl_s"), told);
            }
            for _ in 0..3 {
                answered(&nginx, "new");
            }
        }
    }
}
