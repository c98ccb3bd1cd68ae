//! A unix socket that the worker's user cannot reach.

use std::collections::HashSet;

use super::configuration::{Configuration, Directive};
use super::target::{self, Target};
use super::{Finding, Look, shown};

/// What keeps the worker's user from a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The directory that may not be entered, or the socket that may not be written.
    pub path: Vec<u8>,
    /// It is the socket itself.
    pub is_socket: bool,
    /// The user of the workers.
    pub user: Vec<u8>,
}

/// The `server` lines and `*_pass` lines with such a socket.
pub(super) fn find(configuration: &Configuration, look: &dyn Look) -> Vec<Finding> {
    let servers = configuration.upstreams().flat_map(|upstream| upstream.all(b"server"));
    let passes = configuration.passes().map(|pass| pass.directive);
    let mut seen = HashSet::new();
    let mut findings = Vec::new();
    for directive in servers.chain(passes) {
        let Target::Unix(path) = target::parse(directive.argument()) else { continue };
        // Which file that is, a request will say.
        if path.contains(&b'$') || !seen.insert(path) {
            continue;
        }
        findings.extend(look.barrier(path).map(|barrier| finding(directive, path, &barrier)));
    }
    findings
}

fn finding(directive: &Directive, path: &[u8], barrier: &Barrier) -> Finding {
    let may_not = if barrier.is_socket { "write to" } else { "enter" };
    let text = format!(
        "the user \"{}\" of the workers may not {may_not} \"{}\": every connection to \"unix:{}\" \
         fails with EACCES",
        shown(&barrier.user),
        shown(&barrier.path),
        shown(path)
    );
    Finding::warn(text, directive.place())
}
