//! A listening socket that nobody reaches any more, and whose queue can still be accepted.
//!
//! Closing it would reset what waits in the queue, and shutdown(2) does so too.

use std::ffi::CStr;
use std::os::fd::RawFd;

use crate::stream::set_option;

/// From now on the port refuses: the socket listens on an interface where nobody comes from. False
/// when this machine has no other than the loopback.
pub(super) fn refuse(listener: RawFd) -> bool {
    // SAFETY: if_nameindex(3) returns null or an array that ends with a null name, which stays
    // valid until it is freed; setsockopt(2) reads a NUL-terminated name of the length given.
    unsafe {
        let all = libc::if_nameindex();
        let mut next = all;
        let mut done = false;
        while !done && !next.is_null() && !(*next).if_name.is_null() {
            let name = CStr::from_ptr((*next).if_name);
            let (level, option) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
            let length = name.count_bytes() as libc::socklen_t;
            done = name != c"lo"
                && libc::setsockopt(listener, level, option, name.as_ptr().cast(), length) == 0;
            next = next.add(1);
        }
        if !all.is_null() {
            libc::if_freenameindex(all);
        }
        done
    }
}

/// From now on whoever connects gets no answer: a filter drops every packet to the socket
/// (socket(7), SO_ATTACH_FILTER).
pub(super) fn ignore(listener: RawFd) {
    let mut nothing =
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    set_option(listener, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program);
}
