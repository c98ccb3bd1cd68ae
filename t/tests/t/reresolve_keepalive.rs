//! Connections that are kept belong to an address, not to the server that has moved.

use nginx_test::Running;

use crate::moves::{Moves, reached, reached_at, until_reached, wait_for_requests};

/// In the order in which they may stand.
const BLOCKS: [&str; 9] = [
    "server app.test:%port%; keepalive 4;",
    "keepalive 4; server app.test:%port%;",
    "least_conn; server app.test:%port%; keepalive 4;",
    "hash $uri consistent; server app.test:%port%; keepalive 4;",
    "ip_hash; keepalive 4; server app.test:%port%;",
    "random two; zone backend 256k; keepalive 4; server app.test:%port%;",
    "server app.test:%port%; keepalive 4; upstream_diagnosis_resolve failure min=1ms;",
    "upstream_diagnosis_resolve failure min=1ms; keepalive 4; server app.test:%port%;",
    "keepalive 4; upstream_diagnosis_resolve failure min=1ms; ip_hash; server app.test:%port%;",
];

/// A balancer's directive after it does away with `keepalive`, until 1.29.7.
fn is_lost(block: &str) -> bool {
    block.contains("ip_hash; server") && nginx_test::env::nginx_version() < (1, 29, 7)
}

#[test]
fn connections_are_kept_at_the_new_address() {
    for block in BLOCKS {
        let moves = Moves::new();
        let (old, new) = (moves.host(2), moves.host(3));
        let nginx = moves.upstream(block).start();
        for _ in 0..3 {
            reached(&nginx, 2);
        }
        assert_eq!(old.connections(), if is_lost(block) { 3 } else { 1 }, "{block}");
        moves.to("app.test", &[3]);
        old.kill();
        for _ in 0..4 {
            reached(&nginx, 3);
        }
        assert_eq!(new.connections(), if is_lost(block) { 4 } else { 1 }, "{block}");
    }
}

/// A host that is still there when its name has left it: connections to it are kept, but nobody is
/// given one.
#[test]
fn a_connection_to_the_old_address_is_not_used() {
    for block in BLOCKS.into_iter().filter(|block| !block.contains("resolve")) {
        let moves = Moves::new();
        let (old, new) = (moves.host(2), moves.host(3));
        let nginx = moves.watching(block).start();
        // One is idle and one busy while the name moves.
        reached(&nginx, 2);
        let mut busy = nginx.connect();
        busy.start("/held");
        wait_for_requests(&old, 2);
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        until_reached(&nginx, "/", 3);
        let there = old.requests();
        old.gate().open();
        let reply = busy.read("GET");
        assert_eq!((reply.status, reply.text().as_str()), (200, "2"), "{block} {reply}");
        assert_eq!(nginx.logged().field("upstream_addr"), moves.address(2), "{block}");
        for _ in 0..4 {
            let seen = reached(&nginx, 3);
            assert_eq!(seen.line.field("upstream_addr"), moves.address(3), "{block}");
        }
        assert_eq!((old.requests(), new.connections()), (there, 1), "{block}");
        // The name comes back: the two connections are still good for this address.
        let connections = old.connections();
        moves.to("app.test", &[2]);
        until_reached(&nginx, "/", 2);
        for _ in 0..4 {
            reached(&nginx, 2);
        }
        assert_eq!(old.connections(), connections, "{block}");
    }
}

/// Until its own idle connections are closed, nginx may use those of each address for that address:
/// the name comes back, and so do they.
#[test]
fn a_name_that_comes_back_finds_its_connections() {
    for block in BLOCKS.into_iter().filter(|block| !is_lost(block)) {
        let moves = Moves::new();
        let (old, new) = (moves.host(2), moves.host(3));
        let nginx = moves.upstream(block).start();
        reached(&nginx, 2);
        old.kill();
        moves.to("app.test", &[3]);
        reached(&nginx, 3);
        old.revive();
        moves.to("app.test", &[2]);
        new.kill();
        there_and_back(&nginx);
        assert_eq!((old.connections(), new.connections()), (2, 1), "{block}");
    }
}

fn there_and_back(nginx: &Running) {
    for path in ["/", "/a", "/b"] {
        reached_at(nginx, path, 2);
    }
}
