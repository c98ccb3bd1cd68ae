//! A DNS server (RFC 1035) on UDP and TCP, as wrong as a test wants, name by name.

mod packet;
mod say;
mod serve;
mod zone;

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::port::Port;
use crate::wait;
use serve::Serving;
pub use zone::Zone;

/// The type of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Any other, by its number; there is never data for it.
    Other(u16),
}

/// A question that came in.
#[derive(Debug, Clone)]
pub struct Question {
    /// In lower case, without the last dot.
    pub name: String,
    /// What was asked for.
    pub kind: Kind,
    /// It came over TCP.
    pub tcp: bool,
    /// Who asked.
    pub from: SocketAddr,
    /// When it was read.
    pub at: Instant,
}

/// The server. Prints as `resolver` takes it. Names that it was told nothing about do not exist.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<Serving>>,
    /// Keeps the port while the server is stopped.
    _port: Option<Port>,
}

/// What the threads of one server share.
#[derive(Debug)]
struct Shared {
    zones: Mutex<HashMap<String, Zone>>,
    /// For all names that are not in `zones`.
    others: Mutex<Zone>,
    questions: Mutex<Vec<Question>>,
}

impl Dns {
    /// Starts a server on a free port of 127.0.0.1, UDP and TCP.
    pub fn start() -> Self {
        loop {
            let port = Port::reserve();
            let address = port.at(Ipv4Addr::LOCALHOST);
            // Only the TCP port is reserved; the UDP port of that number may be in use.
            if let Ok(dns) = Self::try_at(address, Some(port)) {
                return dns;
            }
        }
    }

    /// Starts a server on this address and port, such as "127.0.0.1:53" in a network namespace.
    pub fn at(address: &str) -> Self {
        let address = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
        Self::try_at(address, None).unwrap_or_else(|e| panic!("a name server on {address}: {e}"))
    }

    fn try_at(address: SocketAddr, port: Option<Port>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            zones: Mutex::default(),
            others: Mutex::new(Zone::nxdomain()),
            questions: Mutex::default(),
        });
        let serving = Mutex::new(Some(Serving::start(address, &shared)?));
        Ok(Self { address, shared, serving, _port: port })
    }

    /// The same server, which says this about every name that it is told nothing else about.
    pub fn saying(self, zone: Zone) -> Self {
        self.set_others(zone);
        self
    }

    /// Where it listens, also while it is stopped.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says this about a name from now on. Case and a last dot do not matter.
    pub fn set(&self, name: &str, zone: Zone) {
        self.shared.zones.lock().unwrap().insert(plain(name), zone);
    }

    /// Says this from now on about the names that were not `set`.
    pub fn set_others(&self, zone: Zone) {
        *self.shared.others.lock().unwrap() = zone;
    }

    /// Every question so far, those that were retransmitted too.
    pub fn questions(&self) -> Vec<Question> {
        self.shared.questions.lock().unwrap().clone()
    }

    /// How often a name and type were asked for.
    pub fn asked(&self, name: &str, kind: Kind) -> usize {
        let name = plain(name);
        let questions = self.shared.questions.lock().unwrap();
        questions.iter().filter(|asked| asked.name == name && asked.kind == kind).count()
    }

    /// Forgets the questions so far.
    pub fn forget(&self) {
        self.shared.questions.lock().unwrap().clear();
    }

    /// Waits until there were that many questions.
    pub fn wait_for_questions(&self, count: usize) {
        wait::until(&format!("{count} questions to the name server"), || {
            (self.shared.questions.lock().unwrap().len() >= count).then_some(())
        });
    }

    /// Waits until a name and type were asked for that often.
    pub fn wait_for(&self, name: &str, kind: Kind, count: usize) {
        wait::until(&format!("{count} {kind:?} questions about {name}"), || {
            (self.asked(name, kind) >= count).then_some(())
        });
    }

    /// Ends the server: the port refuses, answers that are due are not given.
    pub fn stop(&self) {
        drop(self.serving.lock().unwrap().take());
    }

    /// Starts it again on the same address, with all it knew.
    pub fn restart(&self) {
        self.stop();
        // Until its exec, a child that another test forks has a copy of the old socket.
        let serving = wait::until("the name server's port to be free", || {
            Serving::start(self.address, &self.shared).ok()
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

impl Shared {
    fn zone(&self, name: &str) -> Zone {
        let zone = self.zones.lock().unwrap().get(name).cloned();
        zone.unwrap_or_else(|| self.others.lock().unwrap().clone())
    }
}

impl Kind {
    fn of(number: u16) -> Self {
        match number {
            packet::A => Self::A,
            packet::AAAA => Self::Aaaa,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Dns {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.address.fmt(f)
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
