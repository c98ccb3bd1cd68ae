//! Header lines and trailers.

use nginx_sys::{
    ngx_http_request_t, ngx_list_part_t, ngx_list_push, ngx_list_t, ngx_str_t, ngx_table_elt_t,
};

use super::text;

/// Calls `visit` for each line of `list`.
///
/// # Safety
/// `list` must be an initialized list of header lines or trailers; `visit` must not touch it.
pub(super) unsafe fn for_each(list: *mut ngx_list_t, mut visit: impl FnMut(&mut ngx_table_elt_t)) {
    // SAFETY: the caller's contract.
    let mut part: *mut ngx_list_part_t = unsafe { &raw mut (*list).part };
    // SAFETY: nginx links the parts of a list, ending with NULL (ngx_list_push).
    while let Some(block) = unsafe { part.as_mut() } {
        if block.nelts > 0 {
            // SAFETY: a part holds nelts initialized elements (ngx_list_push), in this list of
            // ngx_table_elt_t (the caller's contract).
            let lines = unsafe { core::slice::from_raw_parts_mut(block.elts.cast(), block.nelts) };
            lines
                .iter_mut()
                .filter(|line: &&mut ngx_table_elt_t| line.hash != 0)
                .for_each(&mut visit);
        }
        part = block.next;
    }
}

/// One or two header names; an empty one matches nothing.
pub(crate) type Names<'n> = [&'n [u8]; 2];

/// Whether a line with one of these names is going to be sent.
///
/// # Safety
/// As [`for_each`].
pub(super) unsafe fn any(list: *mut ngx_list_t, names: &Names<'_>) -> bool {
    let mut found = false;
    let lengths = names.map(<[u8]>::len);
    let visit = |line: &mut ngx_table_elt_t| {
        // This runs on the good path, and the length alone rules out nearly every header.
        if lengths.contains(&line.key.len) {
            found |= is_named(line, names);
        }
    };
    // SAFETY: the caller's contract; the closure only reads.
    unsafe { for_each(list, visit) };
    found
}

/// Keeps the lines of `list` with one of these names from being sent.
///
/// # Safety
/// As [`for_each`].
pub(super) unsafe fn hide(list: *mut ngx_list_t, names: &Names<'_>) {
    let visit = |line: &mut ngx_table_elt_t| {
        if is_named(line, names) {
            // nginx's own mark for a hidden header.
            line.hash = 0;
        }
    };
    // SAFETY: the caller's contract.
    unsafe { for_each(list, visit) };
}

/// Whether `line` is going to be sent and has one of these names, in any case.
pub(super) fn is_named(line: &ngx_table_elt_t, names: &Names<'_>) -> bool {
    // SAFETY: a header line's key points to its bytes in the request's memory.
    let key = unsafe { text::bytes(line.key) };
    line.hash != 0 && names.iter().any(|name| key.eq_ignore_ascii_case(name))
}

/// Appends a header line; `None` when out of memory.
///
/// # Safety
/// `r` must be a live request whose header has not been sent; `name` and `value` must live as long
/// as it.
pub(super) unsafe fn push(
    r: *mut ngx_http_request_t,
    name: ngx_str_t,
    value: ngx_str_t,
) -> Option<()> {
    // SAFETY: the list was initialized by ngx_http_alloc_request for this element type.
    let line = unsafe { ngx_list_push(&raw mut (*r).headers_out.headers) };
    let line = core::ptr::NonNull::new(line.cast::<ngx_table_elt_t>())?;
    let line_value = ngx_table_elt_t {
        hash: 1,
        key: name,
        value,
        lowcase_key: core::ptr::null_mut(),
        #[cfg(nginx1_23_0)]
        next: core::ptr::null_mut(),
    };
    // SAFETY: ngx_list_push returned room for one element.
    unsafe { line.write(line_value) };
    Some(())
}
