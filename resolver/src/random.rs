//! Jitter, so that workers and names do not ask in step. Not for secrets.

/// A sequence from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Somewhere between `percent` of `value` and the whole of it, both included.
    pub(crate) fn part(&mut self, value: u64, percent: core::ops::RangeInclusive<u64>) -> u64 {
        let (least, most) = (share(value, *percent.start()), share(value, *percent.end()));
        let span = most.saturating_sub(least).saturating_add(1);
        least.saturating_add(self.next().checked_rem(span).unwrap_or(0))
    }
}

fn share(value: u64, percent: u64) -> u64 {
    let whole = u128::from(value).saturating_mul(u128::from(percent.min(100)));
    u64::try_from(whole.div_euclid(100)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stays_within_its_bounds() {
        let mut random = Random::new(1);
        for value in [0, 1, 7, 1000, u64::from(u32::MAX), u64::MAX] {
            for _ in 0..1000 {
                let part = random.part(value, 80..=95);
                assert!(part >= share(value, 80) && part <= share(value, 95), "{part} of {value}");
            }
        }
        let parts: std::collections::BTreeSet<_> =
            (0..1000).map(|_| random.part(1000, 80..=95)).collect();
        assert!(parts.len() > 100, "{}", parts.len());
    }
}
