//! One connection to a host.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shared;
use crate::backend::http;

/// A connection.
pub(super) struct Guest {
    pub(super) stream: TcpStream,
    /// Of a request that is not whole yet.
    unread: Vec<u8>,
    /// A request to answer; true when it has to wait for the gate.
    pub(super) asked: Option<bool>,
    served: bool,
}

impl Guest {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new(), asked: None, served: false }
    }

    /// Reads and answers what there is; false when the connection is over.
    pub(super) fn stays(&mut self, shared: &Shared, leaving: bool) -> bool {
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
