//! What to do about a failed attempt, in one sentence.

use std::fmt::Write as _;

use crate::{Attempt, Cause, Limit, Phase, Protocol, codes, printable};

/// One sentence, filled with the actual address, directive and value; for trusted readers only.
pub fn sentence(a: &Attempt) -> String {
    let mut out = String::with_capacity(256);
    let mut rest = a.verdict.cause.row().advice;
    while let Some((before, tail)) = rest.split_once('{') {
        let Some((hole, after)) = tail.split_once('}') else { break };
        out.push_str(before);
        fill(&mut out, hole, a);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Every hole has words for when the value is not known.
fn fill(out: &mut String, hole: &str, a: &Attempt) {
    match hole {
        "peer" => out.push_str(&named([&a.address, &a.server, &a.upstream])),
        "upstream" => out.push_str(&named([&a.upstream, &a.server, &a.address])),
        "prefix" => out.push_str(a.protocol.directive_prefix()),
        "limit" => match a.verdict.limit {
            Some(limit) => limit.write_to(out),
            None => out.push_str("the system's own limit"),
        },
        "directive" => out.push_str(directive(a)),
        "errno" => errno(out, a),
        "status" if a.status == 0 => out.push_str("with an error"),
        "status" => number(out, "", a.status.into(), None),
        "alert" => alert(out, a),
        "code" => code(out, a),
        _ => out.push_str("it"),
    }
}

fn named<'a>(names: [&'a [u8]; 3]) -> std::borrow::Cow<'a, str> {
    let known = names.into_iter().find(|name| !name.is_empty());
    known.map_or("the upstream".into(), printable::ascii)
}

/// The directive of the limit, or the one that would have set it.
fn directive(a: &Attempt) -> &'static str {
    let usual: fn(Protocol, u64) -> Limit = if a.verdict.cause == Cause::HeaderTooBig {
        Limit::buffer_size
    } else {
        match a.verdict.phase {
            Phase::Send => Limit::send_timeout,
            Phase::Header | Phase::Body => Limit::read_timeout,
            Phase::Resolve
            | Phase::Select
            | Phase::Connect
            | Phase::Handshake
            | Phase::Local
            | Phase::Client => Limit::connect_timeout,
        }
    };
    a.verdict.limit.unwrap_or_else(|| usual(a.protocol, 0)).directive()
}

fn errno(out: &mut String, a: &Attempt) {
    match a.verdict.errno.map(|errno| (errno.0, errno.name())) {
        Some((_, Some(name))) => out.push_str(name),
        Some((errno, None)) => number(out, "error ", errno.into(), None),
        None => out.push_str("an error"),
    }
}

fn alert(out: &mut String, a: &Attempt) {
    match a.verdict.alert {
        Some(alert) => number(out, "", alert.into(), codes::tls_alert(alert)),
        None => out.push_str("of an unknown number"),
    }
}

/// The HTTP/2 error code, which only the message has.
fn code(out: &mut String, a: &Attempt) {
    let words: [&[u8]; 2] =
        [b"upstream rejected request with error ", b"upstream sent goaway with error "];
    let digits = words.iter().find_map(|words| a.message.strip_prefix(*words));
    let code = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    match code {
        Some(code) => number(out, "error ", code.into(), codes::http2_error(code)),
        None => out.push_str("an error"),
    }
}

fn number(out: &mut String, before: &str, number: i64, name: Option<&str>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{before}{number}");
    if let Some(name) = name {
        let _ = write!(out, " ({name})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::sample;
    use crate::{Errno, Family, Verdict};

    #[test]
    fn no_cause_leaves_a_hole() {
        const HOLES: &[&str] = &[
            "peer",
            "upstream",
            "prefix",
            "limit",
            "directive",
            "errno",
            "status",
            "alert",
            "code",
        ];
        for cause in Cause::ALL.iter().copied() {
            let advice = cause.row().advice;
            for (at, _) in advice.match_indices('{') {
                let hole = advice[at + 1..].split('}').next().unwrap();
                assert!(HOLES.contains(&hole), "{hole} in {}", cause.token());
            }
            let full = sample(cause);
            let bare = Attempt {
                upstream: Box::default(),
                server: Box::default(),
                address: Box::default(),
                verdict: Verdict { errno: None, limit: None, alert: None, ..full.verdict },
                status: 0,
                ..full.clone()
            };
            for sentence in [sentence(&full), sentence(&bare)] {
                assert!(!sentence.contains(['{', '}', '\n']), "{sentence}");
                assert!(!sentence.contains("  ") && !sentence.contains("()"), "{sentence}");
                assert!(!sentence.ends_with('.') && sentence.len() > 30, "{sentence}");
            }
        }
    }

    #[test]
    fn a_sentence_names_what_is_known() {
        let refused = sample(Cause::ConnectionRefused);
        assert_eq!(
            sentence(&refused),
            "nothing listens on 10.0.0.7:3000; start the back end or correct the server line"
        );
        let mut attempt = sample(Cause::HeaderTimeout);
        attempt.protocol = Protocol::FastCgi;
        attempt.verdict.limit = Some(Limit::read_timeout(Protocol::FastCgi, 1500));
        assert!(
            sentence(&attempt).contains("fastcgi_read_timeout=1500ms"),
            "{}",
            sentence(&attempt)
        );
        let mut attempt = sample(Cause::StreamReset);
        attempt.message = Box::from(&b"upstream rejected request with error 8"[..]);
        assert!(sentence(&attempt).contains("error 8 (CANCEL)"));
        let mut attempt = sample(Cause::TlsAlert);
        attempt.verdict.alert = Some(40);
        assert!(sentence(&attempt).contains("40 (handshake_failure)"));
        let mut attempt = sample(Cause::ConnectFailed);
        attempt.family = Family::Inet6;
        attempt.verdict.errno = Some(Errno(9999));
        assert!(sentence(&attempt).contains("error 9999"));
        attempt.address = Box::from(&b"\x1b[31m\r\n"[..]);
        assert!(sentence(&attempt).contains("?[31m??"));
    }
}
