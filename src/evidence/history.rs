//! How each address failed last, as this worker saw it.

use std::cell::RefCell;

use diagnosis::evidence::connection;
use diagnosis::evidence::history::History;
use diagnosis::{Attempt, Cause, Evidence};

use super::Scene;
use crate::ffi::cycle;

thread_local! {
    static HISTORY: RefCell<History> = const { RefCell::new(History::new()) };
}

/// Remembers an attempt that has just failed, unless nginx may forgive it yet.
pub(crate) fn note(attempt: &Attempt) {
    if attempt.verdict.pending {
        return;
    }
    let (address, cause) = (attempt.address(), attempt.verdict.cause);
    let now = cycle::now_ms();
    HISTORY.with_borrow_mut(|history| history.note(address, cause, attempt.reused, now));
}

/// The last cause of `address`, and how many milliseconds ago that was.
pub(super) fn last(address: &[u8]) -> Option<(Cause, u64)> {
    let now = cycle::now_ms();
    HISTORY.with_borrow(|history| history.last(address, now))
}

/// Whether the port accepts and refuses in turns.
pub(super) fn look(scene: &Scene<'_>) -> Option<Evidence> {
    let (address, now) = (scene.attempt.address(), cycle::now_ms());
    let ms = HISTORY.with_borrow(|history| history.turned(address, now))?;
    Some(connection::turned(address, ms))
}
