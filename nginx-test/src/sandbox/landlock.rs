//! Landlock: the kernel answers EACCES to TCP connects of the confined process, as SELinux would.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

const ACCESS_NET_CONNECT_TCP: u64 = 2;
const RULE_NET_PORT: u32 = 2;

/// linux/landlock.h, ABI 4.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
}

#[repr(C)]
struct NetPortAttr {
    allowed_access: u64,
    port: u64,
}

/// TCP ports that a process may connect to; every other one is denied.
#[derive(Debug, Clone, Default)]
pub struct Landlock(Vec<u16>);

impl Landlock {
    /// No TCP connect at all.
    pub fn deny_connect() -> Self {
        Self::default()
    }

    /// Connecting to this port stays allowed.
    pub fn allow(mut self, port: u16) -> Self {
        self.0.push(port);
        self
    }

    /// Confines the command from its exec on.
    pub(crate) fn apply(&self, command: &mut Command) {
        let ports = self.0.clone();
        // SAFETY: between fork and exec the closure makes system calls only; `ports` is read.
        unsafe { command.pre_exec(move || restrict(&ports)) };
    }
}

fn restrict(ports: &[u16]) -> io::Result<()> {
    let ruleset = RulesetAttr { handled_access_fs: 0, handled_access_net: ACCESS_NET_CONNECT_TCP };
    // SAFETY: the structures outlive the calls and have the sizes given (linux/landlock.h);
    // the descriptor is closed by nobody and dies with the exec (the kernel makes it O_CLOEXEC).
    unsafe {
        let size = size_of::<RulesetAttr>();
        let fd =
            check(libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0))?;
        for &port in ports {
            let rule = NetPortAttr { allowed_access: ACCESS_NET_CONNECT_TCP, port: port.into() };
            check(libc::syscall(
                libc::SYS_landlock_add_rule,
                fd,
                RULE_NET_PORT,
                &raw const rule,
                0,
            ))?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        check(libc::syscall(libc::SYS_landlock_restrict_self, fd, 0))?;
    }
    Ok(())
}

fn check(rc: i64) -> io::Result<i64> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}
