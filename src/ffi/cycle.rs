//! The worker's own figures, and its log.

use core::ffi::CStr;

use diagnosis::evidence::exhaustion::Uses;
use nginx_sys::{ngx_core_conf_t, ngx_core_module, ngx_cycle, ngx_log_error_core, ngx_uint_t};

/// So many connections can be looked at in a fraction of a millisecond.
const MAX_LOOKED_AT: usize = 4096;

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

/// Connections that nginx would close if it needed them (ngx_drain_connections).
pub(crate) fn idle_connections() -> u64 {
    // SAFETY: as in `connections`.
    unsafe { (*ngx_cycle).reusable_connections_n as u64 }
}

/// What this worker's connections are used for; `None` when it may have too many to look at.
pub(crate) fn connection_uses() -> Option<Uses> {
    // SAFETY: as in `connections`.
    let cycle = unsafe { &*ngx_cycle };
    if cycle.connections.is_null() || cycle.connection_n > MAX_LOOKED_AT {
        return None;
    }
    // SAFETY: ngx_event_process_init allocates so many for the life of the worker.
    let all = unsafe { core::slice::from_raw_parts(cycle.connections, cycle.connection_n) };
    let mut uses = Uses::default();
    // A free one has no descriptor (ngx_event_process_init, ngx_close_connection).
    for connection in all.iter().filter(|connection| connection.fd != -1) {
        // SAFETY: a connection's events are allocated with it.
        let accepts = unsafe { connection.read.as_ref() }.is_some_and(|read| read.accept() != 0);
        let place = match () {
            () if accepts => &mut uses.listening,
            // Where it was accepted (ngx_event_accept).
            () if !connection.listening.is_null() => &mut uses.clients,
            () => &mut uses.others,
        };
        *place = place.saturating_add(1);
    }
    Some(uses)
}

/// `worker_rlimit_nofile`, if it is set.
pub(crate) fn worker_rlimit_nofile() -> Option<u64> {
    // NGX_CONF_UNSET is -1.
    u64::try_from(core_conf().rlimit_nofile).ok()
}

/// The user that the configuration has workers run as, by name.
pub(crate) fn worker_user() -> Option<&'static CStr> {
    let name = core_conf().username;
    // SAFETY: NULL or a C string in the configuration's memory (ngx_set_user,
    // ngx_core_module_init_conf), which outlives the callback that this is asked in.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })
}

fn core_conf() -> &'static ngx_core_conf_t {
    // SAFETY: as in `connections`; every cycle has the core module's configuration
    // (ngx_init_cycle), which is of this type, and a plain number tells where.
    unsafe { &*(*(*ngx_cycle).conf_ctx.add(ngx_core_module.index)).cast::<ngx_core_conf_t>() }
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
