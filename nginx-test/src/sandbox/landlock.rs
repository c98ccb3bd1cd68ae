//! Landlock: the kernel answers EACCES to what the confined process may not do, as SELinux would.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

const ACCESS_FS_READ: u64 = 1 << 2 | 1 << 3; // READ_FILE, READ_DIR
const ACCESS_NET_CONNECT_TCP: u64 = 2;
const RULE_PATH_BENEATH: u32 = 1;
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

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// What a process may do; where nothing is said, everything.
#[derive(Debug, Clone, Default)]
pub struct Landlock {
    /// TCP ports that it may connect to.
    ports: Option<Vec<u16>>,
    /// Directories in `/` of which it may read nothing.
    unreadable: Vec<&'static str>,
}

impl Landlock {
    /// No TCP connect at all.
    pub fn deny_connect() -> Self {
        Self { ports: Some(Vec::new()), ..Self::default() }
    }

    /// Connecting to this port stays allowed.
    pub fn allow(mut self, port: u16) -> Self {
        self.ports.get_or_insert_default().push(port);
        self
    }

    /// No file below these directories of `/` can be read.
    pub fn deny_reading(directories: &[&'static str]) -> Self {
        Self { unreadable: directories.to_vec(), ..Self::default() }
    }

    /// Confines the command from its exec on.
    pub(crate) fn apply(&self, command: &mut Command) {
        let ports = self.ports.clone();
        let readable = (!self.unreadable.is_empty()).then(|| self.readable());
        // SAFETY: between fork and exec the closure makes system calls only; what it has is read.
        unsafe { command.pre_exec(move || restrict(ports.as_deref(), readable.as_deref())) };
    }

    /// All the other directories of `/`; Landlock knows only what is allowed.
    fn readable(&self) -> Vec<OwnedFd> {
        let entries = fs::read_dir("/").expect("read /").flatten();
        let names = entries.filter(|entry| {
            let name = entry.file_name();
            entry.path().is_dir() && !self.unreadable.iter().any(|hidden| name == *hidden)
        });
        let open = |path| File::options().read(true).custom_flags(libc::O_PATH).open(path);
        names.filter_map(|entry| Some(open(entry.path()).ok()?.into())).collect()
    }
}

fn restrict(ports: Option<&[u16]>, readable: Option<&[OwnedFd]>) -> io::Result<()> {
    let ruleset = RulesetAttr {
        handled_access_fs: readable.map_or(0, |_| ACCESS_FS_READ),
        handled_access_net: ports.map_or(0, |_| ACCESS_NET_CONNECT_TCP),
    };
    // SAFETY: the structures outlive the calls and have the sizes given (linux/landlock.h);
    // the descriptor is closed by nobody and dies with the exec (the kernel makes it O_CLOEXEC).
    unsafe {
        let size = size_of::<RulesetAttr>();
        let fd =
            check(libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, 0))?;
        for &port in ports.unwrap_or_default() {
            let rule = NetPortAttr { allowed_access: ACCESS_NET_CONNECT_TCP, port: port.into() };
            let rule = &raw const rule;
            check(libc::syscall(libc::SYS_landlock_add_rule, fd, RULE_NET_PORT, rule, 0))?;
        }
        for directory in readable.unwrap_or_default() {
            let parent_fd = directory.as_raw_fd();
            let rule = PathBeneathAttr { allowed_access: ACCESS_FS_READ, parent_fd };
            let rule = &raw const rule;
            check(libc::syscall(libc::SYS_landlock_add_rule, fd, RULE_PATH_BENEATH, rule, 0))?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())?;
        check(libc::syscall(libc::SYS_landlock_restrict_self, fd, 0))?;
    }
    Ok(())
}

fn check(rc: i64) -> io::Result<i64> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}
