//! The connection that was ended: what went over it, and whether its port accepts and refuses in
//! turns.

use crate::{Attempt, Cause, Evidence, Hint, printable};

/// A connection, as nginx keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Since it was begun, milliseconds.
    pub age_ms: u64,
    /// Requests that it was used for, this one included.
    pub requests: u64,
    /// How long nginx itself keeps an idle connection of this upstream (`keepalive_timeout`),
    /// milliseconds, where that is known.
    pub keepalive_timeout_ms: Option<u64>,
    /// What the kernel knows of it; `None` for a unix socket, or where it does not tell.
    pub tcp: Option<Tcp>,
}

/// `TCP_INFO` of a connection that is still open on this side (tcp(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Smoothed round trip, microseconds.
    pub rtt_us: u64,
    /// Segments that had to be sent again.
    pub retransmits: u64,
    /// Segments that the peer has not acknowledged.
    pub unacknowledged: u64,
    /// Since the peer last sent anything but an end, milliseconds.
    pub silent_ms: u64,
}

/// What went over a connection that was ended instead of used. Whoever asks for `connection` asks the
/// kernel, so it is done for these causes only.
#[inline]
pub fn find(
    attempt: &Attempt,
    bytes_sent: u64,
    connection: impl FnOnce() -> Option<Connection>,
) -> Option<Evidence> {
    is_ended(attempt.verdict.cause).then(|| ended(attempt, bytes_sent, connection()))
}

fn ended(attempt: &Attempt, bytes_sent: u64, connection: Option<Connection>) -> Evidence {
    let mut facts =
        vec![("bytes_sent", bytes_sent.into()), ("bytes_received", attempt.bytes_received.into())];
    if let Some(connection) = connection.filter(|_| attempt.reused) {
        facts.extend([
            ("connection_age_ms", connection.age_ms.into()),
            ("connection_requests", connection.requests.into()),
        ]);
        facts.extend(connection.keepalive_timeout_ms.map(|ms| ("keepalive_timeout_ms", ms.into())));
    }
    let idle = connection.and_then(|connection| idle_ms(attempt, connection));
    facts.extend(idle.map(|ms| ("connection_idle_ms", ms.into())));
    if let Some(tcp) = connection.and_then(|connection| connection.tcp) {
        facts.extend([
            ("tcp_rtt_us", tcp.rtt_us.into()),
            ("tcp_retransmits", tcp.retransmits.into()),
            ("tcp_unacknowledged", tcp.unacknowledged.into()),
        ]);
    }
    match idle.filter(|ms| *ms >= LONG_IDLE_MS) {
        Some(ms) if attempt.verdict.cause == Cause::KeepaliveStale => {
            let kept_ms = connection.and_then(|connection| connection.keepalive_timeout_ms);
            Evidence::new(Hint::KeepaliveIdleExpired, facts).advising(closed_idle(
                attempt.address(),
                ms,
                kept_ms,
            ))
        }
        Some(_) | None => Evidence::new(None, facts),
    }
}

/// No server's time-out for idle connections is shorter.
const LONG_IDLE_MS: u64 = 1000;

/// How long a reused connection had lain idle when this attempt began: nothing has come over it
/// since the response before.
fn idle_ms(attempt: &Attempt, connection: Connection) -> Option<u64> {
    let untouched = attempt.reused && attempt.bytes_received == 0;
    connection.tcp?.silent_ms.checked_sub(attempt.ms?).filter(|_| untouched)
}

fn closed_idle(address: &[u8], ms: u64, kept_ms: Option<u64>) -> String {
    let address = printable::plain(address);
    let (address, seconds) = (String::from_utf8_lossy(&address), ms / 1000);
    let kept = kept_ms.map_or_else(String::new, |ms| format!(" ({} s)", ms.div_ceil(1000)));
    format!(
        "{address} closed this connection after {seconds} s of idleness; make the back end's \
         keep-alive time-out longer than keepalive_timeout{kept} in the upstream block, or that one \
         shorter than {seconds} s"
    )
}

/// The other side ended the connection before its answer was whole.
const fn is_ended(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ClosedBeforeHeader
            | Cause::ResetBeforeHeader
            | Cause::KeepaliveStale
            | Cause::SendReset
    )
}

/// The port of `address` has accepted, refused and accepted again, or the other way round, and
/// began to `ms` milliseconds ago.
pub fn turned(address: &[u8], ms: u64) -> Evidence {
    let address = printable::plain(address);
    let (address, seconds) = (String::from_utf8_lossy(&address), ms.div_ceil(1000).max(1));
    let facts = vec![("port_turned_ms_ago", ms.into())];
    Evidence::new(Hint::BackendRestarting, facts).advising(format!(
        "{address} has refused and accepted connections in turns within the last {seconds} s: the \
         back end is being restarted, or ends again and again; see its log"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::sample;

    #[test]
    fn what_went_over_it() {
        let keepalive_timeout_ms = Some(75_000);
        let connection =
            Some(Connection { age_ms: 63_000, requests: 7, keepalive_timeout_ms, tcp: None });
        let closed = sample(Cause::ClosedBeforeHeader);
        let found = find(&closed, 120, || connection).unwrap();
        assert_eq!(found.facts, [("bytes_sent", 120.into()), ("bytes_received", 0.into())]);
        let stale = Attempt { reused: true, ..sample(Cause::KeepaliveStale) };
        let found = find(&stale, 120, || connection).unwrap();
        assert_eq!(found.hint, None);
        assert_eq!(
            found.facts[2..],
            [
                ("connection_age_ms", 63_000.into()),
                ("connection_requests", 7.into()),
                ("keepalive_timeout_ms", 75_000.into())
            ]
        );
        assert_eq!(find(&sample(Cause::ConnectionRefused), 0, || None), None);
        let tcp = Some(Tcp { rtt_us: 250, retransmits: 3, unacknowledged: 1, silent_ms: 1 });
        let connection =
            Some(Connection { age_ms: 5, requests: 1, keepalive_timeout_ms: None, tcp });
        let found = find(&closed, 120, || connection).unwrap();
        assert_eq!(
            found.facts[2..],
            [
                ("tcp_rtt_us", 250.into()),
                ("tcp_retransmits", 3.into()),
                ("tcp_unacknowledged", 1.into())
            ]
        );
    }

    #[test]
    fn how_long_a_kept_connection_was_idle() {
        let found = |cause, reused, bytes_received, silent_ms| {
            let tcp = Some(Tcp { rtt_us: 1, retransmits: 0, unacknowledged: 0, silent_ms });
            let keepalive_timeout_ms = Some(75_000);
            let connection =
                Some(Connection { age_ms: 90_000, requests: 2, keepalive_timeout_ms, tcp });
            let attempt = Attempt { reused, bytes_received, ms: Some(2), ..sample(cause) };
            let found = find(&attempt, 120, || connection).unwrap();
            let idle = found.facts.iter().find(|(key, _)| *key == "connection_idle_ms");
            (idle.map(|(_, ms)| ms.clone()), found.hint, found.advice)
        };
        let (idle, hint, advice) = found(Cause::KeepaliveStale, true, 0, 65_002);
        assert_eq!((idle, hint), (Some(65_000.into()), Some(Hint::KeepaliveIdleExpired)));
        assert_eq!(
            advice.as_deref(),
            Some(
                "10.0.0.7:3000 closed this connection after 65 s of idleness; make the back end's \
                 keep-alive time-out longer than keepalive_timeout (75 s) in the upstream block, or \
                 that one shorter than 65 s"
            )
        );
        assert_eq!(found(Cause::KeepaliveStale, true, 0, 502), (Some(500.into()), None, None));
        assert_eq!(found(Cause::ResetBeforeHeader, true, 0, 9002), (Some(9000.into()), None, None));
        // A new connection; one over which something has come; one that was never silent so long.
        assert_eq!(found(Cause::ClosedBeforeHeader, false, 0, 9002), (None, None, None));
        assert_eq!(found(Cause::ClosedBeforeHeader, true, 7, 9002), (None, None, None));
        assert_eq!(found(Cause::KeepaliveStale, true, 0, 1), (None, None, None));
    }

    #[test]
    fn a_port_in_turns() {
        let found = turned(b"10.0.0.7:80", 1500);
        assert_eq!(found.hint, Some(Hint::BackendRestarting));
        let said = found.advice.unwrap();
        assert!(said.starts_with("10.0.0.7:80 has refused and accepted connections in turns"));
        assert!(said.contains("the last 2 s") && printable::is_plain(said.as_bytes()), "{said}");
    }
}
