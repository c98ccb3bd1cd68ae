//! What to do about a failed attempt, in one sentence.

use std::borrow::Cow;

use crate::cause::Hole;
use crate::{Attempt, Cause, Limit, Phase, Protocol, codes, printable, resolution};

/// One sentence, filled with the actual address, directive and value; for trusted readers only.
pub fn sentence(a: &Attempt) -> String {
    let mut out = Vec::with_capacity(256);
    pieces(a, |piece| out.extend_from_slice(piece));
    printable::into_string(out)
}

/// The sentence in pieces that need no escapes ([`printable::is_plain`]).
pub(crate) fn pieces(a: &Attempt, mut write: impl FnMut(&[u8])) {
    if let Some(resolution) = resolution::stale(a) {
        return write(resolution.moved(a).as_bytes());
    }
    if let Some(sentence) = a.evidence.as_ref().and_then(|(evidence, _)| evidence.advice()) {
        return write(sentence.as_bytes());
    }
    if let Some(resolution) = resolution::unresolved(a) {
        return write(resolution.failed(a).as_bytes());
    }
    let advice = a.verdict.cause.row().advice;
    write(advice.first.as_bytes());
    for (hole, words) in advice.rest {
        write(&filling(*hole, a));
        write(words.as_bytes());
    }
}

/// Every hole has words for when the value is not known.
fn filling(hole: Hole, a: &Attempt) -> Cow<'_, [u8]> {
    let words: &'static str = match hole {
        Hole::Peer => return named([a.address(), a.server(), a.upstream()], a),
        Hole::Upstream => return named([a.upstream(), a.server(), a.address()], a),
        Hole::Prefix => a.protocol.directive_prefix(),
        Hole::Limit => match a.verdict.limit {
            Some(limit) => return owned(limit.to_string()),
            None => "the system's own limit",
        },
        Hole::Directive => directive(a),
        Hole::Errno => return errno(a),
        Hole::Status if a.status == 0 => "with an error",
        Hole::Status => return owned(a.status.to_string()),
        Hole::Alert => return alert(a),
        Hole::Code => return code(a),
    };
    Cow::Borrowed(words.as_bytes())
}

fn owned<'a>(text: String) -> Cow<'a, [u8]> {
    Cow::Owned(text.into_bytes())
}

/// The first of `a`'s names that is known.
fn named<'a>(names: [&'a [u8]; 3], a: &Attempt) -> Cow<'a, [u8]> {
    let known = names.into_iter().find(|name| !name.is_empty()).unwrap_or(b"the upstream");
    if a.texts.are_plain() && known.len() <= printable::MAX_BYTES {
        Cow::Borrowed(known)
    } else {
        printable::plain(known)
    }
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

fn errno<'a>(a: &Attempt) -> Cow<'a, [u8]> {
    match a.verdict.errno.map(|errno| (errno.0, errno.name())) {
        Some((_, Some(name))) => Cow::Borrowed(name.as_bytes()),
        Some((number, None)) => owned(format!("error {number}")),
        None => Cow::Borrowed(b"an error"),
    }
}

fn alert<'a>(a: &Attempt) -> Cow<'a, [u8]> {
    match a.verdict.alert.map(|alert| (alert, codes::tls_alert(alert))) {
        Some((number, Some(name))) => owned(format!("{number} ({name})")),
        Some((number, None)) => owned(number.to_string()),
        None => Cow::Borrowed(b"of an unknown number"),
    }
}

/// The HTTP/2 error code, which only the message has.
fn code<'a>(a: &Attempt) -> Cow<'a, [u8]> {
    let words: [&[u8]; 2] =
        [b"upstream rejected request with error ", b"upstream sent goaway with error "];
    let digits = words.iter().find_map(|words| a.message().strip_prefix(*words));
    let code = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    match code.map(|code| (code, codes::http2_error(code))) {
        Some((number, Some(name))) => owned(format!("error {number} ({name})")),
        Some((number, None)) => owned(format!("error {number}")),
        None => Cow::Borrowed(b"an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::sample;
    use crate::{Errno, Family, Texts, Verdict};

    #[test]
    fn a_sentence_is_whole_whatever_is_unknown() {
        for cause in Cause::ALL.iter().copied() {
            let full = sample(cause);
            let bare = Attempt {
                texts: Texts::of([b"", b"", b"", full.message()]),
                verdict: Verdict { errno: None, limit: None, alert: None, ..full.verdict },
                status: 0,
                ..full.clone()
            };
            for sentence in [sentence(&full), sentence(&bare)] {
                assert!(!sentence.contains(['{', '\n']), "{sentence}");
                assert!(!sentence.contains("  ") && !sentence.contains("()"), "{sentence}");
                assert!(printable::is_plain(sentence.as_bytes()), "{sentence}");
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
        attempt.texts = Texts::of([b"", b"", b"", b"upstream rejected request with error 8"]);
        assert!(sentence(&attempt).contains("error 8 (CANCEL)"));
        let mut attempt = sample(Cause::TlsAlert);
        attempt.verdict.alert = Some(40);
        assert!(sentence(&attempt).contains("40 (handshake_failure)"));
        let mut attempt = sample(Cause::ConnectFailed);
        attempt.family = Family::Inet6;
        attempt.verdict.errno = Some(Errno(9999));
        assert!(sentence(&attempt).contains("error 9999"));
        attempt.texts = Texts::of([b"", b"", b"\x1b[31m\r\n", b""]);
        assert!(sentence(&attempt).contains("?[31m??"));
    }
}
