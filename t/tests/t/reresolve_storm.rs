//! Many failures at once, long outages of DNS, and their end.

use std::time::{Duration, Instant};

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::{Gate, Host, Port, wait};

use crate::moved::{Moved, answered, behind, rounds, until_answered};

/// Everybody waits for the same answer: one question of each family.
#[test]
fn many_requests_wait_for_one_answer() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).after(Duration::from_millis(100)));
    let nginx = moved.nginx().worker_connections(512);
    let nginx = nginx.set("resolve", "failure wait=20s timeout=20s").start();
    let mut clients: Vec<_> = (0..100).map(|_| nginx.connect()).collect();
    for client in &mut clients {
        client.start("/");
    }
    for client in &mut clients {
        let reply = client.read("GET");
        assert_eq!((reply.status, reply.text().as_str()), (200, "new"), "{reply}");
    }
    moved.asked(1);
    assert_eq!(moved.new.requests(), 100);
}

/// The name is asked for no more often than the shortest interval allows, however often it fails.
#[test]
fn a_storm_of_failures() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::servfail());
    let nginx = moved.nginx().set("resolve", "failure min=400ms wait=0").start();
    let since = Instant::now();
    let mut count = 0;
    while since.elapsed() < Duration::from_secs(2) {
        let reply = nginx.get("/");
        assert_eq!(reply.status, 502);
        count += 1;
    }
    // At least three quarters of the interval are between two rounds.
    let most = since.elapsed().as_millis() / 300 + 1;
    let asked = moved.dns.questions().len() as u128;
    assert!(count > 20 && asked <= 2 * most, "{count} requests, {asked} questions");
    assert!(asked >= 4, "{asked} questions");
}

/// A name server is silent, which costs three sockets for each family of a name: most connections
/// stay free for requests.
#[test]
fn many_names_and_a_silent_server() {
    const NAMES: usize = 100;
    let (dns, port) = (Dns::start().saying(Zone::silent()), Port::reserve());
    let old = Host::start(port.at([127, 0, 0, 2]), "old");
    let names: Vec<_> = (0..NAMES).map(|n| format!("n{n}.test")).collect();
    let each = |text: &dyn Fn(&String) -> String| names.iter().map(text).collect::<String>();
    let upstreams = each(&|name| format!("upstream {name} {{ server {name}:%port%; }} "));
    let mut hosts: Vec<_> = names.iter().map(|name| ("127.0.0.2", name.as_str())).collect();
    hosts.push(("127.0.0.2", "app.test"));
    let nginx = behind(&dns, &port).worker_connections(512).hosts(&hosts);
    let nginx = nginx.set("beside", upstreams).set("resolve", "ttl min=10ms timeout=20s").start();
    // All of them are due at once, and some questions are repeated already.
    dns.wait_for_questions(90);
    let most = 3 + 2 + 512 / 32 * 6;
    let open = std::fs::read_dir(format!("/proc/{}/fd", nginx.workers()[0])).unwrap().count();
    // Besides, some files.
    assert!(open < most + 20, "{open} descriptors");
    answered(&nginx, "old");
    drop(old);
}

/// Names of several blocks fail at once: each is asked for, and no more than that.
#[test]
fn many_names() {
    const NAMES: usize = 150;
    let (dns, port) = (Dns::start(), Port::reserve());
    dns.set_others(Zone::addresses(["127.0.0.3"]).after(Duration::from_millis(20)));
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    let names: Vec<_> = (0..NAMES).map(|n| format!("n{n}.test")).collect();
    let each = |text: &dyn Fn(&String) -> String| names.iter().map(text).collect::<String>();
    let upstreams = each(&|name| format!("upstream {name} {{ server {name}:%port%; }} "));
    let locations = each(&|name| format!("location /{name} {{ proxy_pass http://{name}; }} "));
    let mut hosts: Vec<_> = names.iter().map(|name| ("127.0.0.2", name.as_str())).collect();
    hosts.push(("127.0.0.2", "app.test"));
    let nginx = behind(&dns, &port).worker_connections(1024).hosts(&hosts);
    let nginx = nginx.set("beside", upstreams).set("server", locations);
    let nginx = nginx.set("resolve", "failure wait=20s timeout=20s").start();
    let mut clients: Vec<_> = names
        .iter()
        .map(|name| {
            let mut client = nginx.connect();
            client.start(&format!("/{name}"));
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.read("GET").text(), "new");
    }
    dns.wait_for_questions(2 * NAMES);
    for name in &names {
        assert_eq!([Kind::A, Kind::Aaaa].map(|kind| rounds(&dns, name, kind)), [1, 1], "{name}");
    }
}

/// Nobody answers for a while; then somebody does, and it is noticed.
#[test]
fn an_outage_of_dns() {
    let moved = Moved::start();
    let nginx = moved.nginx().set("resolve", "failure min=20ms timeout=200ms").start();
    answered(&nginx, "new");
    let other = Host::start(moved.port.at([127, 0, 0, 4]), "other");
    for silent in [false, true, false] {
        moved.dns.set("app.test", Zone::addresses(["127.0.0.4"]));
        if silent {
            moved.dns.set("app.test", Zone::silent());
        } else {
            moved.dns.stop();
        }
        // The last good address serves on.
        answered(&nginx, "new");
        moved.new.kill();
        for _ in 0..10 {
            assert_eq!(nginx.fetch("/").reply.status, 502);
        }
        if silent {
            moved.dns.set("app.test", Zone::addresses(["127.0.0.4"]));
        } else {
            moved.dns.restart();
        }
        until_answered(&nginx, "other");
        moved.new.revive();
        moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
        other.kill();
        until_answered(&nginx, "new");
        other.revive();
    }
}

/// A server that restarts between a question and its answer.
#[test]
fn dns_restarts_while_a_request_waits() {
    let (moved, gate) = (Moved::start(), Gate::new());
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = moved.nginx().set("resolve", "failure min=10ms wait=20s timeout=20s").start();
    let mut client = nginx.connect();
    client.start("/");
    moved.wait_until_asked(1);
    moved.dns.stop();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
    moved.dns.restart();
    // The question is repeated, or this request fails and another one asks.
    let reply = client.read("GET");
    assert!([200, 502].contains(&reply.status), "{reply}");
    nginx.logged();
    until_answered(&nginx, "new");
    gate.open();
}

/// In `ttl` mode the worker looks again by itself until there is somebody.
#[test]
fn an_outage_in_ttl_mode() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(0));
    let nginx = moved.nginx().set("resolve", "ttl min=20ms max=200ms timeout=100ms").start();
    until_answered(&nginx, "new");
    let other = Host::start(moved.port.at([127, 0, 0, 4]), "other");
    moved.dns.set("app.test", Zone::silent());
    moved.dns.forget();
    moved.dns.wait_for_questions(8);
    answered(&nginx, "new");
    moved.dns.set("app.test", Zone::addresses(["127.0.0.4"]).ttl(0));
    // Without any failure.
    wait::until("the other host to be used", || {
        let seen = nginx.fetch("/");
        assert!(seen.line.diagnosis.is_none());
        (seen.reply.text() == "other").then_some(())
    });
    drop(other);
}
