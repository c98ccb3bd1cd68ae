//! The frame of the kernel's own lists, asked by netlink(7): messages, attributes, and how an answer
//! ends. Numbers are in the machine's byte order.

const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
/// A socket of sock_diag(7).
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;

/// TCP_LISTEN, for unix sockets too.
pub(super) const LISTEN: u8 = 10;

/// struct nlmsghdr: length u32, type u16, flags u16, sequence u32, port u32.
const HEADER: usize = 16;

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

/// Asks for one thing.
pub(super) fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    message(kind, NLM_F_REQUEST, body)
}

/// Asks for the whole list.
pub(super) fn dump(kind: u16, body: &[u8]) -> Vec<u8> {
    message(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
}

pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
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

/// Goes through one datagram of a list of sockets. `socket` is given the body of each and says
/// whether there is more to look for.
pub(super) fn sockets(datagram: &[u8], mut socket: impl FnMut(&[u8]) -> Progress) -> Progress {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((kind, body, after)) = next_message(rest) else { return Progress::Failed };
        let progress = match kind {
            NLMSG_DONE => Progress::Done,
            SOCK_DIAG_BY_FAMILY => socket(body),
            NLMSG_ERROR if is_missing(body) => Progress::Missing,
            // Another error, or something that was not asked for.
            _ => Progress::Failed,
        };
        if progress != Progress::More {
            return progress;
        }
        rest = after;
    }
    Progress::More
}

/// Whether a struct nlmsgerr, which begins with a negative errno, has ENOENT.
fn is_missing(error: &[u8]) -> bool {
    array(error, 0).map(i32::from_ne_bytes) == Some(-2)
}

/// The first message of a datagram: its type, its body, and what follows it.
pub(super) fn next_message(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(array(datagram, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(array(datagram, 4)?);
    let body = datagram.get(HEADER..length)?;
    Some((kind, body, datagram.get(aligned(length)?..).unwrap_or_default()))
}

/// The value of the first struct nlattr of this type: length u16, type u16, value, padding.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
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

pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
