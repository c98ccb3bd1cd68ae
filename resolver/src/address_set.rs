//! What is known of one name's addresses, and when to ask for them again.

mod acceptable;
mod schedule;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use acceptable::Acceptable;
use schedule::Schedule;

use crate::{Answer, Failure, Families, Family, Millis};

/// Addresses that are kept of one name. More than that in one answer is an attack or a mistake.
const MAX_ADDRESSES: usize = 64;

/// Bounds on how often a name is asked for, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The shortest time for which an answer counts, and from one question to the next,
    /// milliseconds. Nothing is read as 1.
    pub min_ms: Millis,
    /// The longest time for which an answer counts, milliseconds. Never less than the shortest.
    pub max_ms: Millis,
    /// Ask for A records.
    pub ipv4: bool,
    /// Ask for AAAA records.
    pub ipv6: bool,
}

/// Why to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// One of the addresses could not be connected to.
    Failure,
    /// The answer's time is up, or nearly.
    Due,
}

/// What an answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nobody waited for it.
    Ignored,
    /// The other family's is still to come.
    Waiting {
        /// This answer made the addresses others than before it.
        changed: bool,
    },
    /// It was the last of its round.
    Done {
        /// This answer made the addresses others than before it.
        changed: bool,
    },
}

/// What DNS says about an address that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dns {
    /// It is in an answer whose time is not up.
    Fresh,
    /// It is not in the answer that its name has now.
    Stale,
    /// The name was asked for and nobody could say.
    Unresolved,
    /// Nobody has asked, or not lately.
    Unknown,
}

/// The addresses of one name, as one worker knows them.
///
/// Families are kept separately, and the last good addresses of each for as long as nothing better
/// is known (RFC 8767), without an end: a proxy has nothing else to try. They go when the other
/// family has addresses and this one is known to have none.
#[derive(Debug)]
pub struct AddressSet {
    families: Families,
    acceptable: Acceptable,
    schedule: Schedule,
    lots: [Lot; 2],
    /// All of them, sorted, so that every worker has them in the same order.
    addresses: Vec<IpAddr>,
    round: Option<Round>,
    answer: Option<Answered>,
    last_failure: Option<Failure>,
}

/// One family's addresses.
#[derive(Debug, Default)]
struct Lot {
    addresses: Vec<IpAddr>,
    answered: Option<Answered>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    at: Millis,
    until: Millis,
    ttl_s: u32,
}

/// Questions that were asked together.
#[derive(Debug)]
struct Round {
    asked: Families,
    pending: Families,
    negative: Families,
    found: Option<Answered>,
    failure: Option<Failure>,
}

impl AddressSet {
    /// One that knows what the configuration was read with. `seed` makes this name's jitter differ
    /// from that of other names and workers.
    pub fn new(limits: Limits, configured: &[IpAddr], seed: u64, now: Millis) -> Self {
        let mut lots = [Lot::default(), Lot::default()];
        for address in configured.iter().map(IpAddr::to_canonical) {
            lot(&mut lots, Family::of(address)).addresses.push(address);
        }
        let mut set = Self {
            families: Families { v4: limits.ipv4, v6: limits.ipv6 },
            acceptable: Acceptable::beside(configured),
            schedule: Schedule::new(limits.min_ms, limits.max_ms, seed, now),
            lots,
            addresses: Vec::new(),
            round: None,
            answer: None,
            last_failure: None,
        };
        set.collect();
        set
    }

    /// From now on asks for `families` only.
    pub const fn use_families(&mut self, families: Families) {
        self.families = families;
    }

    /// Begins a round if it is time for one: which families to ask for now. None while one is in
    /// flight, too soon after the last one, or when there is no family to ask for. Each of them
    /// must come back through [`answered`](Self::answered), or all through [`cancel`](Self::cancel).
    pub fn ask(&mut self, now: Millis, reason: Reason) -> Option<Families> {
        let asked = self.families;
        if self.round.is_some() || asked.is_empty() || !self.schedule.allows(now, reason) {
            return None;
        }
        let negative = Families::NONE;
        self.round = Some(Round { asked, pending: asked, negative, found: None, failure: None });
        Some(asked)
    }

    /// The answer for one family of the round has come. Addresses are in use at once, without the
    /// other family's.
    pub fn answered(
        &mut self,
        now: Millis,
        family: Family,
        result: Result<Answer, Failure>,
    ) -> Progress {
        let Some(round) = self.round.as_mut().filter(|round| round.pending.has(family)) else {
            return Progress::Ignored;
        };
        round.pending = round.pending.without(family);
        match result.and_then(|answer| self.acceptable.filter(answer)) {
            Ok(Answer { addresses, ttl_s }) => {
                let until = now.saturating_add(self.schedule.lifetime_ms(ttl_s));
                let answered = Answered { at: now, until, ttl_s };
                round.found = Some(round.found.map_or(answered, |found| found.sooner(answered)));
                self.answer = round.found;
                *lot(&mut self.lots, family) = Lot { addresses, answered: Some(answered) };
            }
            Err(failure) => round.note(family, failure),
        }
        let done = round.pending.is_empty();
        if done {
            self.finish(now);
        }
        let changed = self.collect();
        if done { Progress::Done { changed } } else { Progress::Waiting { changed } }
    }

    /// The round could not be asked, or was given up: as if each answer that is missing had failed.
    pub fn cancel(&mut self, now: Millis) -> Progress {
        let mut progress = Progress::Ignored;
        for family in self.round.as_ref().map_or(Families::NONE, |round| round.pending).iter() {
            progress = self.answered(now, family, Err(Failure::Unavailable));
        }
        progress
    }

    fn finish(&mut self, now: Millis) {
        let Some(round) = self.round.take() else { return };
        let told = |failure: &Failure| round.found.is_none() || !failure.is_negative();
        self.last_failure = round.failure.filter(told);
        let Some(found) = round.found else {
            self.schedule.failed(now);
            return;
        };
        // An answer's time runs from when it came, not from the end of its round.
        self.schedule.succeeded(now, found.until.saturating_sub(now));
        for family in Family::ALL {
            if round.negative.has(family) || !round.asked.has(family) {
                *lot(&mut self.lots, family) = Lot::default();
            }
        }
    }

    /// Puts the families' addresses together; whether they are others than before.
    fn collect(&mut self) -> bool {
        let mut all: Vec<IpAddr> = Vec::new();
        for lot in &self.lots {
            all.extend_from_slice(&lot.addresses);
        }
        all.sort_unstable();
        all.dedup();
        all.truncate(MAX_ADDRESSES);
        let changed = all != self.addresses;
        self.addresses = all;
        changed
    }

    /// The last good addresses, sorted; those of the configuration before any answer. Never empty
    /// if those were not, and at most 64.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// When to ask again although nothing fails: shortly before the answer's time is up.
    pub const fn due_at(&self) -> Millis {
        self.schedule.due_at()
    }

    /// Whether it is that time, and nobody has asked.
    pub const fn due(&self, now: Millis) -> bool {
        self.round.is_none() && now >= self.schedule.due_at()
    }

    /// From when on a failure may ask again.
    pub const fn not_before(&self) -> Millis {
        self.schedule.not_before()
    }

    /// Whether answers are outstanding.
    pub const fn in_flight(&self) -> bool {
        self.round.is_some()
    }

    /// Whether any answer with addresses has ever come.
    pub const fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// How long ago the last addresses came, milliseconds.
    pub fn age_ms(&self, now: Millis) -> Option<Millis> {
        self.answer.map(|answer| now.saturating_sub(answer.at))
    }

    /// The time to live that they came with, seconds, as it was in the answer.
    pub fn ttl_s(&self) -> Option<u32> {
        self.answer.map(|answer| answer.ttl_s)
    }

    /// What went wrong in the last round. That one family has no addresses is nothing wrong if the
    /// other has.
    pub const fn last_failure(&self) -> Option<Failure> {
        self.last_failure
    }

    /// What is known about `address` now.
    pub fn verdict(&self, now: Millis, address: IpAddr) -> Dns {
        let address = address.to_canonical();
        let unsure = self.last_failure.map_or(Dns::Unknown, |_| Dns::Unresolved);
        let Some(lot) = self.lots.iter().find(|lot| lot.addresses.contains(&address)) else {
            return if self.answer.is_some() { Dns::Stale } else { unsure };
        };
        match lot.answered {
            Some(answered) if now <= answered.until => Dns::Fresh,
            Some(_) | None => unsure,
        }
    }
}

impl Answered {
    /// Both together: as old as the newer, good for as long as the shorter.
    const fn sooner(self, other: Self) -> Self {
        let Self { at, .. } = if self.at > other.at { self } else { other };
        let shorter = if self.until < other.until { self } else { other };
        Self { at, ..shorter }
    }
}

impl Round {
    fn note(&mut self, family: Family, failure: Failure) {
        if failure.is_negative() {
            self.negative = match family {
                Family::V4 => Families { v4: true, ..self.negative },
                Family::V6 => Families { v6: true, ..self.negative },
            };
        }
        // Who could not be asked explains more than what does not exist.
        if self.failure.is_none_or(Failure::is_negative) {
            self.failure = Some(failure);
        }
    }
}

const fn lot(lots: &mut [Lot; 2], family: Family) -> &mut Lot {
    let [v4, v6] = lots;
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}
