//! What a worker process has and keeps.

use std::fs;

use crate::{Running, wait};

/// One worker, while it has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// The process.
    pub pid: i32,
    /// Anonymous memory, KiB: heap and stack, without the code and what else comes from files.
    pub anonymous: u64,
    /// Resident memory, KiB.
    pub resident: u64,
    /// Open file descriptors.
    pub descriptors: usize,
    /// Connections that are in use, of `worker_connections`.
    pub connections: i64,
}

/// All of them, as they are now.
pub(super) fn all(nginx: &Running) -> Vec<Worker> {
    let mut pids = nginx.workers();
    pids.sort_unstable();
    pids.into_iter().map(|pid| Worker::look(nginx, pid)).collect()
}

/// All of them, once they have given back what they had not had before.
pub(super) fn quiet(nginx: &Running, before: &[Worker]) -> Vec<Worker> {
    let mut last = Vec::new();
    let quiet = wait::within(wait::patience(), || {
        last = all(nginx);
        let keeps = |worker: &Worker| (worker.pid, worker.descriptors, worker.connections);
        last.iter().map(keeps).eq(before.iter().map(keeps)).then_some(())
    });
    assert!(quiet.is_some(), "{last:?} is left of {before:?}");
    last
}

impl Worker {
    fn look(nginx: &Running, pid: i32) -> Self {
        let connections = wait::until("an answer of each worker", || {
            let reply = nginx.get("/worker");
            let is_it = reply.header("X-Worker").is_some_and(|worker| worker == pid.to_string());
            let member = reply.member();
            let count = |name| member.integer(name).expect("a number of connections");
            is_it.then(|| count("conn-limit") - count("conn-free"))
        });
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count();
        let path = format!("/proc/{pid}/smaps_rollup");
        let memory = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Self {
            pid,
            anonymous: kib(&memory, "Anonymous"),
            resident: kib(&memory, "Rss"),
            descriptors,
            connections,
        }
    }
}

/// A row such as `Anonymous:  1234 kB` (proc(5)).
fn kib(memory: &str, name: &str) -> u64 {
    let row = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = row.and_then(|row| row.trim().strip_suffix(" kB")?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {memory}"))
}
