//! The nginx processes: start, signals, workers, end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::client::Client;
use crate::running::Running;
use crate::wait;

/// The started command and the master in charge, which is another process for a daemon.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    master: i32,
    dir: PathBuf,
    plan: Plan,
    forced: bool,
    ended: Option<ExitStatus>,
}

/// What the configuration says about processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// nginx leaves the started command.
    pub(crate) daemon: bool,
    /// Worker processes; 0 when unknown or without a master.
    pub(crate) workers: usize,
    /// There is a socket that answers with the worker's pid.
    pub(crate) probed: bool,
}

impl Process {
    pub(crate) fn start(mut command: Command, dir: &Path, plan: Plan) -> Self {
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
        let mut master = child.id() as i32;
        if plan.daemon {
            let status = child.wait().expect("wait for nginx");
            assert!(status.success(), "nginx did not start ({status})");
            master = wait::until("the pid file", || pid_file(dir));
        }
        let dir = dir.to_owned();
        let mut process = Self { child, master, dir, plan, forced: false, ended: None };
        if plan.daemon {
            wait::until("nginx to start", || process.is_ready().then_some(()));
            return process;
        }
        wait::until("nginx to start", || process.check_alive().is_ready().then_some(()));
        process
    }

    /// Fails the test when nginx ended instead of starting.
    fn check_alive(&mut self) -> &Self {
        if let Some(status) = self.child.try_wait().expect("wait for nginx") {
            self.ended = Some(status);
            let read = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
            panic!("nginx did not start ({status}): {}{}", read("stderr"), read("error.log"));
        }
        self
    }

    fn is_ready(&self) -> bool {
        let serves =
            if self.plan.probed { self.probe().is_some() } else { self.pid_file().is_some() };
        serves && self.workers().len() >= self.plan.workers
    }

    fn pid_file(&self) -> Option<i32> {
        pid_file(&self.dir)
    }

    fn workers(&self) -> Vec<i32> {
        children(self.master).into_iter().filter(|&pid| is_worker(pid)).collect()
    }

    /// The pid of a worker that serves right now.
    fn probe(&self) -> Option<i32> {
        let mut client = Client::try_connect(&format!("unix:{}/probe", self.dir.display())).ok()?;
        client.send("GET / HTTP/1.0\r\n\r\n").try_read("GET")?.text().parse().ok()
    }

    pub(crate) fn was_forced(&self) -> bool {
        self.forced
    }

    /// QUIT, then TERM, then KILL, each after its time.
    pub(crate) fn stop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let grace = wait::patience() / 6;
        for (signal, limit) in [(libc::SIGQUIT, grace), (libc::SIGTERM, grace)] {
            kill(self.master, signal);
            if wait::within(limit, || self.has_ended().then_some(())).is_some() {
                return;
            }
            self.forced = true;
        }
        for pid in self.family() {
            kill(pid, libc::SIGKILL);
        }
        wait::within(Duration::from_secs(10), || self.has_ended().then_some(()));
    }

    fn family(&self) -> Vec<i32> {
        let mut all = children(self.master);
        all.push(self.master);
        all.push(self.child.id() as i32);
        all
    }

    fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("wait for nginx");
        }
        self.ended.is_some() && !is_alive(self.master)
    }

    /// Fails the test when nginx had to be killed or ended with an error.
    pub(crate) fn check_end(&self) {
        let status = self.ended.expect("nginx did not end");
        assert!(status.success(), "nginx ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    /// The pid of the master (of the only process with `master_process off`).
    pub fn master(&self) -> i32 {
        self.process.master
    }

    /// The pids of all worker processes, also of those that are shutting down.
    pub fn workers(&self) -> Vec<i32> {
        let workers = self.process.workers();
        if workers.is_empty() { vec![self.process.master] } else { workers }
    }

    /// The pid of a worker that serves right now.
    pub fn serving(&self) -> i32 {
        wait::until("a worker to answer", || self.process.probe())
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: i32) {
        kill(self.process.master, signal);
    }

    /// HUP; returns when new workers serve and the old ones are gone. Needs old workers to be idle.
    pub fn reload(&self) {
        let old = self.workers();
        self.signal(libc::SIGHUP);
        wait::until("new workers", || {
            self.process.probe().filter(|pid| !old.contains(pid)).filter(|_| {
                let now = self.workers();
                let fresh = !old.iter().any(|pid| now.contains(pid));
                fresh && now.len() >= self.process.plan.workers
            })
        });
    }

    /// HUP; returns when new workers serve, whatever the old ones still do.
    pub fn reload_while_busy(&self) {
        let old = self.workers();
        self.signal(libc::SIGHUP);
        wait::until("a new worker", || self.process.probe().filter(|pid| !old.contains(pid)));
    }

    /// USR2, then QUIT to the old master: a binary upgrade (needs `daemon`). Returns when the new
    /// master is alone.
    pub fn upgrade(&mut self) {
        let old = self.process.master;
        self.signal(libc::SIGUSR2);
        let new = wait::until("a new master", || self.process.pid_file().filter(|&p| p != old));
        wait::until("the new master's workers", || {
            children(new).iter().any(|&pid| is_worker(pid)).then_some(())
        });
        kill(old, libc::SIGQUIT);
        wait::until("the old master's end", || (!is_alive(old)).then_some(()));
        self.process.master = new;
        wait::until("a worker of the new master", || self.process.probe());
    }

    /// Stops all workers (SIGSTOP) until the guard is dropped, to let the world change meanwhile.
    pub fn freeze(&self) -> Frozen {
        let workers = self.workers();
        for &pid in &workers {
            kill(pid, libc::SIGSTOP);
            wait::until("a worker to stop", || (state(pid) == Some('T')).then_some(()));
        }
        Frozen(workers)
    }
}

/// Workers that stand still; dropping lets them go on.
#[derive(Debug)]
pub struct Frozen(Vec<i32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for &pid in &self.0 {
            kill(pid, libc::SIGCONT);
        }
    }
}

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: kill(2) takes plain numbers; the pids are of processes this harness started.
    unsafe { libc::kill(pid, signal) };
}

fn pid_file(dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(dir.join("nginx.pid")).ok()?;
    text.trim().parse().ok()
}

/// All direct children of a process.
fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// nginx names its processes; under valgrind the name does not show, so everything counts there.
fn is_worker(pid: i32) -> bool {
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !title.starts_with(b"nginx: ") || title.starts_with(b"nginx: worker")
}

fn is_alive(pid: i32) -> bool {
    !matches!(state(pid), None | Some('Z'))
}

fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
