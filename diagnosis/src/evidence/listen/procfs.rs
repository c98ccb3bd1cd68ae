//! `/proc/net/tcp`, `tcp6` and `netstat` (proc(5)), for where netlink is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Listener, Overflows};
use crate::evidence::kernel;

/// The state LISTEN in a line of `tcp`.
const LISTEN: &str = "0A";

/// How much to read at a time: as much as the kernel prints at a time, in whole lines (seq_read_iter).
pub const PAGE: usize = 4096;
/// No line is longer, so a page with that much room left is the last.
const MAX_LINE: usize = 512;

/// One line of `tcp` or `tcp6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// A listening socket.
    Listener(Listener),
    /// The heading.
    Heading,
    /// A connection. The kernel shows the listening sockets first, so no listener follows.
    Connection,
    /// Not understood.
    Unknown,
}

/// Adds the listeners on `port` in one page, and tells whether that was the last. `None`
/// when it is not understood.
pub fn page(page: &[u8], port: u16, listeners: &mut Vec<Listener>) -> Option<bool> {
    for text in std::str::from_utf8(page).ok()?.lines() {
        match line(text) {
            Line::Listener(listener) if listener.address.port() == port => listeners.push(listener),
            Line::Listener(_) | Line::Heading => {}
            Line::Connection => return Some(true),
            Line::Unknown => return None,
        }
    }
    Some(page.len() < PAGE.saturating_sub(MAX_LINE))
}

/// Reads one line: number, local address, remote address, state, and much that is not needed.
fn line(line: &str) -> Line {
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next(), words.nth(1)) {
        (Some("sl"), _, _) => Line::Heading,
        (Some(_), Some(local), Some(LISTEN)) => match address(local) {
            Some(address) => Line::Listener(Listener {
                address,
                ipv6_only: None,
                one_interface: false,
                queue: None,
            }),
            None => Line::Unknown,
        },
        (Some(_), Some(_), Some(state)) if state.len() == LISTEN.len() => Line::Connection,
        _ => Line::Unknown,
    }
}

/// An address as words of the network's byte order, printed as numbers of the machine's.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| -> Option<[u8; 4]> {
        let digits = ip.get(at.checked_mul(8)?..at.checked_add(1)?.checked_mul(8)?)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0_u8; 16];
            for (at, to) in octets.as_chunks_mut().0.iter_mut().enumerate() {
                *to = word(at)?;
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether `sockstat` or `sockstat6` says that no socket is in use, in the row of TCP.
pub fn has_no_sockets(counts: &[u8], row: &str) -> bool {
    kernel::row(counts, row).and_then(|words| kernel::after(words, "inuse")) == Some(0)
}

/// The counts of full accept queues in `netstat`: a line of names, then a line of numbers.
pub fn overflows(netstat: &str) -> Option<Overflows> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let number = |wanted: &str| {
        let at = names.split_ascii_whitespace().position(|name| name == wanted)?;
        numbers.split_ascii_whitespace().nth(at)?.parse().ok()
    };
    Some(Overflows { overflows: number("ListenOverflows")?, drops: number("ListenDrops")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.18, as root: 127.0.0.1 and a connection of it.
    const TCP: &[(&str, &str)] = &[
        (
            "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000002 00:00000000 00000000     0        0 5123 1 0000000000000000 100 0 0 10 0",
            "127.0.0.1:3000",
        ),
        (
            "   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 88 1 0000000000000000 100 0 0 10 0",
            "0.0.0.0:80",
        ),
        (
            "   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0000000000000000 100 0 0 10 0",
            "[::1]:3000",
        ),
    ];

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_told_from_connections() {
        for (text, address) in TCP {
            let Line::Listener(found) = line(text) else { panic!("{text}") };
            assert_eq!(found.address.to_string(), *address);
            assert_eq!((found.ipv6_only, found.queue), (None, None));
        }
        let connection = "   2: 0100007F:0BB8 0100007F:C350 01 00000000:00000000 00:00000000 0 0";
        assert_eq!(line(connection), Line::Connection);
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";
        assert_eq!(line(heading), Line::Heading);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn pages_end_with_the_last_listener() {
        let (listener, other) = (format!("{}\n", TCP[0].0), format!("{}\n", TCP[1].0));
        let connection = "2: 0100007F:0BB8 0100007F:C350 01 00000000:00000000 00:00000000\n";
        let full = other.repeat(PAGE / other.len());
        for (text, found, last) in [
            (listener.clone(), 1, Some(true)),
            (String::new(), 0, Some(true)),
            (full.clone(), 0, Some(false)),
            (format!("{listener}{connection}{listener}"), 1, Some(true)),
            (format!("{listener}nonsense\n{listener}"), 1, None),
            (format!("{listener}\u{fffd}"), 1, None),
        ] {
            let mut listeners = Vec::new();
            assert_eq!(page(text.as_bytes(), 3000, &mut listeners), last, "{text}");
            assert_eq!(listeners.len(), found, "{text}");
        }
        assert_eq!(page(b"\xff", 3000, &mut Vec::new()), None);
    }

    #[test]
    fn what_is_no_line_is_nothing() {
        for text in [
            "",
            "0:",
            "0: x y 0A",
            "0: 0100007F 00000000:0000 0A",
            "0: 0100007F:G y 0A",
            "0: 010000Fé:0050 y 0A",
            "0: 0100007F0100007F:0050 y 0A",
        ] {
            assert_eq!(line(text), Line::Unknown, "{text}");
        }
    }

    #[test]
    fn sockets_in_use_are_counted() {
        let counts = b"sockets: used 96\nTCP: inuse 10 orphan 0 tw 0 alloc 12 mem 137\n";
        assert!(!has_no_sockets(counts, "TCP:"));
        let counts = b"TCP6: inuse 0\nUDP6: inuse 2\n";
        assert!(has_no_sockets(counts, "TCP6:"));
        // What is not known is no zero.
        for unknown in [&b""[..], b"TCP6: 0", b"TCP6: inuse", b"UDP6: inuse 0"] {
            assert!(!has_no_sockets(unknown, "TCP6:"));
        }
    }

    #[test]
    fn overflows_are_found_by_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops Other\n\
                       TcpExt: 0 12 15 9\n\
                       IpExt: InNoRoutes ListenDrops\nIpExt: 0 99\n";
        assert_eq!(overflows(netstat), Some(Overflows { overflows: 12, drops: 15 }));
        for broken in ["", "TcpExt: ListenOverflows ListenDrops\n", "TcpExt: a\nTcpExt: 1\n"] {
            assert_eq!(overflows(broken), None);
        }
        assert_eq!(overflows("TcpExt: ListenOverflows ListenDrops\nTcpExt: 1\n"), None);
        assert_eq!(overflows("TcpExt: ListenOverflows ListenDrops\nTcpExt: -1 1\n"), None);
    }
}
