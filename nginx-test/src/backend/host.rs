//! A host that serves at a fixed address and can leave it without losing a request.

mod depart;
mod guest;
mod house;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::listen::close_listener;
use super::script::Gate;
use crate::wait;
use house::House;

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
    /// No request is lost. Under load, about one time in a thousand, a connection's first packet
    /// comes at that very moment, is sent again a second later and refused then; freeze nginx where
    /// that matters. (Where there is no interface but the loopback, and no right to make one, the
    /// connection is reset instead.)
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
        let house = House::new(listener, &self.shared);
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
