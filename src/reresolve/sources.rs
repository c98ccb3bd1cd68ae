//! Who is asked: name servers that were given, or whatever this machine's files say now.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::Duration;

use resolver::Client;

use super::settings::Servers;
use crate::ffi::Nginx;

/// More of a file than this is nobody's resolv.conf or hosts.
const MAX_FILE: u64 = 1 << 20;

/// Clients by how long a lookup may take, milliseconds, and the state of the files they were made from.
pub(super) struct Sources {
    servers: Servers,
    made: RefCell<Made>,
}

#[derive(Default)]
struct Made {
    from: Option<[Option<Stamp>; 2]>,
    clients: HashMap<u64, Rc<Client<Nginx>>>,
}

/// Changes when a file does, in place or by another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Sources {
    pub(super) fn new(servers: Servers) -> Self {
        Self { servers, made: RefCell::default() }
    }

    /// A client that asks as the files say now.
    pub(super) fn client(&self, timeout_ms: u64) -> Rc<Client<Nginx>> {
        let mut made = self.made.borrow_mut();
        if let Servers::System { conf, hosts } = &self.servers {
            let now = [stamp(conf), stamp(hosts)];
            if made.from != Some(now) {
                made.clients.clear();
                made.from = Some(now);
            }
        }
        let make = || Rc::new(self.make(Duration::from_millis(timeout_ms)));
        Rc::clone(made.clients.entry(timeout_ms).or_insert_with(make))
    }

    fn make(&self, timeout: Duration) -> Client<Nginx> {
        match &self.servers {
            Servers::System { conf, hosts } => {
                Client::system(&content(conf), &content(hosts), timeout, Nginx)
            }
            Servers::Listed(servers) => Client::servers(servers, timeout, Nginx),
        }
    }
}

fn stamp(path: &str) -> Option<Stamp> {
    let status = fs::metadata(path).ok()?;
    Some(Stamp {
        device: status.dev(),
        inode: status.ino(),
        size: status.size(),
        modified: (status.mtime(), status.mtime_nsec()),
    })
}

/// The file's text; nothing when it cannot be read, as for the system's own resolver.
fn content(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    if read.is_ok() { bytes } else { Vec::new() }
}
