//! An /etc of nginx's own, in which a test changes names and name servers while nginx runs.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use super::world;
use crate::nginx::Dir;
use crate::wait;

/// Every machine knows these.
const LOCALHOST: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// The machine's /etc with other `hosts`, `resolv.conf` and `nsswitch.conf`, for the nginx that is
/// started with it; a clone is the same directory. The test itself keeps its /etc.
///
/// Only `localhost` has an address, and the name server is 127.0.0.1, port 53, which is somebody
/// only in a network namespace where a test puts somebody there.
#[derive(Debug, Clone)]
pub struct Etc(Arc<Dir>);

impl Etc {
    /// A new one; /etc itself is not touched.
    pub fn new() -> Self {
        let etc = Self(Arc::new(Dir::new()));
        for directory in [etc.machine(), etc.dir()] {
            fs::create_dir(&directory).unwrap_or_else(|e| panic!("make {directory:?}: {e}"));
        }
        etc.link_the_rest();
        etc.write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
        etc.resolv_conf("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        etc.hosts(&[]);
        etc
    }

    /// Whether this user may start anything in front of one.
    pub fn is_permitted() -> bool {
        let (etc, mut command) = (Self::new(), Command::new("true"));
        etc.apply(&mut command);
        command.status().is_ok_and(|status| status.success())
    }

    /// The addresses and names of `hosts`, beside localhost; written in place.
    pub fn hosts(&self, entries: &[(&str, &str)]) {
        let lines = entries.iter().map(|(address, name)| format!("{address} {name}\n"));
        self.write("hosts", &(LOCALHOST.to_owned() + &lines.collect::<String>()));
    }

    /// `resolv.conf`, written in place.
    pub fn resolv_conf(&self, text: &str) {
        self.write("resolv.conf", text);
    }

    /// Writes a file in place, as Docker does: the same inode, for a moment empty.
    pub fn write(&self, name: &str, text: &str) {
        self.change(name, |path| fs::write(path, text));
    }

    /// Puts a new file in the place of an old one by rename, as NetworkManager does.
    pub fn replace(&self, name: &str, text: &str) {
        let new = self.dir().join(".new");
        self.change(name, |path| fs::write(&new, text).and_then(|()| fs::rename(&new, path)));
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap_or_else(|e| panic!("remove {name}: {e}"));
    }

    /// Where the test sees what nginx sees as /etc/`name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Until its time differs: two changes within a tick of the kernel's clock, which nobody but a
    /// test makes, could look like one.
    fn change(&self, name: &str, change: impl Fn(&Path) -> std::io::Result<()>) {
        let path = self.path(name);
        let old = modified(&path);
        wait::until(&format!("{name} to look changed"), || {
            change(&path).unwrap_or_else(|e| panic!("write {path:?}: {e}"));
            (modified(&path) != old).then_some(())
        });
    }

    /// Everything else is a link into the machine's own, which is mounted beside this one.
    fn link_the_rest(&self) {
        for entry in fs::read_dir("/etc").expect("read /etc").flatten() {
            let name = entry.file_name();
            if ["hosts", "resolv.conf", "nsswitch.conf"].iter().any(|own| name == *own) {
                continue;
            }
            // A link of the machine's may be relative, and would lead elsewhere from here.
            let Ok(real) = entry.path().canonicalize() else { continue };
            let target = match real.strip_prefix("/etc") {
                Ok(inside) => self.machine().join(inside),
                Err(_) => real,
            };
            symlink(&target, self.dir().join(&name)).expect("make a link");
        }
    }

    /// Puts the command in front of it from its exec on.
    pub(crate) fn apply(&self, command: &mut Command) {
        let (machine, dir) = (c_path(&self.machine()), c_path(&self.dir()));
        let etc = c"/etc";
        let enter = move || {
            world::own_mounts()?;
            world::mount(etc, &machine, libc::MS_BIND | libc::MS_REC, c"")?;
            world::mount(&dir, etc, libc::MS_BIND, c"")
        };
        // SAFETY: between fork and exec the closure makes system calls only.
        unsafe { command.pre_exec(enter) };
    }

    /// Where nginx finds the machine's /etc.
    fn machine(&self) -> PathBuf {
        self.0.0.join("machine")
    }

    fn dir(&self) -> PathBuf {
        self.0.0.join("etc")
    }
}

impl Default for Etc {
    fn default() -> Self {
        Self::new()
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path")
}
