//! What is wrong or risky in a configuration that nginx accepts.
//!
//! Each rule has a file of its own below: directives as they stand in the files go in, findings come
//! out, each with what it would cost the user. A rule is silent on what it cannot know, such as the
//! value of a variable.

mod buffers;
mod configuration;
mod connections;
mod container;
mod error_log;
mod keepalive;
mod names;
mod target;
mod timeouts;
mod trust;
mod unix;
mod upgrade;
mod variables;

pub use configuration::{Configuration, Directive, Place, is_recorded};
pub use unix::Barrier;

use std::net::SocketAddr;

use crate::printable;

/// Findings of one rule that are told; more are only counted.
const MAX_TOLD: usize = 10;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It does not do what it says.
    Warn,
    /// It works until something happens that usually does.
    Notice,
}

/// One thing that is wrong or risky.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is and what it costs; one sentence without a period.
    pub text: String,
    /// Where it stands, unless no file says it.
    pub place: Option<Place>,
}

impl Finding {
    fn warn(text: String, place: &Place) -> Self {
        Self { level: Level::Warn, text, place: Some(place.clone()) }
    }

    fn notice(text: String, place: &Place) -> Self {
        Self { level: Level::Notice, text, place: Some(place.clone()) }
    }
}

/// What no directive inside `http` says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// This nginx asks upstreams for HTTP/1.1 and kept connections without being told (1.29.7).
    pub keeps_by_default: bool,
    /// `worker_connections`.
    pub worker_connections: u64,
    /// Files that a worker may have open; `None` when unlimited.
    pub file_limit: Option<u64>,
    /// Files that a worker has open without any request: listeners, logs, epoll.
    pub own_files: u64,
    /// The main `error_log` drops what is not worse than level error.
    pub errors_hidden: bool,
    /// nginx runs in a container with a network of its own.
    pub in_container: bool,
}

/// A look at the machine.
pub trait Look {
    /// What keeps the workers' user from a unix socket, if anything is known to.
    fn barrier(&self, path: &[u8]) -> Option<Barrier>;
    /// Whether somebody listens on an address of this machine, or nobody knows.
    fn listens(&self, address: SocketAddr) -> bool;
}

/// All that can be said about a configuration.
pub fn find(configuration: &Configuration, around: &Surroundings, look: &dyn Look) -> Vec<Finding> {
    let rules = [
        variables::find(configuration),
        unix::find(configuration, look),
        keepalive::find(configuration, around.keeps_by_default),
        upgrade::find(configuration),
        buffers::find(configuration),
        error_log::find(configuration, around.errors_hidden),
        trust::find(configuration),
        connections::find(around),
        names::find(configuration),
        timeouts::find(configuration),
        if around.in_container { container::find(configuration, look) } else { Vec::new() },
    ];
    rules.into_iter().flat_map(shorten).collect()
}

/// Keeps a mistake that was copied into a thousand locations from filling the log.
fn shorten(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(MAX_TOLD);
    findings.truncate(MAX_TOLD);
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.text += &format!(" ({more} more of this kind)");
    }
    findings
}

/// Words of a configuration as a log can show them.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&printable::ascii(bytes)).into_owned()
}

#[cfg(test)]
mod tests;
