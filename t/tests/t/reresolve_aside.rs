//! Servers that are put aside for their failures, while names move.

use nginx_test::dns::Zone;
use nginx_test::{Gate, Running, wait};

use crate::expect::nothing;
use crate::moves::{Moves, reached};

const ASIDE: &str = "max_fails=1 fail_timeout=1h";

fn until_all_are_put_aside(nginx: &Running) {
    wait::until("all to be put aside", || {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502, "{}", seen.reply);
        (seen.reply.causes().last()? == "no_live_peers").then_some(())
    });
}

/// The balancer believes that there is somebody else to try, but he is put aside.
#[test]
fn the_last_that_was_left_moves() {
    for block in ["", "least_conn;", "ip_hash;", "hash $uri;", "random two; zone backend 256k;"] {
        for second in ["", "server 127.0.0.8:%port% max_fails=1 fail_timeout=1h;"] {
            let moves = Moves::new();
            let (old, _new) = (moves.host(2), moves.host(3));
            let servers = format!("server app.test:%port%; server 127.0.0.9:%port% {ASIDE};");
            let nginx = moves.upstream(&format!("{block} {servers} {second}")).start();
            // Until nobody is sent to those that are dead.
            for path in 0..20 {
                let seen = nginx.fetch(&format!("/{path}"));
                assert_eq!(seen.reply.text(), "2", "{block} {}", seen.reply);
            }
            moves.to("app.test", &[3]);
            old.kill();
            let seen = reached(&nginx, 3);
            let tried = seen.line.field("upstream_addr");
            assert!(tried.ends_with(&format!(", {}", moves.address(3))), "{block} {tried}");
            assert_eq!(seen.diagnosis().outcome, "recovered", "{block}");
            nothing(&reached(&nginx, 3));
        }
    }
}

/// Each server has a name, and only the last one that is answered about has moved.
#[test]
fn the_slower_answer_counts() {
    for slow in ["app.test", "other.test"] {
        let moves = Moves::new();
        let new = moves.host(3);
        let servers = format!("server app.test:%port% {ASIDE}; server other.test:%port% {ASIDE};");
        let nginx = moves.upstream(&servers).start();
        until_all_are_put_aside(&nginx);
        moves.pause();
        let (gate, asked) = (Gate::new(), moves.dns.questions().len());
        moves.dns.set(slow, Zone::addresses(["127.0.0.3"]).held(&gate));
        let mut client = nginx.connect();
        client.start("/");
        moves.dns.wait_for_questions(asked + 4);
        // The other name's answer is there when nginx has found time for somebody else.
        assert!(!nginx.connect().send("what\r\n\r\n").read_to_end().is_empty());
        gate.open();
        let reply = client.read("GET");
        assert_eq!((reply.status, reply.text().as_str()), (200, "3"), "{slow} {reply}");
        let line = wait::until("the line of the answer", || {
            Some(nginx.logged()).filter(|line| line.field("status") == "200")
        });
        assert_eq!(line.field("upstream_addr"), new.address().to_string(), "{slow}");
    }
}

/// One try is enough to wait for the first server.
#[test]
fn a_request_that_may_try_once_may_wait() {
    let moves = Moves::new();
    let _new = moves.host(3);
    let servers = format!("server app.test:%port% {ASIDE}; server 127.0.0.9:%port% {ASIDE};");
    let nginx = moves.upstream_with(&servers, "proxy_next_upstream_tries 1;").start();
    until_all_are_put_aside(&nginx);
    moves.pause();
    moves.to("app.test", &[3]);
    let seen = reached(&nginx, 3);
    assert_eq!(seen.line.field("upstream_addr"), moves.address(3));
}

/// Where it may not wait, the request ends as it would without us.
#[test]
fn a_request_that_may_not_wait() {
    for more in [
        "proxy_connect_timeout 1ms;",
        "proxy_next_upstream off;",
        "proxy_next_upstream http_500;",
        "proxy_next_upstream_timeout 1ms;",
    ] {
        let moves = Moves::new();
        let servers = format!("server app.test:%port% {ASIDE}; server 127.0.0.9:%port% {ASIDE};");
        let nginx = moves.upstream_with(&servers, more).start();
        until_all_are_put_aside(&nginx);
        moves.pause();
        moves.dns.set("app.test", Zone::silent());
        for _ in 0..3 {
            let seen = nginx.fetch("/");
            assert_eq!(
                (seen.reply.status, seen.reply.causes()),
                (502, vec!["no_live_peers".into()])
            );
            assert_eq!(seen.line.field("upstream_addr"), "backend", "{more}");
        }
    }
}
