//! The kernel's own lists, asked by netlink: sockets (sock_diag(7), linux/inet_diag.h) and routes
//! (rtnetlink(7)). Numbers are in the machine's byte order, ports and addresses in the network's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Listener, Queue};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;

pub(in crate::evidence) const NLMSG_ERROR: u16 = 2;
pub(in crate::evidence) const NLMSG_DONE: u16 = 3;
pub(in crate::evidence) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
pub(in crate::evidence) const NLM_F_REQUEST: u16 = 1;
pub(in crate::evidence) const NLM_F_DUMP: u16 = 0x300;

const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// struct nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32.
const HEADER: usize = 16;
/// struct inet_diag_msg.
const SOCKET: usize = 72;
/// More are not looked at: a hundred workers with a socket each, several times over.
const MAX_LISTENERS: usize = 512;

/// Whether an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another datagram follows.
    More,
    /// That was all.
    Done,
    /// The kernel has no such list, and no module with it that could be loaded.
    Missing,
    /// The kernel refused, or this is no answer.
    Failed,
}

/// Asks for the sockets that listen on `port`, of IPv4 or IPv6. The kernel walks the listening ones
/// only, as no other state is asked for, and picks those of the port.
pub fn listeners_request(ipv6: bool, port: u16) -> Vec<u8> {
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states u32, and
    let mut body = vec![if ipv6 { AF_INET6 } else { AF_INET }, IPPROTO_TCP, 0, 0];
    body.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    // struct inet_diag_sockid: source port, destination port, source, destination, interface,
    // cookie (none).
    body.extend(port.to_be_bytes());
    body.extend([0; 38]);
    body.extend([0xff; 8]);
    message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, &body)
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
    body.extend((1_u32 << TCP_LISTEN).to_ne_bytes());
    body.extend(address.port().to_be_bytes());
    body.extend(FROM.to_be_bytes());
    body.extend(ip);
    body.extend(ip);
    body.extend([0; 4]);
    body.extend([0xff; 8]);
    message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, &body)
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
    message(RTM_GETROUTE, NLM_F_REQUEST, &body)
}

pub(in crate::evidence) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len().saturating_add(HEADER)).unwrap_or(0);
    let mut message = Vec::with_capacity(128);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence 1; the kernel fills in our port.
    message.extend(1_u32.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

/// Adds the listeners in one datagram of the answer.
pub fn read_listeners(datagram: &[u8], listeners: &mut Vec<Listener>) -> Progress {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((kind, body, after)) = next_message(rest) else { return Progress::Failed };
        match kind {
            NLMSG_DONE => return Progress::Done,
            SOCK_DIAG_BY_FAMILY => match listener(body) {
                Some(_) if listeners.len() >= MAX_LISTENERS => return Progress::Done,
                Some(listener) => listeners.push(listener),
                None => return Progress::Failed,
            },
            NLMSG_ERROR if is_missing(body) => return Progress::Missing,
            // Another error, or something that was not asked for.
            _ => return Progress::Failed,
        }
        rest = after;
    }
    Progress::More
}

/// Whether the answer about a route says that the address is this machine's. `None` when the kernel
/// knows no way there or did not understand.
pub fn read_is_local(datagram: &[u8]) -> Option<bool> {
    match next_message(datagram)? {
        // struct rtmsg: the type is its eighth byte.
        (RTM_NEWROUTE, body, _) => Some(*body.get(7)? == RTN_LOCAL),
        (NLMSG_ERROR | _, _, _) => None,
    }
}

/// Whether a struct nlmsgerr, which begins with a negative errno, has ENOENT.
pub(in crate::evidence) fn is_missing(error: &[u8]) -> bool {
    array(error, 0).map(i32::from_ne_bytes) == Some(-2)
}

/// The first message of a datagram: its type, its body, and what follows it.
pub(in crate::evidence) fn next_message(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(array(datagram, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(array(datagram, 4)?);
    let body = datagram.get(HEADER..length)?;
    Some((kind, body, datagram.get(aligned(length)?..).unwrap_or_default()))
}

/// struct inet_diag_msg: family, state, timer, retransmissions; inet_diag_sockid of 48 bytes;
/// expiry, receive queue, send queue, user, inode; then attributes.
fn listener(body: &[u8]) -> Option<Listener> {
    let (family, state) = (*body.first()?, *body.get(1)?);
    if state != TCP_LISTEN {
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

/// The value of the first struct nlattr of this type: length u16, type u16, value, padding.
pub(in crate::evidence) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(array(attributes, 0)?));
        let kind = u16::from_ne_bytes(array(attributes, 2)?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)?..)?;
    }
}

/// Messages and attributes begin at multiples of four.
const fn aligned(length: usize) -> Option<usize> {
    length.checked_next_multiple_of(4)
}

pub(in crate::evidence) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
