//! Who listens on the port that failed: asked of the kernel, where the address is this machine's.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use diagnosis::evidence::listen::{self, Listener, Overflows, Seen, netlink, procfs};
use diagnosis::{Cause, Evidence};

use super::{Scene, sock_diag};
use crate::ffi::cycle;
use crate::ffi::netlink::{Netlink, Part};

/// Of /proc/net/tcp: more than a thousand listening sockets would take too long to read.
const MAX_PAGES: usize = 40;
/// /proc/net/netstat has some 5 kB.
const MAX_NETSTAT_BYTES: u64 = 32 << 10;

/// Who listens on the port of the address that was tried.
pub(super) fn look(scene: &Scene<'_>) -> Option<Evidence> {
    let cause = scene.attempt.verdict.cause;
    let target = listen::target(scene.attempt.address())?;
    if !is_local(target.ip()) {
        return None;
    }
    let mut seen = listeners(target.port())?;
    if cause == Cause::ConnectionRefused {
        if seen.listeners.is_empty() {
            seen.beside = beside(scene, target);
        }
        return Some(listen::find(cause, target, &seen));
    }
    Some(listen::find(cause, target, &seen).and(overflows().unwrap_or_default()))
}

/// Asks once, when a worker starts: the kernel may have to load the module that answers, which takes
/// longer than a request should wait.
pub(super) fn prepare() {
    let _ = from_netlink(1);
    let _ = overflows();
}

/// Whether an address belongs to this machine, as the kernel would route it. What is not known
/// counts as another machine's.
fn is_local(ip: IpAddr) -> bool {
    let ask = || {
        let kernel = Netlink::open(Part::Routes)?;
        kernel.ask(&netlink::route_request(ip))?;
        netlink::read_is_local(kernel.receive(&mut [0; 2048])?)
    };
    ip.is_loopback() || ask().unwrap_or(false)
}

fn listeners(port: u16) -> Option<Seen> {
    let seen = |from| move |listeners| Seen { listeners, from, beside: None };
    from_netlink(port)
        .map(seen("sock_diag"))
        .or_else(|| from_procfs(port).map(seen("proc_net_tcp")))
}

/// Both families, as a socket of IPv6 may take connections of IPv4.
fn from_netlink(port: u16) -> Option<Vec<Listener>> {
    if MISSING.get() {
        return None;
    }
    let kernel = Netlink::open(Part::Sockets)?;
    let mut listeners = Vec::new();
    for ipv6 in [false, true] {
        MISSING.with(|missing| {
            sock_diag::walk(&kernel, &netlink::listeners_request(ipv6, port), missing, |datagram| {
                netlink::read_listeners(datagram, &mut listeners)
            })
        })?;
    }
    Some(listeners)
}

/// Another server of the same upstream block and machine that has a listener.
fn beside(scene: &Scene<'_>, target: SocketAddr) -> Option<SocketAddr> {
    let servers = scene.upstream.neighbours();
    let others = servers.iter().filter_map(|server| listen::target(&server.address));
    let mut others = others.filter(|other| other.ip() == target.ip() && *other != target);
    let kernel = Netlink::open(Part::Sockets)?;
    others.find(|other| has_listener(&kernel, *other).unwrap_or(false))
}

/// Whether somebody listens on an address of this machine; `None` when the kernel does not tell.
pub(crate) fn listens(address: SocketAddr) -> Option<bool> {
    has_listener(&Netlink::open(Part::Sockets)?, address)
}

fn has_listener(kernel: &Netlink, address: SocketAddr) -> Option<bool> {
    let mut found = Vec::new();
    kernel.ask(&netlink::lookup_request(address))?;
    netlink::read_listeners(kernel.receive(&mut [0; 2048])?, &mut found);
    Some(!found.is_empty())
}

/// What the kernel prints for everybody. It walks all connections to find that there are no further
/// listeners, which takes milliseconds where its table of them is large; so another look is taken
/// only when a thousand times as long has passed.
fn from_procfs(port: u16) -> Option<Vec<Listener>> {
    let now = Instant::now();
    if NOT_BEFORE.get().is_some_and(|then| now < then) {
        return None;
    }
    let listeners = read_tables(port);
    NOT_BEFORE.set(now.checked_add(now.elapsed().saturating_mul(1000)));
    listeners
}

fn read_tables(port: u16) -> Option<Vec<Listener>> {
    let mut listeners = Vec::new();
    read_table(File::open("/proc/self/net/tcp").ok()?, port, &mut listeners)?;
    match File::open("/proc/self/net/tcp6") {
        Ok(table) => read_table(table, port, &mut listeners)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {} // a kernel without IPv6
        Err(_) => return None,
    }
    Some(listeners)
}

/// Reads the listening sockets, which come first. `None` when not all of them were seen.
fn read_table(mut table: File, port: u16, listeners: &mut Vec<Listener>) -> Option<()> {
    let mut page = [0; procfs::PAGE];
    for _ in 0..MAX_PAGES {
        let read = table.read(&mut page).ok()?;
        if procfs::page(page.get(..read)?, port, listeners)? {
            return Some(());
        }
    }
    None
}

thread_local! {
    /// The kernel has no sock_diag: each question would make it look for the module again.
    static MISSING: Cell<bool> = const { Cell::new(false) };
    /// When /proc/net/tcp may be read again.
    static NOT_BEFORE: Cell<Option<Instant>> = const { Cell::new(None) };
    /// What had been counted at the last look, and when that was.
    static BEFORE: Cell<Option<(Overflows, u64)>> = const { Cell::new(None) };
}

/// How often an accept queue was full, and how much of that is new.
fn overflows() -> Option<Evidence> {
    let mut netstat = String::new();
    let file = File::open("/proc/self/net/netstat").ok()?;
    file.take(MAX_NETSTAT_BYTES).read_to_string(&mut netstat).ok()?;
    let counted = procfs::overflows(&netstat)?;
    let now = cycle::now_ms();
    let before = BEFORE.replace(Some((counted, now)));
    let before = before.map(|(before, at)| (before, now.wrapping_sub(at)));
    Some(Evidence::new(None, counted.facts(before)))
}
