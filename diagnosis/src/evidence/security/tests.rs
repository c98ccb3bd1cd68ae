use super::*;
use crate::attempt::sample;
use crate::{Cause, Verdict};

/// As /proc/filesystems is laid out (fs/filesystems.c), without and with SELinux.
const WITHOUT: &[u8] = b"nodev\tsysfs\nnodev\ttmpfs\n\text4\n";
const WITH_SELINUX: &[u8] = b"nodev\tsysfs\nnodev\tselinuxfs\nnodev\ttmpfs\n\txfs\n";
const HTTPD: &[u8] = b"system_u:system_r:httpd_t:s0\0";

fn denied(errno: Errno) -> Attempt {
    let attempt = sample(Cause::ConnectionDenied);
    Attempt { verdict: Verdict { errno: Some(errno), ..attempt.verdict }, ..attempt }
}

fn enforcing() -> Security<'static> {
    Security {
        enforce: Some(b"1"),
        connect: Some(b"0 0"),
        relay: Some(b"0 0"),
        filesystems: Some(WITH_SELINUX),
        label: Some(HTTPD),
        ..Security::default()
    }
}

#[test]
fn what_selinux_does() {
    for (enforce, filesystems, expected) in [
        (Some(&b"1"[..]), Some(WITH_SELINUX), Selinux::Enforcing),
        (Some(b"1\n"), None, Selinux::Enforcing),
        (Some(b"0"), Some(WITH_SELINUX), Selinux::Permissive),
        (None, Some(WITHOUT), Selinux::Off),
        // In a container: the kernel's file system list is everybody's, sysfs is not.
        (None, Some(WITH_SELINUX), Selinux::Unknown),
        (None, None, Selinux::Unknown),
        (None, Some(b""), Selinux::Unknown),
        (Some(b""), Some(WITH_SELINUX), Selinux::Unknown),
        (Some(b"\xff2"), Some(WITHOUT), Selinux::Unknown),
    ] {
        let seen = Security { enforce, filesystems, ..Security::default() };
        assert_eq!(seen.selinux(), expected, "{seen:?}");
    }
}

#[test]
fn selinux_denies_connect() {
    let found = tcp(&denied(Errno::EACCES), &enforcing());
    assert_eq!(found.hint, Some(Hint::SelinuxDeniesConnect));
    assert!(found.advice.unwrap().contains("setsebool -P httpd_can_network_connect 1"));
    let expected = [
        ("selinux", "enforcing".into()),
        ("httpd_can_network_connect", false.into()),
        ("httpd_can_network_relay", false.into()),
        ("selinux_context", Value::Text(b"system_u:system_r:httpd_t:s0".to_vec())),
        ("worker_uid", 0.into()),
        ("worker_gid", 0.into()),
    ];
    assert_eq!(found.facts, expected);
}

#[test]
fn a_switch_that_is_on_or_not_nginxs_denies_nothing() {
    for seen in [
        Security { connect: Some(b"1 1"), ..enforcing() },
        // Switched on a moment ago, not yet committed: the current value counts.
        Security { connect: Some(b"1 0"), ..enforcing() },
        Security { connect: None, ..enforcing() },
        Security { connect: Some(b""), ..enforcing() },
        Security { connect: Some(b"?"), ..enforcing() },
        Security { label: Some(b"system_u:system_r:container_t:s0:c1,c2\0"), ..enforcing() },
    ] {
        let found = tcp(&denied(Errno::EACCES), &seen);
        assert_eq!(found.hint, Some(Hint::SelinuxEnforcing), "{seen:?}");
        assert!(found.advice.unwrap().contains("ausearch"));
    }
}

#[test]
fn without_selinux_the_advice_looks_elsewhere() {
    let status = Some(&b"Name:\tnginx\nSeccomp:\t2\nSeccomp_filters:\t1\n"[..]);
    let off = Security { filesystems: Some(WITHOUT), ..Security::default() };
    for (seen, errno, words) in [
        (off, Errno::EACCES, "SELinux does not run here, so look for a sandbox"),
        (Security { enforce: Some(b"0"), ..enforcing() }, Errno::EACCES, "permissive"),
        (enforcing(), Errno::EPERM, "this is EPERM, so look for a sandbox"),
        (
            Security { label: Some(b"nginx (enforce)\n"), ..off },
            Errno::EACCES,
            "at nginx's AppArmor profile nginx or",
        ),
        (Security { label: Some(b"nginx (complain)\n"), ..off }, Errno::EACCES, "for a sandbox"),
        (Security { status, ..off }, Errno::EPERM, "seccomp filter"),
    ] {
        let found = tcp(&denied(errno), &seen);
        assert_eq!(found.hint, None);
        let advice = found.advice.unwrap();
        assert!(advice.contains(words) && !advice.contains("setsebool"), "{advice}");
    }
}

#[test]
fn nothing_read_says_nothing() {
    let found = tcp(&denied(Errno::EACCES), &Security::default());
    assert_eq!((found.hint, found.advice), (None, None));
    let name = b"www-data".to_vec();
    let worker = &Worker { uid: 33, gid: 33, groups: vec![], name: name.clone() };
    let found = tcp(&denied(Errno::EACCES), &Security { worker, ..Security::default() });
    assert_eq!(found.facts[0], ("selinux", "unknown".into()));
    assert_eq!(found.facts[1], ("worker_uid", 33.into()));
    assert_eq!(found.facts[3], ("worker_user", Value::Text(name)));
}
