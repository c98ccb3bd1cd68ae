//! What nginx does after an attempt failed: another server, or not.

use std::fmt::Display;

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Nginx, Running, Seen, Step, curl};

use crate::expect::{Failure, ended, nothing};

const CLOSED: &str = "upstream prematurely closed connection";

/// An upstream of these servers, tried in this order.
fn servers(all: &[&dyn Display], location: &str) -> Nginx {
    let lines: String = all.iter().map(|server| format!("server {server} max_fails=0; ")).collect();
    Nginx::http(&format!(
        "upstream backend {{ {lines} }}
         server {{ listen %listen%; location / {{ proxy_pass http://backend; {location} }} }}"
    ))
}

fn refused(dead: &Dead) -> Failure<'_> {
    let failure = Failure::of(dead.address(), "connection_refused", "connect");
    Failure { errno: "ECONNREFUSED", message: "connect() failed (111: ", ..failure }
}

fn closed(backend: &Backend) -> Failure<'_> {
    let failure = Failure::of(backend.address(), "closed_before_header", "header");
    Failure { message: CLOSED, ..failure }
}

fn said(backend: &Backend, status: u64) -> Failure<'_> {
    Failure { status, ..Failure::of(backend.address(), "upstream_status", "header") }
}

fn retried(failure: Failure<'_>) -> Failure<'_> {
    Failure { retried: true, ..failure }
}

/// Reads a request and closes.
fn closing() -> Backend {
    Backend::script([Step::ReadRequest, Step::Close])
}

fn saying(status: u16) -> Backend {
    Backend::answering(http::response(status, &[], b"own words"))
}

#[test]
fn every_kind_of_failure_may_be_retried() {
    let (dead, closing, slow) = (Dead::refusing(), closing(), Backend::script([Step::Hold]));
    let (busy, good) = (saying(503), Backend::ok("good"));
    let more = "proxy_read_timeout 200ms; proxy_next_upstream error timeout http_503;";
    let nginx = servers(&[&dead, &closing, &slow, &busy, &good], more).start();
    let seen = nginx.fetch("/");
    let timeout = Failure {
        errno: "ETIMEDOUT",
        limit: "proxy_read_timeout=200ms",
        ..Failure::of(slow.address(), "header_timeout", "header")
    };
    let failures = [refused(&dead), closed(&closing), timeout, said(&busy, 503)].map(retried);
    ended(&seen, 200, "recovered", &failures);
    assert_eq!(seen.reply.text(), "good");
    let tried = [dead.address(), closing.address(), slow.address(), busy.address()];
    assert_eq!(
        seen.line.field("upstream_addr"),
        [&tried[..], &[good.address()]].concat().join(", ")
    );
}

#[test]
fn the_last_server_decides() {
    let (dead, closing, slow) = (Dead::refusing(), closing(), Backend::script([Step::Hold]));
    let nginx = servers(&[&closing, &dead, &slow], "proxy_read_timeout 200ms;").start();
    let timeout = Failure {
        errno: "ETIMEDOUT",
        limit: "proxy_read_timeout=200ms",
        ..Failure::of(slow.address(), "header_timeout", "header")
    };
    let failures = [retried(closed(&closing)), retried(refused(&dead)), timeout];
    ended(&nginx.fetch("/"), 504, "failed", &failures);
}

/// The last server's own error is passed on: nobody must take it for nginx's.
#[test]
fn the_last_servers_own_error() {
    for status in [500, 502, 503, 504] {
        let (dead, own) = (Dead::refusing(), saying(status));
        let nginx = servers(&[&dead, &own], "proxy_next_upstream error http_500 http_502;").start();
        let seen = nginx.fetch("/");
        let failures = [retried(refused(&dead)), said(&own, status.into())];
        ended(&seen, status, "upstream_error", &failures);
        assert_eq!(seen.reply.text(), "own words");
    }
}

#[test]
fn a_status_leaves_no_message() {
    let (busy, other) = (saying(503), saying(503));
    let nginx = servers(&[&busy, &other], "proxy_next_upstream http_503;").start();
    let failures = [retried(said(&busy, 503)), said(&other, 503)];
    let seen = nginx.fetch("/");
    ended(&seen, 503, "upstream_error", &failures);
    assert!(seen.diagnosis().attempts.iter().all(|attempt| attempt.text("message").is_none()));
    assert_eq!(nginx.error_log().matches("[error]").count(), 0);

    let dead = Dead::refusing();
    let nginx = servers(&[&busy, &dead], "proxy_next_upstream http_503;").start();
    let failures = [retried(said(&busy, 503)), refused(&dead)];
    ended(&nginx.fetch("/"), 502, "failed", &failures);
}

#[test]
fn a_post_is_repeated_only_if_that_is_safe() {
    let (closing, good, dead) = (closing(), Backend::ok("good"), Dead::refusing());
    for method in ["POST", "PATCH", "LOCK"] {
        let nginx = servers(&[&closing, &good], "").start();
        ended(&nginx.fetch_with(method, "/", &[], b"body"), 502, "failed", &[closed(&closing)]);

        let more = "proxy_next_upstream error non_idempotent;";
        let nginx = servers(&[&closing, &good], more).start();
        let seen = nginx.fetch_with(method, "/", &[], b"body");
        ended(&seen, 200, "recovered", &[retried(closed(&closing))]);

        // Nothing was sent yet.
        let nginx = servers(&[&dead, &good], "").start();
        let seen = nginx.fetch_with(method, "/", &[], b"body");
        ended(&seen, 200, "recovered", &[retried(refused(&dead))]);
    }
    let nginx = servers(&[&closing, &good], "").start();
    let seen = nginx.fetch_with("PUT", "/", &[], b"body");
    ended(&seen, 200, "recovered", &[retried(closed(&closing))]);
}

#[test]
fn a_status_after_a_post_is_passed_on() {
    let (busy, good) = (saying(503), Backend::ok("good"));
    let nginx = servers(&[&busy, &good], "proxy_next_upstream http_503;").start();
    let seen = nginx.fetch_with("POST", "/", &[], b"body");
    ended(&seen, 503, "upstream_error", &[said(&busy, 503)]);
    let nginx = servers(&[&busy, &good], "proxy_next_upstream http_503 non_idempotent;").start();
    let seen = nginx.fetch_with("POST", "/", &[], b"body");
    ended(&seen, 200, "recovered", &[retried(said(&busy, 503))]);
}

#[test]
fn what_forbids_a_retry() {
    let (dead, good) = (Dead::refusing(), Backend::ok("good"));
    for more in [
        "proxy_next_upstream off;",
        "proxy_next_upstream timeout http_503;",
        "proxy_next_upstream_tries 1;",
    ] {
        let nginx = servers(&[&dead, &good], more).start();
        ended(&nginx.fetch("/"), 502, "failed", &[refused(&dead)]);
    }
    let slow = Backend::script([Step::Hold]);
    let more = "proxy_read_timeout 200ms; proxy_next_upstream_timeout 50ms;";
    let nginx = servers(&[&slow, &good], more).start();
    let timeout = Failure {
        errno: "ETIMEDOUT",
        limit: "proxy_read_timeout=200ms",
        ..Failure::of(slow.address(), "header_timeout", "header")
    };
    ended(&nginx.fetch("/"), 504, "failed", &[timeout]);
}

/// A PUT of which this much of the body comes together with the head.
fn put(nginx: &Running, body: &str, of: usize) -> Seen {
    let mut client = nginx.connect();
    client.send(format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {of}\r\n\r\n{body}"));
    Seen { reply: client.read("PUT"), line: nginx.logged() }
}

/// With the body on the way already, nginx cannot repeat the request; before that it can.
#[test]
fn an_unbuffered_request_body() {
    let more = "proxy_request_buffering off; lingering_close off;";
    let half = Step::ReadUntil(|read| read.ends_with(b"half"));
    let (closing, good) = (Backend::script([half, Step::Close]), Backend::ok("good"));
    let nginx = servers(&[&closing, &good], more).start();
    ended(&put(&nginx, "half", 100), 502, "failed", &[closed(&closing)]);

    // A body that has come as a whole already counts as held.
    let closing = self::closing();
    let nginx = servers(&[&closing, &good], more).start();
    ended(&put(&nginx, "body", 4), 200, "recovered", &[retried(closed(&closing))]);

    let dead = Dead::refusing();
    let nginx = servers(&[&dead, &good], more).start();
    let mut client = nginx.connect();
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nhalf");
    good.wait_for_connections(2);
    let seen = Seen { reply: client.send("half").read("PUT"), line: nginx.logged() };
    ended(&seen, 200, "recovered", &[retried(refused(&dead))]);
}

/// A body that nginx holds goes to the next server as a whole.
#[test]
fn a_buffered_request_body() {
    let (closing, good) = (closing(), Backend::ok("good"));
    let body = vec![b'x'; 100_000];
    for more in ["client_body_buffer_size 200k;", "client_body_buffer_size 1k;"] {
        let nginx = servers(&[&closing, &good], more).start();
        let before = good.connections();
        let seen = nginx.fetch_with("PUT", "/", &[], &body);
        ended(&seen, 200, "recovered", &[retried(closed(&closing))]);
        assert!(good.received(before).ends_with(&body));
    }
}

#[test]
fn from_ipv6_to_ipv4() {
    let (dead, good) = (Dead::refusing_v6(), Backend::ok("good"));
    let nginx = servers(&[&dead, &good], "").start();
    ended(&nginx.fetch("/"), 200, "recovered", &[retried(refused(&dead))]);
}

/// A name in proxy_pass that has two addresses: each is an attempt at the same server.
#[test]
fn an_implicit_upstream_of_two_addresses() {
    let dead = Dead::refusing();
    let port = dead.address().rsplit(':').next().unwrap();
    let nginx = Nginx::location("proxy_pass http://localhost:%port%;").set("port", port).start();
    let seen = nginx.fetch("/");
    let tried: Vec<&str> = seen.line.field("upstream_addr").split(", ").collect();
    let server = format!("localhost:{port}");
    let failures: Vec<Failure> = tried
        .iter()
        .enumerate()
        .map(|(number, address)| Failure {
            upstream: "localhost",
            server: &server,
            errno: "ECONNREFUSED",
            retried: number + 1 < tried.len(),
            ..Failure::of(address, "connection_refused", "connect")
        })
        .collect();
    ended(&seen, 502, "failed", &failures);
}

/// More attempts than a record keeps: the last ones count, and all are counted.
#[test]
fn very_many_attempts() {
    let dead: Vec<Dead> = (0..40).map(|_| Dead::refusing()).collect();
    let mut all: Vec<&dyn Display> = dead.iter().map(|dead| dead as &dyn Display).collect();
    let nginx = servers(&all, "").start();
    let seen = nginx.fetch("/");
    let diagnosis = seen.diagnosis();
    assert_eq!((seen.reply.status, diagnosis.outcome.as_str()), (502, "failed"));
    assert_eq!(seen.line.field("upstream_diagnosis_attempts"), "40");
    assert_eq!(seen.line.field("upstream_diagnosis_address"), dead[39].address());
    assert!(seen.reply.members()[0].is("truncated"), "{}", seen.reply);

    let good = Backend::ok("good");
    all.push(&good);
    let seen = servers(&all, "").start().fetch("/");
    let diagnosis = seen.diagnosis();
    assert_eq!((seen.reply.status, diagnosis.outcome.as_str()), (200, "recovered"));
    assert_eq!(seen.line.field("upstream_diagnosis_attempts"), "40");
}

#[test]
fn http2_clients() {
    let (dead, good, own) = (Dead::refusing(), Backend::ok("good"), saying(503));
    let nginx = Nginx::http(
        "upstream backend { server %dead%; }
         upstream recovers { server %dead%; server %good% backup; }
         server { listen %listen% http2;
             location / { proxy_pass http://backend; }
             location /recovers { proxy_pass http://recovers; }
             location /good { proxy_pass http://%good%; }
             location /own { proxy_pass http://%own%; } }",
    );
    let nginx = nginx.set("dead", &dead).set("good", &good).set("own", &own).start();
    let fetch = |path: &str| {
        let reply = curl::http2(&format!("http://{}{path}", nginx.address("listen")));
        let line = nginx.logged();
        assert_eq!(line.field("protocol"), "HTTP/2.0");
        Seen { reply, line }
    };
    ended(&fetch("/"), 502, "failed", &[refused(&dead)]);
    let recovered = Failure { upstream: "recovers", ..retried(refused(&dead)) };
    ended(&fetch("/recovers"), 200, "recovered", &[recovered]);
    let own_error = Failure { upstream: "127.0.0.1", ..said(&own, 503) };
    ended(&fetch("/own"), 503, "upstream_error", &[own_error]);
    nothing(&fetch("/good"));
}
