//! Host names that move again and again, and workers that must not grow.
//!
//! Movers have a name each and move it to another address with every flip, while the host that was
//! there is gone; some flips are failures that DNS knows nothing against. Waiters ask for a name
//! that is answered late or never, and some of them leave. Between rounds of this everything is
//! quiet, and the workers are looked at.

mod mover;
mod plan;
mod waiter;
mod worker;

use std::fmt::Display;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use crate::dns::Dns;
use crate::{Client, Nginx, Port, Running, log, wait};
use mover::Mover;
use waiter::Waiter;
pub use worker::Worker;

/// How many names move at the same time.
const MOVERS: u8 = 2;
const WORKERS: u32 = 2;
const CONNECTIONS: u32 = 256;

/// Where each name was when nginx read its configuration. Nobody ever listens there.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A name of each mover, `%movers%`, and one for the waiters, who must not wait for long.
const CONF: &str = "
    upstream_diagnosis_resolver %dns%;
    upstream_diagnosis_resolve failure min=1ms;
    keepalive_requests 1000000;
    proxy_http_version 1.1;
    proxy_set_header Connection '';
    %upstreams%
    upstream waiting {
        upstream_diagnosis_resolve failure min=1ms timeout=20ms wait=10ms;
        server waiting.test:%port%;
    }
    server {
        listen %listen% reuseport;
        %locations%
        location /waiting { proxy_pass http://waiting; }
        location /worker {
            access_log off;
            add_header X-Worker $pid always;
            proxy_pass http://127.0.0.1:%port%;
        }
    }";

/// One log, of what is looked at.
const LOG: &str = r#"
    log_format soak escape=none '{"status":$status,"diagnosis":$upstream_diagnosis_json}';
    access_log %dir%/soak.log soak;"#;

/// nginx and all that it has to do with.
#[derive(Debug)]
pub struct Soak {
    // Dropped, and stopped, before its port is given up.
    nginx: Running,
    movers: Vec<Mover>,
    world: World,
    before: Vec<Worker>,
}

/// Where the names are, and where nginx is.
#[derive(Debug)]
struct World {
    dns: Dns,
    port: Port,
    listen: String,
}

/// What was asked in a round, and what became of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Moves, and failures instead of one.
    pub flips: usize,
    /// All requests.
    pub requests: usize,
    /// Answered by the new host after the old one had refused.
    pub recovered: usize,
    /// Failed, as nobody was there.
    pub failed: usize,
    /// Failed although the name had moved: asked too soon after the last answer, and again then.
    pub late: usize,
    /// Clients that did not wait for the answer.
    pub left: usize,
    /// Questions to the name server.
    pub questions: usize,
}

/// A round, and the workers after it.
#[derive(Debug)]
pub struct Round {
    /// Requests and their outcome.
    pub tally: Tally,
    /// The worker processes, by pid.
    pub workers: Vec<Worker>,
}

impl Soak {
    /// Starts nginx.
    pub fn start() -> Self {
        let (dns, port) = (Dns::start(), Port::reserve());
        let movers: Vec<Mover> = (0..MOVERS).map(Mover::new).collect();
        let (mut upstreams, mut locations) = (String::new(), String::new());
        let mut names = vec!["waiting.test".to_owned(), "gone.test".to_owned()];
        for mover in &movers {
            upstreams += &mover.upstreams();
            locations += &mover.locations();
            names.push(mover.name().to_owned());
        }
        let nowhere = NOWHERE.to_string();
        let hosts: Vec<_> = names.iter().map(|name| (nowhere.as_str(), name.as_str())).collect();
        let nginx = Nginx::http(CONF)
            .set("log", LOG)
            .set("dns", &dns)
            .set("port", &port)
            .set("upstreams", upstreams)
            .set("locations", locations)
            .hosts(&hosts)
            .error_level("crit")
            .workers(WORKERS)
            .worker_connections(CONNECTIONS)
            .start();
        let before = worker::all(&nginx);
        let world = World { dns, port, listen: nginx.address("listen").to_owned() };
        Self { nginx, movers, world, before }
    }

    /// That many flips and failures. Panics when something fails that should not, is not logged, or
    /// when nginx keeps a connection or a descriptor.
    pub fn round(&mut self, flips: usize) -> Round {
        let world = &self.world;
        let share = flips.div_ceil(self.movers.len());
        let over = AtomicBool::new(false);
        let mut tally = thread::scope(|scope| {
            let waiter = scope.spawn(|| Waiter::new(world).wait_until(&over));
            let move_on = |mover| scope.spawn(move || Mover::flips(mover, world, share));
            let movers: Vec<_> = self.movers.iter_mut().map(move_on).collect();
            let ended: Vec<_> = movers.into_iter().map(ScopedJoinHandle::join).collect();
            over.store(true, Ordering::SeqCst);
            let mut tally = waiter.join().expect("a waiter failed");
            ended.into_iter().for_each(|mover| tally.add(&mover.expect("a mover failed")));
            tally
        });
        tally.questions = self.world.dns.questions().len();
        self.world.dns.forget();
        self.check_log(&tally);
        let workers = worker::quiet(&self.nginx, &self.before);
        Round { tally, workers }
    }

    /// Every request has its line, and each that recovered says so.
    fn check_log(&self, tally: &Tally) {
        let path = self.nginx.dir().join("soak.log");
        let lines = wait::until("a log line for each request", || {
            Some(log::lines(&path)).filter(|lines| lines.len() >= tally.requests)
        });
        let count = |status: u64| lines.iter().filter(|line| line["status"] == status).count();
        let recovered =
            lines.iter().filter(|line| line["diagnosis"]["outcome"] == "recovered").count();
        assert_eq!(lines.len(), tally.requests, "lines in the log: {tally:?}");
        assert_eq!(recovered, tally.recovered, "recovered, in the log: {tally:?}");
        assert!(count(502) >= tally.failed + tally.late, "{} failed: {tally:?}", count(502));
        let others = lines.len() - count(200) - count(502) - count(499);
        assert_eq!(others, 0, "of another status: {tally:?}");
        // It would grow to gigabytes. nginx appends to it, and has nothing to say now.
        fs::write(&path, "").expect("empty the log");
    }
}

impl World {
    fn client(&self) -> Client {
        Client::connect(&self.listen)
    }
}

/// By how much the worker that grew most has grown from the middle of these rounds to their end:
/// anonymous memory, KiB.
pub fn growth(rounds: &[Round]) -> u64 {
    let (half, _) = rounds.split_at(rounds.len() / 2);
    let (Some(middle), Some(end)) = (half.last(), rounds.last()) else { return 0 };
    let pairs = middle.workers.iter().zip(&end.workers);
    pairs.map(|(then, now)| now.anonymous.saturating_sub(then.anonymous)).max().unwrap_or_default()
}

impl Round {
    /// One figure of all workers.
    pub fn of_each<T: Display>(&self, figure: impl Fn(&Worker) -> T) -> String {
        let figures: Vec<_> = self.workers.iter().map(|one| figure(one).to_string()).collect();
        figures.join(" ")
    }
}

impl Tally {
    /// Whether those that came too soon are so few that the machine may have been busy elsewhere.
    pub fn are_few_late(&self) -> bool {
        self.late * 100 <= self.flips
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.flips += other.flips;
        self.requests += other.requests;
        self.recovered += other.recovered;
        self.failed += other.failed;
        self.late += other.late;
        self.left += other.left;
        self.questions += other.questions;
    }
}
