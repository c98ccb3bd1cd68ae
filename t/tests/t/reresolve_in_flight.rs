//! Requests that are under way while their server's name moves, and failures at its new address:
//! whatever tells of an attempt names the address that was used.

use nginx_test::backend::{Gate, http};
use nginx_test::{Running, Seen, Step, wait};

use crate::expect::nothing;
use crate::moves::{Moves, reached, until_reached, wait_for_requests};

/// A host that answers all, but `/slow` only as `then` says when the gate opens.
fn slow(gate: &Gate, number: u8, then: &[Step]) -> Vec<Vec<Step>> {
    let answer = Step::Write(http::ok(&number.to_string()));
    let first = [Step::ReadRequest, Step::Wait(gate.clone())];
    let first = first.into_iter().chain(then.iter().cloned()).collect();
    vec![first, vec![Step::ReadRequest, answer, Step::Again]]
}

/// The first connection to host 2 is a request that the host has when its name moves to host 3;
/// then the host does this with it.
fn under_way(moves: &Moves, block: &str, then: &[Step]) -> (Running, Seen) {
    let gate = Gate::new();
    let place = nginx_test::Place::At(moves.port.at([127, 0, 0, 2]));
    let old = nginx_test::Backend::at(place).scripts(slow(&gate, 2, then));
    let nginx = moves.watching(block).start();
    let mut client = nginx.connect();
    client.start("/slow");
    wait::until("the request", || (!old.received(0).is_empty()).then_some(()));
    moves.to("app.test", &[3]);
    until_reached(&nginx, "/", 3);
    gate.open();
    let reply = client.read("GET");
    let line = wait::until("the line of the slow request", || {
        Some(nginx.logged()).filter(|line| line.field("uri") == "/slow")
    });
    let first = line.field("upstream_addr").split(", ").next();
    assert_eq!(first, Some(moves.address(2).as_str()), "{block}");
    (nginx, Seen { reply, line })
}

const BLOCKS: [&str; 4] = [
    "server app.test:%port%;",
    "server app.test:%port%; keepalive 4;",
    "zone backend 256k; server app.test:%port%; keepalive 4;",
    "least_conn; server app.test:%port%;",
];

#[test]
fn an_answer_of_the_old_host() {
    for block in BLOCKS {
        let moves = Moves::new();
        let _new = moves.host(3);
        let answer = Step::Write(http::ok("slow"));
        let (nginx, seen) = under_way(&moves, block, &[answer, Step::WaitForPeerClose]);
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "slow"));
        nothing(&seen);
        for _ in 0..4 {
            let seen = reached(&nginx, 3);
            assert_eq!(seen.line.field("upstream_addr"), moves.address(3), "{block}");
        }
    }
}

/// The request was sent: nobody tries it elsewhere, and what is said is said of the old address.
#[test]
fn a_failure_of_the_old_host() {
    for block in BLOCKS {
        for (then, cause) in [
            (vec![Step::Finish, Step::Hold], "closed_before_header"),
            (vec![Step::Reset], "reset_before_header"),
        ] {
            let moves = Moves::new();
            let _new = moves.host(3);
            let (nginx, seen) = under_way(&moves, block, &then);
            assert_eq!(seen.reply.status, 502, "{block} {}", seen.reply);
            let member = seen.reply.member();
            assert_eq!(member.name, cause, "{block} {}", seen.reply);
            assert_eq!(member.string("address"), Some(moves.address(2).as_str()), "{block}");
            assert_eq!(member.string("server"), Some(moves.server("app.test").as_str()));
            assert_eq!(member.token("dns"), Some("stale"), "{block}");
            nothing(&reached(&nginx, 3));
        }
    }
}

/// A late failure of the old host is not held against the new one.
#[test]
fn a_late_failure_of_the_old_host() {
    for block in ["", "zone backend 256k;"] {
        let moves = Moves::new();
        let (_new, _other) = (moves.host(3), moves.host(4));
        let servers =
            "server app.test:%port% max_fails=1 fail_timeout=1h; server other.test:%port%;";
        let block = format!("{block} {servers}");
        let (nginx, seen) = under_way(&moves, &block, &[Step::Reset]);
        // The other server has answered instead.
        assert_eq!(seen.reply.status, 200);
        let answers: Vec<String> = (0..10).map(|_| nginx.fetch("/").reply.text()).collect();
        assert_eq!(answers.iter().filter(|text| *text == "3").count(), 5, "{block} {answers:?}");
    }
}

/// Every failure at the new address, with the server's name.
#[test]
fn failures_at_the_new_address() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf";
    let busy = http::response(503, &[], b"busy");
    for (then, cause, outcome) in [
        (vec![Step::Finish, Step::Hold], "closed_before_header", "failed"),
        (vec![Step::Reset], "reset_before_header", "failed"),
        (vec![Step::Write(half.into()), Step::Close], "body_truncated", "truncated"),
        (vec![Step::Write(half.into()), Step::Reset], "body_reset", "truncated"),
        (vec![Step::Write(b"what\r\n\r\n".to_vec()), Step::Close], "protocol_mismatch", ""),
        (vec![Step::Write(busy), Step::Close], "upstream_status", "upstream_error"),
    ] {
        let moves = Moves::new();
        let old = moves.host(2);
        let steps: Vec<Step> = [Step::ReadRequest].into_iter().chain(then).collect();
        let _new = moves.backend(3, steps);
        let nginx = moves.upstream("server app.test:%port%;").start();
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        old.kill();
        for first in [true, false] {
            let mut client = nginx.connect();
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let _ = client.read_to_end();
            let line = nginx.logged();
            let attempts = &line.diagnosis().attempts;
            assert_eq!(attempts.len(), if first { 2 } else { 1 }, "{cause}");
            let last = attempts.last().unwrap();
            assert_eq!(last.cause, cause);
            assert_eq!(last.text("address"), Some(moves.address(3).as_str()), "{cause}");
            assert_eq!(last.text("server"), Some(moves.server("app.test").as_str()), "{cause}");
            // Of an answer, nobody asks whether its address is right.
            let dns = (cause != "upstream_status").then_some("fresh");
            assert_eq!(last.text("dns"), dns, "{cause}");
            if !outcome.is_empty() {
                assert_eq!(line.diagnosis().outcome, outcome, "{cause}");
            }
            if first {
                assert_eq!(attempts[0].cause, "connection_refused");
                assert_eq!(attempts[0].text("address"), Some(moves.address(2).as_str()));
            }
        }
    }
}

/// nginx goes on from one name's new address to the other's.
#[test]
fn retries_between_new_addresses() {
    for block in ["", "least_conn;", "zone backend 256k;", "hash $uri;", "random two;"] {
        for status in [500, 502, 503, 404] {
            let moves = Moves::new();
            let (old, other) = (moves.host(2), moves.host(4));
            let bad = http::response(status, &[], b"bad");
            let bad = moves.backend(3, [Step::ReadRequest, Step::Write(bad), Step::Again]);
            let good = moves.host(5);
            let servers =
                "server app.test:%port% max_fails=0; server other.test:%port% max_fails=0;";
            let next = "proxy_next_upstream error http_500 http_502 http_503 http_404;";
            let nginx = moves.upstream_with(&format!("{block} {servers}"), next).start();
            moves.to("app.test", &[3]);
            moves.to("other.test", &[5]);
            old.kill();
            other.kill();
            wait::until("both names to have moved", || {
                let _ = nginx.fetch(&format!("/{}", bad.connections() + good.requests()));
                (bad.connections() > 0 && good.requests() > 1).then_some(())
            });
            let retried = wait::until("a request that begins with the bad one", || {
                let seen = reached_by_any(&nginx, good.requests());
                (!seen.reply.members().is_empty()).then_some(seen)
            });
            let tried = format!("{}, {}", moves.address(3), moves.address(5));
            assert_eq!(retried.line.field("upstream_addr"), tried, "{block} {status}");
            assert_eq!(retried.line.field("upstream_status"), format!("{status}, 200"), "{block}");
            let member = retried.reply.member();
            assert_eq!(member.name, "upstream_status", "{block} {status}");
            assert_eq!(member.string("server"), Some(moves.server("app.test").as_str()));
            assert_eq!(member.string("address"), Some(moves.address(3).as_str()));
            assert!(member.is("retried"));
        }
    }
}

fn reached_by_any(nginx: &Running, path: usize) -> Seen {
    let seen = nginx.fetch(&format!("/{path}"));
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "5"), "{}", seen.reply);
    seen
}

/// Two requests find out at the same time: one question, two answers.
#[test]
fn two_requests_find_out_together() {
    let moves = Moves::new();
    let (old, new) = (moves.host(2), moves.host(3));
    let nginx = moves.upstream("server app.test:%port%;").start();
    let gate = Gate::new();
    old.kill();
    let zone = nginx_test::Zone::addresses(["127.0.0.3"]).held(&gate);
    moves.dns.set("app.test", zone);
    let mut clients = [nginx.connect(), nginx.connect()];
    for client in &mut clients {
        client.start("/");
    }
    moves.dns.wait_for_questions(2);
    wait::until("both to have failed", || {
        (nginx.error_log().matches("Connection refused").count() == 2).then_some(())
    });
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read("GET").text(), "3");
    }
    assert_eq!(moves.dns.questions().len(), 2);
    wait_for_requests(&new, 2);
}
