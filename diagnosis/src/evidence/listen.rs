//! Who listens on the port of an address of this machine, and how long its accept queue is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Fact;
use crate::{Cause, Evidence, Hint};

pub mod netlink;
pub mod procfs;
mod words;

/// Listeners that JSON names; the others are counted.
const MAX_NAMED: usize = 8;

/// A socket in the state LISTEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is bound, as the kernel has it.
    pub address: SocketAddr,
    /// IPV6_V6ONLY of an IPv6 socket, where that is told.
    pub ipv6_only: Option<bool>,
    /// It takes connections that come through one interface only.
    pub one_interface: bool,
    /// Connections that wait to be accepted, and how many may, where that is told.
    pub queue: Option<Queue>,
}

/// An accept queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// The backlog that the program asked for, within `net.core.somaxconn`.
    pub limit: u32,
}

/// One look at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The sockets that listen on it, on whatever address.
    pub listeners: Vec<Listener>,
    /// Which of the kernel's interfaces said so.
    pub from: &'static str,
    /// Where another server of the same upstream block listens on the address, when this one does
    /// not.
    pub beside: Option<SocketAddr>,
}

impl Queue {
    /// At its limit. The kernel lets one more in than the program asked for, so a limit of 0 is a
    /// queue of one.
    const fn is_full(self) -> bool {
        self.waiting > 0 && self.waiting >= self.limit
    }
}

/// Whether a listener would be given a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Unknown,
    AnyAddress,
    ThisAddress,
}

impl Listener {
    /// The rules of inet_lookup_listener for a connection to an address of this machine.
    fn fits(&self, to: IpAddr) -> Fit {
        let own = self.address.ip().to_canonical();
        let fit = match (own, to) {
            _ if own == to => Fit::ThisAddress,
            (IpAddr::V4(own), IpAddr::V4(_)) if own.is_unspecified() => Fit::AnyAddress,
            (IpAddr::V6(own), IpAddr::V6(_)) if own.is_unspecified() => Fit::AnyAddress,
            (IpAddr::V6(own), IpAddr::V4(_)) if own.is_unspecified() => match self.ipv6_only {
                Some(true) => Fit::No,
                Some(false) => Fit::AnyAddress,
                None => Fit::Unknown,
            },
            (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => Fit::No,
        };
        if self.one_interface { fit.min(Fit::Unknown) } else { fit }
    }
}

/// What `address`, as nginx writes it, is a connection to. `None` for unix sockets and upstreams
/// without an address.
pub fn target(address: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(address).ok()?.parse().ok().map(reachable)
}

/// What a connection to `address` is one to: an unspecified address is this machine to connect(2),
/// and a mapped one is IPv4.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = address.ip().to_canonical();
    let own: IpAddr =
        if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(if ip.is_unspecified() { own } else { ip }, address.port())
}

/// What `seen` says about a failed connection to `target`, an address of this machine.
pub fn find(cause: Cause, target: SocketAddr, seen: &Seen) -> Evidence {
    let fits = |listener: &Listener| listener.fits(target.ip());
    let best = seen.listeners.iter().map(fits).max().unwrap_or(Fit::No);
    let chosen = || seen.listeners.iter().filter(|listener| fits(listener) == best);
    let fullest = chosen()
        .filter(|_| best > Fit::Unknown)
        .filter_map(|listener| listener.queue)
        .max_by_key(|queue| (queue.is_full(), queue.waiting));
    let facts = facts(seen, fullest);
    let hinted =
        |hint: Hint, sentence: String| Evidence::new(hint, facts.clone()).advising(sentence);
    let refused = cause == Cause::ConnectionRefused;
    let connecting = refused || cause == Cause::ConnectionTimeout;
    let closed = cause == Cause::ClosedBeforeHeader;
    match (best, fullest, seen.listeners.first()) {
        (Fit::No, _, None) => match seen.beside {
            Some(beside) => hinted(Hint::ListenerOtherPort, words::beside(target, beside)),
            None => hinted(Hint::NoListener, words::none(cause, target)),
        },
        (Fit::No, _, Some(other)) if connecting => {
            hinted(Hint::ListenerOtherAddress, words::elsewhere(cause, target, other))
        }
        (_, Some(queue), _) if queue.is_full() && !refused && !closed => {
            hinted(Hint::AcceptQueueFull, words::full(target, queue))
        }
        (Fit::AnyAddress | Fit::ThisAddress, _, _) if refused => {
            hinted(Hint::ListenerPresent, words::present(target))
        }
        (Fit::AnyAddress | Fit::ThisAddress, Some(queue), _) if connecting => {
            hinted(Hint::ListenerPresent, words::room(target, queue))
        }
        _ => Evidence::new(None, facts),
    }
}

fn facts(seen: &Seen, queue: Option<Queue>) -> Vec<Fact> {
    let mut facts: Vec<Fact> = vec![
        ("listeners_from", seen.from.into()),
        ("listeners_on_port", (seen.listeners.len() as u64).into()),
    ];
    if !seen.listeners.is_empty() {
        let named = seen.listeners.iter().take(MAX_NAMED).map(Listener::facts).collect();
        facts.push(("listeners", super::Value::List(named)));
    }
    if let Some(beside) = seen.beside {
        facts.push(("listener_beside", address(beside)));
    }
    if let Some(queue) = queue {
        facts.push(("accept_queue", u64::from(queue.waiting).into()));
        facts.push(("accept_queue_limit", u64::from(queue.limit).into()));
    }
    facts
}

fn address(address: SocketAddr) -> super::Value {
    super::Value::Text(address.to_string().into_bytes())
}

impl Listener {
    fn facts(&self) -> Vec<Fact> {
        let ipv6_only = self.ipv6_only.map(|only| ("ipv6_only", only.into()));
        let one_interface = self.one_interface.then_some(("one_interface", true.into()));
        [Some(("address", address(self.address))), ipv6_only, one_interface]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// What the kernel has counted of full accept queues, on all sockets together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflows {
    /// `TcpExt: ListenOverflows`.
    pub overflows: u64,
    /// `TcpExt: ListenDrops`.
    pub drops: u64,
}

impl Overflows {
    /// The counts, and how far they rose since `before`, which was so many milliseconds ago.
    pub fn facts(self, before: Option<(Self, u64)>) -> Vec<Fact> {
        let mut facts: Vec<Fact> =
            vec![("listen_overflows", self.overflows.into()), ("listen_drops", self.drops.into())];
        if let Some((before, ago)) = before {
            let rose = |now: u64, then: u64| now.saturating_sub(then).into();
            facts.push(("listen_overflows_rose", rose(self.overflows, before.overflows)));
            facts.push(("listen_drops_rose", rose(self.drops, before.drops)));
            facts.push(("listen_rose_since_ms", ago.into()));
        }
        facts
    }
}

#[cfg(test)]
mod tests;
