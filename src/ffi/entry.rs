//! What nginx calls: each builds a view and runs one safe function inside the guard.

use core::ffi::{c_char, c_void};
use std::cell::RefCell;

use nginx_sys::{
    NGX_DECLINED, NGX_ERROR, NGX_OK, ngx_array_push, ngx_conf_t, ngx_cycle_t,
    ngx_http_add_variable, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_handler_pt, ngx_http_output_header_filter_pt,
    ngx_http_phase_t, ngx_http_phases_NGX_HTTP_LOG_PHASE, ngx_http_phases_NGX_HTTP_REWRITE_PHASE,
    ngx_http_request_t, ngx_http_top_header_filter, ngx_http_variable_t, ngx_http_variable_value_t,
    ngx_int_t, u_char,
};
use nginx_sys::{NGX_HTTP_VAR_NOCACHEABLE, ngx_http_core_module, ngx_http_module, ngx_str_t};

use super::load::Load;
use super::request::{Finalizer, Request};
use super::{guard, log, pool, recorder, system, tables, text};
use crate::conf::{LocConf, MainConf};
use crate::record::Record;
use crate::variables::{self, VARIABLES, Variable};
use crate::{emit, evidence, lint, observe};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// Width of `ngx_variable_value_t.len`.
const LENGTH_BITS: u32 = 28;
const LENGTH_MASK: u32 = (1 << LENGTH_BITS) - 1;

/// Our `r->log_handler`.
pub(super) const LOG_HANDLER: unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut ngx_http_request_t,
    *mut u_char,
    usize,
) -> *mut u_char = log_handler;
/// Our `u->finalize_request`.
pub(super) const FINALIZE: Finalizer = finalize;

#[cfg(feature = "test-panic")]
macro_rules! panic_point {
    ($request:expr, $point:ident) => {
        $request.maybe_panic(super::Point::$point)
    };
}

#[cfg(not(feature = "test-panic"))]
macro_rules! panic_point {
    ($request:expr, $point:ident) => {};
}

/// Phase handler, where a location begins to handle a request: at first, in a subrequest, and after
/// an internal redirect, when `r->upstream` still is the one whose answer nginx replaces.
unsafe extern "C" fn rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose phases it runs (ngx_http_core_rewrite_phase).
    let request = unsafe { Request::new(r) };
    guard::run((), || {
        let watched = request.main().is_watched();
        if !request.loc_conf().is_enabled() {
            if watched {
                observe::look_away(request);
            }
            return;
        }
        panic_point!(request, Rewrite);
        if !watched {
            install_log_handler(request.main());
        }
        if !request.states().is_empty() {
            observe::look_again(request, watched);
            observe::reconcile(request);
            request.refresh_variables();
        }
    });
    DECLINED
}

/// Has nginx's messages about `main` and its subrequests pass by us.
fn install_log_handler(main: Request<'_>) {
    let original = &main.main_conf().log_handler;
    let current = main.get().log_handler;
    // nginx gives all requests the same one (ngx_http_alloc_request). Should another module have
    // its own in some of them, those stay as they are.
    if original.get().is_none() {
        original.set(current);
    }
    let same = original.get().zip(current).is_some_and(|(a, b)| core::ptr::fn_addr_eq(a, b));
    if same {
        main.set_log_handler(Some(log_handler));
    }
}

/// `r->log_handler`: nginx has a message about this request, and is about to add its context.
unsafe extern "C" fn log_handler(
    r: *mut ngx_http_request_t,
    current: *mut ngx_http_request_t,
    tail: *mut u_char,
    room: usize,
) -> *mut u_char {
    // SAFETY: nginx passes the main request, whose handler this is.
    let main = unsafe { Request::new(r) };
    if !current.is_null() {
        // SAFETY: the request at work now, which nginx sets at every event
        // (ngx_http_set_log_request).
        let request = unsafe { Request::new(current) };
        guard::run((), || {
            if !request.loc_conf().is_enabled() {
                return;
            }
            panic_point!(request, LogHandler);
            // SAFETY: these are the arguments of ngx_http_log_error's call.
            if let Some(words) = unsafe { log::message(r, tail, room) } {
                observe::message(request, words);
            }
        });
    }
    match main.main_conf().log_handler.get() {
        // SAFETY: the handler that ours has replaced, with the arguments meant for it.
        Some(original) => unsafe { original(r, current, tail, room) },
        None => tail,
    }
}

/// The filter after ours. One for the process, as in nginx's own filters: the chain is rebuilt for
/// every configuration, also for one that is then refused.
static mut NEXT_HEADER_FILTER: ngx_http_output_header_filter_pt = None;

/// Header filter.
unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request whose header it sends (ngx_http_send_header).
    let request = unsafe { Request::new(r) };
    guard::run((), || {
        panic_point!(request, HeaderFilter);
        emit::response_header(request);
    });
    // SAFETY: written while nginx reads a configuration, in the one thread of this process.
    match unsafe { NEXT_HEADER_FILTER } {
        // SAFETY: the filter that was on top before ours.
        Some(next) => unsafe { next(r) },
        None => ERROR,
    }
}

/// `u->finalize_request`, where an end is watched.
unsafe extern "C" fn finalize(r: *mut ngx_http_request_t, rc: ngx_int_t) {
    // SAFETY: nginx passes the request of the upstream (ngx_http_upstream_finalize_request).
    let request = unsafe { Request::new(r) };
    guard::run((), || {
        panic_point!(request, Finalize);
        observe::ended(request, rc);
        emit::trailers(request);
    });
    let original = guard::run(None, || {
        request.record().and_then(|record| record.borrow_mut().take_finalizer(request.id()))
    });
    if let Some(original) = original {
        // SAFETY: what the proxying module had put there, with the arguments meant for it.
        unsafe { original(r, rc) };
    }
}

/// `get_handler` of every variable; `data` is its index in the table.
unsafe extern "C" fn variable(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx passes the request that a variable is read for (ngx_http_get_variable).
    let request = unsafe { Request::new(r) };
    // SAFETY: and the place for its value.
    let value = unsafe { &mut *value };
    let variable = VARIABLES.get(data);
    // What it is without a failure, and what it stays should the evaluation fail.
    match variable.and_then(|variable| variable.otherwise) {
        Some(text) => set_value(value, text::fixed(text)),
        None => value.set_not_found(1),
    }
    guard::run((), || {
        panic_point!(request, Variable);
        // nginx may ask between the failure and our next callback: error_page with a variable.
        if request.main().loc_conf().is_enabled() {
            observe::reconcile(request.main());
        }
        if let Some((record, variable)) = request.record().zip(variable) {
            set_written(value, request, record, variable);
        }
    });
    OK
}

/// Makes `value` what `variable` is after a failure.
#[cold]
fn set_written(
    value: &mut ngx_http_variable_value_t,
    request: Request<'_>,
    record: &RefCell<Record>,
    variable: &Variable,
) {
    let text = variables::evaluate(request, &record.borrow(), variable);
    if let Some(text) = text {
        set_value(value, text::kept(record, text));
    }
}

/// Makes `value` a found one. The length is written as a word, since bindgen's setter goes through
/// its 28 bits one by one.
fn set_value(value: &mut ngx_http_variable_value_t, text: ngx_str_t) {
    let length = u32::try_from(text.len).unwrap_or(0) & LENGTH_MASK;
    // SAFETY: ngx_variable_value_t begins with one word of bit fields (unsigned len:28, valid:1, …).
    let word = unsafe { &mut *core::ptr::from_mut(value).cast::<u32>() };
    *word = if cfg!(target_endian = "little") { length } else { length << (32 - LENGTH_BITS) };
    value.set_valid(1);
    value.data = text.data;
    debug_assert_eq!(value.len(), length);
}

/// Phase handler that runs before the access logs are written.
unsafe extern "C" fn log_phase(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request that it logs (ngx_http_log_request).
    let request = unsafe { Request::new(r) };
    guard::run(OK, || {
        if request.loc_conf().is_enabled() {
            panic_point!(request, LogPhase);
            observe::complete(request.main());
            request.refresh_variables();
        }
        OK
    })
}

/// Makes the variables known before nginx reads the configuration that uses them.
pub(super) unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard::run(ERROR, || {
        for (index, variable) in VARIABLES.iter().enumerate() {
            // SAFETY: the pool of the configuration that nginx is reading.
            let name = unsafe {
                let name = [variables::PREFIX, variable.suffix].concat();
                pool::copy((*cf).pool, name.as_bytes())
            };
            let Some(mut name) = name else { return ERROR };
            // SAFETY: the name stays in the pool; the flags are nginx's own.
            let added = unsafe {
                ngx_http_add_variable(cf, &raw mut name, NGX_HTTP_VAR_NOCACHEABLE as usize)
            };
            // SAFETY: NULL or the new entry of the table of variables.
            let Some(added) = (unsafe { added.as_mut() }) else { return ERROR };
            added.get_handler = Some(self::variable);
            added.data = index;
        }
        // SAFETY: the argument of this very callback.
        unsafe { recorder::start(cf) };
        OK
    })
}

/// Installs the header filter, and the phase handlers if some block is on.
pub(super) unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard::run(ERROR, || {
        let seen = recorder::finish();
        // Always: a worker of the previous configuration that is started again gets this chain.
        // SAFETY: nginx reads the configuration in one thread.
        unsafe {
            NEXT_HEADER_FILTER = ngx_http_top_header_filter;
            ngx_http_top_header_filter = Some(header_filter);
        }
        // SAFETY: cf->ctx is the http block's context here (ngx_http_block).
        let (ours, core) = unsafe {
            let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
            (main_conf::<MainConf>(ctx, tables::ctx_index()), core_main_conf(ctx))
        };
        if !ours.used.get() {
            return OK;
        }
        // SAFETY: the http block's own configuration, of this type.
        let linted = unsafe {
            let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
            &*(*(*ctx).loc_conf.add(tables::ctx_index())).cast::<LocConf>()
        };
        ours.unread.replace(linted.is_linted().then_some(seen));
        // SAFETY: the arrays of phase handlers exist since ngx_http_init_phases.
        let installed = unsafe {
            let phases = &mut (*core).phases;
            let first = push_handler(phases, ngx_http_phases_NGX_HTTP_REWRITE_PHASE, rewrite);
            first.is_some()
                && push_handler(phases, ngx_http_phases_NGX_HTTP_LOG_PHASE, log_phase)
                    // The access log's handler must run after ours.
                    .map(|handlers| handlers.rotate_right(1))
                    .is_some()
        };
        if installed { OK } else { ERROR }
    })
}

/// Appends a handler and returns all of the phase; `None` when out of memory.
///
/// # Safety
/// `phases` must be the core module's, after ngx_http_init_phases.
unsafe fn push_handler(
    phases: &mut [ngx_http_phase_t],
    phase: u32,
    handler: unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t,
) -> Option<&mut [ngx_http_handler_pt]> {
    let phase = phases.get_mut(phase as usize)?;
    // SAFETY: the caller's contract.
    let place = unsafe { ngx_array_push(&raw mut phase.handlers) }.cast::<ngx_http_handler_pt>();
    let place = core::ptr::NonNull::new(place)?;
    // SAFETY: ngx_array_push returned room for one element.
    unsafe { place.write(Some(handler)) };
    // SAFETY: the array is made for this element type (ngx_http_init_phases).
    Some(unsafe { phase.handlers.as_slice_mut() })
}

/// # Safety
/// `ctx` must be an http block's context, `T` the main configuration of the module at `index`.
unsafe fn main_conf<'c, T>(ctx: *mut ngx_http_conf_ctx_t, index: usize) -> &'c T {
    // SAFETY: the caller's contract.
    unsafe { &*(*(*ctx).main_conf.add(index)).cast::<T>() }
}

/// # Safety
/// `ctx` must be an http block's context.
unsafe fn core_main_conf(ctx: *mut ngx_http_conf_ctx_t) -> *mut ngx_http_core_main_conf_t {
    // SAFETY: the caller's contract; the core module's configuration has that type.
    unsafe { (*(*ctx).main_conf.add(ngx_http_core_module.ctx_index)).cast() }
}

pub(super) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the pool of the configuration that nginx is reading.
    guard::run(core::ptr::null_mut(), || unsafe { create::<MainConf>(cf) })
}

pub(super) unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: as above.
    guard::run(core::ptr::null_mut(), || unsafe { create::<LocConf>(cf) })
}

/// # Safety
/// `cf` must be what nginx passes to a create callback.
unsafe fn create<T: Default>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { pool::own((*cf).pool, Box::<T>::default()) }.cast()
}

pub(super) unsafe extern "C" fn merge_loc_conf(
    cf: *mut ngx_conf_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_char {
    guard::run(usize::MAX as *mut c_char, || {
        // SAFETY: nginx passes what create_loc_conf returned for two different blocks.
        let (outer, inner) = unsafe { (&*outer.cast::<LocConf>(), &mut *inner.cast::<LocConf>()) };
        inner.merge(outer);
        // SAFETY: cf->ctx is the context of the block that is merged (ngx_http_merge_servers), in
        // which the core module has merged its own configuration first.
        unsafe {
            let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
            let ours = main_conf::<MainConf>(ctx, tables::ctx_index());
            let core = (*(*ctx).loc_conf.add(ngx_http_core_module.ctx_index))
                .cast::<ngx_http_core_loc_conf_t>();
            ours.used.set(ours.used.get() || inner.is_enabled());
            ours.log_heads.borrow_mut().add((*core).error_log);
        }
        core::ptr::null_mut()
    })
}

/// The configuration is complete: its logs are open and its variables numbered.
pub(super) unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard::run(ERROR, || {
        // SAFETY: nginx keeps the http block's context here, NULL without an http block.
        let ctx = unsafe { *(*cycle).conf_ctx.add(ngx_http_module.index) };
        let ctx = ctx.cast::<ngx_http_conf_ctx_t>();
        if ctx.is_null() {
            return OK;
        }
        // SAFETY: as above.
        let ours = unsafe { main_conf::<MainConf>(ctx, tables::ctx_index()) };
        if !ours.used.get() {
            return OK;
        }
        if let Some(configuration) = ours.unread.take() {
            // SAFETY: the argument of this very callback.
            lint::run(unsafe { Load::new(cycle) }, &configuration);
        }
        // SAFETY: the logs of this cycle, which nothing else writes to yet.
        unsafe { ours.log_heads.borrow().raise(cycle) };
        // SAFETY: the core module's table of indexed variables (ngx_http_get_variable_index).
        let indexed = unsafe { (*core_main_conf(ctx)).variables.as_slice::<ngx_http_variable_t>() };
        ours.variables.replace(indexed.iter().filter_map(our_index).collect());
        OK
    })
}

fn our_index(variable: &ngx_http_variable_t) -> Option<usize> {
    // SAFETY: the name of an indexed variable is in the configuration's pool.
    let name = unsafe { text::bytes(variable.name) };
    name.starts_with(variables::PREFIX.as_bytes()).then_some(variable.index)
}

pub(super) unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard::install_hook();
    guard::run(OK, || {
        system::prepare();
        // SAFETY: nginx passes the cycle that the worker will serve (ngx_worker_process_init).
        if unsafe { is_used(cycle) } {
            evidence::prepare();
        }
        OK
    })
}

/// Whether the module is on anywhere.
///
/// # Safety
/// The configuration of `cycle` must have been read.
unsafe fn is_used(cycle: *mut ngx_cycle_t) -> bool {
    // SAFETY: there is a slot for each module; http's is its block's context, or NULL
    // (ngx_http_cycle_get_module_main_conf).
    let ctx =
        unsafe { *(*cycle).conf_ctx.add(ngx_http_module.index) }.cast::<ngx_http_conf_ctx_t>();
    // SAFETY: as above.
    !ctx.is_null() && unsafe { main_conf::<MainConf>(ctx, tables::ctx_index()) }.used.get()
}

pub(super) unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    guard::run((), system::release);
}
