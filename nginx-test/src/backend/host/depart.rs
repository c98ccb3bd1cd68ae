//! A listening socket that nobody reaches any more, and whose queue can still be accepted.
//!
//! Closing it would reset what waits in the queue, and shutdown(2) does so too.

use std::ffi::{CStr, CString};
use std::os::fd::{OwnedFd, RawFd};

use crate::sandbox::netns::open_tap;
use crate::stream::set_option;

/// From now on the port refuses: the socket listens on an interface where nobody comes from. That
/// is any but the loopback; where there is none, one of our own, which `spare` keeps. False when
/// this user may not make one.
pub(super) fn refuse(listener: RawFd, spare: &mut Option<OwnedFd>) -> bool {
    let listen_on = |interface: &CStr| {
        let length = interface.count_bytes() as libc::socklen_t;
        let name = interface.as_ptr().cast();
        // SAFETY: the name is readable for the length given (socket(7)).
        let rc = unsafe {
            let option = libc::SO_BINDTODEVICE;
            libc::setsockopt(listener, libc::SOL_SOCKET, option, name, length)
        };
        rc == 0
    };
    let elsewhere = || interfaces().iter().any(|name| name.as_c_str() != c"lo" && listen_on(name));
    elsewhere() || {
        *spare = open_tap("spare%d").ok();
        elsewhere()
    }
}

/// The interfaces of this thread's network.
fn interfaces() -> Vec<CString> {
    let mut names = Vec::new();
    // SAFETY: if_nameindex(3) returns null or an array that ends with a null name, all valid until
    // it is freed.
    unsafe {
        let all = libc::if_nameindex();
        let mut next = all;
        while !next.is_null() && !(*next).if_name.is_null() {
            names.push(CStr::from_ptr((*next).if_name).to_owned());
            next = next.add(1);
        }
        if !all.is_null() {
            libc::if_freenameindex(all);
        }
    }
    names
}

/// From now on whoever connects gets no answer: a filter drops every packet to the socket
/// (socket(7), SO_ATTACH_FILTER).
pub(super) fn ignore(listener: RawFd) {
    let code = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut nothing = libc::sock_filter { code, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    set_option(listener, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program);
}
