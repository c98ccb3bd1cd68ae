//! nginx's error log: the words of one line, and the level at which nginx formats them at all.

use core::ffi::CStr;

use nginx_sys::{
    NGX_LOG_ERR, NGX_MAX_ERROR_STR, ngx_cached_err_log_time, ngx_cycle_t, ngx_http_request_t,
    ngx_log_t, ngx_pcalloc, ngx_uint_t, u_char,
};

use super::text;

/// nginx's own message in the line that is being written, without the time, level and ids before
/// it and without the context (` while …, client: …`) after it.
///
/// `None` for levels below error, and for a line that is not laid out as ngx_log_error_core does.
///
/// The bounds are computed, not searched for: whatever a client or an upstream put into the
/// message cannot move them.
///
/// # Safety
/// `main`, `tail` and `room` must be what ngx_http_log_error passed to `r->log_handler`.
pub(super) unsafe fn message<'a>(
    main: *mut ngx_http_request_t,
    tail: *mut u_char,
    room: usize,
) -> Option<&'a [u8]> {
    let used = (NGX_MAX_ERROR_STR as usize).checked_sub(room)?;
    // SAFETY: ngx_log_error_core formats into errstr[NGX_MAX_ERROR_STR]; `room` is what is left of
    // it behind `tail`, so `used` bytes before `tail` have been written.
    let line = unsafe { core::slice::from_raw_parts(tail.sub(used), used) };
    // SAFETY: nginx replaces this string as a whole from its timer (ngx_time_update), never here.
    let time = unsafe { text::bytes(ngx_cached_err_log_time) };
    let message = without_prefix(line.strip_prefix(time)?)?;
    // SAFETY: the caller's contract.
    Some(unsafe { without_context(main, message) })
}

/// Cuts ` [error] 1#1: *1 `; the levels are those at which nginx reports a failed upstream.
fn without_prefix(line: &[u8]) -> Option<&[u8]> {
    let ids = line
        .strip_prefix(b" [error] ")
        .or_else(|| line.strip_prefix(b" [crit] "))
        .or_else(|| line.strip_prefix(b" [alert] "))
        .or_else(|| line.strip_prefix(b" [emerg] "))?;
    let pid = ids.iter().position(|byte| *byte == b':')?;
    let message = ids.get(pid.checked_add(2)?..)?;
    let Some(connection) = message.strip_prefix(b"*") else { return Some(message) };
    let digits = connection.iter().position(|byte| !byte.is_ascii_digit())?;
    connection.get(digits.checked_add(1)?..)
}

/// Cuts ` while <action>, client: <address>`, which ngx_http_log_error has just appended.
///
/// # Safety
/// As [`message`].
unsafe fn without_context(main: *mut ngx_http_request_t, line: &[u8]) -> &[u8] {
    // SAFETY: a live request has its connection and that its log (ngx_http_init_connection).
    let (client, action) = unsafe {
        let connection = (*main).connection;
        ((*connection).addr_text, (*(*connection).log).action)
    };
    // SAFETY: the client's address text belongs to the connection.
    let client = unsafe { text::bytes(client) };
    let cut = line.strip_suffix(client).and_then(|line| line.strip_suffix(b", client: "));
    // A message that filled the buffer has no room for the context: nothing to cut.
    let Some(line) = cut else { return line };
    if action.is_null() {
        return line;
    }
    // SAFETY: log->action is NULL or a C string literal of nginx or of a module.
    let action = unsafe { CStr::from_ptr(action) }.to_bytes();
    line.strip_suffix(action).and_then(|line| line.strip_suffix(b" while ")).unwrap_or(line)
}

/// Makes sure that messages of level error are formatted in the chain that begins at `head`, even
/// if every log of the user's is above that: adds a log that writes nothing.
///
/// # Safety
/// `head` must be the head of an `error_log` chain of the cycle that is being initialized.
pub(super) unsafe fn raise(cycle: *mut ngx_cycle_t, head: *mut ngx_log_t) -> Option<()> {
    // SAFETY: the caller's contract.
    let level = unsafe { (*head).log_level };
    if level >= NGX_LOG_ERR as ngx_uint_t {
        return Some(());
    }
    // SAFETY: the cycle's pool lives as long as its logs.
    let node = unsafe { ngx_pcalloc((*cycle).pool, size_of::<ngx_log_t>()) }.cast::<ngx_log_t>();
    // SAFETY: ngx_pcalloc returned zeroed memory of that size, valid as an ngx_log_t, or NULL.
    let node = unsafe { node.as_mut() }?;
    // SAFETY: as above; nothing else holds a reference to the head here.
    let head = unsafe { &mut *head };
    // As ngx_log_insert: the head's address is permanent, so the contents move.
    *node = *head;
    head.log_level = NGX_LOG_ERR as ngx_uint_t;
    head.file = core::ptr::null_mut();
    head.writer = Some(write_nothing);
    head.wdata = core::ptr::null_mut();
    head.next = core::ptr::from_mut(node);
    Some(())
}

unsafe extern "C" fn write_nothing(_: *mut ngx_log_t, _: ngx_uint_t, _: *mut u_char, _: usize) {}
