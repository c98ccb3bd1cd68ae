//! Processes that the kernel has killed for want of memory: coincident with a failure, no proof.

use super::kernel::{number, row};
use crate::{Cause, Evidence, Hint, printable};

/// A rise is told for so long after it was seen, milliseconds: one kill ends many connections.
const TOLD_MS: u64 = 10_000;

/// Kills counted since the system, or the control group, began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kills {
    /// On the whole host.
    pub host: Option<u64>,
    /// In nginx's own control group, as in a container that nginx shares with the back end.
    pub group: Option<u64>,
}

impl Kills {
    /// From the texts of `/proc/vmstat` and the control group's `memory.events`.
    pub fn read(vmstat: Option<&[u8]>, events: Option<&[u8]>) -> Self {
        let count = |text: &[u8]| number(row(text, "oom_kill")?.next()?);
        Self { host: vmstat.and_then(count), group: events.and_then(count) }
    }

    fn since(self, before: Self) -> Self {
        let more = |now: Option<u64>, before: Option<u64>| now?.checked_sub(before?);
        Self { host: more(self.host, before.host), group: more(self.group, before.group) }
    }

    /// The host's include those of its groups, but a container may not show them.
    fn count(self) -> u64 {
        self.host.unwrap_or(0).max(self.group.unwrap_or(0))
    }
}

/// The control group of a process, below where cgroup2 is mounted, from the text of
/// `/proc/self/cgroup`; nothing above it, and none that is not version 2.
pub fn control_group(text: &[u8]) -> Option<&str> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let group = std::str::from_utf8(line).ok()?;
    (!group.split('/').any(|part| part == "..") && !group.contains('\0')).then_some(group)
}

/// Looks again and again, and tells what has changed meanwhile.
#[derive(Debug, Default)]
pub struct Watch {
    last: Option<(Kills, u64)>,
    /// What the last rise was, after which look, and when it was seen.
    rise: Option<(Kills, u64, u64)>,
}

impl Watch {
    /// One that has not looked yet.
    pub const fn new() -> Self {
        Self { last: None, rise: None }
    }

    /// Takes in what is counted now. Kills since the look before, and when that was, if there were
    /// any or the last ones were seen a few seconds ago.
    pub fn look(&mut self, kills: Kills, now_ms: u64) -> Option<(Kills, u64)> {
        let last = self.last.replace((kills, now_ms));
        let risen = last.map(|(before, at)| (kills.since(before), at));
        if let Some((more, at)) = risen.filter(|(more, _)| more.count() > 0) {
            self.rise = Some((more, at, now_ms));
        }
        let told = self.rise.filter(|(_, _, seen)| now_ms.wrapping_sub(*seen) < TOLD_MS);
        told.map(|(more, at, _)| (more, now_ms.wrapping_sub(at)))
    }
}

/// `kills` within the last `ms` milliseconds, and `address` that ended a connection.
pub fn find(cause: Cause, address: &[u8], kills: Kills, ms: u64) -> Evidence {
    let count = kills.count();
    let mut facts = vec![("oom_kills", count.into()), ("oom_kill_at_most_ms_ago", ms.into())];
    facts.extend(kills.group.map(|count| ("oom_kills_in_own_cgroup", count.into())));
    let address = printable::plain(address);
    let address = String::from_utf8_lossy(&address);
    let ended = if cause == Cause::ClosedBeforeHeader {
        "closed the connection without a complete answer"
    } else {
        "ended the connection"
    };
    let what = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
    let seconds = ms.div_ceil(1000).max(1);
    Evidence::new(Hint::OomKillSeen, facts).advising(format!(
        "{address} {ended}, and the kernel of this host has killed {what} for want of memory within \
         the last {seconds} s; see the kernel's log for which, and give the back end more memory \
         or less to do"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18, cut.
    const VMSTAT: &[u8] = b"nr_free_pages 1907226\nallocstall_movable 0\ndrop_slab 0\noom_kill 3\n\
        numa_pte_updates 0\nswap_ra 0\n";
    /// A container's, Linux 6.1.
    const EVENTS: &[u8] = b"low 0\nhigh 0\nmax 4217\noom 12\noom_kill 2\noom_group_kill 0\n";

    fn kills(host: u64) -> Kills {
        Kills { host: Some(host), group: None }
    }

    #[test]
    fn both_counters_are_read() {
        let read = Kills::read(Some(VMSTAT), Some(EVENTS));
        assert_eq!(read, Kills { host: Some(3), group: Some(2) });
        assert_eq!(Kills::read(None, None), Kills::default());
        for hostile in [&b""[..], b"oom_kill", b"oom_kill \n1", b"oom_kill -1", b"oom_kill x\xff"] {
            assert_eq!(Kills::read(Some(hostile), Some(hostile)), Kills::default());
        }
    }

    #[test]
    fn the_own_control_group() {
        for (text, group) in [
            (&b"0::/system.slice/nginx.service\n"[..], Some("system.slice/nginx.service")),
            (b"9:name=systemd:/\n4:memory:/x\n0::/\n", Some("")),
            (b"4:memory:/x\n", None),
            (b"0::/../../etc\n", None),
            (b"0::/a\0b\n", None),
            (b"0::/\xff\n", None),
            (b"", None),
        ] {
            assert_eq!(control_group(text), group);
        }
    }

    #[test]
    fn only_a_rise_since_the_last_look_is_told_and_for_a_while() {
        let mut watch = Watch::new();
        assert_eq!(watch.look(kills(3), 1000), None);
        assert_eq!(watch.look(kills(3), 2000), None);
        assert_eq!(watch.look(kills(5), 2700), Some((kills(2), 700)));
        assert_eq!(watch.look(kills(5), 3000), Some((kills(2), 1000)));
        assert_eq!(watch.look(kills(5), 12_700), None);
        // A counter that begins again, or is not to be read for a time.
        assert_eq!(watch.look(kills(0), 13_000), None);
        assert_eq!(watch.look(Kills::default(), 14_000), None);
        assert_eq!(watch.look(kills(9), 15_000), None);
        assert_eq!(watch.look(kills(10), 16_000), Some((kills(1), 1000)));
    }

    #[test]
    fn what_was_seen_is_said_with_its_age() {
        let more = Kills { host: Some(2), group: Some(1) };
        let found = find(Cause::ClosedBeforeHeader, b"10.0.0.7:80", more, 1001);
        assert_eq!(found.hint, Some(Hint::OomKillSeen));
        assert_eq!(
            found.facts,
            [
                ("oom_kills", 2.into()),
                ("oom_kill_at_most_ms_ago", 1001.into()),
                ("oom_kills_in_own_cgroup", 1.into()),
            ]
        );
        let said = found.advice.unwrap();
        assert!(said.contains("has killed 2 processes for want of memory within the last 2 s"));
        assert!(said.starts_with("10.0.0.7:80 closed the connection without"), "{said}");
        let said = find(Cause::ResetBeforeHeader, b"\"\x1b", kills(1), 0).advice.unwrap();
        assert!(said.contains("has killed 1 process ") && said.contains("the last 1 s"), "{said}");
        assert!(printable::is_plain(said.as_bytes()));
    }
}
