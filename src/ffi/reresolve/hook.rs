//! The functions of a balancer, with ours around them.
//!
//! Nothing is kept per request until one of them is in trouble: `u->peer.data` stays the balancer's,
//! and what ours replace is the same for all requests of an upstream block.

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::NonNull;
use std::cell::{Cell, OnceCell};

use nginx_sys::{
    NGX_BUSY, NGX_ERROR, NGX_OK, NGX_PEER_FAILED, ngx_event_free_peer_pt, ngx_event_get_peer_pt,
    ngx_http_request_t, ngx_http_upstream_init_peer_pt, ngx_http_upstream_srv_conf_t,
    ngx_http_upstream_t, ngx_int_t, ngx_peer_connection_t, ngx_uint_t,
};
#[cfg(ngx_feature = "http_ssl")]
use nginx_sys::{ngx_event_save_peer_session_pt, ngx_event_set_peer_session_pt};

use super::pick::Pick;
use super::setup;
use crate::reresolve::{Settings, Slots};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const BUSY: ngx_int_t = NGX_BUSY as ngx_int_t;
const ERROR: ngx_int_t = NGX_ERROR as ngx_int_t;

/// One upstream block, or one that a `proxy_pass` made, whose balancer is watched.
pub(crate) struct Hook {
    pub(super) upstream: *mut ngx_http_upstream_srv_conf_t,
    /// `peer.init_upstream` before ours, where keepalive has to come after us.
    #[cfg(not(nginx1_29_7))]
    pub(super) init_upstream: Cell<nginx_sys::ngx_http_upstream_init_pt>,
    /// `peer.init` before ours.
    pub(super) init: Cell<ngx_http_upstream_init_peer_pt>,
    /// `keepalive_timeout` of a block with `keepalive`, milliseconds.
    pub(super) keepalive_timeout_ms: Cell<Option<u64>>,
    /// The block chooses a server by hash.
    pub(super) pinned: Cell<bool>,
    /// `None` where re-resolution is off.
    pub(super) settings: OnceCell<Settings>,
    /// Its servers, in a worker, if there are names among them.
    pub(super) slots: OnceCell<Slots>,
    /// What the balancer's `peer.init` sets; nothing before it has been called.
    original: Cell<Functions>,
    /// Requests that are or were in trouble; and one more while a balancer's choice may need another
    /// address than the one it has.
    disturbed: Cell<u32>,
    moved: Cell<bool>,
}

/// Where an upstream block keeps its [`Hook`].
#[derive(Clone, Copy)]
pub(crate) struct UpstreamRef(NonNull<Hook>);

#[derive(Clone, Copy, Default)]
pub(super) struct Functions {
    get: ngx_event_get_peer_pt,
    free: ngx_event_free_peer_pt,
    #[cfg(ngx_feature = "http_ssl")]
    set_session: ngx_event_set_peer_session_pt,
    #[cfg(ngx_feature = "http_ssl")]
    save_session: ngx_event_save_peer_session_pt,
}

impl Functions {
    fn of(peer: &ngx_peer_connection_t) -> Self {
        Self {
            get: peer.get,
            free: peer.free,
            #[cfg(ngx_feature = "http_ssl")]
            set_session: peer.set_session,
            #[cfg(ngx_feature = "http_ssl")]
            save_session: peer.save_session,
        }
    }

    /// The ones in this file.
    fn put_ours(peer: &mut ngx_peer_connection_t) {
        peer.get = Some(get);
        peer.free = Some(free);
        #[cfg(ngx_feature = "http_ssl")]
        {
            peer.set_session = Some(set_session);
            peer.save_session = Some(save_session);
        }
    }

    /// Whether these are one balancer's. One function is as good as all: it looks at them on each
    /// request.
    #[inline]
    fn is(&self, other: &Self) -> bool {
        self.get.map(|get| get as usize) == other.get.map(|get| get as usize)
    }
}

impl Hook {
    pub(super) fn new(upstream: *mut ngx_http_upstream_srv_conf_t) -> Self {
        Self {
            upstream,
            #[cfg(not(nginx1_29_7))]
            init_upstream: Cell::new(None),
            init: Cell::new(None),
            keepalive_timeout_ms: Cell::new(None),
            pinned: Cell::new(false),
            settings: OnceCell::new(),
            slots: OnceCell::new(),
            original: Cell::default(),
            disturbed: Cell::new(0),
            moved: Cell::new(false),
        }
    }

    pub(super) fn reference(&self) -> UpstreamRef {
        UpstreamRef(NonNull::from(self))
    }

    /// The block's servers.
    pub(crate) fn slots(&self) -> Option<&Slots> {
        self.slots.get()
    }

    /// What `upstream_diagnosis_resolve` says there.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.get()
    }

    /// Puts our functions around the balancer's.
    #[inline]
    fn wrap(&self, peer: &mut ngx_peer_connection_t) {
        let theirs = Functions::of(peer);
        let known = self.original.get();
        if !known.is(&theirs) {
            // A balancer whose functions change from request to request is left alone.
            if known.get.is_some() {
                return;
            }
            self.original.set(theirs);
        }
        Functions::put_ours(peer);
    }

    /// Whether the balancer's choices can go through as they are: no name has moved, and no request
    /// is in trouble.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        self.disturbed.get() == 0
    }

    /// A request is in trouble.
    pub(super) fn disturb(&self) {
        self.disturbed.set(self.disturbed.get().saturating_add(1));
    }

    /// It has ended.
    pub(super) fn calm_down(&self) {
        self.disturbed.set(self.disturbed.get().saturating_sub(1));
    }

    /// Notes whether a name has moved, after there was news of one.
    pub(super) fn note_moves(&self) {
        let moved = self.slots.get().is_some_and(Slots::have_moved);
        match (self.moved.replace(moved), moved) {
            (false, true) => self.disturb(),
            (true, false) => self.calm_down(),
            (false, false) | (true, true) => {}
        }
    }

    /// Whether TLS sessions may come from different addresses.
    #[cfg(ngx_feature = "http_ssl")]
    fn has_ever_moved(&self) -> bool {
        self.slots.get().is_some_and(Slots::have_ever_moved)
    }

    /// # Safety
    /// The arguments must be those of nginx's call of `peer.get`.
    pub(super) unsafe fn ask_balancer(
        &self,
        pc: *mut ngx_peer_connection_t,
        data: *mut c_void,
    ) -> ngx_int_t {
        match self.original.get().get {
            // SAFETY: the balancer's own function with its own data.
            Some(get) => unsafe { get(pc, data) },
            None => ERROR,
        }
    }

    /// # Safety
    /// The arguments must be those of nginx's call of `peer.free`.
    pub(super) unsafe fn tell_balancer(
        &self,
        pc: *mut ngx_peer_connection_t,
        data: *mut c_void,
        state: ngx_uint_t,
    ) {
        if let Some(free) = self.original.get().free {
            // SAFETY: the balancer's own function with its own data.
            unsafe { free(pc, data, state) };
        }
    }
}

impl UpstreamRef {
    /// # Safety
    /// The cycle that the upstream block belongs to must be alive.
    pub(super) unsafe fn get<'c>(self) -> &'c Hook {
        // SAFETY: the caller's contract; the same cycle's configuration owns the hook.
        unsafe { self.0.as_ref() }
    }
}

/// The upstream whose member `pc` is: nginx has no other use for this structure in http.
///
/// # Safety
/// `pc` must be what nginx passes to a peer callback of an http upstream.
#[inline]
pub(super) unsafe fn upstream_of(pc: *mut ngx_peer_connection_t) -> *mut ngx_http_upstream_t {
    // SAFETY: the caller's contract: &u->peer (ngx_http_upstream_connect, ngx_http_upstream_next).
    unsafe { pc.byte_sub(offset_of!(ngx_http_upstream_t, peer)).cast() }
}

/// # Safety
/// As [`upstream_of`].
#[inline]
unsafe fn hook_of<'c>(pc: *mut ngx_peer_connection_t) -> Option<&'c Hook> {
    // SAFETY: the caller's contract; u->upstream is the block whose peer.init nginx has called
    // (ngx_http_upstream_init_request).
    unsafe { setup::find((*upstream_of(pc)).upstream) }
}

/// `uscf->peer.init`: the balancer prepares a request.
pub(super) unsafe extern "C" fn init(
    r: *mut ngx_http_request_t,
    us: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx, or keepalive, passes the upstream block that this is the init of.
    let Some(hook) = (unsafe { setup::find_for(r, us) }) else { return ERROR };
    let Some(original) = hook.init.get() else { return ERROR };
    // SAFETY: the function that ours has replaced, with the arguments meant for it.
    let rc = unsafe { original(r, us) };
    if rc == OK && hook.slots.get().is_some() {
        // SAFETY: the upstream that is being prepared (ngx_http_upstream_init_request).
        hook.wrap(unsafe { &mut (*(*r).upstream).peer });
    }
    rc
}

/// `peer.get`.
unsafe extern "C" fn get(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx, or keepalive, passes &u->peer.
    let Some(hook) = (unsafe { hook_of(pc) }) else { return ERROR };
    if hook.is_calm() {
        // SAFETY: the arguments of this very call.
        return match unsafe { hook.ask_balancer(pc, data) } {
            // SAFETY: as above.
            BUSY => unsafe { Pick::none_left(hook, pc) },
            rc => rc,
        };
    }
    // SAFETY: as above.
    unsafe { Pick::get(hook, pc, data) }
}

/// `peer.free`.
unsafe extern "C" fn free(pc: *mut ngx_peer_connection_t, data: *mut c_void, state: ngx_uint_t) {
    // SAFETY: nginx, or keepalive, passes &u->peer.
    let hook = unsafe { setup::find_quickly((*upstream_of(pc)).upstream) };
    let went_well = state & NGX_PEER_FAILED as ngx_uint_t == 0;
    match hook.filter(|hook| went_well && hook.is_calm()) {
        // SAFETY: the arguments of this very call.
        Some(hook) => unsafe { hook.tell_balancer(pc, data, state) },
        // SAFETY: as above.
        None => unsafe { free_slowly(pc, data, state) },
    }
}

/// Apart, so that the way of nearly all requests has no registers to save.
#[inline(never)]
unsafe extern "C" fn free_slowly(
    pc: *mut ngx_peer_connection_t,
    data: *mut c_void,
    state: ngx_uint_t,
) {
    // SAFETY: the arguments of `free`.
    if let Some(hook) = unsafe { hook_of(pc) } {
        // SAFETY: as above.
        unsafe { Pick::free(hook, pc, data, state) };
    }
}

/// `peer.set_session`: nginx is about to begin a TLS handshake.
#[cfg(ngx_feature = "http_ssl")]
unsafe extern "C" fn set_session(pc: *mut ngx_peer_connection_t, data: *mut c_void) -> ngx_int_t {
    // SAFETY: nginx, or keepalive, passes &u->peer.
    let Some(hook) = (unsafe { hook_of(pc) }) else { return ERROR };
    // SAFETY: as above.
    if hook.has_ever_moved() && !unsafe { Pick::may_resume(hook, pc) } {
        return OK;
    }
    match hook.original.get().set_session {
        // SAFETY: the balancer's own function with its own data.
        Some(original) => unsafe { original(pc, data) },
        None => OK,
    }
}

/// `peer.save_session`: nginx has a TLS session to keep.
#[cfg(ngx_feature = "http_ssl")]
unsafe extern "C" fn save_session(pc: *mut ngx_peer_connection_t, data: *mut c_void) {
    // SAFETY: nginx, or keepalive, passes &u->peer.
    let Some(hook) = (unsafe { hook_of(pc) }) else { return };
    // SAFETY: as above.
    if hook.has_ever_moved() && !unsafe { Pick::note_session(hook, pc) } {
        return;
    }
    if let Some(original) = hook.original.get().save_session {
        // SAFETY: the balancer's own function with its own data.
        unsafe { original(pc, data) };
    }
}
