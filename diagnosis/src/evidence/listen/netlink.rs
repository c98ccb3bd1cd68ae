//! TCP sockets (sock_diag(7), linux/inet_diag.h) and routes (rtnetlink(7)). Numbers are in the
//! machine's byte order, ports and addresses in the network's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Listener, Queue};
use crate::evidence::netlink::{
    LISTEN, Progress, SOCK_DIAG_BY_FAMILY, array, attribute, dump, next_message, request, sockets,
};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// struct inet_diag_msg.
const SOCKET: usize = 72;
/// More are not looked at: a hundred workers with a socket each, several times over.
const MAX_LISTENERS: usize = 512;

/// Asks for the sockets that listen on `port`, of IPv4 or IPv6. The kernel walks the listening ones
/// only, as no other state is asked for, and picks those of the port.
pub fn listeners_request(ipv6: bool, port: u16) -> Vec<u8> {
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states u32, and
    let mut body = vec![if ipv6 { AF_INET6 } else { AF_INET }, IPPROTO_TCP, 0, 0];
    body.extend((1_u32 << LISTEN).to_ne_bytes());
    // struct inet_diag_sockid: source port, destination port, source, destination, interface,
    // cookie (none).
    body.extend(port.to_be_bytes());
    body.extend([0; 38]);
    body.extend([0xff; 8]);
    dump(SOCK_DIAG_BY_FAMILY, &body)
}

/// Asks for the socket that a connection from `address`'s machine to `address` would be given to;
/// found by its hash, without a walk. An established one on the same ports may come instead.
pub fn lookup_request(address: SocketAddr) -> Vec<u8> {
    // The port that tcpmux has for itself, and nobody else.
    const FROM: u16 = 1;
    let (family, octets) = match address.ip() {
        IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
    };
    let mut ip = [0; 16];
    ip.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
    let mut body = vec![family, IPPROTO_TCP, 0, 0];
    body.extend((1_u32 << LISTEN).to_ne_bytes());
    body.extend(address.port().to_be_bytes());
    body.extend(FROM.to_be_bytes());
    body.extend(ip);
    body.extend(ip);
    body.extend([0; 4]);
    body.extend([0xff; 8]);
    request(SOCK_DIAG_BY_FAMILY, &body)
}

/// Asks how `ip` is reached.
pub fn route_request(ip: IpAddr) -> Vec<u8> {
    let (family, octets) = match ip {
        IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
    };
    let length = if family == AF_INET { 4_u8 } else { 16 };
    // struct rtmsg: family, destination's prefix, source's, tos, table, protocol, scope, type,
    // flags u32; then an rtattr: length u16, type u16, the address.
    let mut body = vec![family, length.saturating_mul(8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend(u16::from(length).saturating_add(4).to_ne_bytes());
    body.extend(RTA_DST.to_ne_bytes());
    body.extend(octets);
    request(RTM_GETROUTE, &body)
}

/// Adds the listeners in one datagram of the answer.
pub fn read_listeners(datagram: &[u8], listeners: &mut Vec<Listener>) -> Progress {
    sockets(datagram, |body| match listener(body) {
        Some(_) if listeners.len() >= MAX_LISTENERS => Progress::Done,
        Some(listener) => {
            listeners.push(listener);
            Progress::More
        }
        None => Progress::Failed,
    })
}

/// Whether the answer about a route says that the address is this machine's. `None` when the kernel
/// knows no way there or did not understand.
pub fn read_is_local(datagram: &[u8]) -> Option<bool> {
    match next_message(datagram)? {
        // struct rtmsg: the type is its eighth byte.
        (RTM_NEWROUTE, body, _) => Some(*body.get(7)? == RTN_LOCAL),
        // NLMSG_ERROR among them.
        _ => None,
    }
}

/// struct inet_diag_msg: family, state, timer, retransmissions; inet_diag_sockid of 48 bytes;
/// expiry, receive queue, send queue, user, inode; then attributes.
fn listener(body: &[u8]) -> Option<Listener> {
    let (family, state) = (*body.first()?, *body.get(1)?);
    if state != LISTEN {
        return None;
    }
    let port = u16::from_be_bytes(array(body, 4)?);
    let ip: IpAddr = match family {
        AF_INET => Ipv4Addr::from(array::<4>(body, 8)?).into(),
        AF_INET6 => Ipv6Addr::from(array::<16>(body, 8)?).into(),
        _ => return None,
    };
    let interface = u32::from_ne_bytes(array(body, 40)?);
    // Of a listening socket, the receive queue is what waits to be accepted, and the send queue
    // how much of that there may be (inet_diag_msg_attrs_fill's caller, tcp_diag_get_info).
    let waiting = u32::from_ne_bytes(array(body, 56)?);
    let limit = u32::from_ne_bytes(array(body, 60)?);
    let only = attribute(body.get(SOCKET..)?, INET_DIAG_SKV6ONLY).and_then(|value| value.first());
    Some(Listener {
        address: SocketAddr::new(ip, port),
        ipv6_only: only.filter(|_| family == AF_INET6).map(|only| *only != 0),
        one_interface: interface != 0,
        queue: Some(Queue { waiting, limit }),
    })
}

#[cfg(test)]
mod tests;
