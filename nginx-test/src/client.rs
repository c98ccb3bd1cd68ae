//! A raw HTTP/1.1 client: sends exactly the bytes it is given.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use crate::reply::Reply;
use crate::stream::Stream;
use crate::wait::patience;

/// One client connection; reuse it for keepalive.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    unread: Vec<u8>,
}

impl Client {
    /// Connects to `host:port` or `unix:/path`.
    pub fn connect(address: &str) -> Self {
        Self::try_connect(address).unwrap_or_else(|e| panic!("connect {address}: {e}"))
    }

    /// Like `connect`, for when nobody may be listening.
    pub fn try_connect(address: &str) -> io::Result<Self> {
        let stream = Stream::connect(address)?;
        stream.limit_reads(patience())?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends these bytes and nothing else. When nginx has closed already, reading will tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = (&self.stream).write_all(bytes.as_ref());
        self
    }

    /// `GET path` with `Host: localhost` on this connection, which stays open.
    pub fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    /// `POST path` with a body.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Reply {
        self.request("POST", path, &[], body)
    }

    /// One request with further header lines (`"Name: value"`), and its response.
    pub fn request(&mut self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        // In one write, so that nginx sees a small body together with its header.
        self.send([head(method, path, headers, body.len()).as_bytes(), body].concat());
        self.read(method)
    }

    /// Sends a GET and does not wait for the answer.
    pub fn start(&mut self, path: &str) -> &mut Self {
        self.send(head("GET", path, &[], 0))
    }

    /// Reads one response to a request with that method.
    pub fn read(&mut self, method: &str) -> Reply {
        let head = self.read_head().expect("nginx closed the connection without a response");
        let mut reply = Reply::from_head(&head);
        self.read_body(method, &mut reply);
        reply
    }

    /// Like `read`, but None when nginx closes without sending anything.
    pub fn try_read(&mut self, method: &str) -> Option<Reply> {
        let head = self.read_head()?;
        let mut reply = Reply::from_head(&head);
        self.read_body(method, &mut reply);
        Some(reply)
    }

    /// Reads the status line and header only, for responses whose body is meant to stall.
    pub fn read_header(&mut self) -> Reply {
        Reply::from_head(&self.read_head().expect("nginx closed without a response"))
    }

    /// Everything until nginx closes, including what was read ahead.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    /// Says that nothing more will be sent (FIN), and keeps reading possible.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Ends the connection with RST.
    pub fn reset(self) {
        self.stream.reset();
    }

    fn read_head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = self.take(end + 4);
                return Some(head[..end].to_vec());
            }
            if !self.fill() {
                assert!(self.unread.is_empty(), "half a header: {}", self.unread.escape_ascii());
                return None;
            }
        }
    }

    fn read_body(&mut self, method: &str, reply: &mut Reply) {
        let chunked = reply.header("Transfer-Encoding").is_some_and(|v| v == "chunked");
        let length = reply.header("Content-Length").map(|v| v.parse::<usize>().unwrap());
        if method == "HEAD" || matches!(reply.status, 100..=199 | 204 | 304) {
            return;
        }
        if chunked {
            reply.complete = self.read_chunks(&mut reply.body);
        } else if let Some(length) = length {
            while self.unread.len() < length && self.fill() {}
            reply.complete = self.unread.len() >= length;
            reply.body = self.take(length);
        } else {
            reply.body = self.read_to_end();
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let Some(line) = self.read_line() else { return false };
            let size = String::from_utf8_lossy(&line).trim().to_owned();
            let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("chunk {size}"));
            while self.unread.len() < size + 2 {
                if !self.fill() {
                    let rest = self.unread.len().min(size);
                    body.extend(self.take(rest));
                    return false;
                }
            }
            body.extend_from_slice(&self.take(size + 2)[..size]);
            if size == 0 {
                return true;
            }
        }
    }

    fn read_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                return Some(self.take(end + 2)[..end].to_vec());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.unread.len());
        self.unread.drain(..count).collect()
    }

    /// Reads some more; false at the end of the stream, however it ended.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16384];
        match (&self.stream).read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nginx does not answer: {error}"),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stream.finish();
    }
}

/// A request head with `Host`, and `Content-Length` when there is a body.
pub fn head(method: &str, path: &str, headers: &[&str], body: usize) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    if body > 0 {
        head += &format!("Content-Length: {body}\r\n");
    }
    for line in headers {
        head = head + line + "\r\n";
    }
    head + "\r\n"
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
