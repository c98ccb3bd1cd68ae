//! What ran out or failed on this side.

use super::{in_body, verdict};
use crate::message::{Call, Disk};
use crate::{Cause, Errno, Limit, Observation, Phase, Verdict};

pub(super) fn socket(errno: Option<Errno>, o: &Observation) -> Verdict {
    match errno {
        Some(errno @ (Errno::EMFILE | Errno::ENFILE)) => no_descriptor(errno, o),
        _ => Verdict { errno, ..verdict(Cause::ConnectFailed) },
    }
}

/// ENFILE is the whole system's limit, which no directive of nginx changes.
fn no_descriptor(errno: Errno, o: &Observation) -> Verdict {
    let limit = if errno == Errno::EMFILE { file_limit(o) } else { None };
    Verdict { errno: Some(errno), limit, ..verdict(Cause::FdExhausted) }
}

pub(super) fn no_files(o: &Observation) -> Verdict {
    Verdict { limit: file_limit(o), ..verdict(Cause::FdExhausted) }
}

fn file_limit(o: &Observation) -> Option<Limit> {
    (o.file_limit > 0).then(|| Limit::worker_rlimit_nofile(o.file_limit))
}

pub(super) fn no_connections(o: &Observation) -> Verdict {
    let known = o.worker_connections > 0;
    let limit = known.then(|| Limit::worker_connections(o.worker_connections));
    Verdict { limit, ..verdict(Cause::WorkerConnectionsExhausted) }
}

/// A file is the upstream's while its response is on the way to a temporary file or the cache, or
/// before the upstream is asked: the buffered request body, the cache entry.
pub(super) fn disk(disk: Disk, o: &Observation) -> Option<Verdict> {
    let buffering = in_body(o) && o.connection;
    let preparing = !in_body(o);
    let fits = match disk.call {
        Call::Write => buffering || preparing,
        Call::Open | Call::Read => disk.own_name && (buffering || preparing),
        // Only before the first byte goes out; later it may be any module's.
        Call::MakeDirectory => buffering || (preparing && !o.connection),
    };
    if !fits {
        return None;
    }
    let found = match disk.errno {
        Some(errno @ (Errno::EMFILE | Errno::ENFILE)) => {
            Verdict { phase: Phase::Local, ..no_descriptor(errno, o) }
        }
        // Without an error the system has written a part: what was left of the space.
        Some(Errno::ENOSPC | Errno::EDQUOT) | None => verdict(Cause::DiskFull),
        _ => verdict(Cause::DiskFailed),
    };
    Some(Verdict { errno: disk.errno, pending: in_body(o), ..found })
}
