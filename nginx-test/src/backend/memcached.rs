//! memcached's text protocol.

use super::Step;

/// Reads `get <key>\r\n`.
pub fn request() -> Step {
    Step::ReadUntil(|bytes| bytes.ends_with(b"\r\n"))
}

/// A value that was found.
pub fn value(key: &str, value: &str) -> Vec<u8> {
    format!("VALUE {key} 0 {}\r\n{value}\r\nEND\r\n", value.len()).into_bytes()
}
