//! The harness's load and the hosts that leave under it: what is lost is not the harness's doing.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nginx_test::sandbox::netns::isolated;
use nginx_test::{Host, Load, Nginx, Port, wait};

/// Two hosts on one port; the second is for when the first is gone.
fn pair(name: &str) -> (Port, Host, Host) {
    let port = Port::reserve();
    let old = Host::start(port.at([127, 0, 0, 2]), &format!("old {name}"));
    let new = Host::start(port.at([127, 0, 0, 3]), &format!("new {name}"));
    (port, old, new)
}

fn balance(old: &Host, new: &Host, keepalive: &str) -> Nginx {
    Nginx::http(
        "upstream backend { server %old% max_fails=0; server %new% backup; %keepalive% }
         server { listen %listen%; location / {
             proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';
             proxy_connect_timeout 200ms;
         } }",
    )
    .bare()
    .set("old", old)
    .set("new", new)
    .set("keepalive", keepalive)
}

#[test]
fn a_load_counts_every_request() {
    let nginx = Nginx::location("return 200 here;").bare().start();
    let load = Load::to(nginx.address("listen")).requests(300);
    for load in [load.clone(), load.clone().keepalive(), load.clone().clients(4)] {
        let report = load.run();
        assert_eq!((report.total(), report.failed()), (300, 0), "{report}");
        assert_eq!(report.answered_by()["here"], 300);
    }
    let begin = Instant::now();
    let report = load.rate(2000).run();
    assert!(begin.elapsed() >= Duration::from_millis(149));
    assert_eq!((report.total(), report.failed()), (300, 0), "{report}");
    let dues: Vec<Instant> = report.samples().iter().map(|sample| sample.due).collect();
    assert_eq!(dues[299] - dues[0], Duration::from_micros(149_500));
    assert!(report.samples().iter().all(|s| s.due <= s.began && s.began <= s.ended));
    assert!(report.latency(0.5) <= report.latency(1.0));
    assert_eq!(nginx.log(1200).len(), 1200);
}

#[test]
fn a_load_tells_who_answered_and_what_failed() {
    let (_port, old, new) = pair("host");
    let nginx = balance(&old, &new, "keepalive 4;").start();
    let load = Load::to(nginx.address("listen")).keepalive().start();
    load.wait_for(20);
    let flip = Instant::now();
    old.kill();
    load.wait_until("an answer of the new host", |report| {
        report.first_from("new host", flip).is_some()
    });
    new.kill();
    load.wait_until("a failure", |report| report.failed() > 0);
    let report = load.stop();
    assert!(report.answered_by()["old host"] >= 20, "{report}");
    assert!(report.statuses()[&502] > 0, "{report}");
    assert!(report.since(flip).total() < report.total());
    assert_eq!((old.connections(), new.connections()), (1, 1));

    drop(nginx);
    let report = Load::to("127.0.0.1:1").requests(1).run();
    assert_eq!(report.statuses()[&0], 1);
}

/// Nothing that a host was sent before it left is lost: a POST that was sent is never repeated, so
/// that nginx cannot hide a loss.
#[test]
fn hosts_leave_without_a_loss() {
    isolated(|_| {
        let (_port, old, new) = pair("host");
        let nginx = balance(&old, &new, "").workers(2).start();
        let load = Load::to(nginx.address("listen")).request("POST", "/").clients(3).start();
        for round in 0..20 {
            let seen = old.requests();
            wait::until("requests", || (old.requests() > seen + 5).then_some(()));
            old.leave();
            let refused = TcpStream::connect(old.address()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{round}");
            old.wait_until_gone();
            old.revive();
        }
        let report = load.stop();
        assert_eq!(report.failed(), 0, "{report}");
        assert_eq!(report.answered_by().len(), 2, "{report}");
    });
}

/// The same with connections that nginx keeps; a request on one that was just closed is repeated.
#[test]
fn hosts_leave_kept_connections_without_a_loss() {
    let (_port, old, new) = pair("host");
    let nginx = balance(&old, &new, "keepalive 4;").workers(2).start();
    let load = Load::to(nginx.address("listen")).rate(500).start();
    for _ in 0..10 {
        let seen = old.requests();
        wait::until("requests", || (old.requests() > seen + 5).then_some(()));
        old.kill();
        old.revive();
    }
    let report = load.stop();
    assert_eq!(report.failed(), 0, "{report}");
    assert!(old.connections() < old.requests());
}

#[test]
fn a_request_outlives_the_port() {
    let (_port, old, new) = pair("host");
    let nginx = balance(&old, &new, "").start();
    let mut slow = nginx.connect();
    slow.start("/held");
    wait::until("the request", || (old.requests() == 1).then_some(()));
    old.leave();
    assert_eq!(nginx.get("/").text(), "new host");
    old.gate().open();
    assert_eq!(slow.read("GET").text(), "old host");
    old.revive();
    assert_eq!(nginx.get("/held").text(), "old host");
}

#[test]
fn a_host_that_vanishes_does_not_refuse() {
    let (_port, old, new) = pair("host");
    let nginx = balance(&old, &new, "").start();
    assert_eq!(nginx.get("/").text(), "old host");
    old.vanish();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.text(), "new host");
    nginx.wait_for_error("upstream timed out (110");
    old.revive();
    assert_eq!(nginx.get("/").text(), "old host");
}
