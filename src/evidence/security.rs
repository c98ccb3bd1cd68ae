//! Reads what may keep nginx from connecting.

use diagnosis::Evidence;
use diagnosis::evidence::security::{self, Security, Worker};

use super::{Scene, proc};
use crate::ffi::{cycle, system};

/// On a connection over TCP that was denied.
pub(crate) fn tcp(scene: &Scene<'_>) -> Option<Evidence> {
    Some(with_security(|seen| security::tcp(scene.attempt, seen)))
}

/// Calls `judge` with everything that can be read.
pub(crate) fn with_security<T>(judge: impl FnOnce(&Security<'_>) -> T) -> T {
    let [enforce, connect, relay, filesystems, label, status] = [
        "/sys/fs/selinux/enforce",
        "/sys/fs/selinux/booleans/httpd_can_network_connect",
        "/sys/fs/selinux/booleans/httpd_can_network_relay",
        "/proc/filesystems",
        "/proc/self/attr/current",
        "/proc/self/status",
    ]
    .map(proc::read);
    judge(&Security {
        enforce: enforce.as_deref(),
        connect: connect.as_deref(),
        relay: relay.as_deref(),
        filesystems: filesystems.as_deref(),
        label: label.as_deref(),
        status: status.as_deref(),
        worker: &worker(),
    })
}

fn worker() -> Worker {
    let (uid, gid, groups) = system::user();
    // Only a master that is root changes the user (ngx_worker_process_init).
    let name = cycle::worker_user().filter(|_| uid != 0);
    let name = name.map(|name| name.to_bytes().to_vec()).unwrap_or_default();
    Worker { uid, gid, groups, name }
}
