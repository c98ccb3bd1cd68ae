//! A host name that moves while requests come in: the old host leaves as the record changes.

use std::net::Ipv4Addr;
use std::time::Instant;

use crate::dns::{Dns, Question, Zone};
use crate::load::{Load, Loading, Report};
use crate::{Host, Nginx, Port, wait};

const NAME: &str = "app.test";
const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// The parts that the setups differ in are `%directives%`, `%zone%` and `%resolve%`.
const CONF: &str = "
    %directives%
    upstream backend { %zone% server app.test:%port% %resolve%; %keepalive% }
    server {
        listen %listen%;
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
        }
    }";

/// Who looks the name up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The module, with this value of `upstream_diagnosis_resolve`.
    Module(&'static str),
    /// nginx itself (1.27.3 and later): `server … resolve`, `zone` and `resolver`.
    Nginx,
}

/// A move of the name from one host to another, in front of two workers.
#[derive(Debug, Clone, Copy)]
pub struct Flip {
    /// Who notices it.
    pub by: By,
    /// The record's TTL in seconds, before and after.
    pub ttl: u32,
    /// The workers keep connections to the hosts.
    pub keepalive: bool,
    /// Answers of the old host before the move, and of the new host after it.
    pub answers: usize,
}

/// What a move has cost.
#[derive(Debug)]
pub struct Flipped {
    /// Every request; the hosts are called `old` and `new`.
    pub report: Report,
    /// When the name moved and the old host began to leave.
    pub at: Instant,
    /// What was asked of the name server since.
    pub questions: Vec<Question>,
}

impl Flip {
    /// Plays it under that load, whose address is filled in.
    pub fn under(&self, load: impl FnOnce(Load) -> Load) -> Flipped {
        let (port, dns) = (Port::reserve(), Dns::start());
        let (old, new) = (Host::start(port.at(OLD), "old"), Host::start(port.at(NEW), "new"));
        let record = |address: Ipv4Addr| Zone::addresses([address]).ttl(self.ttl);
        dns.set(NAME, record(OLD));
        let nginx = self.nginx().set("dns", &dns).set("port", &port).start();
        wait::until("the old host to be reached", || (nginx.get("/").status == 200).then_some(()));

        let loading = load(Load::to(nginx.address("listen"))).start();
        self.wait_for(&loading, "old");
        dns.forget();
        let at = Instant::now();
        dns.set(NAME, record(NEW));
        old.leave();
        self.wait_for(&loading, "new");
        let report = loading.stop();
        drop(nginx);
        drop(new);
        Flipped { report, at, questions: dns.questions() }
    }

    fn wait_for(&self, loading: &Loading, host: &str) {
        loading.wait_until(&format!("{} answers of the {host} host", self.answers), |report| {
            report.answered_by().get(host).is_some_and(|&count| count >= self.answers)
        });
    }

    fn nginx(&self) -> Nginx {
        let keepalive = if self.keepalive { "keepalive 16;" } else { "" };
        let nginx = Nginx::http(CONF).workers(2).worker_connections(512);
        let nginx = nginx.set("keepalive", keepalive);
        match self.by {
            By::Module(mode) => nginx
                .set("zone", "")
                .set("resolve", "")
                .set("mode", mode)
                .set(
                    "directives",
                    "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve %mode%;",
                )
                .hosts(&[(&OLD.to_string(), NAME)]),
            By::Nginx => nginx
                .bare()
                .set("zone", "zone backend 64k;")
                .set("resolve", "resolve")
                .set("directives", "resolver %dns%;"),
        }
    }
}

impl Flipped {
    /// How long after the move the first answer of the new host was there, in milliseconds.
    pub fn first_answer_ms(&self) -> f64 {
        let first = self.report.first_from("new", self.at).expect("an answer of the new host");
        first.as_secs_f64() * 1000.0
    }
}

impl std::fmt::Display for Flipped {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let after = self.report.since(self.at);
        write!(
            f,
            "{} of {} requests failed, for {:?}; new host after {:.1} ms; {} questions; after the \
             move: {after}",
            self.report.failed(),
            self.report.total(),
            self.report.outage(),
            self.first_answer_ms(),
            self.questions.len()
        )
    }
}
