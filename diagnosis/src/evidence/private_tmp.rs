//! Whether nginx sees a temporary directory of its own: `PrivateTmp=` of systemd.

/// The directories that systemd gives a service.
const DIRECTORIES: [&[u8]; 2] = [b"/tmp", b"/var/tmp"];
/// What those are called in the system's own directory.
const MARK: &[u8] = b"/systemd-private-";

/// The temporary directory that `path` is in; elsewhere there is no need to look.
pub fn directory(path: &[u8]) -> Option<&'static [u8]> {
    let below = |directory: &&[u8]| {
        path.strip_prefix(*directory).is_some_and(|rest| rest.starts_with(b"/"))
    };
    DIRECTORIES.into_iter().find(below)
}

/// Whether `mountinfo`, of `/proc/self/mountinfo`, has nginx's own directory mounted there: numbers,
/// device, root within it, mount point, options.
pub fn is_own(directory: &[u8], mountinfo: &[u8]) -> bool {
    let mut mounts = mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut words = line.split(|byte| *byte == b' ').skip(3);
        Some((words.next()?, words.next()?))
    });
    // The last mount is the one on top.
    let top = mounts.rfind(|(_, at)| *at == directory);
    top.is_some_and(|(root, _)| root.windows(MARK.len()).any(|part| part == MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As /proc/self/mountinfo is laid out (proc(5)) for a service with PrivateTmp=yes.
    const OWN: &[u8] = b"\
        491 490 254:1 / / rw,relatime shared:1 master:1 - ext4 /dev/vda1 rw\n\
        520 491 254:1 /tmp/systemd-private-9f0e-nginx.service-b2kQ/tmp /tmp rw shared:2 - ext4 /dev/vda1 rw\n\
        521 491 254:1 /var/tmp/systemd-private-9f0e-nginx.service-Cx/tmp /var/tmp rw - ext4 /dev/vda1 rw\n";
    const TMPFS: &[u8] =
        b"520 491 0:33 /systemd-private-9f0e-nginx.service-b2kQ/tmp /tmp rw - tmpfs tmpfs rw\n";

    #[test]
    fn a_directory_of_its_own_has_a_mark() {
        assert!(is_own(b"/tmp", OWN) && is_own(b"/var/tmp", OWN) && is_own(b"/tmp", TMPFS));
        assert!(!is_own(b"/var/tmp", TMPFS));
        let covered = [OWN, b"530 520 0:40 / /tmp rw - tmpfs tmpfs rw\n"].concat();
        assert!(!is_own(b"/tmp", &covered));
        for other in [&b""[..], b"\n \n", b"1 2 3 /tmp", b"27 0 254:0 / / rw - ext4 /dev/vda rw\n"]
        {
            assert!(!is_own(b"/tmp", other));
        }
    }

    #[test]
    fn only_temporary_directories_are_looked_at() {
        assert_eq!(directory(b"/tmp/app/socket"), Some(&b"/tmp"[..]));
        assert_eq!(directory(b"/var/tmp/socket"), Some(&b"/var/tmp"[..]));
        for path in [&b"/tmp"[..], b"/tmpfs/socket", b"/run/tmp/socket", b"tmp/socket", b""] {
            assert_eq!(directory(path), None);
        }
    }
}
