//! Every server is put aside for its failures, and meanwhile the names have moved.

use nginx_test::dns::{Dns, Zone};
use nginx_test::{Gate, Host, Nginx, Port, Running, Seen};

use crate::moved::{answered, behind};

const NO_LIVE: &str = "no live upstreams";

/// Two addresses when nginx starts (it does not count the failures of one alone), which one failed
/// request puts aside.
fn put_aside(dns: &Dns, port: &Port) -> Nginx {
    let nginx = behind(dns, port).hosts(&[("127.0.0.2", "app.test"), ("127.0.0.4", "app.test")]);
    nginx.set("resolve", "failure wait=20s timeout=20s")
}

/// A request that finds nobody and puts everybody aside, while DNS says nothing.
fn all_fail(nginx: &Running) {
    let mut client = nginx.connect();
    client.start("/");
    let reply = client.read("GET");
    assert_eq!(reply.status, 502, "{reply}");
    assert_eq!(nginx.logged().field("status"), "502");
}

#[test]
fn the_answer_lets_everybody_in_again() {
    let (dns, port, gate) = (Dns::start(), Port::reserve(), Gate::new());
    let new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = put_aside(&dns, &port).set("location", "proxy_next_upstream_tries 2;").start();
    all_fail(&nginx);
    let mut clients: Vec<_> = (0..5).map(|_| nginx.connect()).collect();
    for client in &mut clients {
        client.start("/");
    }
    dns.wait_for_questions(2);
    gate.open();
    for client in &mut clients {
        let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"));
        assert_eq!(seen.line.field("upstream_addr"), new.address().to_string());
    }
    assert!(!nginx.error_log().contains(NO_LIVE), "{}", nginx.error_log());
    answered(&nginx, "new");
}

/// No time to wait is left, or none is given: as without us.
#[test]
fn without_time_there_are_no_live_upstreams() {
    for (resolve, conf) in [
        ("failure wait=20s timeout=20s", "proxy_connect_timeout 1ms;"),
        ("failure wait=20s timeout=20s", "proxy_next_upstream_timeout 1ms;"),
        ("failure wait=20s timeout=20s", "proxy_next_upstream off;"),
        ("failure wait=0 timeout=20s", ""),
    ] {
        let (dns, port) = (Dns::start().saying(Zone::silent()), Port::reserve());
        let conf = format!("proxy_next_upstream_tries 2; {conf}");
        let nginx = put_aside(&dns, &port).set("resolve", resolve).set("location", &conf).start();
        let worker = nginx.workers();
        // Until each of them was tried once.
        for _ in 0..3 {
            all_fail(&nginx);
        }
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502);
        assert_eq!(seen.diagnosis().causes(), ["no_live_peers"], "{conf}");
        assert_eq!(seen.line.field("upstream_addr"), "backend");
        assert_eq!(nginx.workers(), worker);
    }
}

/// Whoever waited in vain hears what it would have heard at once.
#[test]
fn nobody_knows() {
    let (dns, port, gate) = (Dns::start(), Port::reserve(), Gate::new());
    dns.set("app.test", Zone::servfail().held(&gate));
    let nginx = put_aside(&dns, &port).set("location", "proxy_next_upstream_tries 2;").start();
    all_fail(&nginx);
    let mut client = nginx.connect();
    client.start("/");
    dns.wait_for_questions(2);
    gate.open();
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    assert_eq!(seen.reply.status, 502);
    assert_eq!(seen.diagnosis().causes(), ["no_live_peers"]);
    assert_eq!(seen.line.field("upstream_addr"), "backend");
}

/// Servers that have all the connections they may have are where they are: nobody asks, nobody
/// waits.
#[test]
fn at_the_limit_nobody_asks() {
    let (dns, port) = (Dns::start().saying(Zone::silent()), Port::reserve());
    let host = Host::start(port.at([127, 0, 0, 2]), "host");
    let nginx = behind(&dns, &port).set("resolve", "failure wait=20s timeout=20s");
    let server = "upstream full { server app.test:%port% max_conns=1; }";
    let location = "location /held { proxy_pass http://full; }";
    let nginx = nginx.set("beside", server).set("server", location).start();
    let mut client = nginx.connect();
    client.start("/held");
    nginx_test::wait::until("a request to be held", || (host.requests() == 1).then_some(()));
    let seen = nginx.fetch("/held");
    assert_eq!(seen.diagnosis().causes(), ["peers_at_limit"]);
    assert!(dns.questions().is_empty());
    host.gate().open();
    assert_eq!(client.read("GET").text(), "host");
}

/// Clients leave while they wait because everybody is put aside.
#[test]
fn clients_leave() {
    let (dns, port, gate) = (Dns::start(), Port::reserve(), Gate::new());
    let new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = put_aside(&dns, &port).set("location", "proxy_next_upstream_tries 2;").start();
    all_fail(&nginx);
    let mut clients: Vec<_> = (0..5).map(|_| nginx.connect()).collect();
    for client in &mut clients {
        client.start("/");
    }
    // Some may not have been read by then, and leave before they wait.
    dns.wait_for_questions(2);
    clients.truncate(2);
    for _ in 0..3 {
        assert_eq!(nginx.logged().field("status"), "499");
    }
    gate.open();
    for client in &mut clients {
        let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
        assert_eq!(seen.reply.text(), "new");
        assert_eq!(seen.line.field("upstream_addr"), new.address().to_string());
    }
}
