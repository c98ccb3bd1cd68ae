//! What nginx is given to connect to.

use std::net::SocketAddr;

use nginx_sys::{
    NGX_BUSY, NGX_DECLINED, NGX_OK, NGX_PEER_FAILED, ngx_int_t, ngx_palloc, ngx_peer_connection_t,
    ngx_str_t, ngx_uint_t,
};

use super::{Given, Pick, slot_chosen};
use crate::ffi::address::{self, Storage};
use crate::ffi::peers;

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const BUSY: ngx_int_t = NGX_BUSY as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;

/// Longest text of an address: "[", 45 characters of IPv6, "]:", five digits.
const MAX_TEXT: usize = 64;

impl Pick {
    /// The balancer has chosen, or has nothing to choose from.
    ///
    /// # Safety
    /// `pc` must be `&u->peer`.
    pub(super) unsafe fn chosen(&self, pc: *mut ngx_peer_connection_t, rc: ngx_int_t) -> ngx_int_t {
        if rc == BUSY {
            // SAFETY: the caller's contract.
            return unsafe { self.none_chosen(pc) };
        }
        if rc != OK {
            return rc;
        }
        // SAFETY: the caller's contract.
        let slot = unsafe { slot_chosen(self.hook(), pc) };
        self.given.set(Given::Chosen(slot));
        self.last.set(slot);
        self.balancers.set(slot);
        let Some(slot) = slot else { return rc };
        let Some(slots) = self.slots() else { return rc };
        let configured = slots.slot(slot).map(|slot| slot.configured);
        if let Some(address) = slots.next_address(slot).filter(|to| Some(*to) != configured) {
            // SAFETY: the caller's contract.
            unsafe { self.translate(pc, address) };
        }
        rc
    }

    /// Gives nginx a fresh address of a slot that has failed.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn fresh(
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
        if let Some(slots) = self.slots() {
            slots.mix();
        }
        self.last.set(Some(slot));
        self.used.set(Some(address));
        OK
    }

    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn leave(&self, slot: usize, state: ngx_uint_t) {
        if let Some(slot) = self.slots().and_then(|slots| slots.slot(slot)) {
            let failed = state & NGX_PEER_FAILED as ngx_uint_t != 0;
            // SAFETY: one of the upstream's peers, which `fresh` has entered.
            unsafe { peers::leave(self.hook().upstream, slot.peer, failed) };
        }
    }

    /// Forgets a failure that the balancer has just counted, if it is one of an address that the
    /// slot does not have any more: the name has moved while the attempt was under way.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn excuse(&self, pc: *mut ngx_peer_connection_t, slot: Option<usize>) {
        let Some((slots, slot)) = self.slots().zip(slot) else { return };
        // SAFETY: the caller's contract.
        let Some(address) = (unsafe { address::read((*pc).sockaddr) }) else { return };
        if slots.has(slot, address.ip()) {
            return;
        }
        if let Some(slot) = slots.slot(slot) {
            // SAFETY: one of the upstream's peers, and the balancer has come back from its locks.
            unsafe { peers::forget_failures(self.hook().upstream, slot.peer) };
        }
    }

    /// Replaces the address that nginx is about to connect to. The copies belong to the attempt:
    /// `$upstream_addr` keeps pointing to the text. False without memory.
    ///
    /// # Safety
    /// As [`Pick::chosen`].
    pub(super) unsafe fn translate(&self, pc: *mut ngx_peer_connection_t, to: SocketAddr) -> bool {
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
}
