//! Real back ends on real sockets, each misbehaving in one way. Dropping one ends its threads.

pub mod fastcgi;
pub mod h2;
pub mod host;
pub mod http;
pub mod listen;
pub mod memcached;
pub mod odd;
pub mod scgi;
pub mod script;
pub mod tls;
pub mod uwsgi;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};

use crate::stream::Stream;
use crate::wait;
pub use host::Host;
pub use listen::{Listening, Place};
pub use odd::{Backlog, Dead};
pub use script::{Gate, Step};
pub use tls::Authority;

/// A back end that plays a script on every connection. Prints as the address for `server` or
/// `proxy_pass http://…`.
#[derive(Debug)]
pub struct Backend {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    /// Files of a unix socket.
    _dir: Option<crate::nginx::Dir>,
}

/// What the threads of one back end share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stopping: AtomicBool,
    /// Weak, so that a script's Close or Reset really closes the last descriptor.
    open: Mutex<Vec<Weak<Stream>>>,
    /// What each connection received, in order of acceptance.
    received: Mutex<Vec<Vec<u8>>>,
    /// TLS handshakes that took up an earlier session.
    pub(crate) resumed: AtomicUsize,
}

impl Backend {
    /// A back end at this place; say what it does with `script` or `scripts`.
    pub fn at(place: Place) -> Listening {
        Listening::new(place)
    }

    /// Plays these steps on every TCP connection.
    pub fn script(steps: impl Into<Vec<Step>>) -> Self {
        Self::at(Place::Tcp).script(steps)
    }

    /// The n-th TCP connection gets the n-th script; the last one serves all further ones.
    pub fn scripts(scripts: Vec<Vec<Step>>) -> Self {
        Self::at(Place::Tcp).scripts(scripts)
    }

    /// Answers every request with 200 and this body, on connections that stay open.
    pub fn ok(body: &str) -> Self {
        Self::answering(http::ok(body))
    }

    /// Answers every request with these bytes, on connections that stay open.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        Self::script([Step::ReadRequest, Step::Write(bytes.into()), Step::Again])
    }

    /// Answers with these bytes and closes.
    pub fn answering_once(bytes: impl Into<Vec<u8>>) -> Self {
        Self::script([Step::ReadRequest, Step::Write(bytes.into()), Step::Close])
    }

    /// The address as nginx writes it: `127.0.0.1:port`, `[::1]:port`, `unix:/path`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// Waits until that many connections were accepted.
    pub fn wait_for_connections(&self, count: usize) {
        wait::until(&format!("{count} connections at the back end"), || {
            (self.connections() >= count).then_some(())
        });
    }

    /// Waits until the n-th connection (from 0) is closed on this side, with all it had to send.
    pub fn wait_until_gone(&self, connection: usize) {
        wait::until("the back end to close", || {
            let open = self.shared.open.lock().unwrap();
            open.get(connection).is_some_and(|stream| stream.strong_count() == 0).then_some(())
        });
    }

    /// How many TLS handshakes took up an earlier session. Servers with clones of one configuration
    /// know each other's sessions.
    pub fn resumed(&self) -> usize {
        self.shared.resumed.load(Ordering::SeqCst)
    }

    /// What the n-th connection (from 0) has sent so far, decrypted after `Step::Tls`.
    pub fn received(&self, connection: usize) -> Vec<u8> {
        self.shared.received.lock().unwrap().get(connection).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Shared {
    /// Registers a connection; returns its number.
    pub(crate) fn accepted(&self, stream: &Arc<Stream>) -> usize {
        self.open.lock().unwrap().push(Arc::downgrade(stream));
        let mut received = self.received.lock().unwrap();
        received.push(Vec::new());
        received.len() - 1
    }

    pub(crate) fn note(&self, connection: usize, bytes: &[u8]) {
        self.received.lock().unwrap()[connection].extend_from_slice(bytes);
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stop();
        let ended = self.acceptor.take().map(JoinHandle::join);
        assert!(thread::panicking() || !matches!(ended, Some(Err(_))), "a back end panicked");
    }
}
