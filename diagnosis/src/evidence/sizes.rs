//! Limits that were hit: how far it had come when nginx's own configuration ended the wait.

use crate::{Attempt, Cause, Evidence, Hint, Limit, Observation};

/// The figures behind a header that was too big or a time-out that was reached.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other cause is a limit of nginx's")]
#[inline]
pub fn find(attempt: &Attempt, o: &Observation) -> Option<Evidence> {
    let verdict = &attempt.verdict;
    match verdict.cause {
        Cause::HeaderTooBig => Some(header(attempt, o.buffer_size)),
        Cause::ConnectionTimeout
        | Cause::TlsHandshakeTimeout
        | Cause::SendTimeout
        | Cause::HeaderTimeout
        | Cause::BodyTimeout => verdict.limit.map(|limit| waited(attempt, limit, o)),
        _ => None,
    }
}

/// nginx stops reading when the buffer is full, so more may have been on its way.
fn header(attempt: &Attempt, buffer_size: u64) -> Evidence {
    let received = attempt.bytes_received;
    let hint = (received >= buffer_size).then_some(Hint::HeaderBytesOverBuffer);
    Evidence::new(
        hint,
        vec![("header_bytes", received.into()), ("buffer_bytes", buffer_size.into())],
    )
}

/// Which directive ended the wait, and how long each phase had taken until then.
fn waited(attempt: &Attempt, limit: Limit, o: &Observation) -> Evidence {
    let times =
        [("connect_ms", o.connect_ms), ("header_ms", o.header_ms), ("waited_ms", attempt.ms)];
    let times = times.into_iter().filter_map(|(key, ms)| Some((key, ms?.into())));
    let facts = [
        ("directive", limit.directive().into()),
        ("bytes_received", attempt.bytes_received.into()),
    ];
    Evidence::new(Hint::TimeoutReached, facts.into_iter().chain(times).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::sample;
    use crate::{Protocol, Verdict};

    #[test]
    fn a_full_buffer_and_a_time_out_have_their_figures() {
        let o = Observation { buffer_size: 4096, ..Observation::default() };
        let mut big = sample(Cause::HeaderTooBig);
        big.bytes_received = 4096;
        let found = find(&big, &o).unwrap();
        assert_eq!(found.hint, Some(Hint::HeaderBytesOverBuffer));
        assert_eq!(found.facts, [("header_bytes", 4096.into()), ("buffer_bytes", 4096.into())]);
        let limit = Some(Limit::read_timeout(Protocol::Http, 60_000));
        let slow = sample(Cause::HeaderTimeout);
        let slow = Attempt { verdict: Verdict { limit, ..slow.verdict }, ..slow };
        let found = find(&slow, &Observation { connect_ms: Some(7), ..o }).unwrap();
        assert_eq!(found.hint, Some(Hint::TimeoutReached));
        assert_eq!(found.facts[0], ("directive", "proxy_read_timeout".into()));
        assert_eq!(found.facts[2..], [("connect_ms", 7.into()), ("waited_ms", 1.into())]);
    }

    #[test]
    fn other_causes_have_none() {
        assert_eq!(find(&sample(Cause::ConnectionRefused), &Observation::default()), None);
        // The kernel's own time-out hits no limit of nginx's.
        assert_eq!(find(&sample(Cause::ConnectionTimeout), &Observation::default()), None);
    }
}
