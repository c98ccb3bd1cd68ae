//! `ngx_str_t` as bytes.

use std::cell::RefCell;

use nginx_sys::ngx_str_t;

use crate::record::Record;

/// The bytes of an `ngx_str_t`; an empty slice for a NULL one.
///
/// # Safety
/// `text` must point to `len` readable bytes that stay unchanged for `'a`, or be NULL or empty.
pub(super) unsafe fn bytes<'a>(text: ngx_str_t) -> &'a [u8] {
    if text.data.is_null() || text.len == 0 {
        return &[];
    }
    // SAFETY: the caller's contract; checked for NULL above.
    unsafe { core::slice::from_raw_parts(text.data, text.len) }
}

/// The bytes behind a pointer to an `ngx_str_t`, which may be NULL.
///
/// # Safety
/// As [`bytes`], and `text` itself must be NULL or readable.
pub(super) unsafe fn bytes_at<'a>(text: *const ngx_str_t) -> &'a [u8] {
    // SAFETY: the caller's contract.
    match unsafe { text.as_ref() } {
        // SAFETY: the caller's contract.
        Some(text) => unsafe { bytes(*text) },
        None => &[],
    }
}

/// An `ngx_str_t` over static bytes, for nginx functions that take names.
pub(super) const fn fixed(bytes: &'static [u8]) -> ngx_str_t {
    ngx_str_t { len: bytes.len(), data: bytes.as_ptr().cast_mut() }
}

/// Puts `text` where it lives as long as the request: beside the record, which is cheaper than
/// another block of the request's pool.
pub(super) fn kept(record: &RefCell<Record>, text: Vec<u8>) -> ngx_str_t {
    let kept = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
    record.borrow_mut().keep_text(text);
    kept
}
