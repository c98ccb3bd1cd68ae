//! A unix socket that the worker's user cannot reach.

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
    let sockets = configuration.targets(socket).into_iter();
    sockets
        .filter_map(|(directive, path)| Some(finding(directive, path, &look.barrier(path)?)))
        .collect()
}

fn socket(argument: &[u8]) -> Option<&[u8]> {
    let Target::Unix(path) = target::parse(argument) else { return None };
    // Which file a variable stands for, a request will say.
    (!path.contains(&b'$')).then_some(path)
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
