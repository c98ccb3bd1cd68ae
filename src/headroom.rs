//! How much this worker had left when an attempt failed.

use diagnosis::Headroom;

use crate::ffi::{cycle, system};

/// Open descriptors against `RLIMIT_NOFILE`, free connections against `worker_connections`.
///
/// `None` when the kernel tells neither; a limit of "unlimited" counts as no headroom known.
pub(crate) fn now() -> Option<Headroom> {
    let fd_limit = system::open_file_limit()?;
    let open = system::open_files()?;
    let connections = cycle::connections();
    Some(Headroom {
        fd_free: fd_limit.saturating_sub(open),
        fd_limit,
        conn_free: connections.free,
        conn_limit: connections.limit,
    })
}
