//! A disk that is full after a few pages.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::nginx::Dir;

/// A tmpfs of a given size; unmounted and removed on drop.
#[derive(Debug)]
pub struct SmallDisk(Dir);

impl SmallDisk {
    /// Mounts a tmpfs of that many bytes (rounded up to pages), writable by everybody.
    pub fn new(bytes: u64) -> Self {
        let disk = Self(Dir::new());
        let options = CString::new(format!("size={bytes},mode=1777")).expect("no NUL");
        let target = c_path(disk.path());
        // SAFETY: all pointers are NUL-terminated strings that outlive the call (mount(2)).
        let rc = unsafe {
            let kind = c"tmpfs".as_ptr();
            libc::mount(kind, target.as_ptr(), kind, 0, options.as_ptr().cast())
        };
        assert_eq!(rc, 0, "mount a tmpfs: {}", std::io::Error::last_os_error());
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0.0
    }
}

impl std::fmt::Display for SmallDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.path().display().fmt(f)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let target = c_path(&PathBuf::from(self.path()));
        // SAFETY: a NUL-terminated string that outlives the call (umount2(2)).
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path")
}
