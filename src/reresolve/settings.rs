//! What `upstream_diagnosis_resolve` and `upstream_diagnosis_resolver` say.

use std::net::SocketAddr;
use std::rc::Rc;

/// When a name's addresses are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Mode {
    /// When connecting to one of them failed.
    Failure,
    /// Also when the time of the last answer is up.
    Ttl,
}

/// `upstream_diagnosis_resolve`, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    /// An answer counts at least this long, and no name is asked for more often.
    pub(crate) min_ms: u64,
    /// An answer counts at most this long.
    pub(crate) max_ms: u64,
    /// What one lookup may take, with all its repetitions.
    pub(crate) timeout_ms: u64,
    /// How long the failed request itself may wait for the answer; 0: not at all.
    pub(crate) wait_ms: u64,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
}

impl Settings {
    /// The defaults of all parameters.
    pub(crate) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            min_ms: 1_000,
            max_ms: 300_000,
            timeout_ms: 2_000,
            wait_ms: 1_000,
            ipv4: true,
            ipv6: true,
        }
    }
}

/// `upstream_diagnosis_resolver`: who is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Servers {
    /// What this machine's own programs ask, by these two files.
    System { conf: Rc<str>, hosts: Rc<str> },
    /// These name servers, and no file.
    Listed(Rc<[SocketAddr]>),
}

impl Default for Servers {
    fn default() -> Self {
        Self::System { conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}
