//! How long a request waits for DNS, and what it gets when that has nothing to offer.

use std::time::{Duration, Instant};

use nginx_test::dns::Zone;
use nginx_test::{Gate, Host, Seen, env};

use crate::moved::{Moved, answered, resolution, until_answered};

/// The one failure there was, as the client sees it without us.
fn original(seen: &Seen, moved: &Moved, status: u16, cause: &str) {
    assert_eq!(seen.reply.status, status, "{}", seen.reply);
    assert_eq!(seen.reply.member().name, cause);
    assert_eq!(seen.line.field("upstream_addr"), moved.then().to_string());
    assert_eq!(seen.line.field("upstream_status"), status.to_string());
    let diagnosis = seen.diagnosis();
    assert_eq!((diagnosis.outcome.as_str(), diagnosis.causes()), ("failed", vec![cause]));
    assert!(!diagnosis.attempt().flag("retried"));
}

/// As far as a machine that does other things too can tell.
fn took(since: Instant, least: u64, most: u64) {
    let took = since.elapsed();
    let slack = nginx_test::wait::patience() / 10;
    assert!(took >= Duration::from_millis(least), "{took:?}");
    assert!(took <= Duration::from_millis(most) + slack, "{took:?}");
}

#[test]
fn an_answer_in_time() {
    let (moved, gate) = (Moved::start(), Gate::new());
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s").start();
    let mut client = nginx.connect();
    client.start("/");
    moved.wait_until_asked(1);
    gate.open();
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"));
    assert_eq!(seen.line.field("upstream_addr"), moved.both());
    assert!(resolution(&seen, "waited_ms").is_u64());
    assert_eq!(*resolution(&seen, "sent_to"), moved.now().to_string());
}

#[test]
fn no_answer_in_time() {
    let (moved, gate) = (Moved::start(), Gate::new());
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = moved.nginx().set("resolve", "failure wait=300ms timeout=20s").start();
    let since = Instant::now();
    let seen = nginx.fetch("/");
    took(since, 300, 300);
    original(&seen, &moved, 502, "connection_refused");
    assert_eq!(seen.reply.member().token("dns"), Some("unknown"));
    let waited = resolution(&seen, "waited_ms").as_u64();
    assert!(waited.is_some_and(|waited| waited >= 299), "{waited:?}");
    // Another one waits for the same answer.
    original(&nginx.fetch("/"), &moved, 502, "connection_refused");
    gate.open();
    until_answered(&nginx, "new");
}

#[test]
fn nobody_waits_for_nothing() {
    let (moved, gate) = (Moved::start(), Gate::new());
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = moved.nginx().set("resolve", "failure wait=0 timeout=20s").start();
    for _ in 0..3 {
        let seen = nginx.fetch("/");
        original(&seen, &moved, 502, "connection_refused");
        assert!(resolution(&seen, "waited_ms").is_null());
    }
    moved.wait_until_asked(1);
    gate.open();
    until_answered(&nginx, "new");
}

/// nginx's own limits of time end the wait too.
#[test]
fn no_longer_than_nginx_allows() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::silent());
    for limit in ["proxy_connect_timeout 300ms;", "proxy_next_upstream_timeout 300ms;"] {
        let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s");
        let nginx = nginx.set("location", limit).start();
        let since = Instant::now();
        original(&nginx.fetch("/"), &moved, 502, "connection_refused");
        took(since, 290, 300);
    }
}

/// The wait ends as the failure did: a time-out stays one.
#[test]
fn a_time_out_stays_one() {
    let moved = Moved::start();
    let old = Host::start(moved.then(), "old");
    old.vanish();
    moved.dns.set("app.test", Zone::silent());
    for (limit, least) in [
        ("proxy_connect_timeout 200ms;", 398),
        ("proxy_connect_timeout 200ms; proxy_next_upstream timeout;", 398),
        ("proxy_connect_timeout 200ms; proxy_next_upstream_timeout 300ms;", 298),
        ("proxy_connect_timeout 200ms; proxy_next_upstream_timeout 201ms;", 200),
        ("proxy_connect_timeout 200ms; proxy_next_upstream_timeout 100ms;", 200),
        ("proxy_connect_timeout 1ms;", 1),
    ] {
        let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s");
        let nginx = nginx.set("location", limit).start();
        let since = Instant::now();
        let seen = nginx.fetch("/");
        took(since, least, 400);
        original(&seen, &moved, 504, "connection_timeout");
        // Nothing but the one failure is in nginx's own log.
        let said = nginx.error_log().matches("upstream timed out").count();
        assert!(said <= 2, "{}", nginx.error_log());
    }
}

/// What DNS says is what nginx knows already: at once, and as it was.
#[test]
fn nothing_new() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.2"]));
    let nginx = moved.nginx().set("resolve", "failure wait=20s min=1h max=1h").start();
    let since = Instant::now();
    let seen = nginx.fetch("/");
    took(since, 0, 0);
    original(&seen, &moved, 502, "connection_refused");
    assert_eq!(seen.reply.member().token("dns"), Some("fresh"));
    assert_eq!(*resolution(&seen, "used"), "nothing");
    // Known by now: nobody asks again so soon, and nobody waits.
    let seen = nginx.fetch("/");
    original(&seen, &moved, 502, "connection_refused");
    assert!(resolution(&seen, "waited_ms").is_null());
    moved.asked(1);
}

#[test]
fn nothing_new_after_a_time_out() {
    let moved = Moved::start();
    let old = Host::start(moved.then(), "old");
    old.vanish();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.2"]));
    let nginx = moved.nginx().set("location", "proxy_connect_timeout 300ms;").start();
    let since = Instant::now();
    let seen = nginx.fetch("/");
    took(since, 300, 300);
    original(&seen, &moved, 504, "connection_timeout");
    assert_eq!(seen.reply.member().token("dns"), Some("fresh"));
}

/// Each way of knowing nothing is told as soon as it is known, and the old address stays.
#[test]
fn nothing_at_all() {
    for (zone, error) in [
        (Zone::nxdomain(), "nxdomain"),
        (Zone::no_data(), "no_data"),
        (Zone::servfail(), "servfail"),
        (Zone::refused(), "refused"),
        (Zone::code(1), "formerr"),
        (Zone::code(4), "notimp"),
    ] {
        let moved = Moved::start();
        moved.dns.set("app.test", zone);
        let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s").start();
        let since = Instant::now();
        let seen = nginx.fetch("/");
        took(since, 0, 0);
        original(&seen, &moved, 502, "connection_refused");
        assert_eq!(seen.reply.member().token("dns"), Some("unresolved"), "{error}");
        assert_eq!(*resolution(&seen, "error"), error);
        let back = Host::start(moved.then(), "back");
        answered(&nginx, "back");
        drop(back);
    }
}

/// The first family's answer is enough to go on.
#[test]
fn one_family_is_enough() {
    let (moved, gate) = (Moved::start(), Gate::new());
    let zone = Zone::addresses(["127.0.0.3"]);
    moved.dns.set("app.test", zone.v6(Zone::no_data().held(&gate)));
    let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s").start();
    answered(&nginx, "new");
    gate.open();
}

/// The first family's address is a dead end: what is left of the time is for the other's.
#[test]
fn the_other_family_may_be_the_right_one() {
    let (moved, gate) = (Moved::start(), Gate::new());
    let zone = Zone::addresses(["127.0.0.3"]).held(&gate);
    moved.dns.set("app.test", zone.v6(Zone::addresses(["::1"])));
    let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s").start();
    let mut client = nginx.connect();
    client.start("/");
    let six = moved.port.at(std::net::Ipv6Addr::LOCALHOST);
    nginx.wait_for_error(&format!("http://{six}/"));
    gate.open();
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{}", seen.reply);
    let all = format!("{}, {six}, {}", moved.then(), moved.now());
    assert_eq!(seen.line.field("upstream_addr"), all);
    assert_eq!(seen.diagnosis().outcome, "recovered");
}

/// All waits of a request together take no longer than one may.
#[test]
fn several_waits_are_one() {
    let moved = Moved::start();
    let dead = Zone::addresses(["::1"]).after(Duration::from_millis(200));
    moved.dns.set("app.test", Zone::silent().v6(dead));
    let wait = if env::valgrind() { 5000 } else { 500 };
    let nginx = moved.nginx().set("resolve", format!("failure wait={wait}ms timeout=20s")).start();
    let since = Instant::now();
    let seen = nginx.fetch("/");
    took(since, wait - 1, wait);
    assert_eq!(seen.reply.status, 502);
    let six = moved.port.at(std::net::Ipv6Addr::LOCALHOST);
    assert_eq!(seen.line.field("upstream_addr"), format!("{}, {six}", moved.then()));
    let waited = resolution(&seen, "waited_ms").as_u64().unwrap();
    assert!((wait - 1..wait + 100).contains(&waited), "{waited}");
}

/// Two dead addresses, and DNS knows a third.
#[test]
fn all_servers_are_tried_before_dns_is_awaited() {
    let moved = Moved::start();
    let nginx = moved.nginx().hosts(&[("127.0.0.2", "app.test"), ("127.0.0.4", "app.test")]);
    let seen = answered(&nginx.start(), "new");
    let tried: Vec<_> = seen.line.field("upstream_addr").split(", ").collect();
    assert_eq!((tried.len(), tried[2]), (3, moved.now().to_string().as_str()), "{tried:?}");
    assert_eq!(seen.diagnosis().attempts.len(), 2);
    moved.asked(1);
}

/// An address of the name that is known already is tried without a wait.
#[test]
fn a_known_address_is_tried_at_once() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3", "127.0.0.4"]));
    let nginx = moved.nginx().set("resolve", "failure min=60s").start();
    answered(&nginx, "new");
    moved.new.kill();
    let other = Host::start(moved.port.at([127, 0, 0, 4]), "other");
    for _ in 0..3 {
        answered(&nginx, "other");
    }
    moved.asked(1);
    drop(other);
}

/// What nginx keeps of each attempt: two entries of the two that there were, and the wait belongs
/// to neither.
#[test]
fn attempts_are_counted_once() {
    const VARIABLES: [&str; 6] =
        ["addr", "status", "connect_time", "header_time", "response_time", "bytes_sent"];
    let headers = VARIABLES.map(|name| format!("add_header X-{name} $upstream_{name} always;"));
    let entries = |seen: &Seen, name: &str| -> Vec<String> {
        let value = seen.reply.header(&format!("X-{name}")).unwrap();
        value.split(", ").map(str::to_owned).collect()
    };
    let (moved, gate) = (Moved::start(), Gate::new());
    let zone = Zone::addresses(["127.0.0.3"]).after(Duration::from_millis(400));
    moved.dns.set("app.test", zone);
    let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s");
    let nginx = nginx.set("location", headers.concat()).start();
    let seen = answered(&nginx, "new");
    for name in VARIABLES {
        assert_eq!(entries(&seen, name).len(), 2, "{name}: {}", seen.reply);
    }
    assert_eq!(entries(&seen, "status"), ["502", "200"]);
    let seconds = |text: &String| text.parse::<f64>().unwrap();
    // The second is not over when its header is passed on.
    for time in [&entries(&seen, "response_time")[0], &entries(&seen, "header_time")[1]] {
        assert!(seconds(time) < 0.3, "{}", seen.reply);
    }
    assert_eq!(entries(&seen, "bytes_sent")[0], "0");

    moved.new.kill();
    moved.dns.set("app.test", Zone::servfail().held(&gate));
    let nginx = moved.nginx().set("resolve", "failure wait=400ms timeout=20s");
    let nginx = nginx.set("location", headers.concat()).start();
    let seen = nginx.fetch("/");
    for name in VARIABLES {
        assert_eq!(entries(&seen, name).len(), 1, "{name}: {}", seen.reply);
    }
    assert!(seconds(&entries(&seen, "response_time")[0]) < 0.3, "{}", seen.reply);
    gate.open();
}
