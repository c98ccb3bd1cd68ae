//! Ports that stay ours while nobody listens on them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::stream::set_option;

/// A free TCP port. It is refused wherever nobody of the test listens.
///
/// Bound with SO_REUSEADDR and never listened on, it lets others who set that option bind and
/// listen (nginx, std), and keeps the kernel from giving the port away.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _held: OwnedFd,
}

impl Port {
    /// One that is free on every address, IPv4 and IPv6: for a host that moves.
    pub fn reserve() -> Self {
        Self::reserve_on(Ipv6Addr::UNSPECIFIED.into())
    }

    pub(crate) fn reserve_on(address: IpAddr) -> Self {
        let held = TcpListener::from(socket(address, true));
        Self { number: held.local_addr().unwrap().port(), _held: held.into() }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// This port at that address.
    pub fn at(&self, address: impl Into<IpAddr>) -> SocketAddr {
        SocketAddr::new(address.into(), self.number)
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.number.fmt(f)
    }
}

/// A TCP socket that is bound to a free port of that address. `reuse` sets SO_REUSEADDR.
pub(crate) fn socket(address: IpAddr, reuse: bool) -> OwnedFd {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: socket(2) with constants.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    if reuse {
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32);
    }
    bind(&socket, address);
    socket
}

fn bind(socket: &OwnedFd, address: IpAddr) {
    let fd = socket.as_raw_fd();
    // SAFETY: both structs are plain old data, valid when zeroed, and of the length given.
    let rc = unsafe {
        match address {
            IpAddr::V6(ip) => {
                let mut address: libc::sockaddr_in6 = std::mem::zeroed();
                address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                address.sin6_addr.s6_addr = ip.octets();
                libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32)
            }
            IpAddr::V4(ip) => {
                let mut address: libc::sockaddr_in = std::mem::zeroed();
                address.sin_family = libc::AF_INET as libc::sa_family_t;
                address.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
                libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32)
            }
        }
    };
    assert_eq!(rc, 0, "bind: {}", std::io::Error::last_os_error());
}
