//! The worker's own figures, and its log.

use nginx_sys::{ngx_cycle, ngx_log_error_core, ngx_uint_t};

/// Connections of this worker.
pub(crate) struct Connections {
    /// Slots nobody uses.
    pub(crate) free: u64,
    /// `worker_connections`.
    pub(crate) limit: u64,
}

/// Free and configured connections of this worker.
pub(crate) fn connections() -> Connections {
    // SAFETY: ngx_cycle is set before any module code runs (main) and never NULL afterwards.
    let cycle = unsafe { &*ngx_cycle };
    Connections { free: cycle.free_connection_n as u64, limit: cycle.connection_n as u64 }
}

/// nginx's own clock: milliseconds from an arbitrary start, renewed once per turn of the event loop.
pub(crate) fn now_ms() -> u64 {
    // SAFETY: a plain counter.
    unsafe { nginx_sys::ngx_current_msec as u64 }
}

/// Logs to the cycle's error log, outside of any request.
pub(crate) fn log(level: u32, text: &str) {
    // SAFETY: as above; the cycle's log lives as long as the cycle (ngx_init_cycle).
    let log = unsafe { (*ngx_cycle).log };
    // SAFETY: "%*s" takes a length and a pointer to that many bytes (ngx_vslprintf).
    unsafe {
        ngx_log_error_core(level as ngx_uint_t, log, 0, c"%*s".as_ptr(), text.len(), text.as_ptr());
    }
}
