//! Looks for the signs of a container.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use diagnosis::Evidence;
use diagnosis::evidence::container::{self, Signs};

use super::{Scene, proc};

/// The sign by which nginx is known to run in a container with a network of its own.
pub(crate) fn seen() -> Option<&'static str> {
    let exists = |path: &str| Path::new(path).exists();
    let cgroup = proc::read("/proc/self/cgroup");
    let signs = Signs {
        any_network: exists("/proc/sys/net/ipv4/ip_local_port_range"),
        first_network: exists("/proc/sys/net/ipv4/tcp_mem"),
        containerenv: exists("/run/.containerenv"),
        dockerenv: exists("/.dockerenv"),
        systemd: exists("/run/systemd/container"),
        pid_namespace: fs::metadata("/proc/self/ns/pid").ok().map(|status| status.ino()),
        cgroup: cgroup.as_deref(),
    };
    signs.decide()
}

/// What was found about a refused connection, in a container's light.
pub(crate) fn explain(scene: &Scene<'_>, found: Evidence) -> Evidence {
    let address = scene.attempt.address();
    let sign = if container::is_loopback(address) { seen() } else { None };
    container::explain(found, address, sign)
}
