//! Requests at a steady rate, or as fast as they are answered, and what became of each.

mod report;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{self, Client};
use crate::wait;
pub use report::{Report, Sample};

/// A load in the making: one client that sends a request as soon as the last is answered, each on a
/// connection of its own, until it is stopped.
#[derive(Debug, Clone)]
pub struct Load {
    address: String,
    method: &'static str,
    path: String,
    /// Requests a second, all clients together.
    rate: Option<u32>,
    clients: usize,
    keepalive: bool,
    requests: u32,
}

/// A load that runs. Dropping it stops it.
#[derive(Debug)]
pub struct Loading {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    start: Instant,
    /// The number of the next request.
    next: AtomicU32,
    stopping: AtomicBool,
    report: Mutex<Report>,
}

impl Load {
    /// `GET /` to that address, such as `nginx.address("listen")`.
    pub fn to(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            method: "GET",
            path: "/".to_owned(),
            rate: None,
            clients: 1,
            keepalive: false,
            requests: 1_000_000,
        }
    }

    /// That many requests a second, whether the earlier ones are answered or not. Up to 64 are
    /// under way; what a request waits for a client counts as its latency.
    pub fn rate(self, per_second: u32) -> Self {
        Self { rate: Some(per_second), clients: 64, ..self }
    }

    /// How many requests may be under way at the same time.
    pub fn clients(self, count: usize) -> Self {
        Self { clients: count, ..self }
    }

    /// Each client keeps its connection.
    pub fn keepalive(self) -> Self {
        Self { keepalive: true, ..self }
    }

    /// The request's method and path. A POST that was sent is never tried again by nginx.
    pub fn request(self, method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), ..self }
    }

    /// Ends by itself after that many.
    pub fn requests(self, count: u32) -> Self {
        Self { requests: count, ..self }
    }

    /// Sends them all; returns when the last is answered.
    pub fn run(self) -> Report {
        self.start().finish()
    }

    /// Begins.
    pub fn start(self) -> Loading {
        let clients = self.clients;
        let shared = Arc::new(Shared {
            load: self,
            start: Instant::now(),
            next: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
            report: Mutex::default(),
        });
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work())
        };
        let threads = (0..clients).map(spawn).collect();
        Loading { shared, threads }
    }
}

impl Loading {
    /// Waits until that many requests were answered.
    pub fn wait_for(&self, count: usize) {
        self.wait_until(&format!("{count} answers"), |report| report.total() >= count);
    }

    /// Waits until what was seen so far satisfies the condition.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Report) -> bool) {
        wait::until(what, || {
            let over = self.threads.iter().all(JoinHandle::is_finished);
            let so_far = self.shared.report.lock().unwrap();
            let done = condition(&so_far);
            assert!(done || !over, "the load ended without {what}: {so_far}");
            done.then_some(())
        });
    }

    /// Sends no more; returns when all that was sent is answered.
    pub fn stop(self) -> Report {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.finish()
    }

    /// Waits for the end of a load that has one.
    pub fn finish(mut self) -> Report {
        for thread in self.threads.drain(..) {
            thread.join().expect("a client of the load panicked");
        }
        let mut report = std::mem::take(&mut *self.shared.report.lock().unwrap());
        report.sort();
        report
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// One client, one request after the other.
    fn work(&self) {
        let mut kept = None;
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.load.requests {
                return;
            }
            let Some(due) = self.wait_for_turn(number) else { return };
            let began = Instant::now();
            let (status, body) = self.load.exchange(&mut kept).unwrap_or_default();
            let ended = Instant::now();
            self.report.lock().unwrap().add(Sample { due, began, ended, status, body });
        }
    }

    /// When the request is due; None when the load was stopped first.
    fn wait_for_turn(&self, number: u32) -> Option<Instant> {
        /// How soon a client sees that the load is stopped.
        const TICK: Duration = Duration::from_millis(20);
        let due = match self.load.rate {
            Some(rate) => self.start + Duration::from_secs(1) * number / rate,
            None => Instant::now(),
        };
        while !self.stopping.load(Ordering::SeqCst) {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(due);
            }
            thread::sleep(left.min(TICK));
        }
        None
    }
}

impl Load {
    /// The status and body of one answer; None when there was none.
    fn exchange(&self, kept: &mut Option<Client>) -> Option<(u16, String)> {
        if let Some(answer) = kept.take().and_then(|client| self.ask(client, kept)) {
            return Some(answer);
        }
        // The first, or nginx has closed the old connection between two requests, as it may.
        self.ask(Client::try_connect(&self.address).ok()?, kept)
    }

    fn ask(&self, mut client: Client, kept: &mut Option<Client>) -> Option<(u16, String)> {
        let headers: &[&str] = if self.keepalive { &[] } else { &["Connection: close"] };
        client.send(client::head(self.method, &self.path, headers, 0));
        let reply = client.try_read(self.method)?;
        let closes = reply.header("Connection").is_some_and(|value| value == "close");
        if self.keepalive && !closes {
            *kept = Some(client);
        }
        reply.complete.then(|| (reply.status, reply.text()))
    }
}
