//! TLS sessions belong to an address.

use std::net::SocketAddr;

use nginx_sys::ngx_peer_connection_t;

use super::{Given, Pick, slot_chosen};
use crate::ffi::reresolve::hook::{Hook, upstream_of};
use crate::ffi::{address, guard};
use crate::reresolve::Slot;

impl Pick {
    /// Whether the session that the balancer would offer is one of the address that is connected to.
    ///
    /// # Safety
    /// As [`Pick::get`].
    pub(in super::super) unsafe fn may_resume(hook: &Hook, pc: *mut ngx_peer_connection_t) -> bool {
        // SAFETY: the caller's contract.
        guard::run(true, || match unsafe { slot_and_address(hook, pc) } {
            Of::Slot(slot, address) => slot.may_resume(address.ip()),
            Of::AnotherSlot => false,
            Of::Nobody => true,
        })
    }

    /// Notes that the balancer is about to keep a session; false when it would keep it for another
    /// server.
    ///
    /// # Safety
    /// As [`Pick::get`].
    pub(in super::super) unsafe fn note_session(
        hook: &Hook,
        pc: *mut ngx_peer_connection_t,
    ) -> bool {
        // SAFETY: the caller's contract.
        guard::run(true, || match unsafe { slot_and_address(hook, pc) } {
            Of::Slot(slot, address) => {
                slot.note_session(address.ip());
                true
            }
            Of::AnotherSlot => false,
            Of::Nobody => true,
        })
    }
}

/// Whom the balancer's session would be of.
enum Of<'h> {
    /// The slot that is connected to, at this address.
    Slot(&'h Slot, SocketAddr),
    /// Not the one that is connected to, which the balancer has not chosen.
    AnotherSlot,
    /// No server of ours.
    Nobody,
}

/// # Safety
/// As [`Pick::get`].
unsafe fn slot_and_address(hook: &Hook, pc: *mut ngx_peer_connection_t) -> Of<'_> {
    // SAFETY: the caller's contract.
    let (slot, address) = unsafe {
        let slot = match Pick::existing(hook, upstream_of(pc)) {
            Some(pick) => {
                let given = pick.given.get();
                if matches!(given, Given::Fresh(slot) if pick.balancers.get() != Some(slot)) {
                    return Of::AnotherSlot;
                }
                pick.slot_now(pc, given)
            }
            None => slot_chosen(hook, pc),
        };
        (slot, address::read((*pc).sockaddr))
    };
    let slot = slot.and_then(|slot| hook.slots()?.slot(slot));
    slot.zip(address).map_or(Of::Nobody, |(slot, address)| Of::Slot(slot, address))
}
