//! After a failure: another address, or a time to wait for one.

use std::net::SocketAddr;

use nginx_sys::{
    NGX_AGAIN, NGX_BUSY, NGX_DECLINED, NGX_HTTP_UPSTREAM_FT_ERROR, NGX_HTTP_UPSTREAM_FT_TIMEOUT,
    ngx_http_upstream_t, ngx_int_t, ngx_peer_connection_t,
};

use super::{Given, Next, Pick};
use crate::ffi::reresolve::{placeholder, setup, tries};
use crate::ffi::{address, cycle, peers};
use crate::reresolve::Reresolve;

const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
const BUSY: ngx_int_t = NGX_BUSY as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

impl Pick {
    /// Every server that was not tried is put aside for its failures. One that was tried may have
    /// another address, and the names of the others may have moved meanwhile.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn none_chosen(&self, pc: *mut ngx_peer_connection_t) -> ngx_int_t {
        self.given.set(Given::Nothing);
        self.last.set(None);
        let Some(reresolve) = setup::running() else { return BUSY };
        if let Some((slot, address)) = self.untried() {
            // SAFETY: the caller's contract.
            return unsafe { self.fresh(pc, slot, address) };
        }
        // SAFETY: a configured upstream of the worker's cycle; the balancer has let go of its locks.
        let counts = unsafe { peers::count(self.hook().upstream) };
        // At their limits of connections, servers are where they are.
        let has_failed =
            !self.failed.borrow().is_empty() || counts.is_none_or(|counts| counts.failed > 0);
        // SAFETY: the caller's contract.
        if !has_failed || !unsafe { tries::allow_this(self.u, NGX_HTTP_UPSTREAM_FT_ERROR) } {
            return BUSY;
        }
        self.busy.set(true);
        for name in self.names() {
            reresolve.ask_after_failure(name);
        }
        // SAFETY: as above; nginx prints this name, which the balancer has set.
        if self.may_wait(reresolve) && !unsafe { (*pc).name }.is_null() {
            // SAFETY: as above.
            unsafe {
                if self.wait(pc) == AGAIN {
                    return AGAIN;
                }
                // nginx frees a peer if there is an address, and the balancer has chosen none.
                (*pc).sockaddr = core::ptr::null_mut();
            }
        }
        self.given.set(Given::Nothing);
        self.busy.set(false);
        BUSY
    }

    /// Puts a connection that goes nowhere in the place of one, until DNS has answered.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn wait(&self, pc: *mut ngx_peer_connection_t) -> ngx_int_t {
        self.given.set(Given::Void);
        // SAFETY: the caller's contract.
        unsafe {
            // nginx frees a peer only if there is an address.
            let tried = self.tried.borrow().last().copied();
            if let Some(address) = tried.filter(|_| !self.busy.get()) {
                self.translate(pc, address);
            } else {
                let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
                let name = (*pc).name;
                self.translate(pc, nowhere);
                (*pc).name = name;
            }
            let Some(limit) = self.longest_wait() else { return DECLINED };
            if !placeholder::open(pc, &self.event, core::ptr::from_ref(self), limit) {
                return DECLINED;
            }
        }
        self.waits_since.set(Some(cycle::now_ms()));
        if let Some(reresolve) = setup::running() {
            reresolve.add_waiting(self.into());
        }
        AGAIN
    }

    /// In milliseconds; `None` when it is no time at all.
    fn longest_wait(&self) -> Option<u64> {
        // SAFETY: the pick's own upstream, in a callback of its peer.
        unsafe { tries::longest_wait(self.u, self.wait_left_ms()) }
    }

    /// All waits of a request together take no longer than `wait`.
    fn wait_left_ms(&self) -> u64 {
        let wait_ms = self.hook().settings().map_or(0, |settings| settings.wait_ms);
        wait_ms.saturating_sub(self.waited_ms.get().unwrap_or(0))
    }

    pub(super) fn stop_waiting(&self) {
        if let Some(since) = self.waits_since.take() {
            let waited_ms = cycle::now_ms().saturating_sub(since);
            let before_ms = self.waited_ms.get().unwrap_or(0);
            self.waited_ms.set(Some(before_ms.saturating_add(waited_ms)));
            if let Some(reresolve) = setup::running() {
                reresolve.remove_waiting(self.into());
            }
        }
        placeholder::cancel(self.event.get());
    }

    /// The wait is over, with an answer or without one; or nobody waits any more.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn end_wait(&self, pc: *mut ngx_peer_connection_t) {
        self.stop_waiting();
        // SAFETY: the caller's contract.
        unsafe {
            if self.busy.replace(false) {
                // The balancer is asked again: whoever has moved is no longer put aside.
                (*pc).tries = (*pc).tries.max(1);
                self.void_state.set(true);
            } else {
                tries::drop_last(self.u);
                (*pc).tries = 0;
            }
            if let Some((slot, address)) = self.untried() {
                self.next.set(Next::Fresh(slot, address));
                (*pc).tries = 1;
            }
        }
    }

    /// An attempt failed before a byte of the request was sent.
    ///
    /// # Safety
    /// As [`Pick::chosen`]; `pc->connection` must be what it was then.
    pub(super) unsafe fn trouble(&self, pc: *mut ngx_peer_connection_t, slot: Option<usize>) {
        let Some(reresolve) = setup::running() else { return };
        // SAFETY: the caller's contract.
        let (address, timed_out) = unsafe {
            let timed_out = (*pc).connection.as_ref().is_some_and(|c| (*c.write).timedout() != 0);
            (address::read((*pc).sockaddr), timed_out)
        };
        self.tried.borrow_mut().extend(address);
        let name = slot.and_then(|slot| self.slots()?.slot(slot)?.name);
        if let (Some(slot), Some(name)) = (slot, name) {
            self.failed.borrow_mut().push(slot);
            reresolve.ask_after_failure(name);
        }
        let kind =
            if timed_out { NGX_HTTP_UPSTREAM_FT_TIMEOUT } else { NGX_HTTP_UPSTREAM_FT_ERROR };
        // SAFETY: as above.
        unsafe {
            // The balancer has others to try first.
            if (*pc).tries != 0 || !tries::allow(self.u, kind) {
                return;
            }
            if let Some((slot, address)) = self.untried() {
                self.next.set(Next::Fresh(slot, address));
                (*pc).tries = 1;
            } else if self.may_wait(reresolve) && self.longest_wait().is_some() {
                self.timed_out.set(timed_out);
                self.next.set(Next::Wait);
                (*pc).tries = 1;
            }
        }
    }

    fn may_wait(&self, reresolve: &Reresolve) -> bool {
        self.wait_left_ms() > 0 && self.names().iter().any(|name| reresolve.is_asking(*name))
    }

    /// A current address, of a slot that has failed, that was not tried yet.
    pub(super) fn untried(&self) -> Option<(usize, SocketAddr)> {
        let (reresolve, slots) = (setup::running()?, self.slots()?);
        let tried = self.tried.borrow();
        self.failed.borrow().iter().rev().find_map(|slot| {
            let current = reresolve.answered_addresses(slots.slot(*slot)?.name?);
            Some((*slot, slots.untried(*slot, &current, &tried)?))
        })
    }

    /// How nginx shall be told that the wait is over: as the failure before it was, unless it can
    /// be told silently.
    pub(in super::super) fn ends_as_time_out(&self) -> bool {
        // SAFETY: the pick's own upstream, which waits.
        let silently = unsafe { tries::allow(self.u, NGX_HTTP_UPSTREAM_FT_ERROR) };
        self.timed_out.get() && !(silently && self.untried().is_some())
    }

    pub(in super::super) fn upstream(&self) -> *mut ngx_http_upstream_t {
        self.u
    }
}
