//! Looks at the path of a unix socket as nginx's user sees it.
//!
//! connect(2) has just gone along that path: the kernel has it at hand.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use diagnosis::Evidence;
use diagnosis::evidence::private_tmp;
use diagnosis::evidence::socket_path::{self, Attributes, Look, Reach};
use diagnosis::evidence::unix_listen::{Listener, Place};

use super::security::with_security;
use super::{Scene, proc, unix_listen};
use crate::ffi::system::{self, Access};

/// On a path that was not there.
pub(crate) fn missing(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    socket_path::missing(path, &socket_path::walk(path, &Files), has_own_tmp(path))
}

/// On a socket that nobody accepts connections from.
pub(crate) fn refused(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    let reach = socket_path::walk(path, &Files);
    let listener = match reach {
        Reach::There(found, _) => {
            found.is_socket().then(|| unix_listen::look(&Place { path, found })).flatten()
        }
        Reach::Missing { .. } | Reach::Closed(..) | Reach::Unknown => None,
    };
    socket_path::refused(path, &reach, listener)
}

/// On a path that nginx's user may not go along.
pub(crate) fn denied(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    let reach = socket_path::walk(path, &Files);
    with_security(|seen| socket_path::denied(path, &reach, seen))
}

/// On a socket whose listen queue was full.
pub(crate) fn full(scene: &Scene<'_>) -> Option<Evidence> {
    let path = path(scene)?;
    let Reach::There(found, _) = socket_path::walk(path, &Files) else { return None };
    let Listener::Here(queue) = unix_listen::look(&Place { path, found })? else { return None };
    let somaxconn = proc::read("/proc/sys/net/core/somaxconn");
    Some(socket_path::full(path, queue, somaxconn.as_deref()))
}

/// systemd's PrivateTmp=, as far as `path` is concerned.
fn has_own_tmp(path: &[u8]) -> bool {
    let mounts = |_| proc::read("/proc/self/mountinfo");
    let directory = private_tmp::directory(path);
    let mounts = directory.and_then(mounts);
    directory.zip(mounts).is_some_and(|(directory, mounts)| private_tmp::is_own(directory, &mounts))
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
