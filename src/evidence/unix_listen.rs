//! Asks the kernel who listens on the file of a unix socket.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;

use diagnosis::evidence::socket_path::Attributes;
use diagnosis::evidence::unix_listen::{self, Listener, Place};

use super::{proc, sock_diag};
use crate::ffi::netlink::{Netlink, Part};

/// The kernel takes a fifth of a microsecond for each.
const MAX_SOCKETS: u64 = 2048;
/// Some four hundred sockets of any kind, which the kernel takes longer to print.
const MAX_TABLE_BYTES: u64 = 32 << 10;

thread_local! {
    /// The kernel has no such list, which does not change.
    static MISSING: Cell<bool> = const { Cell::new(false) };
}

/// `None` when that cannot be asked, or would take too long: the kernel walks all unix sockets of
/// this network, connections too.
pub(crate) fn look(place: &Place<'_>) -> Option<Listener> {
    unix_listen::count(&proc::read("/proc/self/net/protocols")?)
        .filter(|sockets| *sockets <= MAX_SOCKETS)?;
    from_netlink(place).or_else(|| from_procfs(place.path))
}

/// Asks once, when a worker starts: the kernel may have to load the module that answers, which takes
/// longer than a request should wait.
pub(crate) fn prepare() {
    let _ = from_netlink(&Place { path: b"", found: Attributes::default() });
}

fn from_netlink(place: &Place<'_>) -> Option<Listener> {
    if MISSING.get() {
        return None;
    }
    let kernel = Netlink::open(Part::Sockets)?;
    let mut found = Listener::Nobody;
    MISSING.with(|missing| {
        sock_diag::walk(&kernel, &unix_listen::request(), missing, |datagram| {
            unix_listen::read(datagram, place, &mut found)
        })
    })?;
    Some(found)
}

fn from_procfs(path: &[u8]) -> Option<Listener> {
    let mut table = Vec::new();
    File::open("/proc/self/net/unix").ok()?.take(MAX_TABLE_BYTES).read_to_end(&mut table).ok()?;
    let is_whole = (table.len() as u64) < MAX_TABLE_BYTES;
    match unix_listen::is_listed(&table, path) {
        true => Some(Listener::Named),
        false => is_whole.then_some(Listener::Nobody),
    }
}
