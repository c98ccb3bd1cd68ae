//! Asks the kernel who listens on the file of a unix socket.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use diagnosis::evidence::listen::netlink::Progress;
use diagnosis::evidence::unix_listen::{self, Listener, Place};

use crate::ffi::netlink::{Netlink, Part};

/// Longer than any datagram of an answer.
const ANSWER_BYTES: usize = 16 << 10;
/// Some six hundred listeners; more would take too long.
const MAX_ANSWERS: usize = 4;
/// Some four hundred sockets of any kind, which take about as long.
const MAX_TABLE_BYTES: u64 = 32 << 10;

thread_local! {
    /// When the kernel may be asked again.
    static NOT_BEFORE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// `None` when that cannot be asked, or would take too long. The kernel walks all unix sockets of
/// this network, so another look is taken only when a thousand times as long has passed.
pub(crate) fn look(place: &Place<'_>) -> Option<Listener> {
    let now = Instant::now();
    if NOT_BEFORE.get().is_some_and(|then| now < then) {
        return None;
    }
    let listener = from_netlink(place).or_else(|| from_procfs(place.path));
    NOT_BEFORE.set(now.checked_add(now.elapsed().saturating_mul(1000)));
    listener
}

fn from_netlink(place: &Place<'_>) -> Option<Listener> {
    let kernel = Netlink::open(Part::Sockets)?;
    kernel.ask(&unix_listen::request())?;
    let mut answer = vec![0; ANSWER_BYTES];
    let mut found = Listener::Nobody;
    for _ in 0..MAX_ANSWERS {
        match unix_listen::read(kernel.receive(&mut answer)?, place, &mut found) {
            Progress::More => {}
            Progress::Done => return Some(found),
            Progress::Failed => return None,
        }
    }
    None
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
