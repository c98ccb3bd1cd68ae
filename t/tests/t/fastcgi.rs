//! What only FastCGI back ends can do wrong, and what they say on standard error.

use nginx_test::backend::fastcgi::{self, end, record, stderr, stdout};
use nginx_test::{Backend, Nginx, Running, Step};

use crate::expect::{Failure, ended, nothing};

const OK: &[u8] = b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

fn block(backend: &Backend, more: &str) -> Running {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { fastcgi_pass backend; %more% } }",
    )
    .set("server", backend)
    .set("more", more)
    .start()
}

fn sending(records: &[Vec<u8>]) -> Backend {
    one_after_another(vec![records.concat()])
}

/// A response per connection.
fn one_after_another(responses: Vec<Vec<u8>>) -> Backend {
    let script = |bytes| vec![fastcgi::request(), Step::Write(bytes), Step::Close];
    Backend::scripts(responses.into_iter().map(script).collect())
}

#[test]
fn closed_before_header_by_its_records() {
    let nothing_said = "upstream prematurely closed FastCGI stdout";
    for (records, cause, message) in [
        (vec![stdout(b""), end()], "closed_before_header", nothing_said),
        (vec![stdout(b"Content-Ty"), stdout(b"")], "closed_before_header", nothing_said),
        (vec![end()], "header_invalid", "upstream sent unexpected FastCGI record: 3"),
    ] {
        let backend = sending(&records);
        let failure = Failure::of(backend.address(), cause, "header");
        let seen = block(&backend, "").fetch("/");
        ended(&seen, 502, "failed", &[Failure { message, ..failure }]);
    }
}

#[test]
fn header_invalid_by_its_records() {
    let mut other_request = stdout(OK);
    other_request[3] = 2;
    let mut far_request = stdout(OK);
    far_request[2] = 1;
    for (bytes, message) in [
        (record(9, b"what"), "upstream sent invalid FastCGI record type: 9"),
        (other_request, "upstream sent unexpected FastCGI request id low byte: 2"),
        (far_request, "upstream sent unexpected FastCGI request id high byte: 1"),
    ] {
        let backend = sending(&[bytes]);
        let failure = Failure::of(backend.address(), "header_invalid", "header");
        let seen = block(&backend, "").fetch("/");
        ended(&seen, 502, "failed", &[Failure { message, ..failure }]);
    }
}

/// The response ends before its Content-Length, properly closed.
#[test]
fn body_truncated_by_its_records() {
    let short = stdout(b"Content-Length: 100\r\n\r\nshort");
    let stdout_closed = "upstream prematurely closed FastCGI stdout";
    let ended_early = "upstream prematurely closed FastCGI request";
    for (records, more, message) in [
        (vec![short.clone(), stdout(b"")], "", stdout_closed),
        (vec![short.clone(), stdout(b"")], "fastcgi_keep_conn on;", stdout_closed),
        (vec![short.clone(), end()], "", ended_early),
        (vec![short.clone(), end()], "fastcgi_keep_conn on;", ended_early),
        (vec![short, end()], "fastcgi_buffering off;", ended_early),
    ] {
        let backend = sending(&records);
        let nginx = block(&backend, more);
        // nginx may give up before it has sent the header, or not notice how short the body is.
        nginx
            .connect()
            .send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .read_to_end();
        let line = nginx.logged();
        let diagnosis = line.diagnosis.as_ref().unwrap();
        assert_eq!((diagnosis.outcome.as_str(), diagnosis.status), ("truncated", 200));
        let failure = Failure::of(backend.address(), "body_truncated", "body");
        Failure { message, status: 200, ..failure }.is_in_json(diagnosis.attempt());
    }
}

/// The words of a script, some of which are nginx's own.
const NOISE: [&str; 7] = [
    "PHP Warning:  Undefined variable $x in /srv/app.php on line 3",
    "upstream timed out (110: Connection timed out) while reading response header from upstream",
    "\" while reading response header from upstream, client: 1.2.3.4, server: x",
    "no live upstreams while connecting to upstream",
    "upstream prematurely closed connection",
    "a line\nand \"another\"\r\n",
    "\u{1}\u{9}\u{e9}\\",
];

#[test]
fn stderr_of_a_good_response_is_no_failure() {
    let said = |noise: &str| stderr(noise.as_bytes());
    let before = NOISE.map(|noise| [said(noise), stdout(OK), stdout(b""), end()].concat());
    let after = NOISE.map(|noise| [stdout(OK), said(noise), stdout(b""), end()].concat());
    let backend = one_after_another([before, after].concat());
    let nginx = block(&backend, "");
    for _ in 0..2 * NOISE.len() {
        let seen = nginx.fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
        nothing(&seen);
    }
    let said = nginx.error_log().matches("FastCGI sent in stderr").count();
    assert_eq!(said, 2 * NOISE.len());
}

#[test]
fn stderr_does_not_hide_the_failure() {
    let backend = one_after_another(NOISE.map(|noise| stderr(noise.as_bytes())).to_vec());
    let nginx = block(&backend, "");
    for _ in NOISE {
        let expected = Failure {
            message: "upstream prematurely closed connection",
            ..Failure::of(backend.address(), "closed_before_header", "header")
        };
        ended(&nginx.fetch("/"), 502, "failed", &[expected]);
    }
}

#[test]
fn stderr_does_not_hide_a_time_out() {
    let noise = stderr(b"upstream prematurely closed connection");
    let script = [fastcgi::request(), Step::Write(noise), Step::WaitForPeerClose];
    let backend = Backend::script(script);
    let expected = Failure {
        errno: "ETIMEDOUT",
        limit: "fastcgi_read_timeout=150ms",
        message: "upstream timed out (110: Connection timed out)",
        ..Failure::of(backend.address(), "header_timeout", "header")
    };
    let seen = block(&backend, "fastcgi_read_timeout 150ms;").fetch("/");
    ended(&seen, 504, "failed", &[expected]);
}

/// A missing script is a 404 of the back end's, with words on standard error.
#[test]
fn a_missing_script_is_no_failure() {
    let primary = stderr(b"Primary script unknown");
    let not_found = fastcgi::response(b"Status: 404 Not Found\r\n\r\nFile not found.\n");
    let backend = sending(&[primary, not_found]);
    let seen = block(&backend, "").fetch("/");
    assert_eq!(seen.reply.status, 404);
    nothing(&seen);
}

#[test]
fn an_upstream_status_with_words_on_stderr() {
    let fatal = stderr(b"PHP Fatal error:  Uncaught Error: upstream timed out");
    let failed = fastcgi::response(b"Status: 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let backend = sending(&[fatal, failed]);
    let failure = Failure::of(backend.address(), "upstream_status", "header");
    let seen = block(&backend, "").fetch("/");
    ended(&seen, 500, "upstream_error", &[Failure { status: 500, ..failure }]);
}

/// fastcgi_catch_stderr makes a failure of words: nginx gives the attempt up and says no more.
#[test]
fn words_that_nginx_was_told_to_catch() {
    let backend = sending(&[stderr(b"PHP Fatal error: x"), fastcgi::response(OK)]);
    let seen = block(&backend, "fastcgi_catch_stderr \"PHP Fatal\";").fetch("/");
    let failure = Failure::of(backend.address(), "other", "local");
    ended(&seen, 502, "failed", &[failure]);
}
