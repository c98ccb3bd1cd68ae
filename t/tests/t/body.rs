//! Failures after the response header went to the client: its status stays, its body ends early.

use nginx_test::backend::{fastcgi, http};
use nginx_test::{Backend, Gate, Nginx, Place, Running, Seen, Step};

use crate::expect::{Failure, logged, nothing};

const CLOSED: &str = "upstream prematurely closed connection";
const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";
/// Large enough for nginx to pass it on at once, small enough for one buffer of a socket.
const PART: usize = 20_000;

/// nginx reads an upstream's body in two ways that share no code.
const BUFFERING: [&str; 2] = ["", "proxy_buffering off;"];

fn block(backend: &Backend, more: &str) -> Running {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / {
             proxy_pass http://backend; proxy_http_version 1.1; %more% } }",
    )
    .set("server", backend)
    .set("more", more)
    .start()
}

fn length(total: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n").into_bytes()
}

fn chunked(chunks: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes()
}

/// The header and the first part of a longer body, then these steps once the client has the header.
fn half_then(gate: &Gate, steps: impl IntoIterator<Item = Step>) -> Backend {
    let first = [length(PART * 2), vec![b'x'; PART]].concat();
    let mut all = vec![Step::ReadHead, Step::Write(first), Step::Wait(gate.clone())];
    all.extend(steps);
    Backend::script(all)
}

/// A GET whose response header arrives before the gate opens.
fn fetch_through(nginx: &Running, gate: &Gate) -> Seen {
    let mut client = nginx.connect();
    let header = client.start("/").read_header();
    assert_eq!(header.header("X-Upstream-Diagnosis"), None, "a diagnosis before the failure");
    gate.open();
    let body = client.read_to_end();
    assert!(body.len() < PART * 2, "the whole body came");
    Seen { reply: header, line: nginx.logged() }
}

fn truncated(seen: &Seen, failure: Failure) {
    logged(seen, 200, "truncated", &[Failure { status: 200, ..failure }]);
    assert_eq!(seen.line.field("status"), "200");
}

#[test]
fn body_truncated() {
    for more in BUFFERING {
        let gate = Gate::new();
        let backend = half_then(&gate, [Step::Close]);
        let nginx = block(&backend, more);
        let seen = fetch_through(&nginx, &gate);
        let failure = Failure::of(backend.address(), "body_truncated", "body");
        truncated(&seen, Failure { message: CLOSED, ..failure });
    }
}

/// Header, a part of the body and the end arrive together.
#[test]
fn body_truncated_at_once() {
    let answers = [[length(100), b"short".to_vec()].concat(), chunked("5\r\nshort\r\n5\r\nsh")];
    for (more, answer) in BUFFERING.iter().flat_map(|more| answers.iter().map(move |a| (more, a))) {
        let backend = Backend::answering_once(answer.clone());
        let nginx = block(&backend, more);
        let seen = nginx.fetch("/");
        assert!(!seen.reply.complete, "{}", seen.reply);
        assert!(seen.reply.text().starts_with("short"));
        let failure = Failure::of(backend.address(), "body_truncated", "body");
        truncated(&seen, Failure { message: CLOSED, ..failure });
    }
}

#[test]
fn body_reset() {
    for more in BUFFERING {
        let gate = Gate::new();
        let backend = half_then(&gate, [Step::Reset]);
        let nginx = block(&backend, more);
        let seen = fetch_through(&nginx, &gate);
        let failure = Failure::of(backend.address(), "body_reset", "body");
        let message = "failed (104: Connection reset by peer)";
        truncated(&seen, Failure { errno: "ECONNRESET", message, ..failure });
    }
}

#[test]
fn body_timeout() {
    for more in BUFFERING {
        let gate = Gate::new();
        let backend = half_then(&gate, [Step::Hold]);
        let nginx = block(&backend, &format!("proxy_read_timeout 200ms; {more}"));
        let seen = fetch_through(&nginx, &gate);
        let failure = Failure::of(backend.address(), "body_timeout", "body");
        let limit = "proxy_read_timeout=200ms";
        truncated(&seen, Failure { errno: "ETIMEDOUT", limit, message: TIMED_OUT, ..failure });
        let ms = seen.diagnosis().attempt().number("ms").unwrap();
        assert!((190..5000).contains(&ms), "{ms} ms");
    }
}

#[test]
fn body_invalid() {
    for more in BUFFERING {
        let gate = Gate::new();
        let first = chunked(&format!("{PART:x}\r\n{}\r\n", "x".repeat(PART)));
        let backend = Backend::script([
            Step::ReadHead,
            Step::Write(first),
            Step::Wait(gate.clone()),
            Step::Write(b"zz\r\n".to_vec()),
            Step::WaitForPeerClose,
        ]);
        let nginx = block(&backend, more);
        let seen = fetch_through(&nginx, &gate);
        let failure = Failure::of(backend.address(), "body_invalid", "body");
        truncated(&seen, Failure { message: "upstream sent invalid chunked response", ..failure });
    }
}

/// nginx drops the connection before it has sent the header that it had ready.
#[test]
fn body_invalid_at_once() {
    let backend = Backend::answering_once(chunked("5\r\nfirst\r\nzz\r\n"));
    let nginx = block(&backend, "");
    assert!(nginx.connect().start("/").try_read("GET").is_none());
    let diagnosis = nginx.logged().diagnosis().clone();
    assert_eq!(
        (diagnosis.cause.as_str(), diagnosis.outcome.as_str()),
        ("body_invalid", "truncated")
    );
}

#[test]
fn body_invalid_in_a_record() {
    let begin = fastcgi::stdout(b"Content-Type: text/plain\r\nContent-Length: 100\r\n\r\nfirst");
    let gate = Gate::new();
    let backend = Backend::script([
        fastcgi::request(),
        Step::Write(begin),
        Step::Wait(gate.clone()),
        Step::Write(b"HTTP/1.1 no record".to_vec()),
        Step::WaitForPeerClose,
    ]);
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / {
             fastcgi_pass backend; fastcgi_param REQUEST_METHOD GET; fastcgi_buffering off; } }",
    );
    let nginx = nginx.set("server", &backend).start();
    let seen = fetch_through(&nginx, &gate);
    let failure = Failure::of(backend.address(), "body_invalid", "body");
    truncated(&seen, Failure { message: "FastCGI", ..failure });
}

/// A failed body of a reused connection is a failed body.
#[test]
fn body_truncated_on_a_reused_connection() {
    let short = [length(100), b"short".to_vec()].concat();
    let backend = Backend::script([
        Step::ReadRequest,
        Step::Write(http::ok("first")),
        Step::ReadRequest,
        Step::Write(short),
        Step::Close,
    ]);
    let nginx = Nginx::http(
        "upstream backend { server %server%; keepalive 1; }
         server { listen %listen%; location / { proxy_pass http://backend;
             proxy_http_version 1.1; proxy_set_header Connection \"\"; } }",
    );
    let nginx = nginx.set("server", &backend).start();
    nothing(&nginx.fetch("/"));
    let failure = Failure::of(backend.address(), "body_truncated", "body");
    truncated(&nginx.fetch("/"), Failure { message: CLOSED, reused: true, ..failure });
}

/// A retried attempt comes before one whose body fails: both are told, in order.
#[test]
fn a_recovered_attempt_and_a_truncated_body() {
    let dead = nginx_test::backend::Dead::refusing();
    let answer = [length(100), b"short".to_vec()].concat();
    let backend = Backend::answering_once(answer);
    let nginx = Nginx::http(
        "upstream backend { server %dead% max_fails=0; server %server% backup; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("dead", &dead).set("server", &backend).start();
    let seen = nginx.fetch("/");
    let refused = Failure::of(dead.address(), "connection_refused", "connect");
    let closed = Failure::of(backend.address(), "body_truncated", "body");
    let failures = [
        Failure { errno: "ECONNREFUSED", retried: true, ..refused },
        Failure { status: 200, message: CLOSED, ..closed },
    ];
    logged(&seen, 200, "truncated", &failures);
    // The header went out when only the first had failed.
    assert_eq!(seen.reply.causes(), ["connection_refused"]);
}

/// What nginx logs or ignores without failing the request is no failure.
#[test]
fn noise_is_no_failure() {
    let more_than_promised = [length(5), b"short and more".to_vec()].concat();
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec();
    let with_trailer = chunked("5\r\nshort\r\n0\r\nX-Trailer: x\r\n\r\n");
    for more in BUFFERING {
        for answer in [&more_than_promised, &until_close, &with_trailer] {
            let backend = Backend::answering_once(answer.clone());
            let seen = block(&backend, more).fetch("/");
            assert_eq!((seen.reply.status, seen.reply.complete), (200, true), "{}", seen.reply);
            nothing(&seen);
        }
    }
}

/// The back end resets after it sent everything: nginx may log a failed readv() and has it all.
#[test]
fn a_reset_after_the_last_byte_is_no_failure() {
    for more in BUFFERING {
        let (sent, go, answer) = (Gate::new(), Gate::new(), http::ok(&"x".repeat(PART)));
        let backend = Backend::at(Place::Tcp).script([
            Step::ReadHead,
            Step::Write(answer),
            Step::Open(sent.clone()),
            Step::Wait(go.clone()),
            Step::Reset,
        ]);
        let nginx = block(&backend, more);
        let mut client = nginx.connect();
        client.start("/");
        sent.wait();
        let header = client.read("GET");
        go.open();
        assert_eq!((header.body.len(), header.complete), (PART, true));
        nothing(&Seen { reply: header, line: nginx.logged() });
    }
}
