//! Why none of the servers could be chosen, one by one.

use diagnosis::Evidence;
use diagnosis::evidence::peers;

use super::{Scene, history};

/// nginx's own figures, and how each server failed last.
pub(super) fn look(scene: &Scene<'_>) -> Option<Evidence> {
    let (mut servers, total) = scene.upstream.servers()?;
    for server in &mut servers {
        server.last = history::last(&server.address);
    }
    let attempt = scene.attempt;
    peers::find(attempt.verdict.cause, attempt.upstream(), &servers, total)
}
