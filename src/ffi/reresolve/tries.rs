//! `r->upstream_states` and the rules of `proxy_next_upstream`, for attempts of ours.

use nginx_sys::{
    ngx_http_log_ctx_t, ngx_http_request_t, ngx_http_upstream_conf_t, ngx_http_upstream_state_t,
    ngx_http_upstream_t,
};

use crate::ffi::cycle;
use crate::ffi::state::State;

/// The request of `u`.
///
/// nginx does not keep it there. It is the one at work now, or the one that a connection of the
/// upstream belongs to; either is only believed if its upstream is `u`.
///
/// # Safety
/// `u` must be the upstream of a live request, in a callback of its peer.
pub(super) unsafe fn request_of(u: *mut ngx_http_upstream_t) -> Option<*mut ngx_http_request_t> {
    // SAFETY: u->peer.log is the client connection's (ngx_http_upstream_init_request), whose data
    // nginx's http connections keep in this structure (ngx_http_init_connection).
    let (current, main) = unsafe {
        let log = (*u).peer.log.as_ref()?;
        let context = log.data.cast::<ngx_http_log_ctx_t>().as_ref()?;
        (context.current_request, context.request)
    };
    // SAFETY: u->peer.connection is NULL, or open with its request as data
    // (ngx_http_upstream_connect).
    let connected = unsafe { (*u).peer.connection.as_ref() }.map(|connection| connection.data);
    let candidates = [current, main, connected.map_or(core::ptr::null_mut(), |data| data.cast())];
    // SAFETY: NULL, or requests that are alive (ngx_http_set_log_request, ngx_http_close_request).
    candidates
        .into_iter()
        .find(|r| unsafe { r.as_ref() }.is_some_and(|r| core::ptr::eq(r.upstream, u)))
}

/// # Safety
/// As [`request_of`].
unsafe fn conf<'c>(u: *mut ngx_http_upstream_t) -> Option<&'c ngx_http_upstream_conf_t> {
    // SAFETY: the location's configuration.
    unsafe { (*u).conf.as_ref() }
}

/// Whether nginx would try again after a failure of this kind (a `NGX_HTTP_UPSTREAM_FT_` bit), if
/// there were something to try. The rules of ngx_http_upstream_next and of `next_upstream_tries`.
///
/// # Safety
/// As [`request_of`].
pub(super) unsafe fn allow(u: *mut ngx_http_upstream_t, kind: u32) -> bool {
    // SAFETY: the caller's contract.
    unsafe { allow_after(u, kind, 0) }
}

/// The same while nginx chooses a server: it has already counted the attempt that this is for.
///
/// # Safety
/// As [`request_of`].
pub(super) unsafe fn allow_this(u: *mut ngx_http_upstream_t, kind: u32) -> bool {
    // SAFETY: the caller's contract.
    unsafe { allow_after(u, kind, 1) }
}

/// # Safety
/// As [`request_of`].
unsafe fn allow_after(u: *mut ngx_http_upstream_t, kind: u32, uncounted: usize) -> bool {
    // SAFETY: the caller's contract.
    let Some(conf) = (unsafe { conf(u) }) else { return false };
    if conf.next_upstream & kind as usize == 0 {
        return false;
    }
    if conf.next_upstream_timeout != 0 {
        // SAFETY: as above.
        let since = unsafe { (*u).peer.start_time } as u64;
        if cycle::now_ms().wrapping_sub(since) >= conf.next_upstream_timeout as u64 {
            return false;
        }
    }
    // SAFETY: as above.
    conf.next_upstream_tries == 0
        || unsafe { request_of(u) }.is_some_and(|r| {
            // SAFETY: as above.
            conf.next_upstream_tries > unsafe { attempts(r) }.saturating_sub(uncounted)
        })
}

/// How many servers have been tried since the last internal redirect.
///
/// # Safety
/// `r` must be a live request.
unsafe fn attempts(r: *mut ngx_http_request_t) -> usize {
    // SAFETY: NULL or the array of this request.
    let states = unsafe {
        (*r).upstream_states.as_ref().map_or(&[][..], |states| states.as_slice::<State>())
    };
    states.iter().rev().take_while(|state| !state.is_separator()).count()
}

/// How long the request may wait, at most `wanted` milliseconds: nginx's own limits of time must not
/// end the wait. `None` when that is no time at all.
///
/// # Safety
/// As [`request_of`].
pub(super) unsafe fn longest_wait(u: *mut ngx_http_upstream_t, wanted: u64) -> Option<u64> {
    // SAFETY: the caller's contract.
    let conf = unsafe { conf(u) }?;
    let mut limit = wanted.min((conf.connect_timeout as u64).saturating_sub(1));
    if conf.next_upstream_timeout != 0 {
        // SAFETY: as above.
        let since = unsafe { (*u).peer.start_time } as u64;
        let gone = cycle::now_ms().wrapping_sub(since);
        let left = (conf.next_upstream_timeout as u64).saturating_sub(gone);
        limit = limit.min(left.saturating_sub(1));
    }
    (limit > 0).then_some(limit)
}

/// Takes the last entry of `r->upstream_states` back, when `u` is at it and another attempt is before
/// it: nothing was tried.
///
/// # Safety
/// As [`request_of`].
pub(super) unsafe fn drop_last(u: *mut ngx_http_upstream_t) {
    // SAFETY: the caller's contract; the array is the request's own, with u->state in it.
    unsafe {
        let Some(r) = request_of(u) else { return };
        let Some((previous, last)) = last_two(r) else { return };
        if core::ptr::eq((*u).state, last) && !(*previous.cast::<State>()).is_separator() {
            shrink(r);
            (*u).state = previous;
        }
    }
}

/// The same for the entry before the one that nginx has just begun.
///
/// # Safety
/// As [`request_of`].
pub(super) unsafe fn drop_last_but_one(u: *mut ngx_http_upstream_t) {
    // SAFETY: as in `drop_last`.
    unsafe {
        let Some(r) = request_of(u) else { return };
        let Some((previous, last)) = last_two(r) else { return };
        if core::ptr::eq((*u).state, last) {
            core::ptr::copy_nonoverlapping(last, previous, 1);
            shrink(r);
            (*u).state = previous;
        }
    }
}

/// # Safety
/// As [`attempts`].
unsafe fn last_two(
    r: *mut ngx_http_request_t,
) -> Option<(*mut ngx_http_upstream_state_t, *mut ngx_http_upstream_state_t)> {
    // SAFETY: the caller's contract.
    unsafe {
        let states = (*r).upstream_states.as_mut()?;
        let first = states.elts.cast::<ngx_http_upstream_state_t>();
        let last = states.nelts.checked_sub(1)?;
        let previous = last.checked_sub(1)?;
        Some((first.add(previous), first.add(last)))
    }
}

/// # Safety
/// As [`attempts`], with at least one entry.
unsafe fn shrink(r: *mut ngx_http_request_t) {
    // SAFETY: the caller's contract.
    unsafe { (*(*r).upstream_states).nelts = (*(*r).upstream_states).nelts.saturating_sub(1) };
}
