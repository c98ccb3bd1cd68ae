//! Rounds as they happen, and as nobody planned them.
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use super::*;
use crate::random::Random;
use Failure::{Malformed, NoData, NotFound, Refused, ServerFailure, TimedOut, Unavailable};
use Family::{V4, V6};

const LIMITS: Limits = Limits { min_ms: 1000, max_ms: 300_000, ipv4: true, ipv6: true };

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn found(texts: &[&str], ttl_s: u32) -> Result<Answer, Failure> {
    Ok(Answer { addresses: addresses(texts), ttl_s })
}

fn set(configured: &[&str]) -> AddressSet {
    AddressSet::new(LIMITS, &addresses(configured), 1, 0)
}

/// A round of both families at `now`; whether it changed the addresses.
fn round(
    set: &mut AddressSet,
    now: Millis,
    v4: Result<Answer, Failure>,
    v6: Result<Answer, Failure>,
) -> bool {
    let asked = set.ask(now, Reason::Due).or_else(|| set.ask(now, Reason::Failure));
    assert_eq!(asked, Some(Families::BOTH));
    let before = set.addresses().to_vec();
    assert!(matches!(set.answered(now, V4, v4), Progress::Waiting { .. }));
    assert!(matches!(set.answered(now, V6, v6), Progress::Done { .. }));
    assert!(!set.in_flight());
    before != set.addresses()
}

#[test]
fn answers_of_both_families() {
    let (a, b, six) = (["10.0.0.1"], ["10.0.0.2"], ["fd00::1"]);
    for (v4, v6, wanted, failure) in [
        (found(&b, 30), Err(NoData), &["10.0.0.2"][..], None),
        (found(&b, 30), Err(NotFound), &["10.0.0.2"], None),
        (found(&b, 30), found(&six, 30), &["10.0.0.2", "fd00::1"], None),
        // From IPv4 to IPv6.
        (Err(NoData), found(&six, 30), &["fd00::1"], None),
        (Err(NotFound), found(&six, 30), &["fd00::1"], None),
        // Not known to be gone.
        (Err(ServerFailure), found(&six, 30), &["10.0.0.1", "fd00::1"], Some(ServerFailure)),
        (Err(TimedOut), found(&six, 30), &["10.0.0.1", "fd00::1"], Some(TimedOut)),
        (found(&["0.0.0.0"], 30), found(&six, 30), &["10.0.0.1", "fd00::1"], Some(Malformed)),
        (found(&["127.0.0.1", "10.0.0.3"], 30), Err(NoData), &["10.0.0.3"], None),
        // Nothing at all: the last good stay.
        (Err(NotFound), Err(NotFound), &["10.0.0.1"], Some(NotFound)),
        (Err(NoData), Err(NoData), &["10.0.0.1"], Some(NoData)),
        (Err(NoData), Err(Refused), &["10.0.0.1"], Some(Refused)),
        (Err(Refused), Err(NoData), &["10.0.0.1"], Some(Refused)),
        (Err(TimedOut), Err(ServerFailure), &["10.0.0.1"], Some(TimedOut)),
        (found(&[], 30), Err(NoData), &["10.0.0.1"], Some(Malformed)),
    ] {
        let says = format!("{v4:?} {v6:?}");
        let mut set = set(&a);
        round(&mut set, 0, v4, v6);
        assert_eq!(set.addresses(), addresses(wanted), "{says}");
        assert_eq!(set.last_failure(), failure, "{says}");
    }
}

#[test]
fn the_first_answer_is_in_use_before_the_second() {
    let mut set = set(&["10.0.0.1"]);
    set.ask(0, Reason::Failure).unwrap();
    let first = set.answered(1, V4, found(&["10.0.0.2"], 30));
    assert_eq!(first, Progress::Waiting { changed: true });
    assert_eq!(set.addresses(), addresses(&["10.0.0.2"]));
    assert!(set.in_flight() && set.has_answer());
    assert_eq!(set.answered(9, V6, Err(TimedOut)), Progress::Done { changed: false });
    assert_eq!((set.age_ms(11), set.ttl_s()), (Some(10), Some(30)));
    // An answer that was not asked for, or twice, is nobody's.
    assert_eq!(set.answered(9, V4, found(&["10.0.0.3"], 30)), Progress::Ignored);
    assert_eq!(set.addresses(), addresses(&["10.0.0.2"]));
}

#[test]
fn one_round_at_a_time_and_a_pause_after_it() {
    let mut set = set(&["10.0.0.1"]);
    assert_eq!(set.ask(0, Reason::Failure), Some(Families::BOTH));
    for now in [0, 1, 1000, 1_000_000] {
        assert_eq!(set.ask(now, Reason::Failure), None);
        assert_eq!(set.ask(now, Reason::Due), None);
        assert!(!set.due(now));
    }
    set.answered(10, V4, found(&["10.0.0.1"], 0));
    set.answered(10, V6, Err(NoData));
    assert_eq!(set.ask(10, Reason::Failure), None);
    assert_eq!(set.ask(set.not_before() - 1, Reason::Failure), None);
    assert!((760..=1010).contains(&set.not_before()));
    assert!(set.due_at() < 1010);
    assert_eq!(set.ask(set.due_at() - 1, Reason::Due), None);
    assert_eq!(set.ask(set.due_at(), Reason::Due), Some(Families::BOTH));
}

#[test]
fn a_round_that_could_not_be_asked_ends() {
    let mut set = set(&["10.0.0.1"]);
    assert_eq!(set.cancel(0), Progress::Ignored);
    set.ask(0, Reason::Failure).unwrap();
    assert_eq!(set.cancel(0), Progress::Done { changed: false });
    assert_eq!(set.last_failure(), Some(Unavailable));
    assert_eq!(set.ask(1, Reason::Failure), None);
    assert!(set.ask(1000, Reason::Failure).is_some());
    // Half of it had come.
    set.answered(1001, V6, found(&["fd00::1"], 30));
    assert_eq!(set.cancel(1001), Progress::Done { changed: false });
    assert_eq!(set.addresses(), addresses(&["10.0.0.1", "fd00::1"]));
}

#[test]
fn families_that_are_not_asked_for() {
    let limits = Limits { ipv6: false, ..LIMITS };
    let mut set = AddressSet::new(limits, &addresses(&["10.0.0.1", "fd00::1"]), 1, 0);
    assert_eq!(set.ask(0, Reason::Failure), Some(Families { v4: true, v6: false }));
    assert_eq!(set.answered(0, V6, found(&["fd00::2"], 1)), Progress::Ignored);
    assert_eq!(set.answered(0, V4, Err(TimedOut)), Progress::Done { changed: false });
    assert_eq!(set.addresses().len(), 2);
    set.ask(1000, Reason::Failure).unwrap();
    let done = set.answered(1000, V4, found(&["10.0.0.1"], 1));
    assert_eq!(done, Progress::Done { changed: true });
    assert_eq!(set.addresses(), addresses(&["10.0.0.1"]));
    set.use_families(Families::NONE);
    assert_eq!(set.ask(9000, Reason::Failure), None);
}

#[test]
fn an_outage_of_any_length_is_survived() {
    let mut set = set(&["10.0.0.1"]);
    round(&mut set, 0, found(&["10.0.0.2"], 30), Err(NoData));
    let mut now = 0;
    for _ in 0..5000 {
        now = set.due_at();
        assert!(set.due(now));
        assert!(!round(&mut set, now, Err(TimedOut), Err(TimedOut)));
        assert!(set.due_at() - now <= 30_000);
    }
    assert_eq!(set.addresses(), addresses(&["10.0.0.2"]));
    assert_eq!(set.age_ms(now), Some(now));
    now += 1000;
    assert!(round(&mut set, now, found(&["10.0.0.3"], 30), Err(NoData)));
    assert_eq!(set.last_failure(), None);
    assert_eq!(set.age_ms(now), Some(0));
}

#[test]
fn what_dns_says_about_an_address() {
    let old: IpAddr = "10.0.0.1".parse().unwrap();
    let new: IpAddr = "10.0.0.2".parse().unwrap();
    let mut set = set(&["10.0.0.1"]);
    assert_eq!(set.verdict(0, old), Dns::Unknown);
    assert_eq!(set.verdict(0, new), Dns::Unknown);
    round(&mut set, 0, Err(ServerFailure), Err(ServerFailure));
    assert_eq!(set.verdict(0, old), Dns::Unresolved);
    assert_eq!(set.verdict(0, new), Dns::Unresolved);
    round(&mut set, 1000, found(&["10.0.0.2"], 30), Err(NoData));
    assert_eq!(set.verdict(1000, old), Dns::Stale);
    assert_eq!(set.verdict(31_000, new), Dns::Fresh);
    assert_eq!(set.verdict(31_000, "::ffff:10.0.0.2".parse().unwrap()), Dns::Fresh);
    assert_eq!(set.verdict(31_001, new), Dns::Unknown);
    assert_eq!(set.verdict(31_001, old), Dns::Stale);
    round(&mut set, 40_000, Err(TimedOut), Err(TimedOut));
    assert_eq!(set.verdict(40_000, new), Dns::Unresolved);
    assert_eq!(set.verdict(40_000, old), Dns::Stale);
}

/// Whatever is done to a set in whatever order, these hold.
#[test]
fn invariants() {
    let failures = Failure::ALL;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut below = |bound: u64| random.next() % bound;
        let limits = Limits { min_ms: below(2000), max_ms: below(90_000), ..LIMITS };
        let configured = addresses(&["10.0.0.1", "fd00::1"]);
        let mut set = AddressSet::new(limits, &configured, seed, below(1000));
        let mut now = 1000;
        let (mut pending, mut ended) = (0, None::<Millis>);
        for _ in 0..2000 {
            now += [0, 1, 10, 1000, 100_000][below(5) as usize];
            match below(8) {
                0..=2 => {
                    let reason = if below(2) == 0 { Reason::Due } else { Reason::Failure };
                    if let Some(families) = set.ask(now, reason) {
                        assert_eq!(pending, 0, "a second round");
                        pending = families.iter().count();
                        let pause = limits.min_ms.max(1) * 3 / 4;
                        assert!(ended.is_none_or(|ended| now >= ended + pause), "too soon");
                    }
                }
                3 => {
                    if set.cancel(now) != Progress::Ignored {
                        (pending, ended) = (0, Some(now));
                    }
                }
                _ => {
                    let family = Family::ALL[below(2) as usize];
                    let host = |n: u64| match family {
                        V4 => IpAddr::from([10, 0, (n >> 8) as u8, n as u8]),
                        V6 => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n as u16]),
                    };
                    let result = if below(2) == 0 {
                        Err(failures[below(failures.len() as u64) as usize])
                    } else {
                        let addresses = (0..below(200)).map(host).collect();
                        Ok(Answer { addresses, ttl_s: below(1 << 32) as u32 })
                    };
                    let before = set.addresses().to_vec();
                    let changed = match set.answered(now, family, result) {
                        Progress::Ignored => false,
                        Progress::Waiting { changed } => {
                            pending -= 1;
                            changed
                        }
                        Progress::Done { changed } => {
                            (pending, ended) = (pending - 1, Some(now));
                            changed
                        }
                    };
                    assert_eq!(changed, before != set.addresses());
                }
            }
            assert_eq!(set.in_flight(), pending > 0);
            assert!((1..=MAX_ADDRESSES).contains(&set.addresses().len()));
            assert!(set.addresses().is_sorted());
            let latest = now + limits.max_ms.max(limits.min_ms).max(30_000);
            assert!(set.due_at() <= latest && set.not_before() <= latest);
        }
    }
}
