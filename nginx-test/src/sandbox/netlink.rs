//! The two rtnetlink requests that tests need (rtnetlink(7)), so that iproute2 is not.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Adds an IPv4 route of a kind that needs no interface.
pub(crate) fn add_route(kind: u8, to: Ipv4Addr, prefix: u8) {
    let family = libc::AF_INET as u8;
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
    let mut body = vec![family, prefix, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT];
    body.extend([libc::RT_SCOPE_UNIVERSE, kind, 0, 0, 0, 0]);
    attribute(&mut body, libc::RTA_DST, &to.octets());
    request(libc::RTM_NEWROUTE, &body);
}

/// Gives an interface an address.
pub(crate) fn add_address(interface: &str, address: IpAddr, prefix: u8) {
    let name = CString::new(interface).expect("no NUL");
    // SAFETY: a NUL-terminated string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "{interface}: {}", io::Error::last_os_error());
    let (family, octets) = match address {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    // Without it an IPv6 address cannot be used until the kernel has looked for another such.
    let flags = libc::IFA_F_NODAD as u8;
    // struct ifaddrmsg: family, prefixlen, flags, scope, index.
    let mut body = vec![family as u8, prefix, flags, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &octets);
    attribute(&mut body, libc::IFA_ADDRESS, &octets);
    request(libc::RTM_NEWADDR, &body);
}

/// An rtattr; its value is a multiple of four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend((4 + value.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

fn request(kind: u16, body: &[u8]) {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE) as u16;
    let mut message = Vec::new();
    message.extend((16 + body.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let mut answer = [0u8; 1024];
    // SAFETY: the descriptor is fresh; both buffers are valid for the lengths given.
    let received = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "netlink: {}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        let sent = libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0);
        assert_eq!(sent, message.len() as isize, "netlink: {}", io::Error::last_os_error());
        libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    // nlmsghdr, then nlmsgerr whose first member is 0 or a negative errno.
    assert!(received >= 20, "netlink answered {received} bytes");
    let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    assert_eq!(error, 0, "netlink: {}", io::Error::from_raw_os_error(-error));
}
