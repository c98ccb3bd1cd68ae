//! Under load a name moves, and no request is lost.

use std::time::{Duration, Instant};

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::{Host, Load, Nginx, Port, env};

/// Locations with and without kept connections to the back end.
const CONF: &str = "
    upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve failure;
    upstream backend { server app.test:%port%; %keepalive% }
    server { listen %listen%; location / {
        proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';
    } }";

/// What the answers of one flip have to show: all 200, one query a worker and family, and the new
/// host at once.
fn flip(keepalive: &str, load: impl Fn(Load) -> Load) {
    let (dns, port) = (Dns::start(), Port::reserve());
    let old = Host::start(port.at([127, 0, 0, 2]), "old");
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", Zone::addresses(["127.0.0.2"]).ttl(30));
    let nginx = Nginx::http(CONF)
        .workers(2)
        .set("dns", &dns)
        .set("port", &port)
        .set("keepalive", keepalive)
        .hosts(&[("127.0.0.2", "app.test")])
        .start();
    let load = load(Load::to(nginx.address("listen"))).start();
    load.wait_for(200);
    dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(30));
    let flip = Instant::now();
    old.leave();
    load.wait_until("answers of the new host", |report| {
        report.answered_by().get("new").is_some_and(|answers| *answers >= 200)
    });
    let report = load.stop();
    assert_eq!(report.failed(), 0, "{report}");
    for kind in [Kind::A, Kind::Aaaa] {
        assert!((1..=2).contains(&dns.asked("app.test", kind)), "{:?}", dns.questions());
    }
    // The round trip to the name server is part of it; so is a scheduler with much to do.
    let first = report.first_from("new", flip).expect("an answer");
    let bound = Duration::from_millis(if env::valgrind() { 2_000 } else { 500 });
    assert!(first < bound, "{first:?}");
}

#[test]
fn two_hundred_requests_a_second() {
    flip("", |load| load.rate(200));
}

#[test]
fn two_hundred_requests_a_second_on_kept_connections() {
    flip("keepalive 8;", |load| load.rate(200));
}

#[test]
fn as_fast_as_one_client_can() {
    flip("", |load| load);
}

#[test]
fn as_fast_as_one_client_can_on_kept_connections() {
    flip("keepalive 8;", Load::keepalive);
}
