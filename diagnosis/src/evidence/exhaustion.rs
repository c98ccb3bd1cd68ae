//! What has run out on this side: the limit, who set it, and what is in use.

use super::kernel::{after, first, number, row, words};
use crate::evidence::Fact;
use crate::{Evidence, printable};

/// The limits on descriptors of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// The soft `RLIMIT_NOFILE`.
    pub soft: u64,
    /// The hard one; `None` when there is none.
    pub hard: Option<u64>,
    /// `worker_rlimit_nofile`, if it is set.
    pub configured: Option<u64>,
    /// `worker_connections`.
    pub worker_connections: u64,
}

/// No descriptor is left to this process (EMFILE).
pub fn files(files: Files) -> Evidence {
    let Files { soft, worker_connections, .. } = files;
    let is_nginx = files.configured == Some(soft);
    let who = if is_nginx { "worker_rlimit_nofile" } else { "RLIMIT_NOFILE" };
    let mut facts = vec![("fd_limit", soft.into()), ("fd_limit_set_by", who.into())];
    if let Some(hard) = files.hard {
        facts.push(("fd_limit_hard", hard.into()));
    }
    facts.push(("worker_connections", worker_connections.into()));
    let advice = if is_nginx {
        format!(
            "all descriptors of this worker are in use (worker_rlimit_nofile={soft}); raise it \
             above worker_connections ({worker_connections}), with room for files"
        )
    } else {
        format!(
            "all descriptors of this worker are in use, and the system allows it {soft} \
             (RLIMIT_NOFILE); set worker_rlimit_nofile above worker_connections \
             ({worker_connections}), with room for files"
        )
    };
    Evidence::new(None, facts).advising(advice)
}

/// No file is left to the whole system (ENFILE); `file_nr` is `/proc/sys/fs/file-nr`, if there was
/// a descriptor to read it with.
pub fn system_files(file_nr: Option<&[u8]>) -> Evidence {
    let mut facts: Vec<Fact> = vec![("fd_limit_set_by", "fs.file-max".into())];
    // Allocated, free (always 0), maximum.
    let mut numbers = file_nr.into_iter().flat_map(words).map(number);
    let figures = (numbers.next().flatten(), numbers.nth(1).flatten());
    let in_use = if let (Some(open), Some(max)) = figures {
        facts.extend([("files_open", open.into()), ("files_max", max.into())]);
        format!(" ({open} of {max})")
    } else {
        String::new()
    };
    Evidence::new(None, facts).advising(format!(
        "the whole system has no file left to open{in_use}; find what keeps so many open, or raise \
         fs.file-max"
    ))
}

/// No local port is left for `address`; the range is `ip_local_port_range`'s text, `sockstat` that
/// of the network namespace.
pub fn ports(address: &[u8], range: &[u8], sockstat: Option<&[u8]>) -> Option<Evidence> {
    let mut numbers = words(range).map(number);
    let (low, high) = (numbers.next()??, numbers.next()??);
    let count = high.checked_sub(low)?.saturating_add(1);
    let mut facts =
        vec![("port_first", low.into()), ("port_last", high.into()), ("ports", count.into())];
    let tcp = |key| after(row(sockstat?, "TCP:")?, key);
    let (in_use, time_wait) = (tcp("inuse"), tcp("tw"));
    facts.extend(in_use.map(|count| ("tcp_in_use", count.into())));
    facts.extend(time_wait.map(|count| ("tcp_time_wait", count.into())));
    let waiting = time_wait.filter(|count| *count > 0);
    let waiting = waiting
        .map_or(String::new(), |count| format!(", and {count} connections are in TIME_WAIT"));
    let address = printable::plain(address);
    Some(Evidence::new(None, facts).advising(format!(
        "no local port is left for {}: there are {count} ({low} to {high}){waiting}; keep \
         connections open (keepalive in the upstream block) and widen net.ipv4.ip_local_port_range",
        String::from_utf8_lossy(&address)
    )))
}

/// The connections of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// `worker_connections`.
    pub limit: u64,
    /// Kept open without a request, to be closed when room is needed.
    pub idle: u64,
    /// What the rest is; `None` when there are too many to look at.
    pub uses: Option<Uses>,
}

/// What connections are used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Sockets that clients connect to.
    pub listening: u64,
    /// From clients.
    pub clients: u64,
    /// To upstreams, resolvers and the master process.
    pub others: u64,
}

/// All connections of this worker are in use.
pub fn connections(connections: Connections) -> Evidence {
    let Connections { limit, idle, uses } = connections;
    let mut facts = vec![("worker_connections", limit.into()), ("idle_connections", idle.into())];
    let mut told = String::new();
    if let Some(Uses { listening, clients, others }) = uses {
        facts.extend([
            ("listening_sockets", listening.into()),
            ("client_connections", clients.into()),
            ("other_connections", others.into()),
        ]);
        told = format!(
            ": {clients} from clients, {others} to upstreams and others, {listening} to listen"
        );
    }
    Evidence::new(None, facts).advising(format!(
        "all connections of this worker are in use (worker_connections={limit}){told}; raise \
         worker_connections in the events block, and worker_rlimit_nofile with it"
    ))
}

/// The connections that the kernel's firewall tracks against its maximum; both texts are those of
/// the files below `/proc/sys/net/netfilter`. A table that is full drops new connections silently.
pub fn conntrack(count: &[u8], max: &[u8]) -> Option<Evidence> {
    let (count, max) = (first(count)?, first(max)?);
    let facts = vec![("conntrack_count", count.into()), ("conntrack_max", max.into())];
    let found = Evidence::new(None, facts);
    let full = max > 0 && count >= max;
    Some(if full {
        found.advising(format!(
            "the table of tracked connections is full ({count} of {max}), and new ones are \
             dropped; raise net.netfilter.nf_conntrack_max or have fewer tracked"
        ))
    } else {
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKSTAT: &[u8] = b"sockets: used 29\nTCP: inuse 6 orphan 0 tw 1496 alloc 9 mem 231\n\
        UDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";

    fn advice(found: &Evidence) -> &str {
        assert_eq!(found.hint, None);
        let advice = found.advice.as_deref().unwrap_or_default();
        assert!(printable::is_plain(advice.as_bytes()) && advice.len() < 400, "{advice}");
        advice
    }

    #[test]
    fn who_set_the_limit_on_descriptors() {
        let limits =
            Files { soft: 40, hard: Some(40), configured: Some(40), worker_connections: 128 };
        let found = files(limits);
        assert!(found.facts.contains(&("fd_limit_set_by", "worker_rlimit_nofile".into())));
        assert!(advice(&found).contains("(worker_rlimit_nofile=40); raise it above"));
        // It is not set, or could not be put into force.
        for configured in [None, Some(100_000)] {
            let found = files(Files { soft: 1024, hard: None, configured, ..limits });
            assert!(found.facts.contains(&("fd_limit_set_by", "RLIMIT_NOFILE".into())));
            assert!(advice(&found).contains("allows it 1024 (RLIMIT_NOFILE); set worker_rlimit"));
        }
    }

    #[test]
    fn the_files_of_the_system() {
        let found = system_files(Some(b"9223\t0\t9223\n"));
        assert_eq!(found.facts[1..], [("files_open", 9223.into()), ("files_max", 9223.into())]);
        assert!(advice(&found).contains("(9223 of 9223)"));
        for unreadable in [None, Some(&b""[..]), Some(b"1 0"), Some(b"x y z"), Some(b"\xff\0")] {
            let found = system_files(unreadable);
            assert_eq!(found.facts, [("fd_limit_set_by", "fs.file-max".into())]);
            assert!(advice(&found).contains("no file left to open; find"));
        }
    }

    #[test]
    fn the_range_of_ports_and_its_use() {
        let found = ports(b"10.0.0.7:80", b"32768\t60999\n", Some(SOCKSTAT)).unwrap();
        assert_eq!(
            found.facts,
            [
                ("port_first", 32768.into()),
                ("port_last", 60999.into()),
                ("ports", 28232.into()),
                ("tcp_in_use", 6.into()),
                ("tcp_time_wait", 1496.into()),
            ]
        );
        let said = advice(&found);
        assert!(
            said.starts_with("no local port is left for 10.0.0.7:80: there are 28232"),
            "{said}"
        );
        assert!(said.contains("1496 connections are in TIME_WAIT"), "{said}");
        let found = ports(b"\"\\\x1b", b"61000 61000", None).unwrap();
        assert!(advice(&found).contains("there are 1 (61000 to 61000); keep"));
        for hostile in [&b""[..], b"1", b"9 1", b"a b", b"99999999999999999999999 1"] {
            assert_eq!(ports(b"", hostile, Some(SOCKSTAT)), None);
        }
        let cut = ports(b"", b"1 2", Some(b"TCP: inuse")).unwrap();
        assert_eq!(cut.facts.len(), 3);
    }

    #[test]
    fn what_connections_are_used_for() {
        let uses = Some(Uses { listening: 2, clients: 7, others: 7 });
        let found = connections(Connections { limit: 16, idle: 0, uses });
        assert!(advice(&found).contains("(worker_connections=16): 7 from clients, 7 to upstreams"));
        assert_eq!(found.facts.len(), 5);
        let found = connections(Connections { limit: 100_000, idle: 3, uses: None });
        assert!(advice(&found).contains("(worker_connections=100000); raise"));
        assert_eq!(found.facts.len(), 2);
    }

    #[test]
    fn tracked_connections() {
        let found = conntrack(b"12\n", b"262144\n").unwrap();
        assert_eq!(
            found.facts,
            [("conntrack_count", 12.into()), ("conntrack_max", 262_144.into())]
        );
        assert_eq!(found.advice, None);
        let full = conntrack(b"262144\n", b"262144\n").unwrap();
        assert!(advice(&full).contains("is full (262144 of 262144)"));
        assert_eq!((conntrack(b"", b"1"), conntrack(b"1", b"x")), (None, None));
        assert_eq!(conntrack(b"0", b"0").unwrap().advice, None);
    }
}
