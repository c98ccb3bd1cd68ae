//! Header lines and trailers.

use nginx_sys::{
    ngx_http_request_t, ngx_list_part_t, ngx_list_push, ngx_list_t, ngx_str_t, ngx_table_elt_t,
};

use super::text;

/// Calls `visit` for each line of `list` that is going to be sent.
///
/// # Safety
/// As [`parts`]; `visit` must not touch the list.
pub(super) unsafe fn for_each(list: *mut ngx_list_t, mut visit: impl FnMut(&mut ngx_table_elt_t)) {
    // SAFETY: the caller's contract.
    for lines in unsafe { parts(list) } {
        lines.iter_mut().filter(|line| line.hash != 0).for_each(&mut visit);
    }
}

/// The lines of `list` as they are stored.
///
/// # Safety
/// `list` must be an initialized list of header lines or trailers, that nobody else touches as long
/// as the iterator is in use.
unsafe fn parts<'l>(list: *mut ngx_list_t) -> impl Iterator<Item = &'l mut [ngx_table_elt_t]> {
    // SAFETY: the caller's contract.
    let mut part: *mut ngx_list_part_t = unsafe { &raw mut (*list).part };
    core::iter::from_fn(move || {
        // SAFETY: nginx links the parts of a list, ending with NULL (ngx_list_push).
        let block = unsafe { part.as_mut() }?;
        part = block.next;
        Some(match block.nelts {
            0 => &mut [][..],
            // SAFETY: a part holds nelts initialized elements (ngx_list_push), in this list of
            // ngx_table_elt_t (the caller's contract).
            lines => unsafe { core::slice::from_raw_parts_mut(block.elts.cast(), lines) },
        })
    })
}

/// One or two header names; an empty one matches nothing.
pub(crate) type Names<'n> = [&'n [u8]; 2];

/// Whether `is` says so of a line of `list`.
///
/// # Safety
/// As [`parts`].
pub(super) unsafe fn any(list: *mut ngx_list_t, is: impl Fn(&ngx_table_elt_t) -> bool) -> bool {
    // SAFETY: the caller's contract.
    unsafe { parts(list) }.any(|lines| lines.iter().any(&is))
}

/// Keeps the lines of `list` with one of these names from being sent.
///
/// # Safety
/// As [`for_each`].
pub(super) unsafe fn hide_all(list: *mut ngx_list_t, names: &Names<'_>) {
    let visit = |line: &mut ngx_table_elt_t| {
        if is_named(line, names) {
            hide(line);
        }
    };
    // SAFETY: the caller's contract.
    unsafe { for_each(list, visit) };
}

/// Keeps `line` from being sent.
pub(super) fn hide(line: &mut ngx_table_elt_t) {
    // nginx's own mark for a hidden header.
    line.hash = 0;
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
