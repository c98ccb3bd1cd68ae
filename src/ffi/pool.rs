//! Values that live as long as an nginx pool.

use core::ffi::c_void;

use nginx_sys::{ngx_pnalloc, ngx_pool_cleanup_add, ngx_pool_t, ngx_str_t};

/// Finds the value of type `T` that [`attach`] put into the pool.
///
/// The realip module finds its context the same way: cleanups survive internal redirects, which
/// zero `r->ctx`.
///
/// # Safety
/// `pool` must be a live pool; the value is borrowed for as long as the pool lives.
pub(super) unsafe fn find<'p, T>(pool: *mut ngx_pool_t) -> Option<&'p T> {
    // SAFETY: the caller's contract.
    unsafe { find_by(pool, |_| true) }
}

/// As [`find`], the one of several that `is_it` knows.
///
/// # Safety
/// As [`find`].
pub(super) unsafe fn find_by<'p, T: 'p>(
    pool: *mut ngx_pool_t,
    is_it: impl Fn(&T) -> bool,
) -> Option<&'p T> {
    let ours: unsafe extern "C" fn(*mut c_void) = drop_value::<T>;
    // SAFETY: the caller's contract.
    let mut cleanup = unsafe { (*pool).cleanup };
    // SAFETY: nginx links the cleanups of a live pool, ending with NULL (ngx_pool_cleanup_add).
    while let Some(entry) = unsafe { cleanup.as_ref() } {
        if entry.handler.is_some_and(|handler| core::ptr::fn_addr_eq(handler, ours)) {
            // SAFETY: attach stored a `Box<T>` with this handler, and only nginx's destruction of
            // the pool drops it.
            let value = unsafe { entry.data.cast::<T>().as_ref() };
            if let Some(value) = value.filter(|value| is_it(value)) {
                return Some(value);
            }
        }
        cleanup = entry.next;
    }
    None
}

/// Gives `value` to the pool, which drops it when it is destroyed. `None` when out of memory.
///
/// # Safety
/// As [`find`].
pub(super) unsafe fn attach<'p, T>(pool: *mut ngx_pool_t, value: Box<T>) -> Option<&'p T> {
    // SAFETY: NULL, or made from a Box that stays where it is until drop_value.
    unsafe { own(pool, value).as_ref() }
}

/// As [`attach`], for callers that want the pointer; NULL when out of memory.
///
/// # Safety
/// As [`find`].
pub(super) unsafe fn own<T>(pool: *mut ngx_pool_t, value: Box<T>) -> *mut T {
    // SAFETY: the caller's contract; size 0 asks for the cleanup entry alone.
    let Some(cleanup) = (unsafe { ngx_pool_cleanup_add(pool, 0).as_mut() }) else {
        return core::ptr::null_mut();
    };
    let data = Box::into_raw(value);
    cleanup.data = data.cast();
    cleanup.handler = Some(drop_value::<T>);
    data
}

unsafe extern "C" fn drop_value<T>(data: *mut c_void) {
    // SAFETY: nginx calls a cleanup handler once with its own data (ngx_destroy_pool), which
    // attach made from a Box<T>.
    let value = unsafe { Box::from_raw(data.cast::<T>()) };
    super::guard::run((), || drop(value));
}

/// A copy of `bytes` in the pool; `None` when out of memory.
///
/// # Safety
/// `pool` must be a live pool.
pub(super) unsafe fn copy(pool: *mut ngx_pool_t, bytes: &[u8]) -> Option<ngx_str_t> {
    // SAFETY: the caller's contract.
    let data = unsafe { ngx_pnalloc(pool, bytes.len()) }.cast::<u8>();
    if data.is_null() {
        return None;
    }
    // SAFETY: ngx_pnalloc returned bytes.len() fresh bytes, which cannot overlap `bytes`.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
    Some(ngx_str_t { len: bytes.len(), data })
}
