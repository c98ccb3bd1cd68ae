//! The records: one verdict, one failed attempt, one diagnosed request.

use std::rc::Rc;

use crate::{
    Cause, Errno, Evidence, Family, Hint, Limit, Phase, Protocol, Resolution, Texts, resolution,
};

/// What a message and the state around it add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why it failed.
    pub cause: Cause,
    /// When it failed; mostly, but not always, the cause's usual phase.
    pub phase: Phase,
    /// The system's error, when there was one.
    pub errno: Option<Errno>,
    /// The configured limit that was hit.
    pub limit: Option<Limit>,
    /// Number of the TLS alert that came.
    pub alert: Option<u8>,
    /// Only a failure if nginx then finalizes the request with an error.
    pub pending: bool,
}

/// This worker's file descriptors and connections when an attempt failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headroom {
    /// File descriptors still free.
    pub fd_free: u64,
    /// The soft RLIMIT_NOFILE.
    pub fd_limit: u64,
    /// Worker connections still free.
    pub conn_free: u64,
    /// `worker_connections`.
    pub conn_limit: u64,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Cause, phase and their details.
    pub verdict: Verdict,
    /// The upstream module.
    pub protocol: Protocol,
    /// Family of `address`.
    pub family: Family,
    /// Upstream, server, address and nginx's message.
    pub texts: Texts,
    /// From the attempt's start to its failure, milliseconds.
    pub ms: Option<u64>,
    /// The upstream's own status, or 0.
    pub status: u16,
    /// Bytes read from the upstream.
    pub bytes_received: u64,
    /// A cached keepalive connection.
    pub reused: bool,
    /// nginx went on to another attempt.
    pub retried: bool,
    /// This worker's headroom at that moment.
    pub headroom: Option<Headroom>,
    /// What was seen besides, and how long before, milliseconds.
    pub evidence: Option<(Rc<Evidence>, u64)>,
    /// What DNS says of the address; `None` where nginx looks names up only once.
    pub resolution: Option<Rc<Resolution>>,
}

impl Attempt {
    /// What the evidence says in one word; an address that is out of date explains the rest of it.
    pub fn hint(&self) -> Option<Hint> {
        if self.resolution.is_some() && resolution::stale(self).is_some() {
            return Some(Hint::AddressLeftDns);
        }
        self.evidence.as_ref()?.0.hint
    }

    /// The upstream block, or the host of an implicit one.
    pub fn upstream(&self) -> &[u8] {
        self.texts.upstream()
    }

    /// The configured server, with its port.
    pub fn server(&self) -> &[u8] {
        self.texts.server()
    }

    /// The address that was tried.
    pub fn address(&self) -> &[u8] {
        self.texts.address()
    }

    /// nginx's own words.
    pub fn message(&self) -> &[u8] {
        self.texts.message()
    }
}

/// How the request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// nginx answered for the upstream.
    Failed,
    /// Another attempt, a stale cache entry or an error_page upstream answered.
    Recovered,
    /// The upstream's own 5xx was passed on.
    UpstreamError,
    /// It failed after the header went out.
    Truncated,
    /// The client left first.
    Aborted,
}

impl Outcome {
    /// As written in JSON.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::UpstreamError => "upstream_error",
            Self::Truncated => "truncated",
            Self::Aborted => "aborted",
        }
    }
}

/// Everything known about one request whose upstream failed.
#[derive(Clone, Copy, Debug)]
pub struct Diagnosis<'a> {
    /// How the request ended.
    pub outcome: Outcome,
    /// The status the client got, or 0.
    pub status: u16,
    /// The failed attempts, oldest first.
    pub attempts: &'a [Attempt],
    /// Attempts beyond the record's cap.
    pub dropped: u32,
}

/// An attempt with everything in it, for tests.
#[cfg(test)]
pub(crate) fn sample(cause: Cause) -> Attempt {
    let verdict = Verdict {
        cause,
        phase: cause.phase(),
        errno: Some(Errno::ECONNREFUSED),
        limit: None,
        alert: None,
        pending: false,
    };
    Attempt {
        verdict,
        protocol: Protocol::Http,
        family: Family::Inet,
        texts: Texts::of([
            b"backend",
            b"app.internal:3000",
            b"10.0.0.7:3000",
            b"connect() failed (111: Connection refused)",
        ]),
        ms: Some(1),
        status: 0,
        bytes_received: 0,
        reused: false,
        retried: false,
        evidence: None,
        resolution: None,
        headroom: Some(Headroom { fd_free: 1001, fd_limit: 1024, conn_free: 509, conn_limit: 512 }),
    }
}
