//! `ttl`: a name is asked for again before its answer's time is up, whether something fails or not.

use std::time::{Duration, Instant};

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::{Host, Load, Nginx, Port, Running, wait};

const TTL: Duration = Duration::from_secs(2);

fn start(dns: &Dns, port: &Port, resolve: &str) -> Running {
    Nginx::http(
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve %resolve%;
         upstream backend { server app.test:%port%; }
         server { listen %listen%; location / {
             proxy_pass http://backend; proxy_connect_timeout 4s;
         } }",
    )
    .set("dns", dns)
    .set("port", port)
    .set("resolve", resolve)
    .hosts(&[("127.0.0.2", "app.test")])
    .start()
}

/// The old host no longer answers at all: whoever still goes there waits for a time-out.
#[test]
fn nobody_goes_to_a_silent_address_after_the_ttl() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let old = Host::start(port.at([127, 0, 0, 2]), "old");
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", Zone::addresses(["127.0.0.2"]).ttl(2));
    let nginx = start(&dns, &port, "ttl");
    dns.wait_for("app.test", Kind::A, 2);
    let load = Load::to(nginx.address("listen")).rate(10).start();
    load.wait_for(5);
    dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(2));
    let flip = Instant::now();
    old.vanish();
    load.wait_until("requests after the TTL", |report| report.since(flip + TTL).total() >= 10);
    let report = load.stop();
    let after = report.since(flip + TTL);
    assert_eq!(after.failed(), 0, "{report}");
    assert_eq!(after.answered_by().len(), 1, "{report}");
    assert!(after.latency(1.0) < Duration::from_secs(1), "{report}");
    // Those before it were saved by their own recovery, after the time-out.
    assert_eq!(report.failed(), 0, "{report}");
}

#[test]
fn an_answer_is_renewed_before_its_time_is_up() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let _host = Host::start(port.at([127, 0, 0, 2]), "host");
    dns.set("app.test", Zone::addresses(["127.0.0.2"]).ttl(1));
    let _nginx = start(&dns, &port, "ttl ipv6=off");
    dns.wait_for("app.test", Kind::A, 4);
    let at: Vec<Instant> = dns.questions().iter().map(|question| question.at).collect();
    for pair in at.windows(2) {
        let apart = pair[1] - pair[0];
        assert!((Duration::from_millis(700)..Duration::from_secs(2)).contains(&apart), "{apart:?}");
    }
    assert_eq!(dns.asked("app.test", Kind::Aaaa), 0);
}

/// A maximum below the TTL counts instead of it, and a minimum above it.
#[test]
fn the_ttl_is_bounded() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let _host = Host::start(port.at([127, 0, 0, 2]), "host");
    dns.set("app.test", Zone::addresses(["127.0.0.2"]).ttl(3600));
    let nginx = start(&dns, &port, "ttl max=1s");
    dns.wait_for("app.test", Kind::A, 3);
    drop(nginx);
    dns.set("app.test", Zone::addresses(["127.0.0.2"]).ttl(0));
    dns.forget();
    let begin = Instant::now();
    let _nginx = start(&dns, &port, "ttl min=500ms max=10s ipv6=off");
    dns.wait_for("app.test", Kind::A, 4);
    // The first comes at once or after up to the minimum; then three more.
    assert!(begin.elapsed() >= Duration::from_millis(3 * 500 * 3 / 4), "{:?}", begin.elapsed());
}

/// Names whose answers fail keep their last addresses, are asked for again, and recover.
#[test]
fn an_outage_of_dns_costs_nothing() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let host = Host::start(port.at([127, 0, 0, 2]), "host");
    let other = Host::start(port.at([127, 0, 0, 3]), "other");
    dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(1));
    let nginx = start(&dns, &port, "ttl");
    wait::until("the move", || (nginx.get("/").text() == "other").then_some(()));
    for zone in [Zone::servfail(), Zone::nxdomain(), Zone::no_data(), Zone::refused()] {
        dns.set("app.test", zone);
        dns.forget();
        dns.wait_for("app.test", Kind::A, 1);
        assert_eq!(nginx.get("/").text(), "other");
    }
    dns.stop();
    assert_eq!(nginx.get("/").text(), "other");
    dns.restart();
    dns.set("app.test", Zone::addresses(["127.0.0.2"]).ttl(1));
    wait::until("the way back", || (nginx.get("/").text() == "host").then_some(()));
    drop((host, other));
}

/// In `failure` mode, a name that is asked for once is not asked for again.
#[test]
fn nothing_is_asked_while_nothing_fails() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let old = Host::start(port.at([127, 0, 0, 2]), "old");
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(0));
    let nginx = start(&dns, &port, "failure min=10ms max=20ms");
    old.kill();
    assert_eq!(nginx.get("/").text(), "new");
    let report = Load::to(nginx.address("listen")).rate(200).requests(200).run();
    assert_eq!(report.answered_by()["new"], 200);
    assert_eq!((dns.asked("app.test", Kind::A), dns.asked("app.test", Kind::Aaaa)), (1, 1));
}
