//! Looks at the path of a unix socket as nginx's user sees it.
//!
//! connect(2) has just gone along that path: the kernel has it at hand.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use diagnosis::Evidence;
use diagnosis::evidence::socket_path::{self, Attributes, Look};

use super::Scene;
use super::security::with_security;
use crate::ffi::system::{self, Access};

/// On a path that was not there.
pub(crate) fn missing(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    socket_path::missing(path, &socket_path::walk(path, &Files), false)
}

/// On a socket that nobody accepts connections from.
pub(crate) fn refused(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    socket_path::refused(path, &socket_path::walk(path, &Files), None)
}

/// On a path that nginx's user may not go along.
pub(crate) fn denied(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    let reach = socket_path::walk(path, &Files);
    with_security(|seen| socket_path::denied(path, &reach, seen))
}

fn path<'a>(scene: &Scene<'a>) -> Option<&'a [u8]> {
    scene.attempt.address().strip_prefix(b"unix:")
}

/// The file system as this worker sees it.
struct Files;

impl Look for Files {
    fn attributes(&self, path: &[u8]) -> Result<Attributes, i32> {
        let status = fs::metadata(as_path(path)).map_err(|e| e.raw_os_error().unwrap_or(0))?;
        Ok(Attributes {
            mode: status.mode(),
            uid: status.uid(),
            gid: status.gid(),
            device: status.dev(),
            inode: status.ino(),
        })
    }

    fn is_link(&self, path: &[u8]) -> bool {
        fs::symlink_metadata(as_path(path)).is_ok_and(|status| status.is_symlink())
    }

    fn may_search(&self, path: &[u8]) -> bool {
        may(Access::Search, path)
    }

    fn may_write(&self, path: &[u8]) -> bool {
        may(Access::Write, path)
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn may(access: Access, path: &[u8]) -> bool {
    CString::new(path).is_ok_and(|path| system::may(access, &path))
}
