//! An access control list: the kernel denies what the permission bits allow (acl(5)).

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// linux/posix_acl_xattr.h.
const VERSION: u32 = 2;
const NOBODY_IN_PARTICULAR: u32 = u32::MAX;

/// Lets everybody read, write and search, but for one user, who may do nothing.
pub fn deny(path: &Path, user: u32) {
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01_u16, 7_u16, NOBODY_IN_PARTICULAR),
        (0x02, 0, user),
        (0x04, 7, NOBODY_IN_PARTICULAR),
        (0x10, 7, NOBODY_IN_PARTICULAR),
        (0x20, 7, NOBODY_IN_PARTICULAR),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let to = CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path");
    let name = c"system.posix_acl_access".as_ptr();
    // SAFETY: NUL-terminated strings and a list of the length given, all alive (setxattr(2)).
    let rc = unsafe { libc::setxattr(to.as_ptr(), name, list.as_ptr().cast(), list.len(), 0) };
    assert_eq!(rc, 0, "set an ACL on {path:?}: {}", io::Error::last_os_error());
}
