//! The variables: each reads the record when it is asked, and formats what it was asked for.

use diagnosis::{Attempt, Diagnosis, Headroom};

use crate::emit;
use crate::ffi::Request;
use crate::record::Record;

/// What all names begin with.
pub(crate) const PREFIX: &str = "upstream_diagnosis";

/// A variable: what follows the prefix in its name, and how to write it.
pub(crate) struct Variable {
    pub(crate) suffix: &'static str,
    /// The value; `None` is nginx's "not found".
    write: fn(&Diagnosis<'_>, &Attempt) -> Option<Vec<u8>>,
    /// The value while nothing has failed.
    pub(crate) otherwise: Option<&'static [u8]>,
}

/// All of them; the scalars speak of the last failed attempt.
pub(crate) static VARIABLES: [Variable; 17] = [
    scalar("", |d, _| Some(diagnosis::field::full(&[], d.attempts, d.dropped))),
    scalar("_cause", |_, attempt| text(attempt.verdict.cause.token())),
    scalar("_phase", |_, attempt| text(attempt.verdict.phase.token())),
    scalar("_outcome", |d, _| text(d.outcome.token())),
    scalar("_server", |_, attempt| bytes(attempt.server())),
    scalar("_address", |_, attempt| bytes(attempt.address())),
    scalar("_errno", |_, attempt| text(attempt.verdict.errno?.name()?)),
    scalar("_hint", |_, attempt| text(attempt.hint()?.token())),
    scalar("_dns", |_, attempt| text(attempt.resolution.as_ref()?.dns.token())),
    scalar("_limit", |_, attempt| text(attempt.verdict.limit?.to_string())),
    scalar("_advice", |_, attempt| text(diagnosis::advice::sentence(attempt))),
    scalar("_attempts", |d, _| number(d.attempts.len() as u64 + u64::from(d.dropped))),
    scalar("_fd_free", |_, attempt| headroom(attempt, |headroom| headroom.fd_free)),
    scalar("_fd_limit", |_, attempt| headroom(attempt, |headroom| headroom.fd_limit)),
    scalar("_conn_free", |_, attempt| headroom(attempt, |headroom| headroom.conn_free)),
    scalar("_conn_limit", |_, attempt| headroom(attempt, |headroom| headroom.conn_limit)),
    Variable {
        suffix: "_json",
        write: |d, _| Some(diagnosis::json::object(d)),
        // Never empty: a log_format may put it into an object without a test.
        otherwise: Some(b"null"),
    },
];

/// The value of `variable` for `request`, or for the main request if it is a subrequest, whose
/// record this is; `None` while nothing has failed.
pub(crate) fn evaluate(
    request: Request<'_>,
    record: &Record,
    variable: &Variable,
) -> Option<Vec<u8>> {
    let diagnosis = emit::diagnosis(request.main(), record)?;
    (variable.write)(&diagnosis, record.attempts().last()?)
}

const fn scalar(
    suffix: &'static str,
    write: fn(&Diagnosis<'_>, &Attempt) -> Option<Vec<u8>>,
) -> Variable {
    Variable { suffix, write, otherwise: None }
}

fn text(value: impl Into<String>) -> Option<Vec<u8>> {
    Some(value.into().into_bytes())
}

fn bytes(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| diagnosis::json::text(value).into_owned().into_bytes())
}

fn number(value: u64) -> Option<Vec<u8>> {
    text(value.to_string())
}

fn headroom(attempt: &Attempt, part: fn(&Headroom) -> u64) -> Option<Vec<u8>> {
    number(part(attempt.headroom.as_ref()?))
}
