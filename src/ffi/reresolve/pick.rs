//! One request's way through the addresses of its upstream, once something is the matter.

use core::ffi::c_void;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use nginx_sys::{
    NGX_AGAIN, NGX_BUSY, NGX_DECLINED, NGX_ERROR, NGX_HTTP_UPSTREAM_FT_ERROR,
    NGX_HTTP_UPSTREAM_FT_TIMEOUT, NGX_OK, NGX_PEER_FAILED, ngx_event_t, ngx_http_upstream_t,
    ngx_int_t, ngx_palloc, ngx_peer_connection_t, ngx_str_t, ngx_uint_t,
};

use super::hook::{Hook, upstream_of};
use super::{placeholder, setup, tries};
use crate::ffi::address::{self, Storage};
use crate::ffi::peers::{self, PeerId};
use crate::ffi::{cycle, guard, pool};
use crate::reresolve::{self, Reresolve, Slots};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;
const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
const BUSY: ngx_int_t = NGX_BUSY as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// Longest text of an address: "[", 45 characters of IPv6, "]:", five digits.
const MAX_TEXT: usize = 64;

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
    /// The fresh address that the request was sent to in the end.
    used: Cell<Option<SocketAddr>>,
    /// When the request began to wait, and how long it has waited; it does so once.
    waits_since: Cell<Option<u64>>,
    waited_ms: Cell<Option<u64>>,
    /// The end of the wait.
    pub(super) event: Cell<*mut ngx_event_t>,
}

/// A request that waits for DNS, as the names' waiting list has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PickRef(*const Pick);

impl PickRef {
    /// Ends the wait soon, from nginx's event loop.
    pub(crate) fn wake(self) {
        // SAFETY: a pick leaves the list before it is dropped (Pick::stop_waiting).
        let pick = unsafe { &*self.0 };
        placeholder::end_soon(pick.event.get());
    }

    /// Whether there is an address to try, before all answers have come.
    pub(crate) fn has_untried(self) -> bool {
        // SAFETY: as in `wake`.
        unsafe { &*self.0 }.untried().is_some()
    }

    /// Whether this name is one of those that the request waits for.
    pub(crate) fn waits_for(self, name: reresolve::NameId) -> bool {
        // SAFETY: as in `wake`.
        let pick = unsafe { &*self.0 };
        pick.names().contains(&name)
    }
}

/// An upstream of a request that is alive.
#[derive(Clone, Copy)]
pub(crate) struct UpstreamId(*mut ngx_http_upstream_t);

impl UpstreamId {
    /// # Safety
    /// Nothing may be asked of it once the request's pool is destroyed.
    pub(in crate::ffi) unsafe fn new(u: *mut ngx_http_upstream_t) -> Self {
        Self(u)
    }

    fn pick<'r>(self) -> Option<&'r Pick> {
        // SAFETY: new's contract: u is in that pool, and its block is configuration.
        unsafe {
            let hook = setup::find((*self.0).upstream)?;
            Pick::existing(hook, self.0)
        }
    }

    /// How long the request has waited for DNS, milliseconds, and the fresh address that it was then
    /// sent to.
    pub(crate) fn way(self) -> (Option<u64>, Option<SocketAddr>) {
        let pick = self.pick();
        (pick.and_then(|pick| pick.waited_ms.get()), pick.and_then(|pick| pick.used.get()))
    }

    /// The server that the last attempt went to, when re-resolution knows it: its argument and name.
    pub(in crate::ffi) fn server<'r>(self) -> Option<&'r crate::reresolve::Slot> {
        // SAFETY: as in `pick`.
        unsafe {
            let hook = setup::find((*self.0).upstream)?;
            let last = self.pick().and_then(|pick| pick.last.get());
            let slot = slot_by_name(hook, &raw mut (*self.0).peer).or(last)?;
            hook.slots()?.slot(slot)
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.stop_waiting();
        placeholder::discard(self.event.replace(core::ptr::null_mut()));
        let troubled = &self.hook().troubled;
        troubled.set(troubled.get().saturating_sub(1));
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
            }
            match pick.next.replace(Next::Choice) {
                Next::Choice => {
                    pick.given.set(Given::Chosen(None));
                    let rc = hook.ask_balancer(pc, data);
                    guard::run(rc, || pick.chosen(pc, rc))
                }
                Next::Fresh(slot, address) => guard::run(ERROR, || pick.fresh(pc, slot, address)),
                Next::Wait => guard::run(ERROR, || pick.wait(pc)),
            }
        }
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
        // SAFETY: u is alive while nginx frees its peer.
        let failed = state & NGX_PEER_FAILED as ngx_uint_t != 0
            && unsafe { (*u).request_sent() } == 0;
        // SAFETY: the caller's contract, for all of these.
        unsafe {
            match given {
                Given::Chosen(_) => {
                    // A first failure: nginx got the balancer's choice before there was a pick.
                    let slot = guard::run(None, || pick.slot_now(pc, given));
                    hook.tell_balancer(pc, data, state);
                    if failed {
                        guard::run((), || pick.trouble(pc, slot));
                    }
                }
                Given::Nothing => {
                    let slot = guard::run(None, || slot_by_name(hook, pc));
                    pick.last.set(slot);
                    hook.tell_balancer(pc, data, state);
                    if failed {
                        guard::run((), || pick.trouble(pc, slot));
                    }
                }
                Given::Fresh(slot) => guard::run((), || {
                    pick.leave(slot, state);
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
                used: Cell::new(None),
                waits_since: Cell::new(None),
                waited_ms: Cell::new(None),
                event: Cell::new(core::ptr::null_mut()),
            };
            hook.troubled.set(hook.troubled.get().saturating_add(1));
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
        if hook.troubled.get() == 0 {
            return None;
        }
        // SAFETY: the caller's contract.
        unsafe { pool::find_by((*u).output.pool, |pick: &Self| core::ptr::eq(pick.u, u)) }
    }

    fn hook(&self) -> &Hook {
        // SAFETY: hooks live as long as the cycle, which outlives its requests.
        unsafe { &*self.hook }
    }

    fn slots(&self) -> Option<&Slots> {
        self.hook().slots()
    }

    /// The names that this request has failed with; those of all servers when all are put aside.
    fn names(&self) -> Vec<reresolve::NameId> {
        let Some(slots) = self.slots() else { return Vec::new() };
        if self.busy.get() {
            return slots.names().collect();
        }
        let failed = self.failed.borrow();
        failed.iter().filter_map(|slot| slots.slot(*slot)?.name).collect()
    }

    /// The balancer has chosen, or has nothing to choose from.
    ///
    /// # Safety
    /// `pc` must be `&u->peer`.
    unsafe fn chosen(&self, pc: *mut ngx_peer_connection_t, rc: ngx_int_t) -> ngx_int_t {
        if rc == BUSY {
            // SAFETY: the caller's contract.
            return unsafe { self.none_chosen(pc) };
        }
        if rc != OK {
            return rc;
        }
        // SAFETY: the caller's contract.
        let Some(slot) = (unsafe { slot_by_name(self.hook(), pc) }) else { return rc };
        self.given.set(Given::Chosen(Some(slot)));
        self.last.set(Some(slot));
        let Some(slots) = self.slots() else { return rc };
        let configured = slots.slot(slot).map(|slot| slot.configured);
        if let Some(address) = slots.next_address(slot).filter(|to| Some(*to) != configured) {
            // SAFETY: the caller's contract.
            unsafe { self.translate(pc, address) };
        }
        rc
    }

    /// Every server is put aside for its failures: perhaps their names have moved meanwhile.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn none_chosen(&self, pc: *mut ngx_peer_connection_t) -> ngx_int_t {
        self.given.set(Given::Nothing);
        let Some(reresolve) = setup::running() else { return BUSY };
        if self.waited_ms.get().is_some() {
            return BUSY;
        }
        self.busy.set(true);
        for name in self.names() {
            reresolve.ask_after_failure(name);
        }
        // SAFETY: the caller's contract; nginx prints this name, which the balancer has set.
        let worth_it = self.may_wait(reresolve)
            && unsafe { tries::allow(self.u, NGX_HTTP_UPSTREAM_FT_ERROR) }
            && !unsafe { (*pc).name }.is_null();
        if !worth_it {
            self.busy.set(false);
            return BUSY;
        }
        // SAFETY: as above.
        match unsafe { self.wait(pc) } {
            AGAIN => AGAIN,
            _ => {
                self.given.set(Given::Nothing);
                BUSY
            }
        }
    }

    /// Gives nginx a fresh address of a slot that has failed.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn fresh(
        &self,
        pc: *mut ngx_peer_connection_t,
        slot: usize,
        address: SocketAddr,
    ) -> ngx_int_t {
        self.given.set(Given::Void);
        let entered = self.slots().and_then(|slots| slots.slot(slot)).is_some_and(|slot| {
            // SAFETY: one of the upstream's peers.
            unsafe { peers::enter(self.hook().upstream, slot.peer) }
        });
        // SAFETY: the caller's contract.
        unsafe {
            (*pc).set_cached(0);
            (*pc).connection = core::ptr::null_mut();
            if !self.translate(pc, address) || !entered {
                if entered {
                    self.leave(slot, 0);
                }
                // At max_conns: not this one again.
                self.tried.borrow_mut().push(address);
                return DECLINED;
            }
        }
        self.given.set(Given::Fresh(slot));
        self.last.set(Some(slot));
        self.used.set(Some(address));
        OK
    }

    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn leave(&self, slot: usize, state: ngx_uint_t) {
        if let Some(slot) = self.slots().and_then(|slots| slots.slot(slot)) {
            let failed = state & NGX_PEER_FAILED as ngx_uint_t != 0;
            // SAFETY: one of the upstream's peers, which `fresh` has entered.
            unsafe { peers::leave(self.hook().upstream, slot.peer, failed) };
        }
    }

    /// Puts a connection that goes nowhere in the place of one, until DNS has answered.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn wait(&self, pc: *mut ngx_peer_connection_t) -> ngx_int_t {
        self.given.set(Given::Void);
        // SAFETY: the caller's contract.
        unsafe {
            // nginx frees a peer only if there is an address.
            if let Some(address) = self.tried.borrow().last() {
                self.translate(pc, *address);
            } else {
                let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
                let name = (*pc).name;
                self.translate(pc, nowhere);
                (*pc).name = name;
            }
            let limit = tries::longest_wait(self.u, self.settings_wait());
            let Some(limit) = limit else { return DECLINED };
            if !placeholder::open(pc, &self.event, core::ptr::from_ref(self), limit) {
                return DECLINED;
            }
        }
        self.waits_since.set(Some(cycle::now_ms()));
        if let Some(reresolve) = setup::running() {
            reresolve.add_waiting(PickRef(self));
        }
        AGAIN
    }

    fn settings_wait(&self) -> u64 {
        self.hook().settings().map_or(0, |settings| settings.wait_ms)
    }

    fn stop_waiting(&self) {
        if let Some(since) = self.waits_since.take() {
            self.waited_ms.set(Some(cycle::now_ms().saturating_sub(since)));
            if let Some(reresolve) = setup::running() {
                reresolve.remove_waiting(PickRef(self));
            }
        }
        placeholder::cancel(self.event.get());
    }

    /// The wait is over, with an answer or without one; or nobody waits any more.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn end_wait(&self, pc: *mut ngx_peer_connection_t) {
        self.stop_waiting();
        // SAFETY: the caller's contract.
        unsafe {
            if self.busy.replace(false) {
                // The balancer is asked again: whoever has moved is no longer put aside.
                (*pc).tries = (*pc).tries.max(1);
                self.void_state.set(true);
                return;
            }
            tries::drop_last(self.u);
            (*pc).tries = 0;
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
    unsafe fn trouble(&self, pc: *mut ngx_peer_connection_t, slot: Option<usize>) {
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
        let kind = if timed_out { NGX_HTTP_UPSTREAM_FT_TIMEOUT } else { NGX_HTTP_UPSTREAM_FT_ERROR };
        // SAFETY: as above.
        unsafe {
            // The balancer has others to try first.
            if (*pc).tries != 0 || !tries::allow(self.u, kind) {
                return;
            }
            if let Some((slot, address)) = self.untried() {
                self.next.set(Next::Fresh(slot, address));
                (*pc).tries = 1;
            } else if self.may_wait(reresolve) {
                self.timed_out.set(timed_out);
                self.next.set(Next::Wait);
                (*pc).tries = 1;
            }
        }
    }

    fn may_wait(&self, reresolve: &Reresolve) -> bool {
        self.waited_ms.get().is_none()
            && self.settings_wait() > 0
            && self.names().iter().any(|name| reresolve.is_asking(*name))
    }

    /// A current address, of a slot that has failed, that was not tried yet.
    fn untried(&self) -> Option<(usize, SocketAddr)> {
        let (reresolve, slots) = (setup::running()?, self.slots()?);
        let tried = self.tried.borrow();
        self.failed.borrow().iter().rev().find_map(|slot| {
            let current = reresolve.answered_addresses(slots.slot(*slot)?.name?);
            Some((*slot, slots.untried(*slot, &current, &tried)?))
        })
    }

    /// How nginx shall be told that the wait is over: as the failure before it was, unless it can
    /// be told silently.
    pub(super) fn ends_as_time_out(&self) -> bool {
        // SAFETY: the pick's own upstream, which waits.
        let silently = unsafe { tries::allow(self.u, NGX_HTTP_UPSTREAM_FT_ERROR) };
        self.timed_out.get() && !(silently && self.untried().is_some())
    }

    pub(super) fn upstream(&self) -> *mut ngx_http_upstream_t {
        self.u
    }

    /// Replaces the address that nginx is about to connect to. The copies belong to the attempt:
    /// `$upstream_addr` keeps pointing to the text. False without memory.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn translate(&self, pc: *mut ngx_peer_connection_t, to: SocketAddr) -> bool {
        #[repr(C)]
        struct Copies {
            name: ngx_str_t,
            storage: Storage,
            text: [u8; MAX_TEXT],
        }
        // SAFETY: the request's pool.
        let copies = unsafe { ngx_palloc((*self.u).output.pool, size_of::<Copies>()) };
        let copies = copies.cast::<Copies>();
        if copies.is_null() {
            return false;
        }
        let (storage, length) = Storage::new(to);
        let mut text = [0; MAX_TEXT];
        let mut left = text.as_mut_slice();
        // An address with a port is shorter than the room for it.
        let _ = std::io::Write::write_fmt(&mut left, format_args!("{to}"));
        let len = MAX_TEXT.saturating_sub(left.len());
        // SAFETY: fresh memory of that size and the pool's alignment; it stays where it is.
        unsafe {
            copies.write(Copies {
                name: ngx_str_t { len, data: (&raw mut (*copies).text).cast() },
                storage,
                text,
            });
            (*pc).sockaddr = (*copies).storage.as_ptr();
            (*pc).socklen = length;
            (*pc).name = &raw mut (*copies).name;
        }
        true
    }

    /// # Safety
    /// As [`Pick::chosen`].
    unsafe fn slot_now(&self, pc: *mut ngx_peer_connection_t, given: Given) -> Option<usize> {
        match given {
            Given::Chosen(Some(slot)) | Given::Fresh(slot) => Some(slot),
            // SAFETY: the caller's contract.
            Given::Chosen(None) | Given::Nothing => unsafe { slot_by_name(self.hook(), pc) },
            Given::Void => None,
        }
    }
}

/// The slot whose peer's name `pc->name` is: not so after a translation.
///
/// # Safety
/// `pc` must be `&u->peer` of the upstream of `hook`.
pub(super) unsafe fn slot_by_name(hook: &Hook, pc: *mut ngx_peer_connection_t) -> Option<usize> {
    // SAFETY: the caller's contract.
    let name = unsafe { (*pc).name };
    hook.slots()?.index_of(PeerId::of_name(name))
}

/// TLS sessions belong to an address.
#[cfg(ngx_feature = "http_ssl")]
impl Pick {
    /// # Safety
    /// As [`Pick::get`].
    pub(super) unsafe fn may_resume(hook: &Hook, pc: *mut ngx_peer_connection_t) -> bool {
        // SAFETY: the caller's contract.
        guard::run(true, || match unsafe { slot_and_address(hook, pc) } {
            Some((slots, slot, address)) => {
                slots.slot(slot).is_none_or(|slot| slot.may_resume(address.ip()))
            }
            None => true,
        })
    }

    /// # Safety
    /// As [`Pick::get`].
    pub(super) unsafe fn note_session(hook: &Hook, pc: *mut ngx_peer_connection_t) {
        guard::run((), || {
            // SAFETY: the caller's contract.
            if let Some((slots, slot, address)) = unsafe { slot_and_address(hook, pc) } {
                if let Some(slot) = slots.slot(slot) {
                    slot.note_session(address.ip());
                }
            }
        });
    }
}

/// # Safety
/// As [`Pick::get`].
#[cfg(ngx_feature = "http_ssl")]
unsafe fn slot_and_address(
    hook: &Hook,
    pc: *mut ngx_peer_connection_t,
) -> Option<(&Slots, usize, SocketAddr)> {
    // SAFETY: the caller's contract.
    unsafe {
        let pick = Pick::existing(hook, upstream_of(pc));
        let slot = match pick {
            Some(pick) => pick.slot_now(pc, pick.given.get()),
            None => slot_by_name(hook, pc),
        }?;
        Some((hook.slots()?, slot, address::read((*pc).sockaddr)?))
    }
}
