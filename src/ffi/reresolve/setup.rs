//! The second module of the library: its tables, and what nginx calls while it reads a configuration.

use core::ffi::{c_char, c_void};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use nginx_sys::{
    NGX_OK, NGX_PROCESS_HELPER, ngx_conf_t, ngx_cycle, ngx_cycle_t, ngx_http_conf_ctx_t,
    ngx_http_module, ngx_http_request_t, ngx_http_upstream_main_conf_t, ngx_http_upstream_module,
    ngx_http_upstream_srv_conf_t, ngx_int_t, ngx_pid, ngx_process, ngx_uint_t,
};

use super::hook::{self, Hook, UpstreamRef};
use super::runtime;
use crate::conf::SrvConf;
use crate::ffi::{Conf, guard, peers, pool, tables, text};
use crate::reresolve::{Collector, Found, NameId, Reresolve, Slots};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
#[cfg(not(nginx1_29_7))]
const ERROR: ngx_int_t = nginx_sys::NGX_ERROR as ngx_int_t;

/// nginx's default (ngx_http_upstream_keepalive_create_conf).
const KEEPALIVE_TIMEOUT_MS: u64 = 60_000;

/// What is kept for one configuration.
#[derive(Default)]
pub(super) struct MainConf {
    /// Each in its own place, since upstream blocks point to theirs.
    hooks: RefCell<Vec<Rc<Hook>>>,
    /// Those of the upstreams without a block, by address.
    without_block: RefCell<HashMap<usize, UpstreamRef, ByAddress>>,
    /// The one of them that was used last.
    last: Cell<Option<UpstreamRef>>,
    last_address: Cell<usize>,
    /// In a worker, if there are names.
    running: OnceCell<Reresolve>,
}

impl MainConf {
    /// The hook of an upstream without a block. Three callbacks of one request ask for the same.
    #[inline]
    fn blockless(&self, address: usize) -> Option<UpstreamRef> {
        if self.last_address.get() == address { self.last.get() } else { self.look_up(address) }
    }

    #[inline(never)]
    fn look_up(&self, address: usize) -> Option<UpstreamRef> {
        let reference = *self.without_block.borrow().get(&address)?;
        self.last.set(Some(reference));
        self.last_address.set(address);
        Some(reference)
    }
}

/// Addresses are as good as their own hashes: they differ in the middle bits, which a product with an
/// odd number spreads upwards.
type ByAddress = BuildHasherDefault<Spread>;

#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0 ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub(in crate::ffi) unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the pool of the configuration that nginx is reading.
    guard::run(core::ptr::null_mut(), || unsafe {
        pool::own((*cf).pool, Box::<MainConf>::default()).cast()
    })
}

pub(in crate::ffi) unsafe extern "C" fn create_srv_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: as above.
    guard::run(core::ptr::null_mut(), || unsafe {
        pool::own((*cf).pool, Box::<SrvConf>::default()).cast()
    })
}

/// Every upstream has its `peer.init` by now (ngx_http_upstream_init_main_conf, a module before ours).
/// Since 1.29.7 keepalive comes after us, by `ngx_module_order`.
pub(in crate::ffi) unsafe extern "C" fn init_main_conf(
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
) -> *mut c_char {
    guard::run(usize::MAX as *mut c_char, || {
        // SAFETY: nginx passes what create_main_conf has made, and the http block's context.
        let (main, http, upstreams) = unsafe {
            let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
            let umcf = *(*ctx).main_conf.add(ngx_http_upstream_module.ctx_index);
            let all = &(*umcf.cast::<ngx_http_upstream_main_conf_t>()).upstreams;
            let all = all.as_slice::<*mut ngx_http_upstream_srv_conf_t>();
            (&*conf.cast::<MainConf>(), &*srv_conf((*ctx).srv_conf), all)
        };
        for upstream in upstreams {
            // SAFETY: a configured upstream.
            unsafe { complete(main, http, *upstream) };
        }
        core::ptr::null_mut()
    })
}

/// # Safety
/// `upstream` must be one of the configuration that is being read.
unsafe fn complete(main: &MainConf, http: &SrvConf, upstream: *mut ngx_http_upstream_srv_conf_t) {
    // SAFETY: the caller's contract; a configuration of ours where there is a block.
    let own = unsafe { own_conf(upstream) };
    let Some(settings) = own.unwrap_or(http).resolve(http) else { return };
    // SAFETY: the caller's contract.
    unsafe {
        let hook = hook_for(main, upstream);
        let _ = hook.settings.set(settings);
        if hook.init.get().is_none() {
            hook.init.set((*upstream).peer.init);
            (*upstream).peer.init = Some(hook::init);
        }
    }
}

/// A directive of an upstream block is about to be handled.
///
/// # Safety
/// `cf` must be what nginx passes to the directive's `set`.
pub(in crate::ffi) unsafe fn before_directive(cf: *mut ngx_conf_t, name: &[u8]) {
    // SAFETY: the caller's contract.
    unsafe {
        match name {
            b"hash" | b"ip_hash" | b"sticky" => {
                if let Some(hook) = current(cf) {
                    hook.pinned.set(true);
                }
            }
            b"keepalive" => {
                if let Some(hook) = current(cf) {
                    let default = hook.keepalive_timeout_ms.get().or(Some(KEEPALIVE_TIMEOUT_MS));
                    hook.keepalive_timeout_ms.set(default);
                    #[cfg(not(nginx1_29_7))]
                    come_before_keepalive(hook);
                }
            }
            b"keepalive_timeout" => {
                if let Some(hook) = current(cf) {
                    let words = (*(*cf).args).as_slice::<nginx_sys::ngx_str_t>();
                    let value = words.get(1).map_or(&[][..], |word| text::bytes(*word));
                    hook.keepalive_timeout_ms.set(Conf::milliseconds(value));
                }
            }
            _ => {}
        }
    }
}

/// The hook of the upstream block that nginx is reading; `None` in another block.
///
/// # Safety
/// As [`before_directive`].
unsafe fn current<'c>(cf: *mut ngx_conf_t) -> Option<&'c Hook> {
    // SAFETY: the context of the block (ngx_http_upstream); elsewhere an upstream configuration
    // has no servers.
    unsafe {
        let is_upstream = (*cf).cmd_type == nginx_sys::NGX_HTTP_UPS_CONF as ngx_uint_t;
        let ctx = (*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        let upstream = *(*ctx).srv_conf.add(ngx_http_upstream_module.ctx_index);
        let main = &*(*(*ctx).main_conf.add(tables::resolve_ctx_index())).cast::<MainConf>();
        is_upstream.then(|| hook_for(main, upstream.cast()))
    }
}

/// keepalive puts itself around the `init_upstream` that it finds; so ours has to be there.
///
/// # Safety
/// nginx must be reading the block of `hook`.
#[cfg(not(nginx1_29_7))]
unsafe fn come_before_keepalive(hook: &Hook) {
    // SAFETY: the caller's contract.
    let slot = unsafe { &mut (*hook.upstream).peer.init_upstream };
    let ours: unsafe extern "C" fn(_, _) -> _ = init_upstream;
    if slot.is_some_and(|current| core::ptr::fn_addr_eq(current, ours)) {
        return;
    }
    hook.init_upstream.set((*slot).or(Some(nginx_sys::ngx_http_upstream_init_round_robin)));
    *slot = Some(init_upstream);
}

/// `uscf->peer.init_upstream` under keepalive's.
#[cfg(not(nginx1_29_7))]
unsafe extern "C" fn init_upstream(
    cf: *mut ngx_conf_t,
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx, or keepalive, passes the block that this was set in.
    let hook = unsafe { own_conf(upstream).and_then(|own| own.upstream.get()) };
    // SAFETY: the configuration is being read.
    let Some(hook) = hook.map(|hook| unsafe { hook.get() }) else { return ERROR };
    let Some(original) = hook.init_upstream.get() else { return ERROR };
    // SAFETY: the function that ours has replaced, with the arguments meant for it.
    let rc = unsafe { original(cf, upstream) };
    // All of the http block has been read by now (ngx_http_upstream_init_main_conf).
    // SAFETY: as above, with the http block's context.
    let is_on = unsafe {
        let http = &*srv_conf((*(*cf).ctx.cast::<ngx_http_conf_ctx_t>()).srv_conf);
        own_conf(upstream).unwrap_or(http).resolve(http).is_some()
    };
    if rc == OK && is_on {
        // SAFETY: a configured upstream, which the balancer has just set up.
        let init = unsafe { &mut (*upstream).peer.init };
        hook.init.set(*init);
        *init = Some(hook::init);
    }
    rc
}

/// # Safety
/// `upstream` must be one of the configuration that is being read, `main` of the same.
unsafe fn hook_for<'c>(main: &MainConf, upstream: *mut ngx_http_upstream_srv_conf_t) -> &'c Hook {
    // SAFETY: the caller's contract.
    let own = unsafe { own_conf(upstream) };
    if let Some(existing) = own.and_then(|own| own.upstream.get()) {
        // SAFETY: the configuration is being read.
        return unsafe { existing.get() };
    }
    let hook = Rc::new(Hook::new(upstream));
    let reference = hook.reference();
    main.hooks.borrow_mut().push(hook);
    match own {
        Some(own) => own.upstream.set(Some(reference)),
        None => {
            main.without_block.borrow_mut().insert(upstream.addr(), reference);
        }
    }
    // SAFETY: as above; the hook stays where it is.
    unsafe { reference.get() }
}

/// Our configuration of an `upstream` block; `None` for what a `proxy_pass` made.
///
/// # Safety
/// `upstream` must be a configured upstream of a living cycle.
#[inline]
unsafe fn own_conf<'c>(upstream: *mut ngx_http_upstream_srv_conf_t) -> Option<&'c SrvConf> {
    // SAFETY: the caller's contract; set by ngx_http_upstream only.
    unsafe { (!(*upstream).srv_conf.is_null()).then(|| &*srv_conf((*upstream).srv_conf)) }
}

/// # Safety
/// `all` must be the server configurations of a block.
#[inline]
unsafe fn srv_conf(all: *mut *mut c_void) -> *const SrvConf {
    // SAFETY: the caller's contract; create_srv_conf has made ours.
    unsafe { (*all.add(tables::resolve_ctx_index())).cast() }
}

/// As [`find`], for a request of its upstream.
///
/// # Safety
/// `r` must be a live request, `upstream` a configured upstream of its cycle.
#[inline(always)]
pub(super) unsafe fn find_for<'c>(
    r: *mut ngx_http_request_t,
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> Option<&'c Hook> {
    // SAFETY: the caller's contract; create_main_conf has made ours.
    let reference = unsafe {
        match own_conf(upstream) {
            Some(own) => own.upstream.get(),
            None => {
                let main = (*(*r).main_conf.add(tables::resolve_ctx_index())).cast::<MainConf>();
                (*main).blockless(upstream.addr())
            }
        }
    };
    // SAFETY: as above.
    reference.map(|hook| unsafe { hook.get() })
}

/// The hook of an upstream, while a worker runs.
///
/// # Safety
/// As [`own_conf`].
#[inline(always)]
pub(super) unsafe fn find<'c>(upstream: *mut ngx_http_upstream_srv_conf_t) -> Option<&'c Hook> {
    // SAFETY: the caller's contract.
    let reference = match unsafe { own_conf(upstream) } {
        Some(own) => own.upstream.get(),
        None => main_conf().and_then(|main| main.blockless(upstream.addr())),
    };
    // SAFETY: as above.
    reference.map(|hook| unsafe { hook.get() })
}

/// As [`find`], without a search.
///
/// # Safety
/// As [`own_conf`], for an upstream that has a hook.
#[inline(always)]
pub(super) unsafe fn find_quickly<'c>(
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> Option<&'c Hook> {
    // SAFETY: the caller's contract; so there is an http block with our configuration.
    let reference = unsafe {
        match own_conf(upstream) {
            Some(own) => own.upstream.get(),
            None => {
                let ctx = *(*ngx_cycle).conf_ctx.add(ngx_http_module.index);
                let main = (*ctx.cast::<ngx_http_conf_ctx_t>()).main_conf;
                let main = &*(*main.add(tables::resolve_ctx_index())).cast::<MainConf>();
                main.last.get().filter(|_| main.last_address.get() == upstream.addr())
            }
        }
    };
    // SAFETY: as above.
    reference.map(|hook| unsafe { hook.get() })
}

/// What this module keeps in the worker's cycle.
#[inline]
fn main_conf<'c>() -> Option<&'c MainConf> {
    // SAFETY: ngx_cycle is set before any module code runs (main) and never NULL afterwards; http's
    // context is NULL without an http block (ngx_http_cycle_get_module_main_conf).
    unsafe {
        let ctx = *(*ngx_cycle).conf_ctx.add(ngx_http_module.index);
        let ctx = ctx.cast::<ngx_http_conf_ctx_t>().as_ref()?;
        (*ctx.main_conf.add(tables::resolve_ctx_index())).cast::<MainConf>().as_ref()
    }
}

/// Re-resolution of this worker, if there is any.
pub(crate) fn running<'c>() -> Option<&'c Reresolve> {
    main_conf()?.running.get()
}

/// A worker begins: what each balancer has to choose from is final.
pub(in crate::ffi) unsafe extern "C" fn init_process(_cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard::run(OK, || {
        // SAFETY: a plain number; the cache manager and loader serve no requests.
        let serves = unsafe { ngx_process } != NGX_PROCESS_HELPER as ngx_uint_t;
        if let Some(main) = main_conf().filter(|_| serves) {
            start(main);
        }
        OK
    })
}

fn start(main: &MainConf) {
    let mut names = Collector::default();
    for hook in main.hooks.borrow().iter() {
        let Some(settings) = hook.settings() else { continue };
        // SAFETY: a configured upstream of the worker's cycle, and no lock of its servers is held.
        let found = unsafe { found(hook.upstream) };
        let found = found.into_iter().map(|(server, mut found)| {
            found.name = names.add(&server, *settings, found.configured);
            found
        });
        let slots = Slots::new(found.collect(), hook.pinned.get());
        if slots.have_names() {
            let _ = hook.slots.set(slots);
        }
    }
    if names.is_empty() {
        return;
    }
    // SAFETY: the http block's context, as in `main_conf`; ngx_pid is set by now.
    let (servers, seed) = unsafe {
        let ctx = *(*ngx_cycle).conf_ctx.add(ngx_http_module.index);
        let http = &*srv_conf((*ctx.cast::<ngx_http_conf_ctx_t>()).srv_conf);
        (http.servers(), u64::from(ngx_pid.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    };
    let reresolve = Reresolve::new(names, servers, seed);
    reresolve.set_alarm();
    let _ = main.running.set(reresolve);
}

/// The servers of an upstream with the texts that their names are in.
///
/// # Safety
/// As [`peers::find`].
unsafe fn found(upstream: *mut ngx_http_upstream_srv_conf_t) -> Vec<(Box<[u8]>, Found)> {
    // SAFETY: the caller's contract.
    let (found, host) = unsafe { (peers::find(upstream), text::bytes((*upstream).host)) };
    let with_address = found.into_iter().filter_map(|one| Some((one.address?, one)));
    with_address
        .map(|(configured, one)| {
            // The one server of a proxy_pass has no text of its own.
            let server: Box<[u8]> = if one.server.is_empty() { host } else { one.server }.into();
            let (peer, marks, backup) = (one.peer, one.marks, one.backup);
            (server.clone(), Found { peer, marks, server, configured, backup, name: None })
        })
        .collect()
}

/// A worker ends.
pub(in crate::ffi) unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    guard::run((), runtime::stop);
}

/// Gives the servers of `name` its addresses; what was known of their failures is forgotten.
pub(crate) fn remap(name: NameId, addresses: &[std::net::IpAddr]) {
    let Some(main) = main_conf() else { return };
    for hook in main.hooks.borrow().iter() {
        let Some(slots) = hook.slots() else { continue };
        for slot in slots.remap(name, addresses) {
            // SAFETY: one of the upstream's peers, and no lock of them is held: this runs from an
            // event of ours.
            unsafe { peers::forget_failures(hook.upstream, slot.peer) };
        }
        hook.note_moves();
    }
}
