//! What nginx calls while it reads a configuration, and when a worker starts and ends.

use core::ffi::{c_char, c_void};

use nginx_sys::{
    NGX_ERROR, NGX_HTTP_VAR_NOCACHEABLE, NGX_OK, ngx_array_push, ngx_conf_t, ngx_cycle_t,
    ngx_http_add_variable, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t,
    ngx_http_core_main_conf_t, ngx_http_core_module, ngx_http_handler_pt, ngx_http_module,
    ngx_http_phase_t, ngx_http_phases_NGX_HTTP_LOG_PHASE, ngx_http_phases_NGX_HTTP_REWRITE_PHASE,
    ngx_http_request_t, ngx_http_top_header_filter, ngx_http_variable_t, ngx_int_t,
};

use super::load::Load;
use super::{entry, guard, pool, recorder, system, tables, text};
use crate::conf::{LocConf, MainConf};
use crate::variables::{self, VARIABLES};
use crate::{evidence, lint};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;

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
            added.get_handler = Some(entry::variable);
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
            entry::NEXT_HEADER_FILTER = ngx_http_top_header_filter;
            ngx_http_top_header_filter = Some(entry::header_filter);
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
            let first =
                push_handler(phases, ngx_http_phases_NGX_HTTP_REWRITE_PHASE, entry::rewrite);
            first.is_some()
                && push_handler(phases, ngx_http_phases_NGX_HTTP_LOG_PHASE, entry::log_phase)
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
