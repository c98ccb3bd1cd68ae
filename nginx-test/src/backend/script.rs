//! What a back end does on a connection, step by step.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Shared;
use super::http;
use super::tls::{self, Config, TlsStream};
use crate::stream::Stream;
use crate::wait;

/// One step of a script. When nginx closes while the script reads, the script ends.
#[derive(Debug, Clone)]
pub enum Step {
    /// Does the TLS handshake with the configuration given to `Listening::tls`.
    Tls,
    /// The same; before its own last flight it opens the first gate and waits for the second.
    TlsInTwo(Gate, Gate),
    /// Answers the ClientHello and goes on without TLS: what TLS 1.2 says next may be in plain.
    TlsServerHello,
    /// Reads until the empty line that ends an HTTP header.
    ReadHead,
    /// Reads an HTTP request with its body.
    ReadRequest,
    /// Reads that many bytes.
    Read(usize),
    /// Reads until what was read since the last reading step satisfies the function.
    ReadUntil(fn(&[u8]) -> bool),
    /// Writes all of it.
    Write(Vec<u8>),
    /// Waits until somebody opens the gate.
    Wait(Gate),
    /// Opens a gate, to tell the test how far the script is.
    Open(Gate),
    /// Reads and ignores everything until nginx closes.
    WaitForPeerClose,
    /// Reads nothing, does nothing, until nginx closes.
    Hold,
    /// Sends FIN and keeps the connection.
    Finish,
    /// Closes; what was not read makes the kernel send RST.
    Close,
    /// Closes with RST.
    Reset,
    /// Starts over, for keepalive.
    Again,
}

/// Something that one thread waits for and another lets happen.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open; fails the test when that takes too long.
    pub fn wait(&self) {
        assert!(self.wait_at_most(wait::patience()), "a gate stayed closed");
    }

    pub(crate) fn wait_at_most(&self, limit: Duration) -> bool {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(open, limit, |open| !*open);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Plays the steps; the connection closes when they are over.
pub(crate) fn play(
    steps: &[Step],
    number: usize,
    stream: Arc<Stream>,
    tls: Option<Arc<Config>>,
    shared: &Shared,
) {
    let mut player = Player { wire: Wire::Plain(stream), number, tls, shared, unread: Vec::new() };
    let mut at = 0;
    let mut reset = false;
    while let Some(step) = steps.get(at) {
        at = if matches!(step, Step::Again) { 0 } else { at + 1 };
        reset = matches!(step, Step::Reset);
        if shared.stopping.load(Ordering::SeqCst) || player.step(step).is_none() {
            break;
        }
    }
    if !reset {
        player.wire.stream().finish();
    }
}

struct Player<'a> {
    wire: Wire,
    number: usize,
    tls: Option<Arc<Config>>,
    shared: &'a Shared,
    /// Read, but not yet asked for.
    unread: Vec<u8>,
}

enum Wire {
    Plain(Arc<Stream>),
    Tls(Box<TlsStream>),
}

impl Wire {
    fn stream(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => tls.stream(),
        }
    }
}

impl Player<'_> {
    /// None ends the script.
    fn step(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Tls => self.handshake(|_| Some(())),
            Step::TlsServerHello => {
                let config = self.tls.clone().expect("Listening::tls before this step");
                tls::answer_hello(&config, self.wire.stream()).ok()
            }
            Step::TlsInTwo(reached, go) => self.handshake(|player| {
                reached.open();
                player.pass(go)
            }),
            Step::ReadHead => self.read_until(http::head_is_complete),
            Step::ReadRequest => self.read_until(http::request_is_complete),
            Step::ReadUntil(complete) => self.read_until(*complete),
            Step::Read(count) => self.read_exactly(*count),
            Step::Write(bytes) => self.write(bytes),
            Step::Wait(gate) => self.pass(gate),
            Step::Open(gate) => {
                gate.open();
                Some(())
            }
            Step::WaitForPeerClose => {
                while self.read_some().is_some() {}
                None
            }
            Step::Hold => {
                self.wire.stream().wait_for_hangup();
                None
            }
            Step::Finish => self.wire.stream().shutdown(Shutdown::Write).ok(),
            Step::Close => {
                if let Wire::Tls(tls) = &mut self.wire {
                    tls.close_notify();
                }
                None
            }
            Step::Reset => {
                self.wire.stream().reset();
                None
            }
            Step::Again => Some(()),
        }
    }

    fn handshake(&mut self, pause: impl FnOnce(&Self) -> Option<()>) -> Option<()> {
        let Wire::Plain(stream) = &self.wire else { panic!("Step::Tls twice") };
        let config = self.tls.clone().expect("Listening::tls before Step::Tls");
        let mut tls = TlsStream::accept(&config, Arc::clone(stream)).ok()?;
        self.shared.resumed.fetch_add(usize::from(tls.is_resumed()), Ordering::SeqCst);
        pause(self)?;
        tls.flush().ok()?;
        self.wire = Wire::Tls(Box::new(tls));
        Some(())
    }

    fn read_until(&mut self, complete: fn(&[u8]) -> bool) -> Option<()> {
        while !complete(&self.unread) {
            self.read_some()?;
        }
        self.unread.clear();
        Some(())
    }

    fn read_exactly(&mut self, count: usize) -> Option<()> {
        while self.unread.len() < count {
            self.read_some()?;
        }
        self.unread.drain(..count);
        Some(())
    }

    fn read_some(&mut self) -> Option<()> {
        let mut chunk = [0; 4096];
        let count = match &mut self.wire {
            Wire::Plain(stream) => (&**stream).read(&mut chunk),
            Wire::Tls(tls) => tls.read(&mut chunk),
        };
        let count = count.ok().filter(|&count| count > 0)?;
        self.shared.note(self.number, &chunk[..count]);
        self.unread.extend_from_slice(&chunk[..count]);
        Some(())
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        match &mut self.wire {
            Wire::Plain(stream) => (&**stream).write_all(bytes).ok(),
            Wire::Tls(tls) => tls.write_all(bytes).ok(),
        }
    }

    fn pass(&self, gate: &Gate) -> Option<()> {
        while !gate.wait_at_most(Duration::from_millis(20)) {
            if self.shared.stopping.load(Ordering::SeqCst) {
                return None;
            }
        }
        Some(())
    }
}
