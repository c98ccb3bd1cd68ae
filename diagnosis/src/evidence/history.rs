//! How each address failed last, as one worker saw it.

use crate::Cause;

/// Addresses that are remembered; the one that has not failed for longest gives way.
const MAX_ADDRESSES: usize = 64;
/// Turns between refusing and accepting mean something for this long, milliseconds.
const TURNS_MS: u64 = 10_000;

/// The last failure of each address.
#[derive(Debug, Default)]
pub struct History(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    address: Box<[u8]>,
    cause: Cause,
    reused: bool,
    at_ms: u64,
    /// What its port did last, where the failure tells.
    port: Option<Port>,
    /// When it began to do the other thing, the latest last.
    turns: [Option<u64>; 2],
}

/// What a port did to a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Refused,
    Accepted,
}

impl History {
    /// An empty one, without an allocation.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// `address` has failed with `cause` now. `reused`: on a connection that was accepted earlier.
    #[inline]
    pub fn note(&mut self, address: &[u8], cause: Cause, reused: bool, now_ms: u64) {
        // A storm: the same again, which turns nothing.
        let same = |entry: &&mut Entry| {
            entry.cause == cause && entry.reused == reused && *entry.address == *address
        };
        if let Some(entry) = self.0.first_mut().filter(same) {
            entry.at_ms = now_ms;
            return;
        }
        if !address.is_empty() {
            self.note_change(address, cause, reused, now_ms);
        }
    }

    #[cold]
    fn note_change(&mut self, address: &[u8], cause: Cause, reused: bool, now_ms: u64) {
        let port = port(cause).filter(|_| !reused);
        let Some(at) = self.0.iter().position(|entry| *entry.address == *address) else {
            self.make_room();
            let address = address.into();
            let turns = [None; 2];
            self.0.push(Entry { address, cause, reused, at_ms: now_ms, port, turns });
            return;
        };
        if let Some(entry) = self.0.get_mut(at) {
            entry.cause = cause;
            entry.reused = reused;
            entry.at_ms = now_ms;
            if let Some(port) = port {
                entry.turn(port, now_ms);
            }
        }
        // One that fails often is found at once.
        self.0.swap(0, at);
    }

    fn make_room(&mut self) {
        if self.0.len() >= MAX_ADDRESSES {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, entry)| entry.at_ms);
            if let Some((at, _)) = oldest {
                self.0.swap_remove(at);
            }
        }
    }

    /// The last cause of `address`, and how long ago it was, milliseconds.
    pub fn last(&self, address: &[u8], now_ms: u64) -> Option<(Cause, u64)> {
        let entry = self.find(address)?;
        Some((entry.cause, now_ms.wrapping_sub(entry.at_ms)))
    }

    /// Whether the port of `address` has accepted, refused and accepted again, or the other way
    /// round, within the last seconds: how long ago that began, milliseconds.
    pub fn turned(&self, address: &[u8], now_ms: u64) -> Option<u64> {
        let [first, second] = self.find(address)?.turns;
        second?;
        first.map(|at| now_ms.wrapping_sub(at)).filter(|ago| *ago <= TURNS_MS)
    }

    fn find(&self, address: &[u8]) -> Option<&Entry> {
        self.0.iter().find(|entry| *entry.address == *address)
    }
}

impl Entry {
    fn turn(&mut self, port: Port, now_ms: u64) {
        if self.port.is_some_and(|before| before != port) {
            self.turns = [self.turns[1], Some(now_ms)];
        }
        self.port = Some(port);
    }
}

/// What a failure says about the port. Only what the program behind it has sent or ended counts as
/// accepted: the kernel takes connections for a program that is busy.
#[allow(clippy::wildcard_enum_match_arm, reason = "the others leave it open")]
const fn port(cause: Cause) -> Option<Port> {
    match cause {
        Cause::ConnectionRefused | Cause::UnixSocketRefused => Some(Port::Refused),
        Cause::ClosedBeforeHeader
        | Cause::ResetBeforeHeader
        | Cause::HeaderInvalid
        | Cause::HeaderTooBig
        | Cause::UpstreamStatus => Some(Port::Accepted),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause::{ClosedBeforeHeader as Closed, ConnectionRefused as Refused, HeaderTimeout};

    #[test]
    fn the_last_cause_of_each_address_is_known() {
        let mut history = History::new();
        history.note(b"a", Refused, false, 5);
        history.note(b"b", Closed, false, 6);
        history.note(b"a", HeaderTimeout, false, 7);
        history.note(b"", HeaderTimeout, false, 7);
        assert_eq!(history.last(b"a", 10), Some((HeaderTimeout, 3)));
        assert_eq!(history.last(b"b", 10), Some((Closed, 4)));
        assert_eq!(history.last(b"c", 10), None);
        assert_eq!(history.last(b"", 10), None);
    }

    #[test]
    fn the_longest_silent_address_gives_way() {
        let mut history = History::new();
        for number in 0..1000_u64 {
            history.note(&number.to_ne_bytes(), Refused, false, number);
            history.note(b"often", Closed, false, number);
        }
        assert_eq!(history.0.len(), MAX_ADDRESSES);
        assert!(history.last(b"often", 1000).is_some());
        assert!(history.last(&999_u64.to_ne_bytes(), 1000).is_some());
        assert!(history.last(&0_u64.to_ne_bytes(), 1000).is_none());
    }

    /// Failures at these times, then a look at that time.
    fn turned(failures: &[(Cause, u64)], now: u64) -> Option<u64> {
        let mut history = History::new();
        for (cause, at) in failures {
            history.note(b"a", *cause, false, *at);
        }
        history.turned(b"a", now)
    }

    #[test]
    fn a_port_that_refuses_and_accepts_in_turns() {
        let in_turns = [(Closed, 100), (Refused, 200), (Refused, 300), (Closed, 400)];
        assert_eq!(turned(&in_turns, 400), Some(200));
        assert_eq!(turned(&in_turns, 10_200), Some(10_000));
        assert_eq!(turned(&in_turns, 10_201), None);
        assert_eq!(turned(&[(Refused, 1), (Closed, 2), (Refused, 3)], 4), Some(2));
        assert_eq!(turned(&[(Closed, 1), (HeaderTimeout, 2), (Closed, 3)], 4), None);
        assert_eq!(turned(&[(Refused, 1), (Refused, 2)], 3), None);
        assert_eq!(turned(&[(Refused, 1), (Closed, 2)], 3), None);
        assert_eq!(turned(&[(Closed, 1), (Refused, 2), (Closed, 20_000)], 20_000), None);
    }

    #[test]
    fn a_kept_connection_says_nothing_about_the_port() {
        let mut history = History::new();
        for (cause, reused, at) in [(Closed, false, 1), (Refused, false, 2), (Closed, true, 3)] {
            history.note(b"a", cause, reused, at);
        }
        let turns = history.find(b"a").map(|entry| entry.turns);
        assert_eq!(turns, Some([None, Some(2)]));
    }
}
