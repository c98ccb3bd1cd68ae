//! The path of a unix socket: what of it is missing, closed to nginx's user, or no socket.

use super::kernel;
use super::listen::Queue;
use super::security::{Security, Selinux, Worker};
use super::unix_listen::{self, Listener};
use super::{Fact, Value};
use crate::{Errno, Evidence, Hint};

/// No path of a socket is longer (`sun_path`).
const MAX_BYTES: usize = 108;

const KIND_MASK: u32 = 0o170_000;
const SOCKET: u32 = 0o140_000;
const SEARCH: u32 = 1;
const WRITE: u32 = 2;

/// Of `struct stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device, as `stat` encodes it.
    pub device: u64,
    /// Inode on the device.
    pub inode: u64,
}

impl Attributes {
    /// A socket, whoever may use it.
    pub const fn is_socket(&self) -> bool {
        self.mode & KIND_MASK == SOCKET
    }
}

/// A look at the file system on nginx's behalf.
pub trait Look {
    /// Follows symbolic links; the error is an `errno`.
    fn attributes(&self, path: &[u8]) -> Result<Attributes, i32>;
    /// Whether the path itself is a symbolic link.
    fn is_link(&self, path: &[u8]) -> bool;
    /// What the kernel would say to this worker.
    fn may_search(&self, path: &[u8]) -> bool;
    /// As above.
    fn may_write(&self, path: &[u8]) -> bool;
}

/// How far along its path a socket can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'p> {
    /// This part is not there.
    Missing {
        /// The path as far as it.
        at: &'p [u8],
        /// It is a symbolic link that points to nothing.
        link: bool,
    },
    /// This directory lets nobody like nginx through; what it is may be hidden as well.
    Closed(&'p [u8], Option<Attributes>),
    /// Something is there, and whether nginx may write to it.
    There(Attributes, bool),
    /// Could not be looked at.
    Unknown,
}

/// Goes along the path, as connect(2) does.
pub fn walk<'p>(path: &'p [u8], look: &impl Look) -> Reach<'p> {
    if path.len() > MAX_BYTES {
        return Reach::Unknown;
    }
    for part in directories(path) {
        match attributes(part, look) {
            Ok(found) if !look.may_search(part) => return Reach::Closed(part, Some(found)),
            Ok(_) => {}
            Err(reach) => return reach,
        }
    }
    attributes(path, look).map_or_else(|e| e, |found| Reach::There(found, look.may_write(path)))
}

/// `/`, `/run` and `/run/app` of `/run/app/socket`.
fn directories(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let parts = slashes.filter_map(|at| path.get(..at.max(1)));
    parts.filter(|part| *part == b"/" || !part.ends_with(b"/"))
}

fn attributes<'p>(part: &'p [u8], look: &impl Look) -> Result<Attributes, Reach<'p>> {
    look.attributes(part).map_err(|errno| match Errno(errno) {
        Errno::ENOENT => Reach::Missing { at: part, link: look.is_link(part) },
        // What is before it lets nginx through: a symbolic link leads elsewhere.
        Errno::EACCES => Reach::Closed(part, None),
        _ => Reach::Unknown,
    })
}

/// There was no such path. `own_tmp`: nginx has a /tmp of its own.
pub fn missing(path: &[u8], reach: &Reach<'_>, own_tmp: bool) -> Option<Evidence> {
    match *reach {
        Reach::Missing { at, link } => {
            let mut facts = vec![("missing", Value::Text(at.to_vec()))];
            if link {
                facts.push(("dangling_link", true.into()));
            } else if own_tmp {
                facts.push(("private_tmp", true.into()));
            }
            let advice = absent(path, at, link, own_tmp);
            Some(Evidence::new(None, facts).advising(advice))
        }
        Reach::There(found, _) => {
            let mut facts = described(&found);
            facts.push(("appeared", true.into()));
            Some(Evidence::new(None, facts).advising(format!(
                "{} was not there and is by now; nginx asked while the back end started",
                shown(path)
            )))
        }
        Reach::Closed(..) | Reach::Unknown => None,
    }
}

fn absent(path: &[u8], at: &[u8], link: bool, own_tmp: bool) -> String {
    let part = shown(at);
    match () {
        () if link => format!(
            "{part} is a symbolic link to something that is not there; start the back end, or \
             correct the link"
        ),
        () if own_tmp => format!(
            "{part} is not in the directory that nginx sees, which is its own (PrivateTmp= of \
             systemd); have the back end put its socket below /run and correct the server line"
        ),
        () if at == path => format!(
            "there is no socket at unix:{part}, though its directory exists; start the back end or \
             correct the path in the server line"
        ),
        () => format!(
            "there is no socket at unix:{}, as {part} does not exist; start the back end, which may \
             make that directory, or correct the path in the server line",
            shown(path)
        ),
    }
}

/// Nobody took the connection. `listener`: who listens there by now, if that could be asked.
pub fn refused(path: &[u8], reach: &Reach<'_>, listener: Option<Listener>) -> Option<Evidence> {
    let Reach::There(found, _) = *reach else { return None };
    let facts = described(&found);
    let shown = shown(path);
    if !found.is_socket() {
        let kind = kind(&found).replace('_', " ");
        return Some(Evidence::new(None, facts).advising(format!(
            "unix:{shown} is a {kind} and not a socket; correct the path in the server line"
        )));
    }
    let (hint, advice) = match listener {
        Some(Listener::Here(_)) => (
            Some(Hint::ListenerPresent),
            format!(
                "nobody listened on unix:{shown} and a program does by now; nginx asked while the \
                 back end started"
            ),
        ),
        Some(Listener::Replaced) => (
            Some(Hint::NoListener),
            format!(
                "nobody listens on unix:{shown}; a program listens on a file that was there \
                 before and was replaced since: restart it, and see what else makes a socket there"
            ),
        ),
        Some(Listener::Named) => (
            None,
            format!(
                "nobody listened on unix:{shown}, though a program has a socket of that name; \
                 unless it was just starting its file was replaced, so restart it"
            ),
        ),
        Some(Listener::Nobody) | None => (
            Some(Hint::NoListener),
            format!(
                "nobody listens on unix:{shown}, a socket left behind by a program that has ended; \
                 start the back end"
            ),
        ),
    };
    let mut evidence = Evidence::new(hint, facts).advising(advice);
    evidence.facts.extend(listener.map(|listener| ("listener", listener.word().into())));
    Some(evidence)
}

/// The listen queue of the socket was full. `somaxconn`: text of the sysctl that limits it.
pub fn full(path: &[u8], queue: Queue, somaxconn: Option<&[u8]>) -> Evidence {
    let somaxconn = somaxconn.and_then(kernel::first);
    let Queue { waiting, limit } = queue;
    let mut facts = unix_listen::facts(queue).to_vec();
    facts.extend(somaxconn.map(|most| ("somaxconn", most.into())));
    // Here the kernel lets one more in than the program asked for (unix_recvq_full).
    if waiting <= limit {
        return Evidence::new(None, facts);
    }
    let also = if somaxconn == Some(u64::from(limit)) {
        ", after net.core.somaxconn, which limits it"
    } else {
        ""
    };
    Evidence::new(Hint::AcceptQueueFull, facts).advising(format!(
        "the listen queue of unix:{} is full ({waiting} waiting, limit {limit}); see why the back \
         end does not accept, give it more workers, or raise its backlog{also}",
        shown(path)
    ))
}

/// nginx's user was not let through, or something else denies it.
pub fn denied(path: &[u8], reach: &Reach<'_>, seen: &Security<'_>) -> Option<Evidence> {
    match *reach {
        Reach::Closed(at, found) => Some(closed(at, found.as_ref(), SEARCH, seen)),
        Reach::There(found, false) => Some(closed(path, Some(&found), WRITE, seen)),
        Reach::There(found, true) => {
            let mut facts = described(&found);
            facts.append(&mut seen.facts());
            Some(not_permissions(path, facts, seen))
        }
        Reach::Missing { .. } | Reach::Unknown => None,
    }
}

/// The kernel says no at `at`: its permissions explain it, or an ACL or SELinux does.
fn closed(at: &[u8], found: Option<&Attributes>, need: u32, seen: &Security<'_>) -> Evidence {
    let mut facts = vec![("denied_at", Value::Text(at.to_vec()))];
    facts.extend(found.into_iter().flat_map(described));
    let Some(found) = found else {
        facts.append(&mut seen.worker.facts());
        return Evidence::new(None, facts).advising(format!(
            "{} is a symbolic link into a directory that {} may not enter; let it enter every \
             directory there",
            shown(at),
            user(seen.worker)
        ));
    };
    if allows(found, seen.worker, need) {
        facts.append(&mut seen.facts());
        return not_permissions(at, facts, seen);
    }
    facts.append(&mut seen.worker.facts());
    let (verb, remedy) = if need == SEARCH {
        ("enter", "add it to the directory's group, or give the directory the mode 0755")
    } else {
        ("write to", "have the back end make its socket with mode 0660 and a group that it is in")
    };
    let Attributes { mode, uid, gid, .. } = *found;
    Evidence::new(None, facts).advising(format!(
        "{} may not {verb} {} (mode {:04o}, owner {uid}, group {gid}); {remedy}",
        user(seen.worker),
        shown(at),
        mode & 0o7777,
    ))
}

fn not_permissions(at: &[u8], facts: Vec<Fact>, seen: &Security<'_>) -> Evidence {
    let shown = shown(at);
    let user = user(seen.worker);
    if seen.selinux() == Selinux::Enforcing {
        let relay = match seen.relay_is_off() {
            true => ", and run 'setsebool -P httpd_can_network_relay 1'",
            false => "",
        };
        return Evidence::new(Hint::SelinuxEnforcing, facts).advising(format!(
            "the permissions of {shown} let {user} through and SELinux is enforcing; give the \
             socket a type that nginx may use (httpd_var_run_t; see 'ausearch -m AVC -ts \
             recent'){relay}"
        ));
    }
    Evidence::new(None, facts).advising(format!(
        "the permissions of {shown} let {user} through; look for an ACL on it, or {}",
        seen.confinement()
    ))
}

/// As the kernel reads the permission bits (acl_permission_check); root may do all of it.
fn allows(found: &Attributes, worker: &Worker, need: u32) -> bool {
    let shift = match () {
        () if worker.uid == 0 => return true,
        () if worker.uid == found.uid => 6,
        () if worker.gid == found.gid || worker.groups.contains(&found.gid) => 3,
        () => 0,
    };
    found.mode >> shift & need == need
}

fn user(worker: &Worker) -> String {
    let Worker { uid, gid, name, .. } = worker;
    match name.as_slice() {
        [] => format!("nginx's user (uid {uid}, gid {gid})"),
        name => {
            format!("nginx's user {} (uid {uid}, gid {gid})", String::from_utf8_lossy(name))
        }
    }
}

/// What it is and whose.
fn described(found: &Attributes) -> Vec<Fact> {
    vec![
        ("kind", kind(found).into()),
        ("mode", Value::Text(format!("{:04o}", found.mode & 0o7777).into_bytes())),
        ("owner_uid", u64::from(found.uid).into()),
        ("owner_gid", u64::from(found.gid).into()),
    ]
}

const fn kind(found: &Attributes) -> &'static str {
    match found.mode & KIND_MASK {
        SOCKET => "socket",
        0o100_000 => "regular_file",
        0o040_000 => "directory",
        0o010_000 => "fifo",
        0o020_000 | 0o060_000 => "device",
        _ => "other",
    }
}

/// A path in a sentence.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests;
