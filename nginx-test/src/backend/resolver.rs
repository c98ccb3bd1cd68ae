//! A DNS server for nginx's `resolver` directive (RFC 1035), as wrong as a test wants.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::wait;

/// What the server says about every name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These IPv4 addresses, with a TTL in seconds; AAAA gets no data.
    Addresses(Vec<Ipv4Addr>, u32),
    /// No error and no records.
    NoData,
    /// An error: 1 format error, 2 server failure, 3 NXDOMAIN, 4 not implemented, 5 refused.
    Code(u8),
    /// No answer at all.
    Silence,
}

/// The server, on a free UDP port of 127.0.0.1. Prints as `resolver` takes it.
#[derive(Debug)]
pub struct Resolver {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<Answer>,
    /// The names asked for, in order.
    asked: Mutex<Vec<String>>,
    stopping: AtomicBool,
}

impl Resolver {
    /// Starts a server with this answer.
    pub fn start(answer: Answer) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            asked: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || serve(&socket, &for_thread)));
        Self { address, shared, thread }
    }

    /// Says something else from now on.
    pub fn set(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// The names asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Waits for that many questions.
    pub fn wait_for_questions(&self, count: usize) {
        wait::until(&format!("{count} questions to the resolver"), || {
            (self.asked().len() >= count).then_some(())
        });
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut packet = [0; 512];
    while !shared.stopping.load(Ordering::SeqCst) {
        let Ok((count, client)) = socket.recv_from(&mut packet) else { continue };
        let Some((name, kind, end)) = question(&packet[..count]) else { continue };
        shared.asked.lock().unwrap().push(name);
        let answer = shared.answer.lock().unwrap().clone();
        if let Some(reply) = reply(&packet[..end], kind, &answer) {
            let _ = socket.send_to(&reply, client);
        }
    }
}

/// The name, the type, and where the question ends.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*packet.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at + 1..at + 1 + length)?).into_owned());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([*packet.get(at + 1)?, *packet.get(at + 2)?]);
    Some((labels.join("."), kind, at + 5))
}

fn reply(question: &[u8], kind: u16, answer: &Answer) -> Option<Vec<u8>> {
    const A: u16 = 1;
    let (code, addresses, ttl) = match answer {
        Answer::Silence => return None,
        Answer::Code(code) => (*code, [].as_slice(), 0),
        Answer::Addresses(addresses, ttl) if kind == A => (0, addresses.as_slice(), *ttl),
        Answer::NoData | Answer::Addresses(..) => (0, [].as_slice(), 0),
    };
    // Flags: response, recursion desired and available. Counts: 1 question, n answers.
    let mut packet = vec![question[0], question[1], 0x81, 0x80 | code, 0, 1, 0];
    packet.extend([u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
    packet.extend(&question[12..]);
    for address in addresses {
        // A pointer to the question's name, type A, class IN, TTL, four bytes.
        packet.extend([0xc0, 12, 0, 1, 0, 1]);
        packet.extend(ttl.to_be_bytes());
        packet.extend([0, 4]);
        packet.extend(address.octets());
    }
    Some(packet)
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || !matches!(ended, Some(Err(_))), "the resolver panicked");
    }
}
