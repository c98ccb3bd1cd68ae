//! The panic boundary: a bug of ours costs a request its diagnosis and nothing else.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use nginx_sys::NGX_LOG_ALERT;

use super::cycle;

static HOOK: Once = Once::new();

thread_local! {
    /// A panic was logged by this process; the next ones would only fill the log.
    static LOGGED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; when it panics, returns `fallback`. No panic crosses into nginx's C frames.
pub(super) fn run<T>(fallback: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(fallback)
}

/// Makes panics go to nginx's error log, once a process, instead of to stderr.
pub(super) fn install_hook() {
    HOOK.call_once(|| std::panic::set_hook(Box::new(report)));
}

fn report(info: &PanicHookInfo<'_>) {
    if LOGGED.replace(true) {
        return;
    }
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let text = format!(
        "upstream diagnosis: internal error at {place}, the request goes on without a diagnosis"
    );
    cycle::log(NGX_LOG_ALERT, &text);
}

/// The callbacks that the test suite can make panic, one at a time.
#[cfg(feature = "test-panic")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Point {
    Rewrite,
    LogHandler,
    HeaderFilter,
    Finalize,
    Variable,
    LogPhase,
    PeerGet,
    PeerFree,
}

#[cfg(feature = "test-panic")]
impl Point {
    /// The name in `upstream_diagnosis_test_panic`.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"rewrite" => Self::Rewrite,
            b"log_handler" => Self::LogHandler,
            b"header_filter" => Self::HeaderFilter,
            b"finalize" => Self::Finalize,
            b"variable" => Self::Variable,
            b"log_phase" => Self::LogPhase,
            b"peer_get" => Self::PeerGet,
            b"peer_free" => Self::PeerFree,
            _ => return None,
        })
    }
}
