//! Back ends that never serve: nobody listens, the queue is full, the socket file is wrong.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use super::listen::{allow_all, close_listener};
use crate::nginx::Dir;
use crate::port;
use crate::wait;

/// An address that nobody serves. Prints as nginx writes it.
#[derive(Debug)]
pub struct Dead {
    address: String,
    _held: Vec<OwnedFd>,
    _dir: Option<Dir>,
}

impl Dead {
    /// A TCP port that refuses: bound, so that nobody else gets it, and never listened on.
    pub fn refusing() -> Self {
        let held = TcpListener::from(port::socket(Ipv4Addr::LOCALHOST.into(), false));
        let address = held.local_addr().unwrap().to_string();
        Self { address, _held: vec![held.into()], _dir: None }
    }

    /// The same on ::1.
    pub fn refusing_v6() -> Self {
        let held = TcpListener::from(port::socket(Ipv6Addr::LOCALHOST.into(), false));
        let address = held.local_addr().unwrap().to_string();
        Self { address, _held: vec![held.into()], _dir: None }
    }

    /// A unix socket file that no process listens on any more.
    pub fn stale_socket() -> Self {
        Self::file(|path| close_listener(UnixListener::bind(path).unwrap().as_raw_fd()))
    }

    /// No file at all.
    pub fn missing_socket() -> Self {
        Self::at_path(|_| ())
    }

    /// A listening unix socket that only root may connect to.
    pub fn forbidden_socket() -> Self {
        let mut held = None;
        let mut dead = Self::file(|path| held = Some(UnixListener::bind(path).unwrap()));
        let path = dead.address.trim_start_matches("unix:");
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        dead._held.extend(held.map(OwnedFd::from));
        dead
    }

    /// A regular file where a socket should be.
    pub fn regular_file() -> Self {
        Self::file(|path| fs::write(path, "no socket").unwrap())
    }

    /// A listening unix socket whose queue is full: EAGAIN.
    pub fn full_unix_queue() -> Self {
        let mut held = Vec::new();
        let mut dead = Self::file(|path| {
            let listener = UnixListener::bind(path).unwrap();
            listen(listener.as_raw_fd(), 0);
            // A backlog of 0 has room for one.
            held.push(OwnedFd::from(UnixStream::connect(path).unwrap()));
            held.push(listener.into());
        });
        dead._held = held;
        dead
    }

    /// The address as nginx writes it.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn file(make: impl FnOnce(&std::path::Path)) -> Self {
        Self::at_path(|path| {
            make(path);
            allow_all(path);
        })
    }

    fn at_path(make: impl FnOnce(&std::path::Path)) -> Self {
        let dir = Dir::new();
        let path = dir.0.join("socket");
        make(&path);
        Self { address: format!("unix:{}", path.display()), _held: Vec::new(), _dir: Some(dir) }
    }
}

/// A TCP port whose accept queue is full, so that further SYNs get no answer.
#[derive(Debug)]
pub struct Backlog {
    listener: TcpListener,
    filler: Vec<TcpStream>,
}

impl Backlog {
    /// Listens on 127.0.0.1 with the smallest queue and fills it.
    pub fn full() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listen(listener.as_raw_fd(), 0);
        let mut backlog = Self { listener, filler: Vec::new() };
        let address = backlog.address();
        while !backlog.is_full() {
            backlog.filler.push(TcpStream::connect(address).expect("fill the accept queue"));
        }
        backlog
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Whether somebody else is trying to connect: a socket in SYN_SENT (proc(5), net/tcp).
    pub fn is_awaited(&self) -> bool {
        const SYN_SENT: &str = "02";
        let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("read net/tcp");
        let port = format!(":{:04X}", self.address().port());
        table.lines().skip(1).any(|line| {
            let mut words = line.split_whitespace().skip(2);
            words.next().is_some_and(|to| to.ends_with(&port)) && words.next() == Some(SYN_SENT)
        })
    }

    /// Accepts what fills the queue; a SYN that was dropped comes again within a second, and this
    /// returns its connection.
    pub fn drain(&self) -> TcpStream {
        for _ in &self.filler {
            self.listener.accept().expect("accept");
        }
        self.listener.accept().expect("accept").0
    }

    /// tcp_info of a listening socket: queue length in `unacked`, its limit in `sacked`.
    fn is_full(&self) -> bool {
        wait::until("the kernel's tcp_info", || {
            // SAFETY: tcp_info is plain old data; the kernel writes at most `size` bytes of it.
            let (rc, info) = unsafe {
                let mut info: libc::tcp_info = std::mem::zeroed();
                let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
                let fd = self.listener.as_raw_fd();
                let to = (&raw mut info).cast();
                let rc = libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut size);
                (rc, info)
            };
            // A connection that the client sees may not have reached the queue yet.
            let arrived = info.tcpi_unacked as usize >= self.filler.len();
            (rc == 0 && arrived).then_some(info.tcpi_unacked > info.tcpi_sacked)
        })
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.address().fmt(f)
    }
}

fn listen(fd: RawFd, backlog: i32) {
    // SAFETY: listen(2) takes plain numbers.
    let rc = unsafe { libc::listen(fd, backlog) };
    assert_eq!(rc, 0, "listen: {}", io::Error::last_os_error());
}
