//! Names with several addresses: each gets its share, or each key its host.

use std::collections::BTreeMap;

use nginx_test::{Host, Running};

use crate::moves::{Moves, reached, reached_at};

/// How many of that many requests each host has answered; each must have been.
fn counts(nginx: &Running, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in 0..requests {
        let seen = nginx.fetch(&format!("/{request}"));
        assert_eq!(seen.reply.status, 200, "{} {}", seen.reply, seen.line.fields);
        *counts.entry(seen.reply.text()).or_insert(0) += 1;
    }
    counts
}

fn even(hosts: &[u8], each: usize) -> BTreeMap<String, usize> {
    hosts.iter().map(|host| (host.to_string(), each)).collect()
}

fn hosts(moves: &Moves, numbers: &[u8]) -> Vec<Host> {
    numbers.iter().map(|number| moves.host(*number)).collect()
}

fn kill(hosts: Vec<Host>) {
    hosts.iter().for_each(Host::kill);
}

const SPREADING: [&str; 7] = [
    "",
    "least_conn;",
    "zone backend 256k;",
    "random;",
    "random two; zone backend 256k;",
    "keepalive 8;",
    "least_conn; keepalive 8; zone backend 256k;",
];

/// 1 → 3 → 1, under one server.
#[test]
fn one_address_becomes_three_and_one_again() {
    for block in SPREADING {
        let moves = Moves::new();
        let nginx = moves.upstream(&format!("server app.test:%port%; {block}")).start();
        let one = hosts(&moves, &[2]);
        reached(&nginx, 2);
        let three = hosts(&moves, &[3, 4, 5]);
        moves.to("app.test", &[3, 4, 5]);
        kill(one);
        assert_eq!(nginx.fetch("/").reply.status, 200, "{block}");
        assert_eq!(counts(&nginx, 30), even(&[3, 4, 5], 10), "{block}");
        let _one = hosts(&moves, &[6]);
        moves.to("app.test", &[6]);
        kill(three);
        let seen = reached(&nginx, 6);
        assert!(seen.line.field("upstream_addr").ends_with(&moves.address(6)), "{block}");
        assert_eq!(counts(&nginx, 10), even(&[6], 10), "{block}");
    }
}

/// 3 → 1 → 3 → 2, under the three servers that nginx made of one name.
#[test]
fn three_addresses_become_one_and_three_again() {
    for block in SPREADING {
        let exact = !block.contains("random");
        let moves = Moves::new();
        let nginx = moves.upstream(&format!("server many.test:%port%; {block}")).start();
        let three = hosts(&moves, &[2, 4, 5]);
        let before = counts(&nginx, 30);
        assert!(!exact || before == even(&[2, 4, 5], 10), "{block} {before:?}");
        let one = hosts(&moves, &[3]);
        moves.to("many.test", &[3]);
        kill(three);
        reached(&nginx, 3);
        assert_eq!(counts(&nginx, 12), even(&[3], 12), "{block}");
        let _three = hosts(&moves, &[2, 4, 5]);
        moves.to("many.test", &[2, 4, 5]);
        kill(one);
        assert_eq!(nginx.fetch("/").reply.status, 200, "{block}");
        let after = counts(&nginx, 30);
        assert_eq!(after.len(), 3, "{block} {after:?}");
        assert!(!exact || after == even(&[2, 4, 5], 10), "{block} {after:?}");
    }
}

/// One of three addresses goes: those that stay keep their servers, and share the third.
#[test]
fn one_of_three_addresses_goes() {
    let moves = Moves::new();
    let nginx = moves.upstream("server many.test:%port%;").start();
    let all = hosts(&moves, &[2, 4, 5]);
    assert_eq!(counts(&nginx, 30), even(&[2, 4, 5], 10));
    moves.to("many.test", &[4, 5]);
    all[0].kill();
    counts(&nginx, 6);
    let after = counts(&nginx, 30);
    assert_eq!(after.values().max(), Some(&20), "{after:?}");
    assert_eq!(after.len(), 2, "{after:?}");
}

/// An address that is dead is passed over in each request that comes to it.
#[test]
fn one_of_three_new_addresses_is_dead() {
    let moves = Moves::new();
    let nginx = moves.upstream("server app.test:%port%;").start();
    let _two = hosts(&moves, &[3, 5]);
    moves.to("app.test", &[3, 4, 5]);
    counts(&nginx, 1);
    let after = counts(&nginx, 30);
    assert_eq!(after.values().sum::<usize>(), 30, "{after:?}");
    assert!(after.values().all(|count| *count >= 10), "{after:?}");
}

/// The same key is sent to the same host, however many addresses there are.
#[test]
fn keys_are_pinned() {
    for block in ["hash $uri;", "hash $uri; zone backend 256k;", "ip_hash;"] {
        let moves = Moves::new();
        let nginx = moves.upstream(&format!("{block} server app.test:%port%;")).start();
        moves.to("app.test", &[3, 4, 5]);
        let _three = hosts(&moves, &[3, 4, 5]);
        same_host_each_time(&nginx, block);
        let many = moves.upstream(&format!("{block} server many.test:%port%;")).start();
        let second = hosts(&moves, &[2]);
        same_host_each_time(&many, block);
        moves.to("many.test", &[3]);
        kill(second);
        same_host_each_time(&many, block);
        moves.to("many.test", &[3, 4, 5, 6]);
        let _sixth = hosts(&moves, &[6]);
        same_host_each_time(&many, block);
    }
}

fn same_host_each_time(nginx: &Running, block: &str) {
    // Whoever finds out that the name has moved may be sent elsewhere.
    let settled = counts(nginx, 20);
    assert_eq!(settled.values().sum::<usize>(), 20, "{block}");
    for key in 0..10 {
        let path = format!("/{key}");
        let host: u8 = nginx.fetch(&path).reply.text().parse().unwrap();
        for _ in 0..3 {
            reached_at(nginx, &path, host);
        }
    }
}
