//! A network of one's own: no route, a route that refuses, few ports.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::resume_unwind;
use std::thread;

use super::netlink;

/// What a route answers to connect(2).
#[derive(Debug, Clone, Copy)]
pub enum Route {
    /// EHOSTUNREACH.
    Unreachable,
    /// EACCES.
    Prohibit,
    /// EINVAL.
    Blackhole,
}

/// The network namespace that the calling test runs in.
#[derive(Debug)]
pub struct Network(());

/// Runs `test` in a new network namespace whose only interface is a loopback that is up. Back ends
/// and nginx started inside live there too; any other address is ENETUNREACH.
pub fn isolated<T: Send>(test: impl FnOnce(&Network) -> T + Send) -> T {
    let in_namespace = || {
        // SAFETY: unshare(2) takes a flag; it changes this thread only.
        let rc = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(rc, 0, "unshare (this test needs root): {}", io::Error::last_os_error());
        set_up("lo");
        test(&Network(()))
    };
    thread::scope(|scope| scope.spawn(in_namespace).join()).unwrap_or_else(|p| resume_unwind(p))
}

/// As [`isolated`], with a table of connections of its own that the kernel walks in no time; `None`
/// where it has one table for all (before Linux 6.1).
pub fn with_small_table<T: Send>(test: impl FnOnce(&Network) -> T + Send) -> Option<T> {
    isolated(|_| {
        // Of the namespaces that are made inside this one.
        fs::write("/proc/sys/net/ipv4/tcp_child_ehash_entries", "1024").ok()?;
        Some(isolated(test))
    })
}

impl Network {
    /// Adds a route for `address`/`prefix` that refuses with its own errno.
    pub fn route(&self, kind: Route, address: Ipv4Addr, prefix: u8) {
        let kind = match kind {
            Route::Blackhole => libc::RTN_BLACKHOLE,
            Route::Unreachable => libc::RTN_UNREACHABLE,
            Route::Prohibit => libc::RTN_PROHIBIT,
        };
        netlink::add_route(kind, address, prefix);
    }

    /// Gives the loopback another address, IPv4 or IPv6, on which back ends can listen. One that is
    /// not of the loopback's own makes its family a family of this host (getaddrinfo(3),
    /// AI_ADDRCONFIG).
    pub fn address(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        netlink::add_address("lo", address, if address.is_ipv4() { 32 } else { 128 });
    }

    /// `net.ipv4.ip_local_port_range`: the ports that connect(2) may pick from.
    pub fn local_ports(&self, first: u16, last: u16) {
        self.sysctl("ipv4/ip_local_port_range", &format!("{first} {last}"));
    }

    /// Writes below /proc/sys/net, which shows the namespace of the thread that opens it.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        fs::write(&path, value).unwrap_or_else(|e| panic!("write {path}: {e}"));
    }

    /// Gives this network the address 198.51.100.1/24 on an Ethernet where nobody answers: any
    /// other address there is EHOSTUNREACH, but only when ARP gives up a moment after connect(2).
    pub fn silent_ethernet(&self) -> Ethernet {
        let file = open_tap("silent0").unwrap_or_else(|e| panic!("open /dev/net/tun: {e}"));
        self.sysctl("ipv4/neigh/silent0/retrans_time_ms", "20");
        self.sysctl("ipv4/neigh/silent0/mcast_solicit", "1");
        netlink::add_address("silent0", Ipv4Addr::new(198, 51, 100, 1).into(), 24);
        set_up("silent0");
        Ethernet(file)
    }
}

/// Keeps the interface alive.
#[derive(Debug)]
pub struct Ethernet(#[expect(dead_code, reason = "closing it removes the interface")] OwnedFd);

/// A tap interface whose frames nobody reads (linux/if_tun.h); `%d` in its name is a free number.
pub(crate) fn open_tap(name: &str) -> io::Result<OwnedFd> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const IFF_TAP: libc::c_short = 2;
    const IFF_NO_PI: libc::c_short = 0x1000;
    let file = fs::File::options().read(true).write(true).open("/dev/net/tun")?;
    let mut request = named(name);
    request.ifr_ifru.ifru_flags = IFF_TAP | IFF_NO_PI;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    match unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) } {
        0 => Ok(file.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_up(name: &str) {
    // SAFETY: socket(2) with constants; the descriptor is owned below. The ioctls read and write
    // one ifreq (netdevice(7)).
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "socket: {}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        let mut request = named(name);
        assert_eq!(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request), 0);
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        let rc = libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request);
        assert_eq!(rc, 0, "bring up {name}: {}", io::Error::last_os_error());
    }
}

fn named(name: &str) -> libc::ifreq {
    // SAFETY: ifreq is plain old data; all zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, &from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from as libc::c_char;
    }
    request
}
