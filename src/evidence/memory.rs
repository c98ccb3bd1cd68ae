//! Whether the kernel has killed processes for want of memory since this worker last looked.

use std::cell::{OnceCell, RefCell};

use diagnosis::Evidence;
use diagnosis::evidence::memory::{self, Kills, Watch};

use super::{Scene, proc};
use crate::ffi::cycle;

thread_local! {
    static WATCH: RefCell<Watch> = const { RefCell::new(Watch::new()) };
    /// `memory.events` of this worker's control group, if it has one.
    static EVENTS: OnceCell<Option<String>> = const { OnceCell::new() };
}

/// The first look, which later ones are held against; when a worker starts.
pub(crate) fn prepare() {
    let _ = risen();
}

/// Kills since the last look.
pub(super) fn look(scene: &Scene<'_>) -> Option<Evidence> {
    let (kills, ms) = risen()?;
    let attempt = scene.attempt;
    Some(memory::find(attempt.verdict.cause, attempt.address(), kills, ms))
}

fn risen() -> Option<(Kills, u64)> {
    let events = EVENTS.with(|events| proc::read(events.get_or_init(events_path).as_ref()?));
    let kills = Kills::read(proc::read("/proc/vmstat").as_deref(), events.as_deref());
    WATCH.with_borrow_mut(|watch| watch.look(kills, cycle::now_ms()))
}

fn events_path() -> Option<String> {
    let text = proc::read("/proc/self/cgroup")?;
    let group = memory::control_group(&text)?;
    Some(format!("/sys/fs/cgroup/{group}/memory.events"))
}
