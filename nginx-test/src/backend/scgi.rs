//! SCGI requests: a netstring of the header, then the body.

use super::Step;

/// Reads a request without a body.
pub fn request() -> Step {
    Step::ReadUntil(|bytes| {
        let Some(colon) = bytes.iter().position(|&b| b == b':') else { return false };
        let length = String::from_utf8_lossy(&bytes[..colon]).parse::<usize>().unwrap_or(0);
        // The netstring ends with a comma.
        bytes.len() > colon + 1 + length
    })
}
