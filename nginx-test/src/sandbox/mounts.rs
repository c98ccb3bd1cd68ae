//! A file system of one's own: files where this machine has none, or others.

use std::ffi::CString;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::ptr;
use std::thread;

/// The mount namespace that the calling test runs in.
#[derive(Debug)]
pub struct Mounts(());

/// Runs `test` in a new mount namespace; what it mounts, and nginx started inside sees, is gone
/// afterwards.
pub fn private<T: Send>(test: impl FnOnce(&Mounts) -> T + Send) -> T {
    let in_namespace = || {
        // SAFETY: unshare(2) takes a flag; it changes this thread only.
        let rc = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        assert_eq!(rc, 0, "unshare (this test needs root): {}", io::Error::last_os_error());
        mount(None, "/", libc::MS_REC | libc::MS_PRIVATE);
        test(&Mounts(()))
    };
    thread::scope(|scope| scope.spawn(in_namespace).join()).unwrap_or_else(|p| resume_unwind(p))
}

impl Mounts {
    /// An empty tmpfs over a directory that exists, readable by everybody.
    pub fn empty(&self, directory: &str) {
        mount(Some("tmpfs"), directory, 0);
    }

    /// One directory, or one file, over another.
    pub fn bind(&self, from: &str, over: &str) {
        mount(Some(from), over, libc::MS_BIND);
    }

    /// A file below a directory that [`Self::empty`] has emptied, and the directories it is in.
    pub fn file(&self, path: &str, content: &str) {
        let directory = Path::new(path).parent().expect("a directory");
        fs::create_dir_all(directory).unwrap_or_else(|e| panic!("make {directory:?}: {e}"));
        fs::write(path, content).unwrap_or_else(|e| panic!("write {path}: {e}"));
    }
}

fn mount(from: Option<&str>, target: &str, flags: libc::c_ulong) {
    let from = from.map(|from| CString::new(from).expect("no NUL"));
    let to = CString::new(target).expect("no NUL");
    let source = from.as_ref().map_or(ptr::null(), |from| from.as_ptr());
    // SAFETY: NULL or NUL-terminated strings that outlive the call (mount(2)); a bind mount and a
    // change of propagation ignore the type.
    let rc = unsafe { libc::mount(source, to.as_ptr(), source, flags, ptr::null()) };
    assert_eq!(rc, 0, "mount on {target}: {}", io::Error::last_os_error());
}
