//! Who listens on the port that failed: asked of the kernel, where the address is this machine's.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use diagnosis::evidence::listen::{self, Listener, Overflows, Seen, netlink, procfs};
use diagnosis::{Cause, Evidence};

use super::{Scene, proc, sock_diag};
use crate::ffi::netlink::{Netlink, Part};
use crate::ffi::{cycle, system};

/// Processor time that /proc/net/tcp and tcp6 may take together, and what may have gone by before
/// another page of listening sockets is begun.
const MAX_PROCFS: Duration = Duration::from_micros(800);
const MAX_READING: Duration = Duration::from_micros(500);
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
/// longer than a request should wait. Where it refuses, how long its other way takes is found out now.
pub(super) fn prepare() {
    if from_netlink(1).is_none() {
        // The first time of anything takes longer.
        let _ = from_procfs(1);
        SLOW.set(false);
        let _ = from_procfs(1);
    }
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

/// What the kernel prints for everybody. Before it ends its list of listeners it walks the table of
/// all connections, however little is asked for, which may take milliseconds: where it has taken too
/// long once, it is not asked again.
fn from_procfs(port: u16) -> Option<Vec<Listener>> {
    if SLOW.get() {
        return None;
    }
    let began = system::processor_time()?;
    let spent = || system::processor_time().map(|now| now.saturating_sub(began));
    let listeners = read_tables(port, &|| spent().is_some_and(|spent| spent < MAX_READING));
    SLOW.set(SLOW.get() || spent()? > MAX_PROCFS);
    listeners
}

fn read_tables(port: u16, has_time: &dyn Fn() -> bool) -> Option<Vec<Listener>> {
    let mut listeners = Vec::new();
    let tables = [("tcp", "sockstat", "TCP:"), ("tcp6", "sockstat6", "TCP6:")];
    for (table, counts, row) in tables {
        // A table without sockets is the longest walk of all.
        let counts = proc::read(&format!("/proc/self/net/{counts}"));
        if counts.is_some_and(|counts| procfs::has_no_sockets(&counts, row)) {
            continue;
        }
        match File::open(format!("/proc/self/net/{table}")) {
            Ok(file) => read_table(file, port, &mut listeners, has_time)?,
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table == "tcp6" => {}
            Err(_) => return None,
        }
    }
    Some(listeners)
}

/// Reads the listening sockets, which come first. `None` when not all of them were seen.
fn read_table(
    mut table: File,
    port: u16,
    listeners: &mut Vec<Listener>,
    has_time: &dyn Fn() -> bool,
) -> Option<()> {
    let mut page = [0; procfs::PAGE];
    while has_time() {
        let read = table.read(&mut page).ok()?;
        if procfs::page(page.get(..read)?, port, listeners)? {
            return Some(());
        }
    }
    // There are too many, and there will be the next time.
    SLOW.set(true);
    None
}

thread_local! {
    /// The kernel has no sock_diag: each question would make it look for the module again.
    static MISSING: Cell<bool> = const { Cell::new(false) };
    /// /proc/net/tcp takes too long.
    static SLOW: Cell<bool> = const { Cell::new(false) };
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
