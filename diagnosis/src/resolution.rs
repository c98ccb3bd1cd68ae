//! What DNS says now about the name of a server whose address failed.

use std::net::{IpAddr, SocketAddr};

use crate::cause::Phase;
use crate::{Attempt, Cause, printable};

/// Whether the address that was tried is one of its name's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dns {
    /// The server was configured by its address: there is no name to ask for.
    Literal,
    /// The name's answer has it.
    Fresh,
    /// It has left the name's answer.
    Stale,
    /// The name has been asked for and never answered.
    Unresolved,
    /// There is no answer yet.
    #[default]
    Unknown,
}

impl Dns {
    /// As written in the header and in JSON.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unresolved => "unresolved",
            Self::Unknown => "unknown",
        }
    }
}

/// What was done with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// It has nothing new, or came to nothing.
    Nothing,
    /// Later requests go to the new address.
    LaterRequests,
    /// This request was sent to that one, and later ones are.
    ThisRequest(SocketAddr),
}

impl Used {
    /// As written in JSON.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::LaterRequests => "later_requests",
            Self::ThisRequest(_) => "this_request",
        }
    }
}

/// The first of some addresses, and how many they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    shown: Vec<IpAddr>,
    left_out: u64,
}

impl Addresses {
    /// No more are kept.
    const MAX: usize = 8;

    /// Those that are kept.
    pub fn shown(&self) -> &[IpAddr] {
        &self.shown
    }

    /// How many more there are.
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl From<&[IpAddr]> for Addresses {
    fn from(all: &[IpAddr]) -> Self {
        let (shown, more) = all.split_at(all.len().min(Self::MAX));
        Self { shown: shown.to_vec(), left_out: more.len().try_into().unwrap_or(u64::MAX) }
    }
}

/// What is known of the name of a server, as of the failure of one of its addresses. `None` is not
/// known, and not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// On the address that was tried.
    pub dns: Dns,
    /// The name that is asked for, hostile; empty if there is none.
    pub name: Vec<u8>,
    /// The addresses that nginx found when it read its configuration.
    pub configured: Addresses,
    /// Those of the last good answer.
    pub current: Addresses,
    /// How old that answer is, milliseconds.
    pub age_ms: Option<u64>,
    /// Its time to live, seconds.
    pub ttl_s: Option<u32>,
    /// Why the last question has no answer: a word of ours, such as `timeout`.
    pub error: Option<&'static str>,
    /// How long the request waited for the answer, milliseconds.
    pub waited_ms: Option<u64>,
    /// What was done with it.
    pub used: Option<Used>,
}

/// What fails on nginx's own side, whichever host it is sent to.
const OWN_SIDE: &[Cause] = &[
    Cause::ConnectionDenied,
    Cause::EphemeralPortsExhausted,
    Cause::LocalBindFailed,
    Cause::FdExhausted,
    Cause::WorkerConnectionsExhausted,
    Cause::TlsConfigurationError,
    Cause::HeaderTooBig,
    Cause::DiskFull,
    Cause::DiskFailed,
    Cause::InternalError,
];

/// Whether another host at the address would explain the failure.
fn depends_on_address(a: &Attempt) -> bool {
    let tried = match a.verdict.phase {
        Phase::Connect | Phase::Handshake | Phase::Send | Phase::Header | Phase::Body => true,
        Phase::Resolve | Phase::Select | Phase::Local | Phase::Client => false,
    };
    tried && !OWN_SIDE.contains(&a.verdict.cause)
}

/// The resolution of an attempt that failed because of an address that is its name's no more.
pub(crate) fn stale(a: &Attempt) -> Option<&Resolution> {
    let resolution = a.resolution.as_deref()?;
    (resolution.dns == Dns::Stale && depends_on_address(a)).then_some(resolution)
}

/// That of an attempt that could not connect, to an address of which nobody says whether it is right.
pub(crate) fn unresolved(a: &Attempt) -> Option<&Resolution> {
    let resolution = a.resolution.as_deref()?;
    let connecting = a.verdict.phase == Phase::Connect && depends_on_address(a);
    (resolution.dns == Dns::Unresolved && connecting).then_some(resolution)
}

impl Resolution {
    /// Where the name has moved, and who goes there. Nothing in it needs an escape.
    pub(crate) fn moved(&self, a: &Attempt) -> String {
        let mut out = format!("{} no longer resolves to {}", self.shown_name(), tried(a));
        for (index, address) in self.current.shown.iter().take(NAMED).enumerate() {
            out.push_str(if index == 0 { " but to " } else { ", " });
            out.push_str(&address.to_string());
        }
        let named = self.current.shown.len().min(NAMED);
        let kept = self.current.shown.len().saturating_sub(named).try_into().unwrap_or(u64::MAX);
        match self.current.left_out.saturating_add(kept) {
            0 => {}
            more => out.push_str(&format!(" and {more} more")),
        }
        match self.used {
            Some(Used::ThisRequest(address)) => out.push_str(&format!(
                "; this request was sent to {address}, later ones go there too"
            )),
            Some(Used::LaterRequests) => out.push_str("; later requests go there"),
            Some(Used::Nothing) | None => {
                out.push_str("; reload nginx if requests go on to the old address");
            }
        }
        out
    }

    /// Why nobody knows whether the address is right. Nothing in it needs an escape.
    pub(crate) fn failed(&self, a: &Attempt) -> String {
        let error = self.error.unwrap_or("no answer");
        format!(
            "{} could not be looked up again ({error}), so {} may be out of date; check the name \
             servers, and if the address is right, the back end",
            self.shown_name(),
            tried(a)
        )
    }

    fn shown_name(&self) -> String {
        match &*self.name {
            [] => "the name".to_owned(),
            name => printable::into_string(printable::plain(name).into_owned()),
        }
    }
}

/// Addresses in a sentence.
const NAMED: usize = 3;

/// The address without its port, which is no matter of DNS.
fn tried(a: &Attempt) -> String {
    let text = std::str::from_utf8(a.address()).ok();
    match text.and_then(|text| text.parse::<SocketAddr>().ok()) {
        Some(address) => address.ip().to_string(),
        None if a.address().is_empty() => "the address that was tried".to_owned(),
        None => printable::into_string(printable::plain(a.address()).into_owned()),
    }
}

#[cfg(test)]
mod tests;
