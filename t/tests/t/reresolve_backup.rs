//! Names that move among backup servers, and servers at `max_conns`.

use nginx_test::dns::Kind;
use nginx_test::wait;

use crate::expect::nothing;
use crate::moves::{Moves, reached, until_reached, wait_for_requests};

/// The balancers that know backup servers.
const BLOCKS: [&str; 4] =
    ["", "least_conn;", "zone backend 256k;", "least_conn; zone backend 256k;"];

/// A backup answers the first; then its primary is back.
#[test]
fn the_primary_moves() {
    for block in BLOCKS {
        let moves = Moves::new();
        let (old, _new, backup) = (moves.host(2), moves.host(3), moves.host(4));
        let servers = "server app.test:%port% fail_timeout=1h; server other.test:%port% backup;";
        let nginx = moves.upstream(&format!("{block} {servers}")).start();
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        old.kill();
        let seen = reached(&nginx, 4);
        assert_eq!(seen.diagnosis().outcome, "recovered", "{block}");
        until_reached(&nginx, "/", 3);
        let so_far = backup.requests();
        for _ in 0..3 {
            nothing(&reached(&nginx, 3));
        }
        assert_eq!(backup.requests(), so_far, "{block}");
        assert_eq!(moves.dns.asked("other.test", Kind::A), 0, "{block}");
    }
}

#[test]
fn the_backup_moves() {
    for block in BLOCKS {
        let moves = Moves::new();
        let (old, _new) = (moves.host(2), moves.host(3));
        let servers = "server 127.0.0.9:%port%; server app.test:%port% backup;";
        let nginx = moves.upstream(&format!("{block} {servers}")).start();
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        old.kill();
        reached(&nginx, 3);
        reached(&nginx, 3);
        assert_eq!(moves.dns.asked("app.test", Kind::A), 1, "{block}");
    }
}

/// All are put aside, and one of them has moved: the request that finds out is answered, whether
/// it is a primary one or a backup.
#[test]
fn all_are_put_aside() {
    for block in BLOCKS {
        for (primary, backup) in [("app.test", "127.0.0.9"), ("127.0.0.9", "app.test")] {
            let moves = Moves::new();
            let old = moves.host(2);
            let _new = moves.host(3);
            let aside = "max_fails=1 fail_timeout=1h";
            let servers = format!(
                "server {primary}:%port% {aside}; server 127.0.0.8:%port% {aside};
                 server {backup}:%port% {aside} backup; server 127.0.0.7:%port% {aside} backup;"
            );
            let nginx = moves.upstream(&format!("{block} {servers}")).start();
            old.kill();
            wait::until("all to be put aside", || {
                let seen = nginx.fetch("/");
                assert_eq!(seen.reply.status, 502, "{}", seen.reply);
                (seen.reply.causes().last()? == "no_live_peers").then_some(())
            });
            moves.pause();
            moves.to("app.test", &[3]);
            let seen = reached(&nginx, 3);
            assert_eq!(seen.line.field("upstream_addr"), moves.address(3), "{block}");
            nothing(&seen);
            nothing(&reached(&nginx, 3));
        }
    }
}

/// What a server counts of its connections is right after the name has moved.
#[test]
fn max_conns() {
    for block in ["", "zone backend 256k;", "ip_hash;", "random two; zone backend 256k;"] {
        let moves = Moves::new();
        let (old, new) = (moves.host(2), moves.host(3));
        let server = "server app.test:%port% max_conns=1;";
        let nginx = moves.upstream(&format!("{block} {server}")).start();
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        old.kill();
        for _ in 0..3 {
            reached(&nginx, 3);
        }
        let asked = moves.dns.asked("app.test", Kind::A);
        let mut held = nginx.connect();
        held.start("/held");
        wait_for_requests(&new, 4);
        for _ in 0..2 {
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{block} {}", seen.reply);
            assert_eq!(seen.reply.causes(), ["peers_at_limit"], "{block} {}", seen.reply);
        }
        assert_eq!(moves.dns.asked("app.test", Kind::A), asked, "{block}: nothing was stale");
        new.gate().open();
        assert_eq!(held.read("GET").text(), "3", "{block}");
        let _ = nginx.logged();
        reached(&nginx, 3);
    }
}

/// At the limit before the name moves, and through the request that finds out.
#[test]
fn max_conns_of_requests_at_the_old_address() {
    for block in ["", "zone backend 256k;"] {
        let moves = Moves::new();
        let (old, new) = (moves.host(2), moves.host(3));
        let server = "server app.test:%port% max_conns=2;";
        let nginx = moves.upstream(&format!("{block} {server}")).start();
        let mut held = nginx.connect();
        held.start("/held");
        wait_for_requests(&old, 1);
        old.leave();
        moves.to("app.test", &[3]);
        // The one that finds out is the second; it holds its place.
        let mut second = nginx.connect();
        second.start("/held");
        wait_for_requests(&new, 1);
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.causes(), ["peers_at_limit"], "{block} {}", seen.reply);
        old.gate().open();
        assert_eq!(held.read("GET").text(), "2", "{block}");
        assert_eq!(nginx.logged().field("upstream_addr"), moves.address(2));
        reached(&nginx, 3);
        new.gate().open();
        assert_eq!(second.read("GET").text(), "3", "{block}");
        let tried = format!("{}, {}", moves.address(2), moves.address(3));
        assert_eq!(nginx.logged().field("upstream_addr"), tried);
        for _ in 0..3 {
            nothing(&reached(&nginx, 3));
        }
    }
}
