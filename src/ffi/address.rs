//! `struct sockaddr` as Rust's `SocketAddr`, and back.

use core::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nginx_sys::{sockaddr, socklen_t};

/// The families, in the width of the field, and the lengths of their addresses.
#[expect(clippy::cast_possible_truncation, reason = "small constants of the system's headers")]
mod sizes {
    use super::{size_of, socklen_t};

    pub(super) const V4: libc::sa_family_t = libc::AF_INET as libc::sa_family_t;
    pub(super) const V6: libc::sa_family_t = libc::AF_INET6 as libc::sa_family_t;
    pub(super) const V4_LENGTH: socklen_t = size_of::<libc::sockaddr_in>() as socklen_t;
    pub(super) const V6_LENGTH: socklen_t = size_of::<libc::sockaddr_in6>() as socklen_t;
}

/// Room for either family.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) union Storage {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Storage {
    /// The kernel's form of `address`, and its length.
    pub(super) fn new(address: SocketAddr) -> (Self, socklen_t) {
        match address.ip() {
            IpAddr::V4(ip) => {
                let v4 = libc::sockaddr_in {
                    sin_family: sizes::V4,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    sin_zero: [0; 8],
                };
                (Self { v4 }, sizes::V4_LENGTH)
            }
            IpAddr::V6(ip) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: sizes::V6,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                    sin6_scope_id: 0,
                };
                (Self { v6 }, sizes::V6_LENGTH)
            }
        }
    }

    /// For functions that take any address.
    pub(super) fn as_ptr(&self) -> *mut sockaddr {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

/// The address behind `raw`; `None` for NULL and for families other than IPv4 and IPv6.
///
/// # Safety
/// `raw` must be NULL or an address of its family, as in `ngx_peer_connection_t`.
pub(super) unsafe fn read(raw: *const sockaddr) -> Option<SocketAddr> {
    // SAFETY: the caller's contract; the family stands first in every address.
    let family = unsafe { raw.cast::<libc::sockaddr>().as_ref() }?.sa_family;
    match family {
        sizes::V4 => {
            // SAFETY: the caller's contract, by the family.
            let v4 = unsafe { &*raw.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
        }
        sizes::V6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*raw.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::new(ip.into(), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

const _: () = assert!(offset_of!(libc::sockaddr_in, sin_family) == 0);
