//! A connection that leads nowhere: nginx waits for it as for any other, while DNS is asked.
//!
//! `peer.get` may say that a connection is under way. Ours has a socket that is never connected and
//! never polled; when the wait is over, nginx is told that it failed, and asks for the next server.

use std::cell::Cell;

use nginx_sys::{
    NGX_ERROR, ngx_connection_t, ngx_current_msec, ngx_cycle, ngx_delete_posted_event, ngx_event_t,
    ngx_get_connection, ngx_peer_connection_t, ngx_post_event, ngx_posted_events, u_char,
};

use super::pick::Pick;
use crate::ffi::guard;

/// Puts one into `pc->connection` for at most `limit_ms`; false when it cannot be had. `event` is where
/// its end is kept, `pick` what it belongs to.
///
/// # Safety
/// `pc` must be `&u->peer` of the request of `pick`, within `peer.get`.
pub(super) unsafe fn open(
    pc: *mut ngx_peer_connection_t,
    event: &Cell<*mut ngx_event_t>,
    pick: *const Pick,
    limit_ms: u64,
) -> bool {
    // SAFETY: the caller's contract, and plain memory of this process.
    unsafe {
        // Else nginx would say at level alert that there are none.
        if (*ngx_cycle).free_connection_n == 0 {
            return false;
        }
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let fd = libc::socket(libc::AF_INET, kind, 0);
        if fd < 0 {
            return false;
        }
        let connection = ngx_get_connection(fd, (*pc).log);
        let Some(c) = connection.as_mut() else {
            libc::close(fd);
            return false;
        };
        c.type_ = libc::SOCK_STREAM;
        c.recv = Some(fail);
        c.set_log_error((*pc).log_error());
        (*c.read).log = (*pc).log;
        (*c.write).log = (*pc).log;
        c.start_time = ngx_current_msec;
        (*pc).set_cached(0);
        (*pc).connection = connection;
        if event.get().is_null() {
            let mut fresh: Box<ngx_event_t> = Box::new(core::mem::zeroed());
            fresh.data = pick.cast_mut().cast();
            fresh.handler = Some(end);
            event.set(Box::into_raw(fresh));
        }
        (*event.get()).log = (*pc).log;
        nginx_sys::ngx_add_timer(event.get(), usize::try_from(limit_ms).unwrap_or(usize::MAX));
    }
    true
}

/// Has the wait end when nginx next comes to its posted events.
pub(super) fn end_soon(event: *mut ngx_event_t) {
    if event.is_null() {
        return;
    }
    // SAFETY: an event of `open`, not freed before `discard`; this is nginx's one thread.
    unsafe {
        if (*event).timer_set() != 0 {
            nginx_sys::ngx_del_timer(event);
        }
        ngx_post_event(event, &raw mut ngx_posted_events);
    }
}

/// The event will not come.
pub(super) fn cancel(event: *mut ngx_event_t) {
    if event.is_null() {
        return;
    }
    // SAFETY: as in `end_soon`.
    unsafe {
        if (*event).timer_set() != 0 {
            nginx_sys::ngx_del_timer(event);
        }
        if (*event).posted() != 0 {
            ngx_delete_posted_event(event);
        }
    }
}

/// Frees it.
pub(super) fn discard(event: *mut ngx_event_t) {
    if !event.is_null() {
        cancel(event);
        // SAFETY: made by `open` from a Box, and taken out of the pick by the caller.
        drop(unsafe { Box::from_raw(event) });
    }
}

/// The wait is over. nginx hears of a failed connection through the handlers that it has set itself
/// (ngx_http_upstream_connect).
unsafe extern "C" fn end(event: *mut ngx_event_t) {
    // SAFETY: `open` has put the pick there, which discards the event when it is dropped.
    let (pick, u) = unsafe {
        let pick = &*(*event).data.cast::<Pick>();
        (pick, pick.upstream())
    };
    let as_time_out = guard::run(false, || pick.ends_as_time_out());
    // SAFETY: the request waits, so its upstream and its connection are alive.
    unsafe {
        let Some(c) = (*u).peer.connection.as_mut() else { return };
        let told = if as_time_out { c.write } else { c.read };
        if as_time_out {
            (*told).set_timedout(1);
        } else {
            (*told).set_ready(1);
        }
        if let Some(handler) = (*told).handler {
            handler(told);
        }
    }
}

/// `c->recv`: there is nothing to read, and never will be.
unsafe extern "C" fn fail(_: *mut ngx_connection_t, _: *mut u_char, _: usize) -> isize {
    NGX_ERROR as isize
}
