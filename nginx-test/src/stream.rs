//! One type for the stream sockets that tests use, shared between threads by reference.
//!
//! Closing a descriptor is not enough to end a connection at a certain moment: another test may
//! just be starting its nginx, and between fork and exec that child has a copy of everything. So
//! what a peer is to see is said to the socket itself, with shutdown(2) or connect(2).

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

    /// Sends RST at once. A unix socket has none: there, closing before everything was read is it.
    pub fn reset(&self) {
        if let Self::Tcp(stream) = self {
            // SAFETY: sockaddr is plain old data; AF_UNSPEC (0) dissolves the connection
            // (connect(2)), and with nothing left to linger for the kernel sends RST.
            let rc = unsafe {
                let nowhere: libc::sockaddr = std::mem::zeroed();
                let size = size_of_val(&nowhere) as libc::socklen_t;
                libc::connect(stream.as_raw_fd(), &raw const nowhere, size)
            };
            assert_eq!(rc, 0, "disconnect: {}", io::Error::last_os_error());
        }
    }

    /// Sends FIN at once, as close does, unless close would send RST for what was not read.
    pub fn finish(&self) {
        let mut unread: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int.
        let rc = unsafe { libc::ioctl(self.as_raw_fd(), libc::FIONREAD, &raw mut unread) };
        if rc == 0 && unread == 0 {
            let _ = self.shutdown(Shutdown::Both);
        }
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
        loop {
            let read = match self {
                Stream::Tcp(stream) => (&*stream).read(buf),
                Stream::Unix(stream) => (&*stream).read(buf),
            };
            // With a time-out set, a stop of the whole process interrupts a read (signal(7)).
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
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
