//! A name, its hosts, and a client that finds each of them.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use super::plan::{News, Plan};
use super::{Tally, World};
use crate::{Client, Host, Reply, env};

/// Flips of a client on one connection, and so of one worker.
const FLIPS: usize = 40;

/// Ways to the name's server: alone, with keepalive, and beside one that is never there.
const PATHS: [&str; 3] = ["alone", "kept", "pair"];

/// One name that moves.
#[derive(Debug)]
pub(super) struct Mover {
    number: u8,
    name: String,
    flips: usize,
    hosts: u32,
    now: Ipv4Addr,
    /// Where it was before.
    last: Ipv4Addr,
    host: Option<Host>,
}

/// Its way through one round.
struct Moving<'a> {
    mover: &'a mut Mover,
    world: &'a World,
    client: Client,
    /// When the client was last answered.
    answered: Instant,
    tally: Tally,
}

impl Mover {
    pub(super) fn new(number: u8) -> Self {
        let (name, now) = (format!("app{number}.test"), super::NOWHERE);
        Self { number, name, flips: 0, hosts: 0, now, last: now, host: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn upstreams(&self) -> String {
        let Self { number, name, .. } = self;
        format!(
            "upstream alone{number} {{ server {name}:%port%; }}
             upstream kept{number} {{ server {name}:%port%; keepalive 4; }}
             upstream pair{number} {{ server {name}:%port%; server gone.test:%port%; }}"
        )
    }

    pub(super) fn locations(&self) -> String {
        let location = |path: &str| {
            let number = self.number;
            format!("location /{path}{number} {{ proxy_pass http://{path}{number}; }}\n")
        };
        PATHS.map(location).concat()
    }

    /// That many; its host is gone afterwards.
    pub(super) fn flips(&mut self, world: &World, count: usize) -> Tally {
        let (client, answered) = (world.client(), Instant::now());
        let tally = Tally { flips: count, ..Tally::default() };
        let mut moving = Moving { mover: self, world, client, answered, tally };
        for _ in 0..count {
            moving.flip();
        }
        let tally = moving.tally;
        self.host = None;
        tally
    }

    /// An address that nobody has had; see [`News::publish`] for the two bits that are left out.
    fn fresh(&mut self) -> Ipv4Addr {
        self.hosts += 1;
        let [_, high, middle, low] = self.hosts.to_be_bytes();
        Ipv4Addr::new(127, (self.number + 1) << 4 | high & 15, middle, low)
    }
}

impl Moving<'_> {
    fn flip(&mut self) {
        let plan = Plan::of(self.mover.flips);
        let path = PATHS[self.mover.flips % PATHS.len()];
        self.mover.flips += 1;
        if self.mover.flips.is_multiple_of(FLIPS) {
            self.client = self.world.client();
        }
        // The port refuses when this is done.
        self.mover.host = None;
        let old = self.mover.now;
        match plan {
            Plan::Fail(no_news) => {
                no_news.publish(self.world, &self.mover.name, old);
                let reply = self.ask(path);
                assert_eq!(reply.status, 502, "{plan:?}: {reply}");
                self.tally.failed += 1;
                return;
            }
            Plan::Move(_) => self.mover.now = self.mover.fresh(),
            Plan::Back => self.mover.now = self.mover.last,
        }
        self.mover.last = old;
        self.arrive(path, plan);
    }

    /// The new host is there: nobody may notice.
    fn arrive(&mut self, path: &str, plan: Plan) {
        let (to, news) = (self.mover.now, plan.news());
        let host = to.to_string();
        self.mover.host = Some(Host::start(self.world.port.at(to), &host));
        news.publish(self.world, &self.mover.name, to);
        let mut reply = self.ask(path);
        for _ in 0..5 {
            if reply.status == 502 {
                self.tally.late += 1;
                reply = self.ask(path);
            }
        }
        assert_eq!((reply.status, reply.text()), (200, host.clone()), "{plan:?}, {path}: {reply}");
        if !reply.members().is_empty() {
            self.tally.recovered += 1;
        }
        // The next request goes straight there, wherever there is no other way.
        if path != "pair" && news != News::Crowd && self.tally.requests.is_multiple_of(4) {
            let reply = self.ask(path);
            let straight = (reply.status, reply.text(), reply.members().len());
            assert_eq!(straight, (200, host, 0), "{plan:?}, {path}, afterwards: {reply}");
        }
    }

    /// One request, not too soon after the last.
    fn ask(&mut self, path: &str) -> Reply {
        thread::sleep((self.answered + pause()).saturating_duration_since(Instant::now()));
        self.tally.requests += 1;
        let target = format!("/{path}{}", self.mover.number);
        // What was never sent may be tried again, whatever it is; on a kept connection it may have been.
        let reply = if path == "alone" && self.tally.requests.is_multiple_of(5) {
            self.client.post(&target, b"a body")
        } else {
            self.client.get(&target)
        };
        self.answered = Instant::now();
        reply
    }
}

/// nginx may ask again a millisecond after an answer, by a clock that it reads now and then.
fn pause() -> Duration {
    Duration::from_micros(if env::valgrind() { 20_000 } else { 1200 })
}
