//! Listening sockets and their accept loop.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use super::script::{self, Step};
use super::tls::Config;
use super::{Backend, Shared};
use crate::nginx::Dir;
use crate::stream::{Stream, set_option};

/// Where a back end listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A free port of 127.0.0.1.
    Tcp,
    /// A free port of ::1.
    Tcp6,
    /// A free port of another address of this machine, such as 127.0.0.2.
    Ip(Ipv4Addr),
    /// A chosen address and port; see [`crate::Port`].
    At(SocketAddr),
    /// A unix socket that everybody may connect to.
    Unix,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listening back end that has no script yet.
#[derive(Debug)]
pub struct Listening {
    listener: Listener,
    address: String,
    dir: Option<Dir>,
    tls: Option<Arc<Config>>,
}

impl Listening {
    pub(crate) fn new(place: Place) -> Self {
        let tcp = |at: SocketAddr| {
            let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("bind {at}: {e}"));
            let address = listener.local_addr().unwrap().to_string();
            (Listener::Tcp(listener), address, None)
        };
        let (listener, address, dir) = match place {
            Place::Tcp => tcp((Ipv4Addr::LOCALHOST, 0).into()),
            Place::Tcp6 => tcp((Ipv6Addr::LOCALHOST, 0).into()),
            Place::Ip(ip) => tcp((ip, 0).into()),
            Place::At(address) => tcp(address),
            Place::Unix => {
                let dir = Dir::new();
                let path = dir.0.join("socket");
                let listener = UnixListener::bind(&path).expect("bind a unix socket");
                allow_all(&path);
                (Listener::Unix(listener), format!("unix:{}", path.display()), Some(dir))
            }
        };
        Self { listener, address, dir, tls: None }
    }

    /// Serves `Step::Tls` with this configuration.
    pub fn tls(mut self, config: Config) -> Self {
        self.tls = Some(Arc::new(config));
        self
    }

    /// Makes the kernel take only a little that the script does not read.
    pub fn small_receive_buffer(self) -> Self {
        set_option(self.listener.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &2048i32);
        self
    }

    /// Plays these steps on every connection.
    pub fn script(self, steps: impl Into<Vec<Step>>) -> Backend {
        self.scripts(vec![steps.into()])
    }

    /// The n-th connection gets the n-th script; the last one serves all further ones.
    pub fn scripts(self, scripts: Vec<Vec<Step>>) -> Backend {
        let shared = Arc::new(Shared::default());
        let (listener, tls, for_thread) = (self.listener, self.tls, Arc::clone(&shared));
        let acceptor = thread::spawn(move || accept_all(&listener, tls, scripts, for_thread));
        Backend { address: self.address, shared, acceptor: Some(acceptor), _dir: self.dir }
    }
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(listener) => listener.as_raw_fd(),
            Self::Unix(listener) => listener.as_raw_fd(),
        }
    }
}

fn accept_all(
    listener: &Listener,
    tls: Option<Arc<Config>>,
    scripts: Vec<Vec<Step>>,
    shared: Arc<Shared>,
) {
    let mut players = Vec::new();
    while wait_for_connection(listener.as_raw_fd(), &shared) {
        let Ok(stream) = listener.accept() else { continue };
        let stream = Arc::new(stream);
        let number = shared.accepted(&stream);
        let steps = scripts[number.min(scripts.len() - 1)].clone();
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        players.push(thread::spawn(move || script::play(&steps, number, stream, tls, &shared)));
    }
    close_listener(listener.as_raw_fd());
    for player in players {
        player.join().expect("a back end's script panicked");
    }
}

/// Refuses from now on, even while a child of another test has a copy of the descriptor.
pub(crate) fn close_listener(fd: RawFd) {
    // SAFETY: shutdown(2) takes plain numbers; the caller owns the descriptor.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// False when the back end stops.
fn wait_for_connection(fd: RawFd, shared: &Shared) -> bool {
    loop {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: `poll` is one valid pollfd for the length of the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 20) };
        if shared.stopping.load(Ordering::SeqCst) {
            return false;
        }
        if ready > 0 {
            return true;
        }
    }
}

pub(crate) fn allow_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod a socket");
}
