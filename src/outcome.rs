//! What became of the request as a whole.

use diagnosis::{Attempt, Cause, Outcome};

use crate::ffi::Request;
use crate::observe;
use crate::record::{Key, Record};

/// Outcome of the main request `main`, which ends with `status` and whose failures are in `record`;
/// `None` without failures.
pub(crate) fn outcome(main: Request<'_>, status: u16, record: &Record) -> Option<Outcome> {
    let (attempt, entry) = record.decisive()?;
    Some(if observe::client_left(main) {
        Outcome::Aborted
    } else if entry.after_header {
        Outcome::Truncated
    } else if attempt.retried || answered_otherwise(main.member(entry.key.owner), entry.key) {
        Outcome::Recovered
    } else if entry.key.owner == main.id() {
        if passed_on(main, attempt) { Outcome::UpstreamError } else { Outcome::Failed }
    } else {
        of_subrequest(status, attempt, entry.background)
    })
}

/// Whether another upstream, after an error_page, or a stale cache entry answered `owner`.
fn answered_otherwise(owner: Request<'_>, key: Key) -> bool {
    let later = owner.states().get(key.index.saturating_add(1)..).unwrap_or_default();
    later.iter().any(|state| !state.is_separator()) || owner.served_stale()
}

/// Whether the client got what the upstream said: its status, not a page that nginx made instead.
#[allow(clippy::wildcard_enum_match_arm, reason = "no other cause lets a response through")]
fn passed_on(main: Request<'_>, attempt: &Attempt) -> bool {
    let status = match attempt.verdict.cause {
        Cause::UpstreamStatus => attempt.status,
        // Taken for HTTP/0.9: the bytes went to the client as they came.
        Cause::ProtocolMismatch => 9,
        _ => return false,
    };
    main.error_status() == 0 && main.response_status() == status
}

/// The main response went its own way; its status tells whether the subrequest mattered.
fn of_subrequest(status: u16, attempt: &Attempt, background: bool) -> Outcome {
    if status >= 500 {
        Outcome::Failed
    } else if background {
        Outcome::Recovered
    } else if attempt.verdict.cause == Cause::UpstreamStatus {
        Outcome::UpstreamError
    } else {
        Outcome::Failed
    }
}
