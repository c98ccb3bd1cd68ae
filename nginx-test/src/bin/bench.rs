//! What the module costs: instructions per request in the worker, counted by callgrind.
//!
//! Each case is run twice, with few and with many requests; the difference leaves out start and
//! end. Instructions, unlike time, come out alike on a busy machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a benchmark reports a problem by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use nginx_test::backend::Dead;
use nginx_test::{Backend, Nginx};

/// Requests of the two runs.
const FEW: u64 = 100;
const MANY: u64 = 2_100;

/// A configuration as far as the cases share it: one worker, one keepalive client, an access log in
/// JSON. `escape=none` throughout, so that the module is not credited with escaping left out.
const CONF: &str = r#"
%load%
daemon off;
master_process off;
pid %dir%/nginx.pid;
error_log %dir%/error.log error;
events {}
http {
    %paths%
    %probe%
    %on%
    log_format requests escape=none '{"time":"$time_iso8601","client":"$remote_addr",'
        '"request":"$request","status":$status,"bytes":$body_bytes_sent,'
        '"upstream_addr":"$upstream_addr","upstream_status":"$upstream_status",'
        '"upstream_response_time":"$upstream_response_time",'
        '"request_time":$request_time%field%}';
    log_format failures escape=none '{"time":"$time_iso8601","diagnosis":%json%}';
    keepalive_requests 1000000;
    upstream backend { server %backend% max_fails=0; keepalive 8; }
    server {
        listen %listen%;
        access_log %dir%/access.log requests;
        %failures%
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
"#;

/// How nginx is set up.
#[derive(Clone, Copy)]
enum Setup {
    /// Without the module.
    Bare,
    /// The same with a second log that writes nothing: nginx's own part in `FailuresOnly`.
    BareConditional,
    /// A second log, for failed requests.
    FailuresOnly,
    /// A field in every line of the access log. The header is on, as it is by default.
    EveryLine,
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "nginx alone",
            Self::BareConditional => "nginx alone, log with if=",
            Self::FailuresOnly => "+ log of failures only",
            Self::EveryLine => "+ JSON in every log line",
        }
    }

    fn nginx(self) -> Nginx {
        let nginx = Nginx::raw(CONF).set("field", "").set("failures", "");
        match self {
            Self::Bare => nginx.bare(),
            Self::BareConditional => nginx
                .bare()
                .set("failures", "access_log %dir%/failures.log failures if=$arg_failed;"),
            Self::FailuresOnly => nginx
                .set("failures", "access_log %dir%/failures.log failures if=$upstream_diagnosis;"),
            Self::EveryLine => nginx.set("field", r#","diagnosis":%json%"#),
        }
    }
}

/// How the requests end, and what each set-up may cost above nginx alone.
struct Outcome {
    name: &'static str,
    backend: String,
    status: u16,
    rows: &'static [(Setup, Option<u64>)],
}

fn main() -> ExitCode {
    let serving = Backend::ok("served");
    let refusing = Dead::refusing();
    let outcomes = [
        Outcome {
            name: "served",
            backend: serving.to_string(),
            status: 200,
            rows: &[
                (Setup::BareConditional, None),
                (Setup::FailuresOnly, Some(300)),
                (Setup::EveryLine, Some(450)),
            ],
        },
        Outcome {
            name: "refused",
            backend: refusing.to_string(),
            status: 502,
            rows: &[(Setup::FailuresOnly, None), (Setup::EveryLine, Some(6_000))],
        },
    ];
    println!("instructions per request, {}", nginx_test::env::nginx().display());
    let within = outcomes.iter().filter(|outcome| outcome.report()).count();
    if within == outcomes.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Outcome {
    /// Prints a row for each set-up; false when one costs more than it may.
    fn report(&self) -> bool {
        let bare = self.cost(Setup::Bare);
        println!("{:<9}{:<28}{bare:>8}", self.name, Setup::Bare.name());
        let mut within = true;
        for &(setup, limit) in self.rows {
            let cost = self.cost(setup);
            let above = cost.saturating_sub(bare);
            let verdict = match limit {
                Some(limit) if above > limit => format!("EXCEEDS {limit}"),
                Some(limit) => format!("of {limit}"),
                None => String::new(),
            };
            within &= limit.is_none_or(|limit| above <= limit);
            println!("{:<9}{:<28}{cost:>8}{above:>+8}  {verdict}", self.name, setup.name());
        }
        within
    }

    fn cost(&self, setup: Setup) -> u64 {
        (self.instructions(setup, MANY) - self.instructions(setup, FEW)) / (MANY - FEW)
    }

    /// All instructions of an nginx that serves that many requests on one connection.
    fn instructions(&self, setup: Setup, requests: u64) -> u64 {
        let counts = Counts::new();
        let out = format!("--callgrind-out-file={}", counts.0.display());
        let nginx = setup
            .nginx()
            .set("backend", &self.backend)
            .prefix(&["valgrind", "--tool=callgrind", "--quiet", &out])
            .start();
        let mut client = nginx.connect();
        for _ in 0..requests {
            assert_eq!(client.get("/").status, self.status);
        }
        drop(client);
        nginx.stop();
        counts.total()
    }
}

/// The file in which callgrind leaves its counts.
struct Counts(PathBuf);

impl Counts {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("ud-bench-{}.callgrind", std::process::id())))
    }

    fn total(&self) -> u64 {
        let text = fs::read_to_string(&self.0).expect("callgrind leaves its counts");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.expect("a line with the total").trim().parse().expect("a number")
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
