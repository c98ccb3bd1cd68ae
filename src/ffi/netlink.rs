//! Questions to the kernel by netlink(7): a socket for as long as the answer takes, never waiting.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Whom to ask.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// rtnetlink(7).
    Routes,
    /// sock_diag(7).
    Sockets,
}

/// Closed when dropped.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// `None` without a free descriptor, and where the system refuses netlink.
    pub(crate) fn open(part: Part) -> Option<Self> {
        let protocol = match part {
            Part::Routes => libc::NETLINK_ROUTE,
            Part::Sockets => libc::NETLINK_SOCK_DIAG,
        };
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes plain numbers.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        // SAFETY: the descriptor was just made, and nobody else knows it.
        (fd >= 0).then(|| Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a question. The kernel answers before this returns (netlink_unicast_kernel), or, if the
    /// answer is long, when it is received.
    pub(crate) fn ask(&self, question: &[u8]) -> Option<()> {
        // SAFETY: send(2) reads as many bytes as it is told, which the slice has.
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), question.as_ptr().cast(), question.len(), 0) };
        (usize::try_from(sent) == Ok(question.len())).then_some(())
    }

    /// The next datagram of the answer, as much as fits; `None` when there is none.
    pub(crate) fn receive<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        // SAFETY: recv(2) writes at most as many bytes as it is told, which the slice has.
        let received =
            unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        buffer.get(..usize::try_from(received).ok()?)
    }
}
