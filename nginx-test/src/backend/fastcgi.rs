//! FastCGI records (FastCGI Specification 1.0, section 3.3) for scripts.

use super::Step;
use crate::client::find;

const END_REQUEST: u8 = 3;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// Reads a whole request: up to the empty STDIN record.
pub fn request() -> Step {
    Step::ReadUntil(|bytes| find(bytes, &[1, 5, 0, 1, 0, 0, 0, 0]).is_some())
}

/// A record of any type for request 1, without padding.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut bytes = vec![1, kind, 0, 1, length[0], length[1], 0, 0];
    bytes.extend_from_slice(content);
    bytes
}

/// A STDOUT record.
pub fn stdout(content: &[u8]) -> Vec<u8> {
    record(STDOUT, content)
}

/// A STDERR record.
pub fn stderr(content: &[u8]) -> Vec<u8> {
    record(STDERR, content)
}

/// The end of the request: exit status 0, REQUEST_COMPLETE.
pub fn end() -> Vec<u8> {
    record(END_REQUEST, &[0; 8])
}

/// A whole response: the CGI header lines and body given, and the end.
pub fn response(cgi: &[u8]) -> Vec<u8> {
    [stdout(cgi), stdout(b""), end()].concat()
}
