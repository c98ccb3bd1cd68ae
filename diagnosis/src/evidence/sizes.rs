//! Limits that were hit: how far it had come when nginx's own configuration ended the wait.

use crate::{Attempt, Cause, Evidence, Hint, Limit};

/// The figures behind a header that was too big or a time-out that was reached. `buffer_size` is
/// `proxy_buffer_size` or its kin, bytes.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other cause is a limit of nginx's")]
pub fn find(attempt: &Attempt, buffer_size: u64) -> Option<Evidence> {
    let verdict = &attempt.verdict;
    match verdict.cause {
        Cause::HeaderTooBig => Some(header(attempt, buffer_size)),
        Cause::ConnectionTimeout
        | Cause::TlsHandshakeTimeout
        | Cause::SendTimeout
        | Cause::HeaderTimeout
        | Cause::BodyTimeout => verdict.limit.map(|limit| waited(attempt, limit)),
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

fn waited(attempt: &Attempt, limit: Limit) -> Evidence {
    let waited = attempt.ms.map(|ms| ("waited_ms", ms.into()));
    let facts = [
        ("directive", limit.directive().into()),
        ("bytes_received", attempt.bytes_received.into()),
    ];
    Evidence::new(Hint::TimeoutReached, facts.into_iter().chain(waited).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::sample;
    use crate::{Protocol, Verdict};

    #[test]
    fn a_full_buffer_and_a_time_out_have_their_figures() {
        let mut big = sample(Cause::HeaderTooBig);
        big.bytes_received = 4096;
        let found = find(&big, 4096).unwrap();
        assert_eq!(found.hint, Some(Hint::HeaderBytesOverBuffer));
        assert_eq!(found.facts, [("header_bytes", 4096.into()), ("buffer_bytes", 4096.into())]);
        let limit = Some(Limit::read_timeout(Protocol::Http, 60_000));
        let slow = sample(Cause::HeaderTimeout);
        let slow = Attempt { verdict: Verdict { limit, ..slow.verdict }, ..slow };
        let found = find(&slow, 4096).unwrap();
        assert_eq!(found.hint, Some(Hint::TimeoutReached));
        assert_eq!(found.facts[0], ("directive", "proxy_read_timeout".into()));
    }

    #[test]
    fn other_causes_have_none() {
        assert_eq!(find(&sample(Cause::ConnectionRefused), 4096), None);
        // The kernel's own time-out hits no limit of nginx's.
        assert_eq!(find(&sample(Cause::ConnectionTimeout), 4096), None);
    }
}
