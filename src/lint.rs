//! What the configuration will cost: collects the facts that `diagnosis::lint` judges, and has its
//! findings logged when nginx has read everything.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use diagnosis::lint::{self, Barrier, Configuration, Finding, Level, Look, Surroundings};

use crate::evidence::{container, listen};
use crate::ffi::load::{KEEPS_BY_DEFAULT, Load, Worker, has_access_list};
use crate::ffi::{LOG_NOTICE, LOG_WARN, system};

/// Files of a worker besides its listeners: logs, epoll, the channel to the master.
const OTHER_FILES: u64 = 16;
/// May enter a directory; may write a socket.
const ENTER: u32 = 0o1;
const WRITE: u32 = 0o2;

/// Tells what is wrong or risky in what nginx has just read.
pub(crate) fn run(load: Load, configuration: &Configuration) {
    let around = Surroundings {
        keeps_by_default: KEEPS_BY_DEFAULT,
        worker_connections: load.worker_connections(),
        file_limit: load.worker_file_limit().or_else(system::open_file_limit),
        own_files: load.listeners().saturating_add(OTHER_FILES),
        errors_hidden: load.hides_errors(),
        in_container: container::seen().is_some(),
    };
    let machine = Machine { worker: load.worker() };
    for finding in lint::find(configuration, &around, &machine) {
        tell(load, &finding);
    }
}

/// This machine, as the workers will see it.
struct Machine {
    worker: Option<Worker>,
}

impl Look for Machine {
    fn barrier(&self, path: &[u8]) -> Option<Barrier> {
        self.worker.as_ref().and_then(|worker| barrier(worker, path))
    }

    fn listens(&self, address: SocketAddr) -> bool {
        listen::listens(address).unwrap_or(true)
    }
}

fn tell(load: Load, finding: &Finding) {
    let level = match finding.level {
        Level::Warn => LOG_WARN,
        Level::Notice => LOG_NOTICE,
    };
    let place = finding
        .place
        .as_ref()
        .map(|place| format!(" in {}:{}", String::from_utf8_lossy(&place.file), place.line));
    load.log(level, &format!("{}{}", finding.text, place.unwrap_or_default()));
}

/// What keeps the worker from connecting to the socket, as far as modes tell. A path that does not
/// exist yet may well do when it is needed.
fn barrier(worker: &Worker, path: &[u8]) -> Option<Barrier> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    // Links may lead elsewhere: what counts is where they end.
    let socket = path.canonicalize();
    let directory = match &socket {
        Ok(socket) => socket.parent()?.to_owned(),
        Err(_) => path.parent()?.canonicalize().ok()?,
    };
    let mut ancestors: Vec<&Path> = directory.ancestors().collect();
    ancestors.reverse();
    let closed = ancestors.into_iter().find(|directory| is_closed(worker, directory, ENTER));
    let found = closed.map(|directory| (directory.as_os_str().as_bytes().to_vec(), false));
    let found = found.or_else(|| {
        let socket = socket.as_ref().ok().filter(|socket| is_closed(worker, socket, WRITE))?;
        Some((socket.as_os_str().as_bytes().to_vec(), true))
    });
    found.map(|(path, is_socket)| Barrier { path, is_socket, user: worker.name.clone() })
}

/// Whether the mode forbids it and nothing else allows it.
fn is_closed(worker: &Worker, path: &Path, wanted: u32) -> bool {
    let forbidden = fs::metadata(path).is_ok_and(|status| !permits(worker, &status, wanted));
    forbidden && CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| !has_access_list(&path))
}

/// The kernel's rule: the first of owner, group and others that fits decides.
fn permits(worker: &Worker, status: &Metadata, wanted: u32) -> bool {
    let shift = match () {
        () if status.uid() == worker.user => 6,
        () if worker.groups.contains(&status.gid()) => 3,
        () => 0,
    };
    (status.mode() >> shift) & wanted != 0
}
