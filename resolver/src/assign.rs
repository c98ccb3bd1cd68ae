//! Which of a name's addresses each configured place uses.

use std::net::IpAddr;

/// Addresses for the places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// One for each place, in the places' order.
    pub slots: Vec<IpAddr>,
    /// Every current address, when there are more of them than places, else none: the caller may
    /// go through them in turn, or pin a place to its own.
    pub rotation: Vec<IpAddr>,
}

/// Puts `current`, the addresses that a name has now, into `slots`, the places that a configuration
/// has for them: the addresses that it found when it was read, or those of the last assignment.
///
/// An address that is still valid keeps its place. The other places take the addresses that nobody
/// has, in order, and share when there are none left, as evenly as numbers allow. The result assigned
/// again is the same. Without any current address everything stays.
pub fn assign(slots: &[IpAddr], current: &[IpAddr]) -> Assignment {
    let mut uses = Uses::new(slots.len(), current);
    if uses.counts.is_empty() {
        return Assignment { slots: slots.to_vec(), rotation: Vec::new() };
    }
    let kept: Vec<Option<IpAddr>> =
        slots.iter().map(|slot| uses.keep(*slot).then_some(*slot)).collect();
    let slots = kept.into_iter().zip(slots);
    let slots: Vec<IpAddr> =
        slots.map(|(kept, slot)| kept.or_else(|| uses.take()).unwrap_or(*slot)).collect();
    let rotation = if uses.counts.len() > slots.len() {
        uses.counts.into_iter().map(|(address, _)| address).collect()
    } else {
        Vec::new()
    };
    Assignment { slots, rotation }
}

/// How many places have each address.
struct Uses {
    counts: Vec<(IpAddr, usize)>,
    /// How many places each address has at least when they are spread evenly.
    each: usize,
    /// How many addresses have one more.
    more: usize,
}

impl Uses {
    fn new(slots: usize, current: &[IpAddr]) -> Self {
        let mut counts: Vec<(IpAddr, usize)> = Vec::with_capacity(current.len());
        for address in current {
            if !counts.iter().any(|(known, _)| known == address) {
                counts.push((*address, 0));
            }
        }
        let each = slots.checked_div(counts.len()).unwrap_or(0);
        let more = slots.checked_rem(counts.len()).unwrap_or(0);
        Self { counts, each, more }
    }

    /// Whether a place that has `address` may go on with it.
    fn keep(&mut self, address: IpAddr) -> bool {
        let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == address) else {
            return false;
        };
        if *count > self.each || (*count == self.each && self.more == 0) {
            return false;
        }
        if *count == self.each {
            self.more = self.more.saturating_sub(1);
        }
        *count = count.saturating_add(1);
        true
    }

    /// The address that the fewest places have, the first of several.
    fn take(&mut self) -> Option<IpAddr> {
        let (address, count) = self.counts.iter_mut().min_by_key(|(_, count)| *count)?;
        *count = count.saturating_add(1);
        Some(*address)
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Addresses by letter; capital ones are IPv6.
    fn addresses(names: &str) -> Vec<IpAddr> {
        let address = |name: u8| match name {
            b'A'..=b'Z' => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(name)]),
            _ => IpAddr::from([10, 0, 0, name]),
        };
        names.bytes().map(address).collect()
    }

    fn assigned(slots: &str, current: &str) -> Assignment {
        assign(&addresses(slots), &addresses(current))
    }

    #[test]
    fn places_and_addresses() {
        for (slots, current, wanted, rotation) in [
            ("a", "a", "a", ""),
            ("a", "b", "b", ""),
            ("a", "A", "A", ""),
            // 3 → 1 → 3
            ("abc", "d", "ddd", ""),
            ("ddd", "d", "ddd", ""),
            ("ddd", "abc", "abc", ""),
            ("ddd", "abd", "dab", ""),
            // 1 → 3 → 1
            ("a", "abc", "a", "abc"),
            ("a", "bcd", "b", "bcd"),
            ("b", "e", "e", ""),
            // What is still valid stays where it is.
            ("abc", "cba", "abc", ""),
            ("abc", "cx", "xcc", ""),
            ("abc", "bxy", "xby", ""),
            ("abc", "bc", "bbc", ""),
            ("abc", "ABc", "ABc", ""),
            // Even shares, and no more moves than they need.
            ("aab", "ab", "aab", ""),
            ("aax", "ab", "aab", ""),
            ("aaaa", "ab", "aabb", ""),
            ("aaaa", "abc", "aabc", ""),
            ("abcd", "xy", "xyxy", ""),
            ("ab", "aabb", "ab", ""),
            // Nothing to take.
            ("ab", "", "ab", ""),
            ("", "ab", "", "ab"),
            ("", "", "", ""),
        ] {
            let result = assigned(slots, current);
            let expected = Assignment { slots: addresses(wanted), rotation: addresses(rotation) };
            assert_eq!(result, expected, "{slots} with {current}");
        }
    }

    #[test]
    fn any_assignment_is_complete_even_and_final() {
        let mut random = Random::new(7);
        for _ in 0..20_000 {
            let mut pick = |most: u64| -> Vec<IpAddr> {
                let length = random.next() % (most + 1);
                let host = |random: &mut Random| IpAddr::from([10, 0, 0, random.next() as u8 % 6]);
                (0..length).map(|_| host(&mut random)).collect()
            };
            let (slots, current) = (pick(7), pick(7));
            let result = assign(&slots, &current);
            assert_eq!(result.slots.len(), slots.len());
            let mut unique = current.clone();
            unique.sort_unstable();
            unique.dedup();
            if unique.is_empty() {
                assert_eq!(result.slots, slots);
                continue;
            }
            let uses = |address| result.slots.iter().filter(|slot| *slot == address).count();
            let counts: Vec<usize> = unique.iter().map(uses).collect();
            assert_eq!(counts.iter().sum::<usize>(), slots.len(), "{slots:?} {current:?}");
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{slots:?} {current:?} {result:?}");
            assert_eq!(!result.rotation.is_empty(), unique.len() > slots.len());
            assert_eq!(assign(&result.slots, &current), result);
        }
    }
}
