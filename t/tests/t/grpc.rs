//! What only gRPC back ends can do wrong: HTTP/2 frames, streams and trailers.

use nginx_test::backend::h2::{self, END_HEADERS, END_STREAM, frame};
use nginx_test::{Backend, Gate, Nginx, Running, Seen, Step};

use crate::expect::{Failure, ended, logged, nothing};

fn block(backend: &Backend) -> Running {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { grpc_pass backend; } }",
    )
    .set("server", backend)
    .start()
}

fn sending(frames: &[Vec<u8>]) -> Backend {
    one_after_another(vec![frames.concat()])
}

/// A response per connection, after SETTINGS.
fn one_after_another(responses: Vec<Vec<u8>>) -> Backend {
    let script = |frames| {
        let frames = [h2::settings(), frames].concat();
        vec![h2::request(), Step::Write(frames), Step::WaitForPeerClose]
    };
    Backend::scripts(responses.into_iter().map(script).collect())
}

fn message(bytes: &[u8]) -> Vec<u8> {
    frame(h2::DATA, 0, 1, bytes)
}

#[test]
fn a_call_that_succeeds_or_fails_by_grpc_status() {
    let failed = [
        h2::settings(),
        h2::headers(0, &[("content-type", "application/grpc")]),
        h2::trailers(&[("grpc-status", "14"), ("grpc-message", "upstream timed out")]),
    ];
    for frames in [h2::grpc_ok(), failed.concat()] {
        let backend = Backend::script([h2::request(), Step::Write(frames), Step::WaitForPeerClose]);
        let seen = block(&backend).fetch_with("POST", "/", &["TE: trailers"], b"\0\0\0\0\0");
        assert_eq!(seen.reply.status, 200);
        nothing(&seen);
    }
}

#[test]
fn stream_reset() {
    const CODES: [(u32, &str); 6] = [
        (0, "NO_ERROR"),
        (2, "INTERNAL_ERROR"),
        (7, "REFUSED_STREAM"),
        (8, "CANCEL"),
        (11, "ENHANCE_YOUR_CALM"),
        (4_000_000_000, "4000000000"),
    ];
    let both = CODES.map(|(code, _)| [h2::reset(code), h2::goaway(0, code)]);
    let backend = one_after_another(both.concat());
    let nginx = block(&backend);
    for (code, words) in CODES {
        for message in [
            format!("upstream rejected request with error {code}"),
            format!("upstream sent goaway with error {code}"),
        ] {
            let failure = Failure::of(backend.address(), "stream_reset", "header");
            let seen = nginx.fetch("/");
            ended(&seen, 502, "failed", &[Failure { message: &message, ..failure }]);
            let advice = &seen.diagnosis().advice;
            assert!(advice.contains(words), "{code}: {advice}");
        }
    }
}

/// A back end that refuses a stream is a reason to ask the next one.
#[test]
fn stream_reset_and_the_next_server() {
    let bad = sending(&[h2::goaway(0, 0)]);
    let good = sending(&[h2::headers(END_STREAM, &[("grpc-status", "0")])]);
    let nginx = Nginx::http(
        "upstream backend { server %bad%; server %good% backup; }
         server { listen %listen%; location / { grpc_pass backend;
             grpc_next_upstream error invalid_header; } }",
    );
    let nginx = nginx.set("bad", &bad).set("good", &good).start();
    let message = "upstream sent goaway with error 0";
    let failure = Failure::of(bad.address(), "stream_reset", "header");
    let expected = Failure { message, retried: true, ..failure };
    ended(&nginx.fetch("/"), 200, "recovered", &[expected]);
}

/// GOAWAY that names our stream as the last one: the response is still to come.
#[test]
fn a_goaway_that_spares_the_call() {
    let rest = [h2::headers(0, &[]), message(b"hello"), h2::trailers(&[("grpc-status", "0")])];
    let backend = sending(&[h2::goaway(1, 0), rest.concat()]);
    let seen = block(&backend).fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
    nothing(&seen);
}

/// The begin of a response, and more frames once the client has its header.
fn in_the_body(begin: Vec<u8>, then: Vec<u8>, cause: &str, message: &str) {
    let gate = Gate::new();
    let backend = Backend::script([
        h2::request(),
        Step::Write([h2::settings(), begin].concat()),
        Step::Wait(gate.clone()),
        Step::Write(then),
        Step::WaitForPeerClose,
    ]);
    let nginx = block(&backend);
    let mut client = nginx.connect();
    let reply = client.start("/").read_header();
    assert_eq!((reply.status, reply.members().len()), (200, 0));
    gate.open();
    let rest = client.read_to_end();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a complete body: {}", rest.escape_ascii());
    let seen = Seen { reply, line: nginx.logged() };
    let failure = Failure::of(backend.address(), cause, "body");
    logged(&seen, 200, "truncated", &[Failure { message, status: 200, ..failure }]);
}

fn begun() -> Vec<u8> {
    [h2::headers(0, &[]), message(b"begun")].concat()
}

#[test]
fn stream_reset_in_the_body() {
    for (sent, message) in [
        (h2::reset(2), "upstream rejected request with error 2"),
        (h2::reset(0), "upstream rejected request with error 0"),
        (h2::goaway(0, 11), "upstream sent goaway with error 11"),
    ] {
        in_the_body(begun(), sent, "stream_reset", message);
    }
}

/// Header and end come at once: nginx has made a response, and drops it unsent.
#[test]
fn stream_reset_with_the_header() {
    let backend = sending(&[begun(), h2::reset(2)]);
    let nginx = block(&backend);
    assert_eq!(nginx.connect().start("/").read_to_end(), b"");
    let line = nginx.logged();
    let diagnosis = line.diagnosis.as_ref().unwrap();
    assert_eq!((diagnosis.outcome.as_str(), diagnosis.status), ("truncated", 200));
    let message = "upstream rejected request with error 2";
    let failure = Failure::of(backend.address(), "stream_reset", "body");
    Failure { message, status: 200, ..failure }.is_in_json(diagnosis.attempt());
}

#[test]
fn header_invalid() {
    let block_of = |bytes: &[u8]| frame(h2::HEADERS, END_HEADERS, 1, bytes);
    let cases = [
        (message(b"x"), "upstream sent unexpected http2 frame: 0", 0),
        (frame(9, END_HEADERS, 1, b"\x88"), "upstream sent unexpected http2 frame: 9", 0),
        (
            frame(h2::HEADERS, END_HEADERS, 3, b"\x88"),
            "upstream sent frame for unknown stream 3",
            0,
        ),
        (frame(5, END_HEADERS, 1, &[0; 5]), "upstream sent unexpected push promise frame", 0),
        (block_of(b"\0\x01x\x01y"), "upstream sent no :status header", 0),
        (block_of(b"\x88\x88"), "upstream sent duplicate :status header", 200),
        (block_of(b"\x08\x03abc"), "upstream sent invalid :status \"abc\"", 0),
        (block_of(b"\xff\xff\xff\xff\xff\xff"), "upstream sent invalid http2 table index", 0),
        (frame(h2::SETTINGS, 0, 0, &[0; 5]), "upstream sent settings frame with invalid length", 0),
        (frame(6, 0, 0, &[0; 7]), "upstream sent ping frame with invalid length", 0),
        (frame(h2::GOAWAY, 0, 1, &[0; 8]), "upstream sent goaway frame with non-zero stream id", 0),
        (vec![1, 0, 0, 0, 0, 0, 0, 0, 1], "upstream sent too large http2 frame: 65536", 0),
    ];
    let backend = one_after_another(cases.iter().map(|(sent, ..)| sent.clone()).collect());
    let nginx = block(&backend);
    for (_, message, status) in cases {
        let failure = Failure::of(backend.address(), "header_invalid", "header");
        let seen = nginx.fetch("/");
        ended(&seen, 502, "failed", &[Failure { message, status, ..failure }]);
    }
}

#[test]
fn body_invalid() {
    let trailer = |flags| frame(h2::HEADERS, END_HEADERS | flags, 1, b"\0\x01x\x01y");
    let pseudo = frame(h2::HEADERS, END_HEADERS | END_STREAM, 1, b"\x88");
    for (sent, message) in [
        (trailer(0), "upstream sent trailer without end stream flag"),
        (pseudo, "upstream sent invalid trailer"),
        (frame(h2::DATA, 0, 3, b"x"), "upstream sent data frame for unknown stream 3"),
        (frame(9, END_HEADERS, 1, b""), "upstream sent unexpected http2 frame: 9"),
    ] {
        in_the_body(begun(), sent, "body_invalid", message);
    }
}

/// More or less of a body than its content-length.
#[test]
fn a_body_of_another_length() {
    let ends = frame(h2::DATA, END_STREAM, 1, b"short");
    for (length, cause, message) in [
        ("100", "body_truncated", "upstream prematurely closed stream"),
        ("2", "body_invalid", "upstream sent response body larger than indicated content length"),
    ] {
        let begin = h2::headers(0, &[("content-length", length)]);
        in_the_body([begin, self::message(b"x")].concat(), ends.clone(), cause, message);
    }
}
