//! Waiting for a condition, never for time.

use std::thread;
use std::time::{Duration, Instant};

use crate::env;

/// How long a condition may take before the test has failed.
pub fn patience() -> Duration {
    Duration::from_secs(if env::valgrind() { 180 } else { 30 })
}

/// Calls `condition` until it answers; panics with `what` when patience runs out.
pub fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(patience(), condition)
        .unwrap_or_else(|| panic!("waited {:?} in vain for {what}", patience()))
}

/// Calls `condition` until it answers or `limit` has passed.
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = condition() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // Files and other processes' states cannot be awaited: look again soon.
        thread::sleep(Duration::from_millis(2));
    }
}
