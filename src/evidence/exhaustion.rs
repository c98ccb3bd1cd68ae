//! What has run out on this side. Descriptors may be what is missing, so the limits come from where
//! none is needed, and files are read only if they open.

use diagnosis::evidence::exhaustion::{self, Connections, Files};
use diagnosis::{Errno, Evidence};

use super::{Scene, proc};
use crate::ffi::{cycle, system};

/// The limit on descriptors, and who set it.
pub(super) fn files(scene: &Scene<'_>) -> Option<Evidence> {
    if scene.attempt.verdict.errno == Some(Errno::ENFILE) {
        return Some(exhaustion::system_files(proc::read("/proc/sys/fs/file-nr").as_deref()));
    }
    let (soft, hard) = system::file_limits()?;
    Some(exhaustion::files(Files {
        soft: soft?,
        hard,
        configured: cycle::worker_rlimit_nofile(),
        worker_connections: cycle::connections().limit,
    }))
}

/// The range of local ports, and how many connections there are.
pub(super) fn ports(scene: &Scene<'_>) -> Option<Evidence> {
    let range = proc::read("/proc/sys/net/ipv4/ip_local_port_range")?;
    let sockstat = proc::read("/proc/self/net/sockstat");
    exhaustion::ports(scene.attempt.address(), &range, sockstat.as_deref())
}

/// What the connections of this worker are used for.
pub(super) fn connections(_: &Scene<'_>) -> Option<Evidence> {
    let limit = cycle::connections().limit;
    let (idle, uses) = (cycle::idle_connections(), cycle::connection_uses());
    Some(exhaustion::connections(Connections { limit, idle, uses }))
}

/// Whether the firewall still takes new connections, where one tracks them.
pub(super) fn conntrack(_: &Scene<'_>) -> Option<Evidence> {
    let count = proc::read("/proc/sys/net/netfilter/nf_conntrack_count")?;
    let max = proc::read("/proc/sys/net/netfilter/nf_conntrack_max")?;
    exhaustion::conntrack(&count, &max)
}
