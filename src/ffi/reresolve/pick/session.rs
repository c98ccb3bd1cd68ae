//! TLS sessions belong to an address.

use std::net::SocketAddr;

use nginx_sys::ngx_peer_connection_t;

use super::{Pick, slot_chosen};
use crate::ffi::reresolve::hook::{Hook, upstream_of};
use crate::ffi::{address, guard};
use crate::reresolve::Slots;

impl Pick {
    /// # Safety
    /// As [`Pick::get`].
    pub(in super::super) unsafe fn may_resume(hook: &Hook, pc: *mut ngx_peer_connection_t) -> bool {
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
    pub(in super::super) unsafe fn note_session(hook: &Hook, pc: *mut ngx_peer_connection_t) {
        guard::run((), || {
            // SAFETY: the caller's contract.
            let Some((slots, slot, address)) = (unsafe { slot_and_address(hook, pc) }) else {
                return;
            };
            if let Some(slot) = slots.slot(slot) {
                slot.note_session(address.ip());
            }
        });
    }
}

/// # Safety
/// As [`Pick::get`].
unsafe fn slot_and_address(
    hook: &Hook,
    pc: *mut ngx_peer_connection_t,
) -> Option<(&Slots, usize, SocketAddr)> {
    // SAFETY: the caller's contract.
    unsafe {
        let pick = Pick::existing(hook, upstream_of(pc));
        let slot = match pick {
            Some(pick) => pick.slot_now(pc, pick.given.get()),
            None => slot_chosen(hook, pc),
        }?;
        Some((hook.slots()?, slot, address::read((*pc).sockaddr)?))
    }
}
