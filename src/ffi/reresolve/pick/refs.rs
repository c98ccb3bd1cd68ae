//! A request's pick, for those that only know the request.

use std::net::SocketAddr;

use nginx_sys::ngx_http_upstream_t;

use super::{Pick, slot_chosen};
use crate::ffi::reresolve::{placeholder, setup};
use crate::reresolve::{NameId, Slot};

/// A request that waits for DNS, as the names' waiting list has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PickRef(*const Pick);

impl From<&Pick> for PickRef {
    fn from(pick: &Pick) -> Self {
        Self(pick)
    }
}

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

    /// The names that the request waits for.
    pub(crate) fn names(self) -> Vec<NameId> {
        // SAFETY: as in `wake`.
        unsafe { &*self.0 }.names()
    }

    /// Whether it waits for one of the servers, all put aside, to be another.
    pub(crate) fn is_put_aside(self) -> bool {
        // SAFETY: as in `wake`.
        unsafe { &*self.0 }.busy.get()
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
            let hook = setup::find((*self.0).upstream.as_mut()?)?;
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
    pub(in crate::ffi) fn server<'r>(self) -> Option<&'r Slot> {
        // SAFETY: as in `pick`.
        unsafe {
            let hook = setup::find((*self.0).upstream.as_mut()?)?;
            let slots = hook.slots()?;
            let last = move || Pick::existing(hook, self.0)?.last.get();
            slots.slot(slot_chosen(hook, &raw mut (*self.0).peer).or_else(last)?)
        }
    }

    /// How long nginx keeps an idle connection of the upstream's block, milliseconds.
    pub(in crate::ffi) fn keepalive_timeout_ms(self) -> Option<u64> {
        // SAFETY: as in `pick`.
        let hook = unsafe { setup::find((*self.0).upstream.as_mut()?) }?;
        hook.keepalive_timeout_ms.get()
    }

    /// The server that an earlier attempt went to, if its address is one that a name has moved to.
    pub(in crate::ffi) fn server_at<'r>(self, address: &[u8]) -> Option<&'r Slot> {
        // SAFETY: as in `pick`.
        let hook = unsafe { setup::find((*self.0).upstream.as_mut()?) }?;
        let slots = hook.slots().filter(|slots| slots.have_moved())?;
        slots.only_one_moved_to(std::str::from_utf8(address).ok()?.parse().ok()?)
    }
}
