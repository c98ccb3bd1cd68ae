//! One type for the stream sockets that tests use, shared between threads by reference.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connected TCP or unix stream socket.
#[derive(Debug)]
pub enum Stream {
    /// IPv4 or IPv6.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `host:port` or `unix:/path`, as nginx writes addresses.
    pub fn connect(address: &str) -> io::Result<Self> {
        match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Self::Unix),
            None => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    /// Bounds every later read, so that a silent nginx fails a test instead of hanging it.
    pub fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(limit)),
            Self::Unix(stream) => stream.set_read_timeout(Some(limit)),
        }
    }

    /// Ends one or both directions; wakes a thread that blocks on this socket.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Makes the coming close send RST instead of FIN (TCP only).
    pub fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        set_option(self.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger);
    }

    /// Blocks until the peer has closed (or reset), reading nothing.
    pub fn wait_for_hangup(&self) {
        let mut poll = libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: `poll` is one valid pollfd for the length of the call.
        while unsafe { libc::poll(&raw mut poll, 1, -1) } < 0 {}
    }
}

/// setsockopt(2) with a plain value; panics when the kernel refuses.
pub(crate) fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `size` bytes.
    let rc = unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), size) };
    assert_eq!(rc, 0, "setsockopt: {}", io::Error::last_os_error());
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buf),
            Stream::Unix(stream) => (&*stream).read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write(buf),
            Stream::Unix(stream) => (&*stream).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
