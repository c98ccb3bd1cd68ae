//! uwsgi requests: modifier1, length (little endian), modifier2, then that many bytes.

use super::Step;

/// Reads a request without a body.
pub fn request() -> Step {
    Step::ReadUntil(|bytes| match bytes {
        [_, low, high, _, rest @ ..] => rest.len() >= u16::from_le_bytes([*low, *high]).into(),
        _ => false,
    })
}
