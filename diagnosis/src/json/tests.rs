use serde_json::{Value, json};

use super::*;
use crate::attempt::sample;
use crate::{Cause, Limit, Outcome, Protocol, Texts};

fn written(outcome: Outcome, attempts: &[Attempt], dropped: u32) -> (String, Value) {
    let d = Diagnosis { outcome, status: 502, attempts, dropped };
    let text = String::from_utf8(object(&d)).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (text, value)
}

#[test]
fn an_object_as_the_contract_writes_it() {
    let (text, value) = written(Outcome::Failed, &[sample(Cause::ConnectionRefused)], 0);
    assert!(text.starts_with(
        "{\"v\":1,\"outcome\":\"failed\",\"cause\":\"connection_refused\",\"phase\":\"connect\",\"status\":502,"
    ));
    let expected = json!({
        "v": 1, "outcome": "failed", "cause": "connection_refused", "phase": "connect",
        "status": 502, "upstream": "backend",
        "advice": "nothing listens on 10.0.0.7:3000; start the back end or correct the server line",
        "attempts": [{
            "cause": "connection_refused", "phase": "connect", "upstream": "backend",
            "server": "app.internal:3000", "address": "10.0.0.7:3000", "errno": "ECONNREFUSED",
            "ms": 1, "bytes_received": 0, "reused": false, "retried": false,
            "message": "connect() failed (111: Connection refused)",
            "headroom": {"fd_free": 1001, "fd_limit": 1024, "conn_free": 509, "conn_limit": 512},
        }],
    });
    assert_eq!(value, expected);
}

#[test]
fn the_last_attempt_is_the_one_in_short() {
    let first = Attempt { retried: true, ..sample(Cause::ConnectionRefused) };
    let mut last = Attempt { status: 200, headroom: None, ms: None, ..sample(Cause::BodyTimeout) };
    last.verdict.errno = None;
    last.verdict.limit = Some(Limit::read_timeout(Protocol::Http, 60_000));
    let (_, value) = written(Outcome::Truncated, &[first, last], 3);
    assert_eq!(value["outcome"], "truncated");
    assert_eq!(value["cause"], "body_timeout");
    assert_eq!(value["dropped"], 3);
    assert_eq!(value["attempts"][0]["retried"], true);
    let last = &value["attempts"][1];
    assert_eq!(last["limit"], "proxy_read_timeout=60s");
    assert_eq!(last["status"], 200);
    assert!(last.get("errno").is_none() && last.get("ms").is_none());
    assert!(last.get("headroom").is_none());
}

#[test]
fn hostile_bytes_stay_inside_their_string() {
    for (bytes, expected) in [
        (&b"a\"b\\c"[..], "a\"b\\c"),
        (b"x\",\"evil\":\"y", "x\",\"evil\":\"y"),
        (b"line\nfeed\r\t\0\x1b[31m", "line\nfeed\r\t\0\x1b[31m"),
        ("ö – 漢".as_bytes(), "ö – 漢"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        // DEL and the C1 controls: JSON lets them through, a terminal does not ignore them.
        (b"\x7f", "\u{fffd}"),
        ("\u{9b}31m".as_bytes(), "\u{fffd}31m"),
    ] {
        let attempt = Attempt { texts: Texts::of([bytes; 4]), ..sample(Cause::ConnectionRefused) };
        let (text, value) = written(Outcome::Failed, &[attempt], 0);
        assert!(!text.chars().any(char::is_control), "{text}");
        for key in ["upstream", "server", "address", "message"] {
            assert_eq!(value["attempts"][0][key], expected, "{text}");
        }
        assert!(value["attempts"][0].get("evil").is_none());
    }
}

#[test]
fn long_strings_are_cut() {
    let (long, cut) = ([b'a'; 8192], "ä".repeat(4000));
    let texts = Texts::of([b"", b"", cut.as_bytes(), &long]);
    let attempt = Attempt { texts, ..sample(Cause::ConnectionRefused) };
    let (text, value) = written(Outcome::Failed, &[attempt], 0);
    assert_eq!(value["attempts"][0]["message"].as_str().map(str::len), Some(MAX_BYTES));
    assert!(text.len() < 4 * MAX_BYTES, "{}", text.len());
}

#[test]
fn a_diagnosis_without_attempts_is_an_object_too() {
    let (_, value) = written(Outcome::Recovered, &[], 0);
    assert_eq!(value, json!({ "v": 1, "outcome": "recovered", "attempts": [] }));
}
