//! Failures between a connection and a complete response header.

use std::net::Ipv4Addr;

use nginx_test::backend::http;
use nginx_test::{Backend, Gate, Nginx, Place, Running, Seen, Step, env};

use crate::expect::{Failure, ended, nothing};

const CLOSED: &str = "upstream prematurely closed connection";
const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";
const RECV_RESET: &str = "recv() failed (104: Connection reset by peer)";

fn block(backend: &Backend, more: &str) -> Running {
    Nginx::http(
        "upstream backend { server %server%; keepalive 4; }
         server { listen %listen%; client_max_body_size 0; location / {
             proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";
             %more% } }",
    )
    .set("server", backend)
    .set("more", more)
    .start()
}

fn head_then(steps: impl IntoIterator<Item = Step>) -> Backend {
    let steps: Vec<Step> = [Step::ReadHead].into_iter().chain(steps).collect();
    Backend::script(steps)
}

const HALF: &str = "HTTP/1.1 200 OK\r\nX-Half: of a hea";

/// The back end has sent nothing, or half a header, which has a status already.
const PARTS: [(&str, u64); 2] = [("", 0), (HALF, 200)];

fn text(text: &str) -> Step {
    Step::Write(text.into())
}

#[test]
fn send_timeout() {
    for more in ["", "proxy_request_buffering off;"] {
        let backend = Backend::at(Place::Tcp).small_receive_buffer().script([Step::Hold]);
        let nginx = block(&backend, &format!("proxy_send_timeout 300ms; {more}"));
        let seen = nginx.fetch_with("POST", "/", &[], &vec![b'x'; 16 << 20]);
        let expected = Failure {
            errno: "ETIMEDOUT",
            limit: "proxy_send_timeout=300ms",
            message: TIMED_OUT,
            ..Failure::of(backend.address(), "send_timeout", "send")
        };
        ended(&seen, 504, "failed", &[expected]);
    }
}

/// The back end reads a bit of a large request and resets: nginx learns it while it waits to send.
#[test]
fn send_reset() {
    let script = [Step::Read(1000), Step::Reset];
    let backend = Backend::at(Place::Tcp).small_receive_buffer().script(script);
    let nginx = block(&backend, "");
    let seen = nginx.fetch_with("POST", "/", &[], &vec![b'x'; 16 << 20]);
    let failure = Failure::of(backend.address(), "send_reset", "send");
    ended(&seen, 502, "failed", &[Failure { errno: "ECONNRESET", ..failure }]);
}

/// More of the body comes from the client and the connection is gone: writev() tells.
#[test]
fn send_reset_met_by_the_write() {
    let cases = [(false, "ECONNRESET", "failed (104: "), (true, "EPIPE", "failed (32: ")];
    for (finish, errno, message) in cases {
        let (read, go, gone) = (Gate::new(), Gate::new(), Gate::new());
        let mut steps = vec![Step::Open(read.clone()), Step::Wait(go.clone())];
        steps.extend(finish.then_some(Step::Finish));
        steps.extend([Step::Open(gone.clone()), Step::Reset]);
        let backend = head_then(steps);
        let nginx = block(&backend, "proxy_request_buffering off; lingering_close off;");
        let mut client = nginx.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome");
        read.wait();
        let frozen = nginx.freeze();
        // The client's bytes are there first, so nginx reads and forwards them first.
        client.send("more");
        go.open();
        gone.wait();
        backend.wait_until_gone(0);
        drop(frozen);
        let seen = Seen { reply: client.read("POST"), line: nginx.logged() };
        let failure = Failure::of(backend.address(), "send_reset", "send");
        ended(&seen, 502, "failed", &[Failure { errno, message, ..failure }]);
    }
}

#[test]
fn closed_before_header() {
    for (partial, status) in PARTS {
        let backend = head_then([text(partial), Step::Close]);
        let nginx = block(&backend, "");
        let failure = Failure::of(backend.address(), "closed_before_header", "header");
        let expected = Failure { message: CLOSED, status, ..failure };
        ended(&nginx.fetch("/"), 502, "failed", &[expected]);
        ended(&nginx.fetch_with("POST", "/", &[], b"body"), 502, "failed", &[expected]);
    }
}

#[test]
fn reset_before_header() {
    for (partial, status) in PARTS {
        let backend = head_then([text(partial), Step::Reset]);
        let nginx = block(&backend, "");
        let failure = Failure::of(backend.address(), "reset_before_header", "header");
        let expected = Failure { errno: "ECONNRESET", message: RECV_RESET, status, ..failure };
        ended(&nginx.fetch("/"), 502, "failed", &[expected]);
    }
}

#[test]
fn header_timeout() {
    for (partial, status) in PARTS {
        let backend = head_then([text(partial), Step::Hold]);
        let nginx = block(&backend, "proxy_read_timeout 200ms;");
        let seen = nginx.fetch("/");
        let expected = Failure {
            errno: "ETIMEDOUT",
            limit: "proxy_read_timeout=200ms",
            status,
            message: TIMED_OUT,
            ..Failure::of(backend.address(), "header_timeout", "header")
        };
        ended(&seen, 504, "failed", &[expected]);
        let ms = seen.reply.member().integer("ms").unwrap();
        assert!((190..5000).contains(&ms), "{ms} ms");
    }
}

#[test]
fn header_too_big() {
    let big = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\n\r\n", "c".repeat(20_000));
    for (more, limit) in [
        ("", "proxy_buffer_size=4k"),
        ("proxy_buffer_size 1k;", "proxy_buffer_size=1k"),
        ("proxy_buffer_size 1500;", "proxy_buffer_size=1500"),
    ] {
        let backend = head_then([text(&big), Step::WaitForPeerClose]);
        let nginx = block(&backend, more);
        let expected = Failure {
            limit,
            message: "upstream sent too big header",
            status: 200,
            ..Failure::of(backend.address(), "header_too_big", "header")
        };
        let seen = nginx.fetch("/");
        ended(&seen, 502, "failed", &[expected]);
        assert!(seen.diagnosis().advice.contains(limit), "{}", seen.diagnosis().advice);
    }
}

#[test]
fn header_invalid() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let mut cases = vec![(": no name\r\n\r\n", "upstream sent invalid header")];
    if env::nginx_version() >= (1, 23, 0) {
        cases.extend([
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
            ),
            ("Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "upstream sent duplicate header line"),
            ("Content-Length: -1\r\n\r\n", "upstream sent invalid \"Content-Length\" header"),
            ("Transfer-Encoding: x\r\n\r\n", "upstream sent unknown \"Transfer-Encoding\""),
        ]);
    }
    for (header, message) in cases {
        let backend = head_then([text(&(ok.to_owned() + header)), Step::WaitForPeerClose]);
        let nginx = block(&backend, "");
        let failure = Failure::of(backend.address(), "header_invalid", "header");
        ended(&nginx.fetch("/"), 502, "failed", &[Failure { message, status: 200, ..failure }]);
    }
}

/// What a back end does with a connection that it had already served once.
fn second_request(then: impl IntoIterator<Item = Step>) -> Backend {
    let first = vec![Step::ReadRequest, Step::Write(http::ok("first"))];
    let stale = first.iter().cloned().chain([Step::ReadHead]).chain(then).collect();
    Backend::scripts(vec![stale, [first, vec![Step::Again]].concat()])
}

#[test]
fn keepalive_stale() {
    let cases = [(Step::Close, "", CLOSED), (Step::Reset, "ECONNRESET", RECV_RESET)];
    for (then, errno, message) in cases {
        let backend = second_request([then]);
        let nginx = block(&backend, "");
        nothing(&nginx.fetch("/"));
        let failure = Failure::of(backend.address(), "keepalive_stale", "header");
        let stale = Failure { errno, message, reused: true, retried: true, ..failure };
        let seen = nginx.fetch("/");
        ended(&seen, 200, "recovered", &[stale]);
        assert_eq!((seen.reply.text().as_str(), backend.connections()), ("first", 2));
        nothing(&nginx.fetch("/"));
    }
}

/// nginx does not repeat a POST that may have been executed.
#[test]
fn keepalive_stale_without_a_retry() {
    let backend = second_request([Step::Close]);
    let nginx = block(&backend, "");
    nothing(&nginx.fetch("/"));
    let failure = Failure::of(backend.address(), "keepalive_stale", "header");
    let stale = Failure { message: CLOSED, reused: true, ..failure };
    ended(&nginx.fetch_with("POST", "/", &[], b"x"), 502, "failed", &[stale]);
}

/// The back end closes the idle connection just when nginx takes it from the cache.
#[test]
fn keepalive_stale_met_by_the_write() {
    let (go, gone) = (Gate::new(), Gate::new());
    let first = vec![Step::ReadRequest, Step::Write(http::ok("first"))];
    let stale =
        [first.clone(), vec![Step::Wait(go.clone()), Step::Open(gone.clone()), Step::Reset]];
    let backend = Backend::scripts(vec![stale.concat(), [first, vec![Step::Again]].concat()]);
    let nginx = block(&backend, "");
    nothing(&nginx.fetch("/"));
    let mut client = nginx.connect();
    let frozen = nginx.freeze();
    client.start("/");
    go.open();
    gone.wait();
    backend.wait_until_gone(0);
    drop(frozen);
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    assert_eq!(seen.reply.status, 200);
    // nginx may see the reset before the request; then nothing failed at all.
    for member in seen.reply.members() {
        assert_eq!(member.name, "keepalive_stale");
        assert!(member.is("reused") && member.is("retried"), "{member:?}");
    }
}

/// A reused connection that had begun to answer was not stale.
#[test]
fn a_reused_connection_may_fail_otherwise() {
    let backend = second_request([text(HALF), Step::Close]);
    let nginx = block(&backend, "");
    nothing(&nginx.fetch("/"));
    let failure = Failure::of(backend.address(), "closed_before_header", "header");
    let failure = Failure { status: 200, ..failure };
    let expected = Failure { message: CLOSED, reused: true, retried: true, ..failure };
    ended(&nginx.fetch("/"), 200, "recovered", &[expected]);
}

#[test]
fn upstream_status() {
    for status in [500, 502, 503, 504, 507] {
        let backend = Backend::answering(http::response(status, &[], b"own words"));
        let nginx = block(&backend, "");
        let failure = Failure::of(backend.address(), "upstream_status", "header");
        let expected = Failure { status: status.into(), ..failure };
        let seen = nginx.fetch("/");
        ended(&seen, status, "upstream_error", &[expected]);
        assert_eq!(seen.reply.text(), "own words");
    }
}

#[test]
fn upstream_status_below_500_is_no_failure() {
    for status in [200, 301, 400, 403, 404, 429] {
        let backend = Backend::answering(http::response(status, &[], b"own words"));
        let seen = block(&backend, "").fetch("/");
        assert_eq!(seen.reply.status, status);
        nothing(&seen);
    }
}

/// proxy_next_upstream may go on because of a status.
#[test]
fn upstream_status_retried() {
    for (status, word) in [(503, "http_503"), (404, "http_404"), (429, "http_429")] {
        let bad = Backend::answering(http::response(status, &[], b"bad"));
        let good = Backend::at(Place::Ip(Ipv4Addr::new(127, 0, 0, 1)));
        let good = good.script([Step::ReadRequest, Step::Write(http::ok("good")), Step::Again]);
        let nginx = Nginx::http(
            "upstream backend { server %bad% max_fails=0; server %good% backup; }
             server { listen %listen%; location / { proxy_pass http://backend;
                 proxy_next_upstream %word%; } }",
        );
        let nginx = nginx.set("bad", &bad).set("good", &good).set("word", word).start();
        let failure = Failure::of(bad.address(), "upstream_status", "header");
        let expected = Failure { status: status.into(), retried: true, ..failure };
        let seen = nginx.fetch("/");
        ended(&seen, 200, "recovered", &[expected]);
        assert_eq!(seen.reply.text(), "good");
    }
}

/// nginx's own page for the upstream's status: nginx answered for the upstream.
#[test]
fn upstream_status_intercepted() {
    let backend = Backend::answering(http::response(503, &[], b"own words"));
    let nginx = block(
        &backend,
        "proxy_intercept_errors on; error_page 503 =500 @page; }
        location @page { return 500 page;",
    );
    let failure = Failure::of(backend.address(), "upstream_status", "header");
    ended(&nginx.fetch("/"), 500, "failed", &[Failure { status: 503, ..failure }]);
}
