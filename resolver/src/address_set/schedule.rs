//! When to ask, from how the last round went.

use core::ops::RangeInclusive;

use crate::Millis;
use crate::random::Random;

use super::Reason;

/// How much of an answer's time goes by before it is asked for again, per cent. The rest is for the
/// question's way there and back, so that no request meets an answer whose time is up.
const AHEAD: RangeInclusive<u64> = 80..=95;
/// How much of the shortest interval is kept all the same, per cent.
const SHORTEST: RangeInclusive<u64> = 75..=80;
/// How much of a pause is kept, per cent: many workers have seen the same failure.
const PAUSE: RangeInclusive<u64> = 75..=100;
/// The longest pause after failures, milliseconds: RFC 8767, section 5, recommends to look again
/// every 30 seconds.
const MAX_PAUSE_MS: Millis = 30_000;

/// The times of one name.
#[derive(Debug)]
pub(super) struct Schedule {
    min_ms: Millis,
    max_ms: Millis,
    random: Random,
    not_before: Millis,
    due_at: Millis,
    /// Rounds that failed since the last that did not.
    failures: u32,
}

impl Schedule {
    /// The first time is due within the shortest interval: many names begin together.
    pub(super) fn new(min_ms: Millis, max_ms: Millis, seed: u64, now: Millis) -> Self {
        let min_ms = min_ms.max(1);
        let mut random = Random::new(seed);
        let due_at = now.saturating_add(random.part(min_ms, 0..=100));
        Self { min_ms, max_ms: max_ms.max(min_ms), random, not_before: 0, due_at, failures: 0 }
    }

    pub(super) const fn allows(&self, now: Millis, reason: Reason) -> bool {
        match reason {
            Reason::Failure => now >= self.not_before,
            Reason::Due => now >= self.due_at,
        }
    }

    /// How long an answer with this time to live counts, milliseconds.
    pub(super) fn lifetime_ms(&self, ttl_s: u32) -> Millis {
        u64::from(ttl_s).saturating_mul(1000).clamp(self.min_ms, self.max_ms)
    }

    /// A round brought addresses that count for `left_ms` more.
    pub(super) fn succeeded(&mut self, now: Millis, left_ms: Millis) {
        self.failures = 0;
        // Nothing is left when the other family took longer than the answer counts.
        let shortest_ms = self.random.part(self.min_ms, SHORTEST);
        let ahead_ms = self.random.part(left_ms, AHEAD);
        self.due_at = now.saturating_add(ahead_ms.max(shortest_ms));
        self.pause(now, self.min_ms);
    }

    /// A round brought none.
    pub(super) fn failed(&mut self, now: Millis) {
        let doubled = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let pause_ms = self.min_ms.saturating_mul(doubled).min(MAX_PAUSE_MS);
        let pause_ms = self.random.part(pause_ms.clamp(self.min_ms, self.max_ms), PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.due_at = now.saturating_add(pause_ms);
        // A request that fails may be the first to see the end of an outage, so it need not wait
        // for as long as the schedule does.
        self.pause(now, self.min_ms);
    }

    fn pause(&mut self, now: Millis, pause_ms: Millis) {
        self.not_before = now.saturating_add(self.random.part(pause_ms, PAUSE));
    }

    pub(super) const fn due_at(&self) -> Millis {
        self.due_at
    }

    pub(super) const fn not_before(&self) -> Millis {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_live_is_clamped() {
        for (min, max, ttl_s, wanted) in [
            (1000, 300_000, 0, 1000),
            (1000, 300_000, 1, 1000),
            (1000, 300_000, 30, 30_000),
            (1000, 300_000, 600, 300_000),
            (1000, 300_000, u32::MAX, 300_000),
            (0, 0, 0, 1),
            (0, 0, 9, 1),
            (5000, 1000, 1, 5000),
            (1000, u64::MAX, u32::MAX, 4_294_967_295_000),
        ] {
            assert_eq!(Schedule::new(min, max, 0, 0).lifetime_ms(ttl_s), wanted);
        }
    }

    #[test]
    fn an_answer_is_asked_for_again_before_its_time_is_up() {
        for seed in 0..1000 {
            let mut schedule = Schedule::new(1000, 300_000, seed, 0);
            schedule.succeeded(5, 30_000);
            assert!((24_005..=28_505).contains(&schedule.due_at()), "{}", schedule.due_at());
            assert!(!schedule.allows(754, Reason::Failure));
            assert!(schedule.allows(1005, Reason::Failure));
            assert!(!schedule.allows(1005, Reason::Due));
        }
    }

    #[test]
    fn an_answer_that_is_over_when_its_round_ends_is_not_asked_for_at_once() {
        let mut schedule = Schedule::new(1000, 300_000, 1, 0);
        schedule.succeeded(5000, 0);
        assert!((5750..=5800).contains(&schedule.due_at()), "{}", schedule.due_at());
    }

    #[test]
    fn pauses_grow_to_a_bound_and_end_with_a_success() {
        let mut schedule = Schedule::new(1000, 300_000, 3, 0);
        for longest in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            schedule.failed(0);
            let due = schedule.due_at();
            assert!((longest * 3 / 4..=longest).contains(&due), "{due} of {longest}");
            assert!((750..=1000).contains(&schedule.not_before()));
        }
        for _ in 0..200 {
            schedule.failed(0);
        }
        assert!((22_500..=30_000).contains(&schedule.due_at()));
        schedule.succeeded(0, 1000);
        schedule.failed(0);
        assert!(schedule.due_at() <= 1000);
    }

    #[test]
    fn the_bounds_hold_for_pauses() {
        let mut schedule = Schedule::new(60_000, 90_000, 3, 0);
        schedule.failed(0);
        schedule.failed(0);
        assert!((45_000..=60_000).contains(&schedule.due_at()));
        let mut schedule = Schedule::new(1000, 3000, 3, 0);
        for _ in 0..9 {
            schedule.failed(0);
        }
        assert!((2250..=3000).contains(&schedule.due_at()));
    }

    #[test]
    fn nothing_overflows() {
        let mut schedule = Schedule::new(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        schedule.failed(u64::MAX);
        schedule.succeeded(u64::MAX, u64::MAX);
        assert_eq!(schedule.due_at(), u64::MAX);
    }
}
