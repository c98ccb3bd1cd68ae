//! A host that serves at a fixed address and can leave it without losing a request.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::depart;
use super::http;
use super::listen::close_listener;
use super::script::Gate;
use crate::wait;

/// What a host is told when it has to leave: to refuse, or not to answer.
const REFUSE: u8 = b'r';
const IGNORE: u8 = b'i';

/// Answers every request with 200 and its name, on connections that stay open. Paths that begin
/// with `/held` are answered only when `gate` is open. Prints as its address.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    shared: Arc<Shared>,
    life: Mutex<Life>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    gate: Gate,
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// From a start to the next.
#[derive(Debug)]
enum Life {
    Serving(UnixStream, JoinHandle<TcpListener>),
    /// Its port is left; what was begun is not over. Silent, it keeps its socket afterwards.
    Leaving(JoinHandle<TcpListener>, bool),
    /// Nobody hears the socket.
    Silent(#[expect(dead_code, reason = "closing it would make the port refuse")] TcpListener),
    Gone,
}

impl Host {
    /// Starts serving at this address; see [`crate::Port`] for one that can move.
    pub fn start(address: SocketAddr, name: &str) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            gate: Gate::new(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let host = Self { address, shared, life: Mutex::new(Life::Gone) };
        host.revive();
        host
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `/held…` waits for.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// How many connections it accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many requests it has read so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Leaves: when this returns, the port refuses. Requests that were begun, also on connections
    /// that waited to be accepted, are still answered, and idle connections are closed.
    ///
    /// This takes a network interface beside the loopback. Without one, a connection that is made
    /// in the microsecond between the last accept(2) and close(2) is lost.
    pub fn leave(&self) {
        self.depart(REFUSE);
    }

    /// Leaves in the same way, but who wants to connect afterwards gets no answer at all.
    pub fn vanish(&self) {
        self.depart(IGNORE);
    }

    /// Waits until all that was begun is answered.
    pub fn wait_until_gone(&self) {
        let mut life = self.life.lock().unwrap();
        *life = match std::mem::replace(&mut *life, Life::Gone) {
            Life::Leaving(thread, silent) => {
                let listener = thread.join().expect("the host panicked");
                if silent {
                    Life::Silent(listener)
                } else {
                    close_listener(listener.as_raw_fd());
                    Life::Gone
                }
            }
            other => other,
        };
    }

    /// Leaves and waits until it is gone.
    pub fn kill(&self) {
        self.leave();
        self.wait_until_gone();
    }

    /// Serves again, at the same address and under the same name.
    pub fn revive(&self) {
        self.wait_until_gone();
        let mut life = self.life.lock().unwrap();
        assert!(!matches!(*life, Life::Serving(..)), "{} serves", self.shared.name);
        *life = Life::Gone;
        // Until its exec, a child that another test forks has a copy of the old socket.
        let listener =
            wait::until("the host's port to be free", || TcpListener::bind(self.address).ok());
        let (wake, woken) = UnixStream::pair().expect("a pair of sockets");
        let house = House { shared: Arc::clone(&self.shared), listener, guests: Vec::new() };
        *life = Life::Serving(wake, thread::spawn(move || house.serve(&woken)));
    }

    fn depart(&self, how: u8) {
        let mut life = self.life.lock().unwrap();
        let old = std::mem::replace(&mut *life, Life::Gone);
        let Life::Serving(mut wake, thread) = old else { panic!("{} left", self.shared.name) };
        wake.write_all(&[how]).expect("tell the host");
        wake.read_exact(&mut [0]).expect("the host leaves its port");
        *life = Life::Leaving(thread, how == IGNORE);
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.gate.open();
        let life = std::mem::replace(self.life.get_mut().unwrap(), Life::Gone);
        let ended = match life {
            Life::Serving(wake, thread) => {
                drop(wake);
                thread.join()
            }
            Life::Leaving(thread, _) => thread.join(),
            Life::Silent(_) | Life::Gone => return,
        };
        if let Ok(listener) = &ended {
            close_listener(listener.as_raw_fd());
        }
        assert!(thread::panicking() || ended.is_ok(), "a host panicked");
    }
}

/// The listening socket and the connections; one thread has them all.
struct House {
    shared: Arc<Shared>,
    listener: TcpListener,
    guests: Vec<Guest>,
}

impl House {
    /// Until told to leave; the socket comes back to whoever told.
    fn serve(mut self, woken: &UnixStream) -> TcpListener {
        self.listener.set_nonblocking(true).expect("non-blocking");
        while !self.wait(woken) {
            self.accept();
            self.attend(false);
        }
        let mut how = [0];
        let told = (&*woken).read(&mut how);
        // The host is dropped: nobody is interested in what becomes of the connections.
        if !matches!(told, Ok(1)) {
            return self.listener;
        }
        let listener = self.listener.as_raw_fd();
        if how == [IGNORE] {
            depart::ignore(listener);
        } else if !depart::refuse(listener) {
            self.accept();
            close_listener(listener);
        }
        (&*woken).write_all(&how).expect("say that the port is left");
        self.see_off();
        self.listener
    }

    /// Waits for something to do; true when the host is to leave.
    fn wait(&self, woken: &UnixStream) -> bool {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut all = vec![watch(woken.as_raw_fd()), watch(self.listener.as_raw_fd())];
        all.extend(self.guests.iter().map(|guest| watch(guest.stream.as_raw_fd())));
        let held = self.guests.iter().any(|guest| guest.asked.is_some());
        // A gate cannot be polled: look again soon.
        let limit = if held { 2 } else { -1 };
        // SAFETY: `all` is an array of that many pollfds (poll(2)).
        unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, limit) };
        all[0].revents != 0
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("non-blocking");
            let _ = stream.set_nodelay(true);
            self.shared.connections.fetch_add(1, Ordering::SeqCst);
            self.guests.push(Guest::new(stream));
        }
    }

    fn attend(&mut self, leaving: bool) {
        self.guests.retain_mut(|guest| guest.stays(&self.shared, leaving));
    }

    /// Until everybody has gone, also who was on the way in. A connection without a request so far
    /// waits for its first one.
    fn see_off(&mut self) {
        let mut quiet = 0;
        wait::until("the connections to a host that leaves to end", || {
            self.accept();
            self.attend(true);
            quiet = if self.guests.is_empty() { quiet + 1 } else { 0 };
            (quiet == 2).then_some(())
        });
    }
}

/// A connection.
struct Guest {
    stream: TcpStream,
    /// Of a request that is not whole yet.
    unread: Vec<u8>,
    /// A request to answer; true when it has to wait for the gate.
    asked: Option<bool>,
    served: bool,
}

impl Guest {
    fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new(), asked: None, served: false }
    }

    /// Reads and answers what there is; false when the connection is over.
    fn stays(&mut self, shared: &Shared, leaving: bool) -> bool {
        if !self.read() {
            return false;
        }
        if self.asked.is_none() && http::request_is_complete(&self.unread) {
            shared.requests.fetch_add(1, Ordering::SeqCst);
            let target = self.unread.split(|&byte| byte == b' ').nth(1);
            self.asked = Some(target.is_some_and(|path| path.starts_with(b"/held")));
            self.unread.clear();
        }
        if let Some(held) = self.asked {
            if held && !shared.gate.wait_at_most(Duration::ZERO) {
                return true;
            }
            self.asked = None;
            self.served = true;
            let last: &[&str] = if leaving { &["Connection: close"] } else { &[] };
            let answer = http::response(200, last, shared.name.as_bytes());
            return self.stream.write_all(&answer).is_ok() && !leaving;
        }
        !(leaving && self.served && self.unread.is_empty())
    }

    /// False when the peer is gone.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // At once, also while a child that another test forks has a copy of the descriptor.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
