//! One request's way through the addresses of its upstream, once something is the matter.

mod give;
mod recover;
mod refs;
#[cfg(ngx_feature = "http_ssl")]
mod session;

use core::ffi::c_void;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use nginx_sys::{
    NGX_BUSY, NGX_DECLINED, NGX_PEER_FAILED, ngx_event_t, ngx_http_upstream_t, ngx_int_t,
    ngx_peer_connection_t, ngx_uint_t,
};

use super::hook::{Hook, upstream_of};
use super::{placeholder, tries};
use crate::ffi::peers::{self, PeerMark};
use crate::ffi::{guard, pool};
use crate::reresolve::{NameId, Slots};

pub(crate) use refs::{PickRef, UpstreamId};

const BUSY: ngx_int_t = NGX_BUSY as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// What nginx was given for the attempt that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given {
    Nothing,
    /// The balancer's choice, perhaps with another address; which slot that is, if one of ours.
    Chosen(Option<usize>),
    /// A fresh address of a slot, which the balancer has not been asked for.
    Fresh(usize),
    /// Nothing to connect to yet, or any more: an attempt that does not count.
    Void,
}

/// What to give it next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// The balancer's choice.
    Choice,
    /// This address of a slot.
    Fresh(usize, SocketAddr),
    /// A time to wait for DNS.
    Wait,
}

/// A request of an upstream block, from its first failure or the first name that has moved.
pub(crate) struct Pick {
    pub(super) hook: *const Hook,
    u: *mut ngx_http_upstream_t,
    given: Cell<Given>,
    next: Cell<Next>,
    /// Slots with names that could not be connected to.
    failed: RefCell<Vec<usize>>,
    /// Addresses that could not be connected to.
    tried: RefCell<Vec<SocketAddr>>,
    /// The failure that is waited about was a time-out.
    timed_out: Cell<bool>,
    /// All servers were put aside before this request: it waits before its first attempt.
    busy: Cell<bool>,
    /// That wait has left an entry in `r->upstream_states`.
    void_state: Cell<bool>,
    /// The slot of the last attempt.
    last: Cell<Option<usize>>,
    /// The one that the balancer has chosen last, and still believes in.
    balancers: Cell<Option<usize>>,
    /// The fresh address that the request was sent to in the end.
    used: Cell<Option<SocketAddr>>,
    /// When the request began to wait, and how long it has waited before.
    waits_since: Cell<Option<u64>>,
    waited_ms: Cell<Option<u64>>,
    /// The end of the wait.
    pub(super) event: Cell<*mut ngx_event_t>,
}

#[cfg(feature = "test-panic")]
macro_rules! panic_point {
    ($pick:expr, $point:ident) => {
        $pick.maybe_panic(crate::ffi::Point::$point)
    };
}

#[cfg(not(feature = "test-panic"))]
macro_rules! panic_point {
    ($pick:expr, $point:ident) => {};
}

/// What `give` says. When it panics, the request gets the failure that it had: nginx is told that
/// there is nobody to connect to, nobody to free, and nothing left to try.
///
/// # Safety
/// `pc` must be `&u->peer`, within `peer.get`.
unsafe fn or_give_up(
    pc: *mut ngx_peer_connection_t,
    give: impl FnOnce() -> ngx_int_t,
) -> ngx_int_t {
    guard::run(None, || Some(give())).unwrap_or_else(|| {
        // SAFETY: the caller's contract.
        unsafe {
            tries::drop_last(upstream_of(pc));
            (*pc).tries = 0;
            (*pc).sockaddr = core::ptr::null_mut();
        }
        DECLINED
    })
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.stop_waiting();
        placeholder::discard(self.event.replace(core::ptr::null_mut()));
        self.hook().calm_down();
    }
}

impl Pick {
    /// `peer.get` when not everything goes its usual way.
    ///
    /// # Safety
    /// The arguments must be those of nginx's call, `hook` that of the upstream.
    #[cold]
    pub(super) unsafe fn get(
        hook: &Hook,
        pc: *mut ngx_peer_connection_t,
        data: *mut c_void,
    ) -> ngx_int_t {
        // SAFETY: the caller's contract.
        let pick = guard::run(None, || unsafe { Self::of(hook, upstream_of(pc)) });
        let Some(pick) = pick else {
            // SAFETY: the caller's contract.
            return unsafe { hook.ask_balancer(pc, data) };
        };
        // SAFETY: the caller's contract, for all of these.
        unsafe {
            if pick.void_state.take() {
                tries::drop_last_but_one(pick.u);
                guard::run((), || peers::begin_again(hook.upstream, data));
            }
            match pick.next.replace(Next::Choice) {
                Next::Choice => {
                    pick.given.set(Given::Chosen(None));
                    let rc = hook.ask_balancer(pc, data);
                    guard::run(rc, || pick.chosen(pc, rc))
                }
                Next::Fresh(slot, address) => or_give_up(pc, || {
                    panic_point!(pick, PeerGet);
                    pick.fresh(pc, slot, address)
                }),
                Next::Wait => or_give_up(pc, || {
                    panic_point!(pick, PeerGet);
                    pick.wait(pc)
                }),
            }
        }
    }

    /// `peer.get` when the balancer, asked already, has nothing to choose from.
    ///
    /// # Safety
    /// As [`Pick::get`].
    #[cold]
    pub(super) unsafe fn none_left(hook: &Hook, pc: *mut ngx_peer_connection_t) -> ngx_int_t {
        // SAFETY: the caller's contract.
        let pick = guard::run(None, || unsafe { Self::of(hook, upstream_of(pc)) });
        // SAFETY: as above.
        guard::run(BUSY, || pick.map_or(BUSY, |pick| unsafe { pick.chosen(pc, BUSY) }))
    }

    /// `peer.free`, likewise.
    ///
    /// # Safety
    /// As [`Pick::get`].
    #[cold]
    pub(super) unsafe fn free(
        hook: &Hook,
        pc: *mut ngx_peer_connection_t,
        data: *mut c_void,
        state: ngx_uint_t,
    ) {
        // SAFETY: the caller's contract.
        let u = unsafe { upstream_of(pc) };
        // SAFETY: as above.
        let pick = guard::run(None, || unsafe { Self::of(hook, u) });
        let Some(pick) = pick else {
            // SAFETY: as above.
            return unsafe { hook.tell_balancer(pc, data, state) };
        };
        let given = pick.given.replace(Given::Nothing);
        let counts = state & NGX_PEER_FAILED as ngx_uint_t != 0;
        // SAFETY: u is alive while nginx frees its peer.
        let failed = counts && unsafe { (*u).request_sent() } == 0;
        // SAFETY: the caller's contract, for all of these.
        unsafe {
            match given {
                Given::Chosen(_) => {
                    // A first failure: nginx got the balancer's choice before there was a pick.
                    let slot = guard::run(None, || pick.slot_now(pc, given));
                    hook.tell_balancer(pc, data, state);
                    if counts {
                        guard::run((), || pick.excuse(pc, slot));
                    }
                    if failed {
                        guard::run((), || {
                            panic_point!(pick, PeerFree);
                            pick.trouble(pc, slot);
                        });
                    }
                }
                Given::Nothing => {
                    let slot = guard::run(None, || slot_chosen(hook, pc));
                    pick.last.set(slot);
                    pick.balancers.set(slot);
                    hook.tell_balancer(pc, data, state);
                    if counts {
                        guard::run((), || pick.excuse(pc, slot));
                    }
                    if failed {
                        guard::run((), || {
                            panic_point!(pick, PeerFree);
                            pick.trouble(pc, slot);
                        });
                    }
                }
                Given::Fresh(slot) => guard::run((), || {
                    pick.leave(slot, state);
                    pick.excuse(pc, Some(slot));
                    (*pc).tries = 0;
                    if failed {
                        pick.trouble(pc, Some(slot));
                    }
                }),
                Given::Void => guard::run((), || pick.end_wait(pc)),
            }
        }
    }

    /// The pick of the request whose upstream is `u`, made now if there is none; `None` without memory.
    ///
    /// # Safety
    /// `u` must be a live upstream with an output pool.
    unsafe fn of<'r>(hook: &Hook, u: *mut ngx_http_upstream_t) -> Option<&'r Self> {
        // SAFETY: the caller's contract.
        let existing = unsafe { Self::existing(hook, u) };
        existing.or_else(|| {
            let pick = Self {
                hook,
                u,
                given: Cell::new(Given::Nothing),
                next: Cell::new(Next::Choice),
                failed: RefCell::default(),
                tried: RefCell::default(),
                timed_out: Cell::new(false),
                busy: Cell::new(false),
                void_state: Cell::new(false),
                last: Cell::new(None),
                balancers: Cell::new(None),
                used: Cell::new(None),
                waits_since: Cell::new(None),
                waited_ms: Cell::new(None),
                event: Cell::new(core::ptr::null_mut()),
            };
            hook.disturb();
            // SAFETY: the request's pool (ngx_http_upstream_init_request).
            unsafe { pool::attach((*u).output.pool, Box::new(pick)) }
        })
    }

    /// The pick of `u`, if it has one.
    ///
    /// # Safety
    /// As [`Pick::of`].
    pub(super) unsafe fn existing<'r>(
        hook: &Hook,
        u: *mut ngx_http_upstream_t,
    ) -> Option<&'r Self> {
        if hook.is_calm() {
            return None;
        }
        // SAFETY: the caller's contract.
        unsafe { pool::find_by((*u).output.pool, |pick: &Self| core::ptr::eq(pick.u, u)) }
    }

    /// Makes the test suite's panic, if the location asks for one at `point`.
    #[cfg(feature = "test-panic")]
    fn maybe_panic(&self, point: crate::ffi::Point) {
        // SAFETY: the pick's own upstream, in a callback of its peer.
        if let Some(r) = unsafe { tries::request_of(self.u) } {
            // SAFETY: as above: a live request.
            unsafe { crate::ffi::Request::new(r) }.maybe_panic(point);
        }
    }

    fn hook(&self) -> &Hook {
        // SAFETY: hooks live as long as the cycle, which outlives its requests.
        unsafe { &*self.hook }
    }

    fn slots(&self) -> Option<&Slots> {
        self.hook().slots()
    }

    /// The names that this request has failed with; those of all servers when all are put aside.
    fn names(&self) -> Vec<NameId> {
        let Some(slots) = self.slots() else { return Vec::new() };
        if self.busy.get() {
            return slots.names().collect();
        }
        let failed = self.failed.borrow();
        failed.iter().filter_map(|slot| slots.slot(*slot)?.name).collect()
    }

    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn slot_now(&self, pc: *mut ngx_peer_connection_t, given: Given) -> Option<usize> {
        match given {
            Given::Chosen(Some(slot)) | Given::Fresh(slot) => Some(slot),
            // SAFETY: the caller's contract.
            Given::Chosen(None) | Given::Nothing => unsafe { slot_chosen(self.hook(), pc) },
            Given::Void => None,
        }
    }
}

/// The slot that the balancer has chosen: nobody knows after a translation.
///
/// # Safety
/// `pc` must be `&u->peer` of the upstream of `hook`.
pub(super) unsafe fn slot_chosen(hook: &Hook, pc: *mut ngx_peer_connection_t) -> Option<usize> {
    let slots = hook.slots()?;
    // SAFETY: the caller's contract.
    let (sockaddr, name) = unsafe { ((*pc).sockaddr, (*pc).name) };
    // nginx forgets the address when it frees a server, but not the name.
    slots.index_of(PeerMark::of(sockaddr)).or_else(|| slots.index_of(PeerMark::of(name)))
}
