//! Names that move, under every balancer: what it chooses is chosen, at the name's new address.

use std::collections::BTreeMap;

use nginx_test::dns::Kind;
use nginx_test::{Running, wait};

use crate::expect::nothing;
use crate::moves::{Moves, reached, reached_at, until_reached};

const BALANCERS: [&str; 7] = [
    "",
    "least_conn;",
    "ip_hash;",
    "hash $uri;",
    "hash $uri consistent;",
    "random;",
    "random two;",
];

/// Every balancer, without and with memory that the workers share.
fn all() -> impl Iterator<Item = String> {
    let zones = ["", " zone backend 256k;"];
    zones.into_iter().flat_map(|zone| BALANCERS.map(|balancer| balancer.to_owned() + zone))
}

/// Who answers each of these many clients, each with a path of its own.
fn answers(nginx: &Running, count: u8) -> BTreeMap<u8, String> {
    let ask = |client: u8| {
        let from = format!("X-Forwarded-For: 10.1.{client}.1");
        let seen = nginx.fetch_with("GET", &format!("/{client}"), &[&from], b"");
        assert_eq!(seen.reply.status, 200, "{} {}", seen.reply, seen.line.fields);
        (client, seen.reply.text())
    };
    (0..count).map(ask).collect()
}

fn count(answers: &BTreeMap<u8, String>, host: u8) -> usize {
    answers.values().filter(|answer| **answer == host.to_string()).count()
}

#[test]
fn the_only_server_moves() {
    for block in all() {
        let moves = Moves::new();
        let (old, _new) = (moves.host(2), moves.host(3));
        let nginx = moves.upstream(&format!("{block} server app.test:%port%;")).start();
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        old.kill();
        let seen = reached(&nginx, 3);
        let tried = format!("{}, {}", moves.address(2), moves.address(3));
        assert_eq!(seen.line.field("upstream_addr"), tried, "{block}");
        assert_eq!(seen.reply.member().token("dns"), Some("stale"), "{block}");
        for _ in 0..3 {
            nothing(&reached(&nginx, 3));
        }
        assert_eq!(moves.dns.asked("app.test", Kind::A), 1, "{block}");
    }
}

/// One of two: nobody but its own requests is sent elsewhere.
#[test]
fn one_server_of_two_moves() {
    for block in all() {
        let moves = Moves::new();
        let (old, _new, _other) = (moves.host(2), moves.host(3), moves.host(4));
        let block = format!("{block} server app.test:%port%; server other.test:%port%;");
        let nginx = moves.upstream(&block).start();
        let before = answers(&nginx, 40);
        let (then, stayed) = (count(&before, 2), count(&before, 4));
        assert!(then > 4 && stayed > 4, "{block} {before:?}");
        moves.to("app.test", &[3]);
        old.kill();
        wait::until("the name to have moved", || {
            (count(&answers(&nginx, 10), 3) > 0).then_some(())
        });
        let after = answers(&nginx, 40);
        assert_eq!(count(&after, 3) + count(&after, 4), 40, "{block} {after:?}");
        if block.contains("hash") {
            let moved = |(client, host): (&u8, &String)| {
                (*client, if host == "2" { "3".to_owned() } else { host.clone() })
            };
            assert_eq!(after, before.iter().map(moved).collect(), "{block}");
        } else if !block.contains("random") {
            assert_eq!((count(&after, 3), count(&after, 4)), (20, 20), "{block}");
        } else {
            assert!(count(&after, 3) > 4 && count(&after, 4) > 4, "{block} {after:?}");
        }
        assert_eq!(moves.dns.asked("other.test", Kind::A), 0, "{block}");
    }
}

#[test]
fn weights_stay() {
    for block in ["", "least_conn;", "zone backend 256k;", "least_conn; zone backend 256k;"] {
        let moves = Moves::new();
        let (old, _new, _other) = (moves.host(2), moves.host(3), moves.host(4));
        let servers = "server app.test:%port% weight=3; server other.test:%port%;";
        let nginx = moves.upstream(&format!("{block} {servers}")).start();
        let before = answers(&nginx, 40);
        assert_eq!((count(&before, 2), count(&before, 4)), (30, 10), "{block}");
        moves.to("app.test", &[3]);
        old.kill();
        until_reached(&nginx, "/", 3);
        let after = answers(&nginx, 40);
        assert_eq!((count(&after, 3), count(&after, 4)), (30, 10), "{block}");
    }
}

/// One of them to where the other is: they share the host.
#[test]
fn two_names_meet_at_one_host() {
    for block in all() {
        let moves = Moves::new();
        let (old, _other) = (moves.host(2), moves.host(4));
        let block = format!("{block} server app.test:%port%; server other.test:%port%;");
        let nginx = moves.upstream(&block).start();
        moves.to("app.test", &[4]);
        old.kill();
        wait::until("the name to have moved", || {
            let _ = answers(&nginx, 10);
            (moves.dns.asked("app.test", Kind::A) > 0).then_some(())
        });
        // A balancer that hashes sends all that were for the old host there.
        wait::until("the old address to be forgotten", || {
            let tried = |path| {
                let seen = reached_at(&nginx, &format!("/{path}"), 4);
                seen.line.field("upstream_addr").contains(&moves.address(2))
            };
            (0..10).all(|path| !tried(path)).then_some(())
        });
    }
}

/// The name of a server that is put aside moves: the server need not wait until its time is over.
#[test]
fn all_servers_are_put_aside() {
    for block in all() {
        let moves = Moves::new();
        let old = moves.host(2);
        let _new = moves.host(3);
        let aside = "max_fails=1 fail_timeout=1h";
        let servers = format!("server app.test:%port% {aside}; server 127.0.0.9:%port% {aside};");
        let nginx = moves.upstream(&format!("{block} {servers}")).start();
        old.kill();
        // `random` and hashes may not get to both at once.
        wait::until("both to be put aside", || {
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{}", seen.reply);
            (seen.reply.causes().last()? == "no_live_peers").then_some(())
        });
        moves.pause();
        moves.to("app.test", &[3]);
        let seen = reached(&nginx, 3);
        assert_eq!(seen.line.field("upstream_addr"), moves.address(3), "{block}");
        for path in 0..5 {
            nothing(&reached_at(&nginx, &format!("/{path}"), 3));
        }
    }
}
