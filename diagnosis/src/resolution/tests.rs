use std::net::IpAddr;
use std::rc::Rc;

use serde_json::{Value, json};

use super::*;
use crate::attempt::sample;
use crate::{Diagnosis, Evidence, Hint, Outcome, Texts, advice, field, json};

const OLD: &str = "10.0.0.7";

fn addresses(texts: &[&str]) -> Addresses {
    let parsed: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
    Addresses::from(&*parsed)
}

fn resolution(dns: Dns, current: &[&str]) -> Resolution {
    Resolution {
        dns,
        name: b"app.internal".to_vec(),
        configured: addresses(&[OLD]),
        current: addresses(current),
        ..Resolution::default()
    }
}

fn attempt(cause: Cause, resolution: Resolution) -> Attempt {
    Attempt { resolution: Some(Rc::new(resolution)), ..sample(cause) }
}

fn object(attempt: &Attempt) -> Value {
    let attempts = std::slice::from_ref(attempt);
    let d = Diagnosis { outcome: Outcome::Failed, status: 502, attempts, dropped: 0 };
    let mut object: Value = serde_json::from_slice(&json::object(&d)).unwrap();
    object["attempts"][0].take()
}

fn header(attempt: &Attempt) -> String {
    String::from_utf8(field::full(&[], std::slice::from_ref(attempt), 0)).unwrap()
}

#[test]
fn a_verdict_is_a_parameter_and_a_member_of_the_object() {
    for (dns, token) in [
        (Dns::Literal, "literal"),
        (Dns::Fresh, "fresh"),
        (Dns::Stale, "stale"),
        (Dns::Unresolved, "unresolved"),
        (Dns::Unknown, "unknown"),
    ] {
        let attempt = attempt(Cause::ConnectionRefused, resolution(dns, &["10.0.0.9"]));
        let hint = if dns == Dns::Stale { ";hint=address_left_dns" } else { "" };
        let written = format!(";ms=1{hint};dns={token};fd-free=1001;");
        assert!(header(&attempt).contains(&written), "{}", header(&attempt));
        assert_eq!(object(&attempt)["dns"], token);
    }
    let off = sample(Cause::ConnectionRefused);
    assert!(!header(&off).contains("dns") && object(&off).get("dns").is_none());
}

#[test]
fn what_is_not_known_is_not_written() {
    let literal = attempt(Cause::ConnectionRefused, Resolution::default());
    assert!(object(&literal).get("resolution").is_none());
    let named = Resolution { name: b"app.internal".to_vec(), ..Resolution::default() };
    let object_of = |resolution| object(&attempt(Cause::ConnectionRefused, resolution));
    assert_eq!(object_of(named.clone())["resolution"], json!({ "name": "app.internal" }));
    let whole = Resolution {
        age_ms: Some(12),
        ttl_s: Some(30),
        error: Some("timeout"),
        waited_ms: Some(1000),
        used: Some(Used::ThisRequest("[2001:db8::9]:3000".parse().unwrap())),
        ..resolution(Dns::Stale, &["10.0.0.9", "2001:db8::9"])
    };
    let expected = json!({
        "name": "app.internal", "configured": ["10.0.0.7"], "current": ["10.0.0.9", "2001:db8::9"],
        "age_ms": 12, "ttl_s": 30, "waited_ms": 1000, "error": "timeout",
        "used": "this_request", "sent_to": "[2001:db8::9]:3000",
    });
    assert_eq!(object_of(whole)["resolution"], expected);
    for (used, word) in [(Used::Nothing, "nothing"), (Used::LaterRequests, "later_requests")] {
        let resolution = Resolution { used: Some(used), ..named.clone() };
        assert_eq!(object_of(resolution)["resolution"]["used"], word);
    }
}

#[test]
fn an_address_that_left_explains_what_was_seen_of_it() {
    let evidence = Evidence::new(Hint::NoListener, vec![("listeners_on_port", 0.into())]);
    let evidence = Some((Rc::new(evidence.advising("nobody listens".to_owned())), 7));
    for (cause, dns, hint) in [
        (Cause::ConnectionRefused, Dns::Stale, Hint::AddressLeftDns),
        (Cause::HeaderTimeout, Dns::Stale, Hint::AddressLeftDns),
        (Cause::TlsCertificateNameMismatch, Dns::Stale, Hint::AddressLeftDns),
        (Cause::ConnectionRefused, Dns::Fresh, Hint::NoListener),
        (Cause::ConnectionRefused, Dns::Unresolved, Hint::NoListener),
        // nginx's own side.
        (Cause::FdExhausted, Dns::Stale, Hint::NoListener),
        (Cause::HeaderTooBig, Dns::Stale, Hint::NoListener),
    ] {
        let evidence = evidence.clone();
        let attempt = Attempt { evidence, ..attempt(cause, resolution(dns, &["10.0.0.9"])) };
        assert_eq!(attempt.hint(), Some(hint), "{} {dns:?}", cause.token());
        let object = object(&attempt);
        assert_eq!(object["hint"], hint.token());
        assert_eq!(object["evidence"], json!({ "age_ms": 7, "listeners_on_port": 0 }));
        let own = advice::sentence(&attempt) == "nobody listens";
        assert_eq!(own, hint == Hint::NoListener, "{}", advice::sentence(&attempt));
    }
}

#[test]
fn the_advice_says_where_the_name_is_now() {
    let sent = Used::ThisRequest("10.0.0.9:3000".parse().unwrap());
    let many = ["10.0.0.9", "10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13"];
    for (current, used, sentence) in [
        (
            &many[..1],
            Some(sent),
            "app.internal no longer resolves to 10.0.0.7 but to 10.0.0.9; this request was sent to \
             10.0.0.9:3000, later ones go there too",
        ),
        (
            &many[..2],
            Some(Used::LaterRequests),
            "app.internal no longer resolves to 10.0.0.7 but to 10.0.0.9, 10.0.0.10; later \
             requests go there",
        ),
        (
            &many,
            Some(Used::LaterRequests),
            "app.internal no longer resolves to 10.0.0.7 but to 10.0.0.9, 10.0.0.10, 10.0.0.11 and \
             2 more; later requests go there",
        ),
        (
            &[],
            None,
            "app.internal no longer resolves to 10.0.0.7; reload nginx if requests go on to the \
             old address",
        ),
    ] {
        let moved = Resolution { used, ..resolution(Dns::Stale, current) };
        assert_eq!(advice::sentence(&attempt(Cause::ConnectionTimeout, moved)), sentence);
    }
}

#[test]
fn the_advice_is_the_usual_one_unless_dns_explains() {
    let failed = Resolution { error: Some("timeout"), ..resolution(Dns::Unresolved, &[]) };
    assert_eq!(
        advice::sentence(&attempt(Cause::ConnectionRefused, failed.clone())),
        "app.internal could not be looked up again (timeout), so 10.0.0.7 may be out of date; \
         check the name servers, and if the address is right, the back end"
    );
    let usual = |cause, resolution| {
        let usual = advice::sentence(&sample(cause));
        assert_eq!(advice::sentence(&attempt(cause, resolution)), usual);
    };
    usual(Cause::HeaderTimeout, failed);
    for dns in [Dns::Literal, Dns::Fresh, Dns::Unknown] {
        usual(Cause::ConnectionRefused, resolution(dns, &[OLD]));
    }
}

#[test]
fn names_and_numbers_of_addresses_are_bounded() {
    let many: Vec<IpAddr> =
        (0..64).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])).collect();
    for byte in [b'a', b'"', b'\\', b'\n', 0, 0xff] {
        let long = Resolution {
            name: vec![byte; 8192],
            configured: Addresses::from(&*many),
            current: Addresses::from(&*many),
            ..resolution(Dns::Stale, &[])
        };
        let mut attempt = attempt(Cause::ConnectionRefused, long);
        attempt.texts = Texts::of([b"backend", &[byte; 500], &[byte; 500], b""]);
        let sentence = advice::sentence(&attempt);
        assert!(printable::is_plain(sentence.as_bytes()) && sentence.len() < 800, "{sentence}");
        assert!(header(&attempt).len() <= field::MAX_BYTES);
        assert!(header(&attempt).contains(";hint=address_left_dns;dns=stale;"));
        let resolution = &object(&attempt)["resolution"];
        for key in ["configured", "current"] {
            assert_eq!(resolution[key].as_array().map(Vec::len), Some(Addresses::MAX));
            assert_eq!(resolution[format!("{key}_left_out")], 64 - 8);
        }
        assert!(resolution["name"].as_str().is_some_and(|name| name.chars().count() <= 512));
    }
}
