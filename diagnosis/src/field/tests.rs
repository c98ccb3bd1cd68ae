use super::*;
use crate::attempt::sample;
use crate::{Cause, Diagnosis, Limit, Outcome, Texts, Verdict};

fn diagnosis(attempts: &[Attempt]) -> Diagnosis<'_> {
    Diagnosis { outcome: Outcome::Failed, status: 502, attempts, dropped: 0 }
}

/// Parses what was written, as a client would.
fn full(inner: &[&[u8]], d: &Diagnosis<'_>) -> String {
    String::from_utf8(super::full(inner, d.attempts, d.dropped)).unwrap()
}

fn tokens(d: &Diagnosis<'_>) -> String {
    String::from_utf8(super::tokens(d.attempts, d.dropped)).unwrap()
}

fn parsed(field: &str) -> List {
    assert!(field.len() <= MAX_BYTES, "{} bytes", field.len());
    let list =
        Parser::new(field).parse::<List>().unwrap_or_else(|error| panic!("{error}: {field}"));
    assert!(!list.is_empty());
    list
}

fn hostile(byte: u8, length: usize) -> Attempt {
    let text = &*vec![byte; length];
    Attempt { texts: Texts::of([text, text, text, b""]), ..sample(Cause::ConnectionRefused) }
}

#[test]
fn a_member_as_the_contract_writes_it() {
    assert_eq!(
        full(&[], &diagnosis(&[sample(Cause::ConnectionRefused)])),
        "connection_refused;phase=connect;upstream=\"backend\";server=\"app.internal:3000\";\
        address=\"10.0.0.7:3000\";errno=ECONNREFUSED;ms=1;\
        fd-free=1001;fd-limit=1024;conn-free=509;conn-limit=512"
    );
    let limit = Some(Limit::read_timeout(crate::Protocol::Http, 60_000));
    let timeout = sample(Cause::HeaderTimeout);
    let timeout = Attempt {
        verdict: Verdict { errno: None, limit, ..timeout.verdict },
        texts: Texts::of([timeout.upstream(), b"", timeout.address(), b""]),
        status: 200,
        reused: true,
        retried: true,
        headroom: None,
        ..timeout
    };
    assert_eq!(
        full(&[], &diagnosis(&[timeout])),
        "header_timeout;phase=header;upstream=\"backend\";address=\"10.0.0.7:3000\";ms=1;status=200;\
        reused;retried;limit=\"proxy_read_timeout=60s\""
    );
}

#[test]
fn every_cause_makes_a_valid_field() {
    for cause in Cause::ALL.iter().copied() {
        let attempts = [sample(cause)];
        for field in [full(&[], &diagnosis(&attempts)), tokens(&diagnosis(&attempts))] {
            assert_eq!(parsed(&field).len(), 1);
            assert!(field.starts_with(cause.token()));
        }
    }
}

#[test]
fn theirs_come_before_ours() {
    let attempts = [sample(Cause::ConnectionRefused)];
    let lines: [&[u8]; 5] =
        [b"header_timeout;phase=header", b"no list;=", b"", b"\"x\" , ( a b );c", b"\xff\0"];
    let field = full(&lines, &diagnosis(&attempts));
    assert_eq!(parsed(&field).len(), 4);
    let expected = "header_timeout;phase=header, \"x\", (a b);c, connection_refused;phase=connect;";
    assert!(field.starts_with(expected), "{field}");
}

#[test]
fn the_oldest_give_way() {
    let attempts = [Cause::ConnectionRefused, Cause::HeaderTimeout, Cause::BodyReset].map(sample);
    let old: Vec<u8> =
        (0..60).flat_map(|n| format!("old{n};x=\"0123456789\",").into_bytes()).collect();
    let old = old.strip_suffix(b",").unwrap();
    let field = full(&[old], &diagnosis(&attempts));
    let list = parsed(&field);
    assert!(field.len() > MAX_BYTES - 40, "{} bytes", field.len());
    assert!(!field.contains("old0;") && field.contains("old59;"), "{field}");
    let first = field.split(", ").next().unwrap();
    assert!(first.ends_with(";truncated"), "{first}");
    assert_eq!(field.matches("truncated").count(), 1);
    assert!(list.len() > 3);

    let many = vec![sample(Cause::ConnectionRefused); 40];
    let list = parsed(&full(&[], &diagnosis(&many)));
    assert!(list.len() > 3 && list.len() < 40, "{}", list.len());
    assert!(parsed(&tokens(&diagnosis(&vec![sample(Cause::Other); 500]))).len() > 100);
}

#[test]
fn what_the_record_dropped_is_said_too() {
    let attempts = [sample(Cause::ConnectionRefused)];
    let d = Diagnosis { dropped: 2, ..diagnosis(&attempts) };
    assert!(full(&[], &d).ends_with(";truncated"));
    assert_eq!(tokens(&d), "connection_refused;truncated");
}

#[test]
fn a_member_that_is_too_long_loses_its_longest_strings() {
    for byte in [b'a', b'"', b'\\', b'\n', 0, 0xff] {
        for length in [1, 199, 200, 201, 8192] {
            let one = [hostile(byte, length)];
            let full_alone = full(&[], &diagnosis(&one));
            assert_eq!(parsed(&full_alone).len(), 1);
            assert!(full_alone.contains(";errno=ECONNREFUSED;ms=1"), "{full_alone}");
            let text = &*vec![byte; length];
            let texts = Texts::of([b"backend", text, text, b""]);
            let mixed = [Attempt { texts, ..sample(Cause::ConnectionRefused) }];
            assert!(full(&[], &diagnosis(&mixed)).contains(";upstream=\"backend\""));
            let many = vec![hostile(byte, length); 5];
            assert!(!parsed(&full(&[&[byte; 3000]], &diagnosis(&many))).is_empty());
        }
    }
}

#[test]
fn nothing_can_add_a_member_or_a_parameter() {
    let texts = Texts::of([b"", b"", b"x\", evil;errno=EPERM, \"y\r\nX-Evil: 1", b""]);
    let attempts = [Attempt { texts, ..sample(Cause::ConnectionRefused) }];
    let field = full(&[], &diagnosis(&attempts));
    let list = parsed(&field);
    let [sfv::ListEntry::Item(member)] = list.as_slice() else { panic!("{field}") };
    let address = member.params.get("address").and_then(|value| value.as_string()).unwrap();
    assert_eq!(address.as_str(), "x\", evil;errno=EPERM, \"y??X-Evil: 1");
    let errno = member.params.get("errno").and_then(|value| value.as_token()).unwrap();
    assert_eq!(errno.as_str(), "ECONNREFUSED");
}
