//! Whether nginx runs in a container, whose loopback is not the host's.
//!
//! A container has a network of its own and is recognized by a second sign. One alone says too
//! little: systemd gives services a network of their own, containers may share the host's, and a
//! virtual machine made of a container's image still has its marks.

use crate::{Evidence, Hint};

/// `PROC_PID_INIT_INO`, the inode of the first pid namespace since Linux 3.8.
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What is there to be seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs<'a> {
    /// `/proc/sys/net/ipv4/ip_local_port_range` exists: every network has it.
    pub any_network: bool,
    /// `/proc/sys/net/ipv4/tcp_mem` exists: only the first network has it.
    pub first_network: bool,
    /// `/run/.containerenv` exists.
    pub containerenv: bool,
    /// `/.dockerenv` exists.
    pub dockerenv: bool,
    /// `/run/systemd/container` exists.
    pub systemd: bool,
    /// Inode of `/proc/self/ns/pid`.
    pub pid_namespace: Option<u64>,
    /// Text of `/proc/self/cgroup`.
    pub cgroup: Option<&'a [u8]>,
}

impl Signs<'_> {
    /// The sign by which the container is known; `None` when it is none or not certain.
    pub fn decide(&self) -> Option<&'static str> {
        if !self.any_network || self.first_network {
            return None;
        }
        match () {
            () if self.containerenv => Some("/run/.containerenv"),
            () if self.dockerenv => Some("/.dockerenv"),
            () if self.systemd => Some("/run/systemd/container"),
            () if self.has_own_processes() => Some("/proc/self/ns/pid"),
            () => None,
        }
    }

    /// A pid namespace of its own that is not a sandbox of systemd's around a service.
    fn has_own_processes(&self) -> bool {
        let is_service = |line: &[u8]| line.ends_with(b".service");
        self.pid_namespace.is_some_and(|inode| inode != FIRST_PID_NAMESPACE)
            && self.cgroup.is_some_and(|text| !text.split(|byte| *byte == b'\n').any(is_service))
    }
}

/// Whether this is `127.0.0.0/8` or `::1`, as nginx writes addresses.
pub fn is_loopback(address: &[u8]) -> bool {
    address.starts_with(b"127.") || address.starts_with(b"[::1]:")
}

/// What was found about a refused connection, seen from a container that is known by `sign`: nobody
/// listens on the container's own loopback.
#[must_use]
pub fn explain(found: Evidence, address: &[u8], sign: Option<&'static str>) -> Evidence {
    let Some(sign) = sign.filter(|_| found.hint == Some(Hint::NoListener) && is_loopback(address))
    else {
        return found;
    };
    let advice = format!(
        "nothing listens on {}, the loopback of the container that nginx runs in; name the back \
         end by its own container's name or by the host's address in the server line",
        String::from_utf8_lossy(address)
    );
    let mut found = Evidence { hint: Some(Hint::LoopbackInContainer), ..found };
    found.facts.push(("container", sign.into()));
    found.advising(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Signs<'_> = Signs {
        any_network: true,
        first_network: false,
        containerenv: false,
        dockerenv: false,
        systemd: false,
        pid_namespace: Some(FIRST_PID_NAMESPACE),
        cgroup: None,
    };

    #[test]
    fn a_container_has_its_own_network_and_another_sign() {
        let own_pids = Some(4_026_532_177);
        for (signs, expected) in [
            (Signs { dockerenv: true, ..OWN }, Some("/.dockerenv")),
            (Signs { containerenv: true, ..OWN }, Some("/run/.containerenv")),
            (Signs { systemd: true, ..OWN }, Some("/run/systemd/container")),
            // Kubernetes with containerd, cgroup v2; then Docker with cgroup v1.
            (
                Signs { pid_namespace: own_pids, cgroup: Some(b"0::/\n"), ..OWN },
                Some("/proc/self/ns/pid"),
            ),
            (
                Signs { pid_namespace: own_pids, cgroup: Some(b"1:cpu:/docker/1f\n"), ..OWN },
                Some("/proc/self/ns/pid"),
            ),
            (Signs { pid_namespace: own_pids, ..OWN }, None),
        ] {
            assert_eq!(signs.decide(), expected, "{signs:?}");
        }
    }

    #[test]
    fn a_plain_host_is_none() {
        let all = Signs { dockerenv: true, containerenv: true, systemd: true, ..OWN };
        let service = Some(&b"0::/system.slice/nginx.service\n"[..]);
        for signs in [
            Signs::default(),
            // PrivateNetwork=, and then PrivatePIDs= as well.
            OWN,
            Signs { pid_namespace: Some(7), cgroup: service, ..OWN },
            // --network=host, and a virtual machine made of an image.
            Signs { first_network: true, ..all },
            // No /proc/sys (ProcSubset=pid).
            Signs { any_network: false, ..all },
        ] {
            assert_eq!(signs.decide(), None, "{signs:?}");
        }
    }

    #[test]
    fn only_a_loopback_without_a_listener_is_explained() {
        let nobody = Evidence::new(Hint::NoListener, vec![("port", 3000.into())]);
        let sign = Some("/.dockerenv");
        let found = explain(nobody.clone(), b"127.0.0.1:3000", sign);
        assert_eq!(found.hint, Some(Hint::LoopbackInContainer));
        assert_eq!(found.facts, [("port", 3000.into()), ("container", "/.dockerenv".into())]);
        assert!(
            found.advice.unwrap().starts_with("nothing listens on 127.0.0.1:3000, the loopback")
        );
        let found = explain(nobody.clone(), b"[::1]:80", sign);
        assert_eq!(found.hint, Some(Hint::LoopbackInContainer));
        for (found, address, sign) in [
            (nobody.clone(), &b"127.0.0.1:3000"[..], None),
            (nobody.clone(), b"10.0.0.7:3000", sign),
            (nobody, b"unix:/run/127.0.0.1", sign),
            (Evidence::new(Hint::ListenerPresent, vec![]), b"127.0.0.1:3000", sign),
        ] {
            assert_eq!(explain(found.clone(), address, sign), found);
        }
    }
}
