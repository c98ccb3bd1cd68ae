//! Who listens on a unix socket: sock_diag(7) with linux/unix_diag.h, or `/proc/net/unix`.

use super::listen::Queue;
use super::netlink::{LISTEN, Progress, SOCK_DIAG_BY_FAMILY, array, attribute, dump, sockets};
use super::socket_path::Attributes;
use super::{Fact, kernel};

const AF_UNIX: u8 = 1;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_SHUTDOWN: u16 = 6;
const UDIAG_SHOW_NAME: u32 = 1;
const UDIAG_SHOW_VFS: u32 = 2;
const UDIAG_SHOW_RQLEN: u32 = 16;

/// RCV_SHUTDOWN, after which a socket is in the list and takes no connection.
const DEAF: u8 = 1;

/// struct unix_diag_msg: family, type, state, padding, inode, cookie of 8 bytes.
const SOCKET: usize = 16;
/// `__SO_ACCEPTCON` among the flags of `/proc/net/unix`.
const LISTENS: &[u8] = b"00010000";

/// The file of a socket: its path as nginx has it, and what is there.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// As in `sun_path`.
    pub path: &'a [u8],
    /// Device and inode, and more.
    pub found: Attributes,
}

/// What is known of the listener of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// One has this very file.
    Here(Queue),
    /// One has a file that was at this path before.
    Replaced,
    /// One was bound to this path, to this file or to one before.
    Named,
    /// There is none among all that listen here.
    Nobody,
}

impl Listener {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Here(_) => "here",
            Self::Replaced => "replaced",
            Self::Named => "named",
            Self::Nobody => "nobody",
        }
    }
}

/// Asks for the unix sockets that listen.
pub fn request() -> Vec<u8> {
    // struct unix_diag_req: family, protocol, padding u16, states u32, inode u32, what to show u32,
    // cookie (none).
    let mut body = vec![AF_UNIX, 0, 0, 0];
    body.extend((1_u32 << LISTEN).to_ne_bytes());
    body.extend([0; 4]);
    body.extend((UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_RQLEN).to_ne_bytes());
    body.extend([0xff; 8]);
    dump(SOCK_DIAG_BY_FAMILY, &body)
}

/// How many unix sockets there are: their lines of `/proc/net/protocols` say name, size, number.
pub fn count(protocols: &[u8]) -> Option<u64> {
    let number = |name| kernel::number(kernel::row(protocols, name)?.nth(1)?);
    // Before Linux 5.15 they were all of one name.
    number("UNIX").map(|all| all.saturating_add(number("UNIX-STREAM").unwrap_or(0)))
}

/// Looks for the listener of `place` in one datagram of the answer; what is most telling is kept.
pub fn read(datagram: &[u8], place: &Place<'_>, found: &mut Listener) -> Progress {
    sockets(datagram, |body| {
        let Some(attributes) = body.get(SOCKET..) else { return Progress::Failed };
        let Some(listener) = place.matches(attributes) else { return Progress::More };
        *found = listener;
        if matches!(listener, Listener::Here(_)) { Progress::Done } else { Progress::More }
    })
}

impl Place<'_> {
    fn matches(&self, attributes: &[u8]) -> Option<Listener> {
        let shutdown = attribute(attributes, UNIX_DIAG_SHUTDOWN).and_then(|value| value.first());
        if shutdown.is_some_and(|how| how & DEAF != 0) {
            return None;
        }
        let vfs = attribute(attributes, UNIX_DIAG_VFS)?;
        let same_inode = u32::from_ne_bytes(array(vfs, 0)?) == low(self.found.inode);
        let same_device = u32::from_ne_bytes(array(vfs, 4)?) == kernel_device(self.found.device);
        let name = attribute(attributes, UNIX_DIAG_NAME).unwrap_or_default();
        let same_name = name.strip_suffix(b"\0").unwrap_or(name) == self.path;
        match (same_inode, same_device, same_name) {
            // A file of an overlay has the device of its layer here, and not there.
            (true, true, _) | (true, false, true) => {
                let queue = attribute(attributes, UNIX_DIAG_RQLEN)?;
                let waiting = u32::from_ne_bytes(array(queue, 0)?);
                let limit = u32::from_ne_bytes(array(queue, 4)?);
                Some(Listener::Here(Queue { waiting, limit }))
            }
            (false, true, true) => Some(Listener::Replaced),
            (_, _, _) => None,
        }
    }
}

/// The kernel shows 32 bits of an inode.
#[allow(clippy::cast_possible_truncation, reason = "as the kernel does")]
const fn low(inode: u64) -> u32 {
    inode as u32
}

/// A device as the kernel has it, 12 bits major and 20 bits minor, of what stat(2) says (gnu_dev).
const fn kernel_device(device: u64) -> u32 {
    let major = device >> 8 & 0xfff | device >> 32 & !0xfff;
    let minor = device & 0xff | device >> 12 & 0xffff_ff00;
    low(major << 20 | minor & 0xf_ffff)
}

/// Whether `/proc/net/unix` has a socket that listens and was bound to `path`.
pub fn is_listed(table: &[u8], path: &[u8]) -> bool {
    table.split(|byte| *byte == b'\n').any(|line| is_listener(line, path))
}

/// Number, references, protocol, flags, type, state, inode, path.
fn is_listener(line: &[u8], path: &[u8]) -> bool {
    let listens = line.split(|byte| *byte == b' ').nth(3) == Some(LISTENS);
    let before = line.strip_suffix(path).and_then(|rest| rest.strip_suffix(b" "));
    listens && before.is_some_and(|rest| !rest.contains(&b'/'))
}

/// The figures of a queue.
pub(super) fn facts(queue: Queue) -> [Fact; 2] {
    [
        ("accept_queue", u64::from(queue.waiting).into()),
        ("accept_queue_limit", u64::from(queue.limit).into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::netlink::{NLMSG_DONE, message};
    use super::*;

    const PATH: &[u8] = b"/tmp/tmp-perm-m/l500";
    /// Linux 6.18: the file of that path, inode 10046833 on device 0xfe00, with a backlog of 2.
    #[cfg(target_endian = "little")]
    const RECORDED: &[u8] = b"\x5c\0\0\0\x14\0\x02\0\x01\0\0\0\x16\x79\0\0\x01\x01\x0a\0\x52\xe8\x50\0\
        \xe4\x01\0\0\0\0\0\0\x19\0\0\0/tmp/tmp-perm-m/l500\0\0\0\0\x0c\0\x01\0\x71\x4d\x99\0\0\0\xe0\x0f\
        \x0c\0\x04\0\x03\0\0\0\x02\0\0\0\x05\0\x06\0\0\0\0\0";
    const HERE: Listener = Listener::Here(Queue { waiting: 3, limit: 2 });

    fn datagram(inode: u32, device: u32) -> Vec<u8> {
        let mut body = vec![AF_UNIX, 1, LISTEN, 0];
        body.extend([0; 12]);
        let numbers = |a: u32, b: u32| [a.to_ne_bytes(), b.to_ne_bytes()].concat();
        let name = [PATH, b"\0"].concat();
        for (kind, value) in [
            (UNIX_DIAG_NAME, name),
            (UNIX_DIAG_VFS, numbers(inode, device)),
            (UNIX_DIAG_RQLEN, numbers(3, 2)),
        ] {
            let length = u16::try_from(value.len()).unwrap().saturating_add(4);
            body.extend(length.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        message(SOCK_DIAG_BY_FAMILY, 0, &body)
    }

    fn place(inode: u64, device: u64) -> Place<'static> {
        let found = Attributes { inode, device, ..Attributes::default() };
        Place { path: PATH, found }
    }

    fn seen(datagram: &[u8], place: &Place<'_>) -> (Progress, Listener) {
        let mut found = Listener::Nobody;
        (read(datagram, place, &mut found), found)
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_recorded_answer() {
        assert_eq!(seen(RECORDED, &place(10_046_833, 0xfe00)), (Progress::Done, HERE));
        assert_eq!(seen(RECORDED, &place(1, 0xfe00)), (Progress::More, Listener::Replaced));
        // shutdown(2) has been called: struct nlattr of 5 bytes, and padding.
        let mut deaf = RECORDED.to_vec();
        deaf[88] = 3;
        assert_eq!(seen(&deaf, &place(10_046_833, 0xfe00)), (Progress::More, Listener::Nobody));
    }

    #[test]
    fn a_listener_is_known_by_its_file() {
        let bytes = datagram(10, 0x0fe0_0000);
        assert_eq!(seen(&bytes, &place(10, 0xfe00)), (Progress::Done, HERE));
        // A file of an overlay; one that was there before; others.
        assert_eq!(seen(&bytes, &place(10, 0x2a)), (Progress::Done, HERE));
        assert_eq!(seen(&bytes, &place(7, 0xfe00)), (Progress::More, Listener::Replaced));
        assert_eq!(seen(&bytes, &place(7, 0x2a)), (Progress::More, Listener::Nobody));
        let other = |inode| Place { path: b"/run/other", ..place(inode, 0xfe00) };
        assert_eq!(seen(&bytes, &other(7)), (Progress::More, Listener::Nobody));
        // Bound under another spelling.
        assert_eq!(seen(&bytes, &other(10)), (Progress::Done, HERE));
        // Two were bound to this path, one after the other.
        let both = [datagram(6, 0x0fe0_0000), bytes].concat();
        assert_eq!(seen(&both, &place(10, 0xfe00)), (Progress::Done, HERE));
    }

    #[test]
    fn an_answer_ends() {
        let done = message(NLMSG_DONE, 0, &[0; 4]);
        assert_eq!(seen(&done, &place(1, 1)), (Progress::Done, Listener::Nobody));
        assert_eq!(seen(&[], &place(1, 1)), (Progress::More, Listener::Nobody));
        // NLMSG_ERROR: ENOENT, without the kernel's module; then EPERM.
        let missing = message(2, 0, &[&(-2_i32).to_ne_bytes()[..], &[0; 16]].concat());
        assert_eq!(seen(&missing, &place(1, 1)).0, Progress::Missing);
        let error = message(2, 0, &[&(-1_i32).to_ne_bytes()[..], &[0; 16]].concat());
        assert_eq!(seen(&error, &place(1, 1)), (Progress::Failed, Listener::Nobody));
        let replaced = [datagram(6, 0x0fe0_0000), done].concat();
        assert_eq!(seen(&replaced, &place(1, 0xfe00)), (Progress::Done, Listener::Replaced));
    }

    #[test]
    fn a_broken_answer_does_no_harm() {
        let bytes = datagram(1, 2);
        for length in 1..bytes.len() {
            assert_eq!(seen(&bytes[..length], &place(1, 1)).0, Progress::Failed, "{length}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                seen(&broken, &place(1, 2));
            }
        }
    }

    #[test]
    fn unix_sockets_are_counted() {
        let old: &[u8] = b"protocol  size sockets  memory press maxhdr  slab module     cl co\n\
            PACKET    1408      1      -1   NI       0   no   kernel      n  n\n\
            UNIX      1024     36      -1   NI       0   yes  kernel      n  n\n";
        let new = [old, b"UNIX-STREAM 1024  6  -1   NI       0   yes  kernel      y  n\n"].concat();
        assert_eq!((count(old), count(&new)), (Some(36), Some(42)));
        for broken in [&b""[..], b"UNIX", b"UNIX 1024", b"UNIX 1024 -1", b"UNIXES 1 2\n"] {
            assert_eq!(count(broken), None);
        }
    }

    #[test]
    fn devices_as_the_kernel_has_them() {
        for (stat, kernel) in [(0xfe00, 0x0fe0_0000), (0x2a, 0x2a), (0x10_0801, 0x0080_0101)] {
            assert_eq!(kernel_device(stat), kernel, "{stat:x}");
        }
    }

    #[test]
    fn a_line_of_the_kernels_list() {
        let line = b"000000009af48ee0: 00000002 00000000 00010000 0001 01 5302354 /run/app.sock";
        assert!(is_listener(line, b"/run/app.sock"));
        let table =
            [&b"Num RefCount Protocol Flags Type St Inode Path\n"[..], line, b"\n"].concat();
        assert!(is_listed(&table, b"/run/app.sock") && !is_listed(&table, b"/run/app"));
        for (line, path) in [
            (&line[..], &b"app.sock"[..]),
            (line, b"/app.sock"),
            (line, b"/run/app"),
            (b"0: 00000003 00000000 00000000 0001 03 531 /run/app.sock", b"/run/app.sock"),
            (b"0: 00000002 00000000 00010000 0001 01 53 /x /run/app.sock", b"/run/app.sock"),
            (b"Num       RefCount Protocol Flags    Type St Inode Path", b"Path"),
            (b"", b""),
            (b"/run/app.sock", b"/run/app.sock"),
        ] {
            assert!(!is_listener(line, path), "{line:?}");
        }
    }
}
