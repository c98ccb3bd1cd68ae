//! What nginx calls while it handles a request: each builds a view and runs one safe function inside
//! the guard.

use std::cell::RefCell;

use nginx_sys::{
    NGX_DECLINED, NGX_ERROR, NGX_OK, ngx_http_output_header_filter_pt, ngx_http_request_t,
    ngx_http_variable_value_t, ngx_int_t, ngx_str_t, u_char,
};

use super::request::{Finalizer, LogHandler, Request};
use super::{guard, log, text};
use crate::record::Record;
use crate::variables::{self, VARIABLES, Variable};
use crate::{emit, observe};

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
pub(super) unsafe extern "C" fn rewrite(r: *mut ngx_http_request_t) -> ngx_int_t {
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
    let address = |handler: LogHandler| handler.map(|handler| handler as usize);
    if address(original.get()) == address(current) {
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
pub(super) static mut NEXT_HEADER_FILTER: ngx_http_output_header_filter_pt = None;

/// Header filter.
pub(super) unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
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
pub(super) unsafe extern "C" fn variable(
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
        let main = request.main();
        if !observe::went_well(main) && main.loc_conf().is_enabled() {
            observe::reconcile(main);
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
pub(super) unsafe extern "C" fn log_phase(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx passes the request that it logs (ngx_http_log_request).
    let request = unsafe { Request::new(r) };
    guard::run(OK, || {
        if request.loc_conf().is_enabled() {
            panic_point!(request, LogPhase);
            if !observe::ended_well(request.main()) {
                observe::complete(request.main());
                request.refresh_variables();
            }
        }
        OK
    })
}
