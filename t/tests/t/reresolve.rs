//! A host name moves: the request that finds out is answered, and later ones go straight there.

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::{Host, Nginx, Port, Running, Seen};

/// `app.test` is 127.0.0.2 when nginx starts; these listen on its port.
fn moving(dns: &Dns, port: &Port, resolve: &str, block: &str) -> Nginx {
    Nginx::http(
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve %resolve%;
         upstream backend { server app.test:%port%; %block% }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    )
    .set("dns", dns)
    .set("port", port)
    .set("resolve", resolve)
    .set("block", block)
    .hosts(&[("127.0.0.2", "app.test")])
}

/// One request, which must have been answered by that host.
fn reached(nginx: &Running, host: &str) -> Seen {
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, host), "{}", seen.reply);
    seen
}

#[test]
fn the_request_that_finds_out_is_answered() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let old = Host::start(port.at([127, 0, 0, 2]), "old");
    let new = Host::start(port.at([127, 0, 0, 3]), "new");
    let nginx = moving(&dns, &port, "failure", "").start();
    for _ in 0..3 {
        reached(&nginx, "old");
    }
    assert!(dns.questions().is_empty(), "nothing had failed");
    dns.set("app.test", Zone::addresses(["127.0.0.3"]));
    old.kill();
    let seen = reached(&nginx, "new");
    let (then, now) = (port.at([127, 0, 0, 2]), port.at([127, 0, 0, 3]));
    assert_eq!(seen.line.field("upstream_addr"), format!("{then}, {now}"));
    let member = seen.reply.member();
    assert_eq!(member.name, "connection_refused");
    assert_eq!(member.token("dns"), Some("stale"));
    assert_eq!(member.token("hint"), Some("address_left_dns"));
    assert_eq!(member.string("server"), Some(format!("app.test:{}", port.number()).as_str()));
    assert!(member.is("retried"));
    assert_eq!(seen.diagnosis().outcome, "recovered");
    for _ in 0..3 {
        let seen = reached(&nginx, "new");
        assert_eq!(seen.line.field("upstream_addr"), now.to_string());
        assert!(seen.line.diagnosis.is_none());
    }
    assert_eq!((dns.asked("app.test", Kind::A), dns.asked("app.test", Kind::Aaaa)), (1, 1));
    drop(new);
}
