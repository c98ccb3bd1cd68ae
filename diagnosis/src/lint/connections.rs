//! `worker_connections` against the files that a worker may open.

use super::{Finding, Level, Surroundings};

/// A proxied request takes two connections, and each connection is a file.
pub(super) fn find(around: &Surroundings) -> Vec<Finding> {
    let (connections, own) = (around.worker_connections, around.own_files);
    let Some(limit) = around.file_limit else { return Vec::new() };
    if connections.saturating_add(own) <= limit {
        return Vec::new();
    }
    let level = if connections > limit { Level::Warn } else { Level::Notice };
    let requests = limit.saturating_sub(own) / 2;
    let text = format!(
        "worker_connections {connections} and about {own} files of its own do not fit into the \
         {limit} that a worker may open: at two a proxied request, {requests} requests at a time \
         use them up and the next fails with 500 or 502; set worker_rlimit_nofile"
    );
    vec![Finding { level, text, place: None }]
}
