//! `make demo`: a real nginx with the module in front of back ends that fail in every way. Prints
//! what each request showed, and fails when that was not the cause that had been set up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a demonstration reports a problem by panicking"
)]

mod cases;
mod moves;
mod show;

use std::fs;
use std::process::ExitCode;

use nginx_test::backend::Dead;
use nginx_test::{Nginx, Running, Seen, env, wait};

use cases::{Case, Stage};
use show::Show;

/// What `make install` installs too: the module is on, and failures have a log of their own.
const CONF: &str = include_str!("../../../../conf/upstream-diagnosis.conf");
const LOG: &str = "/var/log/nginx/upstream-failures.log";

/// The case whose log line is shown whole.
const SHOWN: &str = "/retried";

fn main() -> ExitCode {
    let (major, minor, patch) = env::nginx_version();
    let mut show = Show::new();
    show.intro(&format!("nginx {major}.{minor}.{patch}, {}", env::nginx().display()));
    let line = {
        let stage = Stage::set();
        let nginx = conf(&stage.conf()).file("ca.pem", &stage.ca).start();
        let mut line = None;
        for case in &stage.cases {
            let seen = case.play(&nginx);
            show.request(case, &seen);
            if case.path == SHOWN {
                line = Some(logged(&nginx, &seen));
            }
        }
        line
    };
    let (case, seen) = without_descriptors();
    show.request(&case, &seen);
    if let Some(line) = line {
        show.line("a line of the log of failures", &line);
    }
    moves::play(&mut show);
    show.end()
}

/// nginx with the module as `make install` configures it, and this in `http {}`.
fn conf(body: &str) -> Nginx {
    let conf = CONF.replace(LOG, "%dir%/failures.log");
    Nginx::http(&format!("{conf}\n{body}"))
        .main("worker_rlimit_nofile 1024;")
        .worker_connections(512)
        .off()
}

/// The line of this request in the log of failures.
fn logged(nginx: &Running, seen: &Seen) -> String {
    let path = nginx.dir().join("failures.log");
    let diagnosis = &seen.diagnosis().raw;
    wait::until("the line in the log of failures", || {
        let text = fs::read_to_string(&path).ok()?;
        let lines = nginx_test::log::lines(&path);
        let at = lines.iter().position(|line| line["diagnosis"] == *diagnosis)?;
        text.lines().nth(at).map(str::to_owned)
    })
}

/// Clients that only stay connected, one more each time, until there is no descriptor left for a
/// connection to the upstream.
fn without_descriptors() -> (Case, Seen) {
    let dead = Dead::refusing();
    let case = Case {
        title: "no file descriptor is left for the connection",
        path: "/exhausted",
        status: 500,
        causes: &["fd_exhausted"],
        ..Case::default()
    };
    let nginx = Nginx::http(
        "upstream exhausted { server %server%; }
         server { listen %listen%; location / { proxy_pass http://exhausted; } }",
    );
    let nginx = nginx
        .set("server", &dead)
        .main("worker_rlimit_nofile 64;")
        .allow_alert("socket() failed (24: Too many open files)")
        .start();
    let mut client = nginx.connect();
    let mut idle = Vec::new();
    loop {
        idle.push(nginx.connect());
        let seen = Seen { reply: client.get(case.path), line: nginx.logged() };
        if seen.reply.causes() != ["connection_refused"] || idle.len() > 64 {
            return (case, seen);
        }
    }
}
