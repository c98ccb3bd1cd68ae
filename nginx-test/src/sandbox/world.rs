//! How much of the system nginx gets to see.

use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A world of nginx's own; the test itself stays outside.
#[derive(Debug, Clone, Copy)]
pub enum World {
    /// /proc and /sys are empty, as in a chroot.
    WithoutProc,
    /// /proc shows nobody else's processes (`hidepid=2`).
    HiddenProcesses,
    /// A user namespace, as that of a container without root: nginx is user 1000 and has no
    /// capability, and the owner of what the test made.
    OwnUsers,
}

impl World {
    /// Puts the command into it from its exec on.
    pub(crate) fn apply(self, command: &mut Command) {
        // SAFETY: between fork and exec the closure makes system calls only.
        unsafe { command.pre_exec(move || self.enter()) };
    }

    fn enter(self) -> io::Result<()> {
        match self {
            Self::WithoutProc => {
                own_mounts()?;
                mount(c"tmpfs", c"/proc", 0, c"")?;
                mount(c"tmpfs", c"/sys", 0, c"")
            }
            Self::HiddenProcesses => {
                own_mounts()?;
                mount(c"proc", c"/proc", 0, c"hidepid=2")
            }
            Self::OwnUsers => {
                unshare(libc::CLONE_NEWUSER)?;
                write(c"/proc/self/setgroups", b"deny")?;
                write(c"/proc/self/uid_map", b"1000 0 1")?;
                write(c"/proc/self/gid_map", b"1000 0 1")
            }
        }
    }
}

/// From here on what is mounted is this process's own.
pub(super) fn own_mounts() -> io::Result<()> {
    unshare(libc::CLONE_NEWNS)?;
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE, c"")
}

fn unshare(what: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare(2) takes a flag.
    check(unsafe { libc::unshare(what) })
}

pub(super) fn mount(
    kind: &CStr,
    on: &CStr,
    flags: libc::c_ulong,
    options: &CStr,
) -> io::Result<()> {
    // SAFETY: NUL-terminated strings that outlive the call (mount(2)).
    check(unsafe {
        libc::mount(kind.as_ptr(), on.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    })
}

fn write(path: &CStr, text: &[u8]) -> io::Result<()> {
    // SAFETY: a NUL-terminated string and a buffer of the length given; the descriptor is closed
    // by the exec at the latest (O_CLOEXEC).
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(fd.min(0))?;
        check(libc::write(fd, text.as_ptr().cast(), text.len()).min(0) as libc::c_int)
    }
}

fn check(rc: libc::c_int) -> io::Result<()> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
