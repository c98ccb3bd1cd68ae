//! What the module costs: instructions per request in the worker, counted by callgrind.
//!
//! Instructions, unlike time, come out alike on a busy machine. Each case is run with few and with
//! many requests; the difference leaves out start and end, and is the same within ten instructions
//! however many they are.
//!
//! One thing is left to chance: another block of the request's pool costs malloc 600 instructions,
//! and whether a request needs one depends on how long its lines are. So each case is measured with
//! several sizes of the pool and compared, at each, with nginx alone; the median of the differences
//! is what the module does. That makes 100 short runs for each nginx, a minute or two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a benchmark reports a problem by panicking"
)]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use nginx_test::backend::Dead;
use nginx_test::{Backend, Nginx};

/// Requests of the two runs.
const FEW: u64 = 100;
const MANY: u64 = 900;

/// `request_pool_size`; an odd number of them, for the median.
const POOLS: [&str; 5] = ["4k", "5k", "6k", "8k", "12k"];

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
    request_pool_size %pool%;
    upstream backend { server %backend% max_fails=0; keepalive 8; }
    server {
        listen %listen%;
        access_log %dir%/access.log requests;
        %failures%
        %evidence%
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
    /// The same with a second log that writes nothing. An `if=` costs nginx itself 240 to 330
    /// instructions whatever its condition is, so this is what `FailuresOnly` is measured against.
    BareConditional,
    /// A second log, for failed requests.
    FailuresOnly,
    /// A field in every line of the access log, and no evidence. The header is on, as it is by
    /// default.
    WithoutEvidence,
    /// The same with evidence, as it is by default.
    EveryLine,
}

impl Setup {
    const ALL: [Self; 5] = [
        Self::Bare,
        Self::BareConditional,
        Self::FailuresOnly,
        Self::WithoutEvidence,
        Self::EveryLine,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "nginx alone",
            Self::BareConditional => "nginx alone, log with if=",
            Self::FailuresOnly => "+ log of failures only",
            Self::WithoutEvidence => "+ JSON in every log line",
            Self::EveryLine => "+ JSON, with evidence",
        }
    }

    /// What its cost is counted above.
    fn bases(self) -> &'static [Self] {
        match self {
            Self::Bare | Self::BareConditional | Self::WithoutEvidence => &[Self::Bare],
            Self::FailuresOnly => &[Self::BareConditional],
            Self::EveryLine => &[Self::WithoutEvidence, Self::Bare],
        }
    }

    fn nginx(self) -> Nginx {
        let nginx = Nginx::raw(CONF).set("field", "").set("failures", "").set("evidence", "");
        match self {
            Self::Bare => nginx.bare(),
            Self::BareConditional => nginx
                .bare()
                .set("failures", "access_log %dir%/failures.log failures if=$arg_failed;"),
            Self::FailuresOnly => nginx
                .set("failures", "access_log %dir%/failures.log failures if=$upstream_diagnosis;"),
            Self::WithoutEvidence => nginx
                .set("field", r#","diagnosis":%json%"#)
                .set("evidence", "upstream_diagnosis_evidence off;"),
            Self::EveryLine => nginx.set("field", r#","diagnosis":%json%"#),
        }
    }
}

/// How the requests end, and what each set-up may cost above its bases, in their order.
struct Outcome {
    name: &'static str,
    backend: String,
    status: u16,
    limits: fn(Setup) -> &'static [i64],
}

fn main() -> ExitCode {
    let serving = Backend::ok("served");
    let refusing = Dead::refusing();
    let outcomes = [
        Outcome {
            name: "served",
            backend: serving.to_string(),
            status: 200,
            limits: |setup| match setup {
                Setup::Bare | Setup::BareConditional => &[],
                Setup::FailuresOnly => &[300],
                Setup::WithoutEvidence => &[450],
                Setup::EveryLine => &[50, 450],
            },
        },
        Outcome {
            name: "refused",
            backend: refusing.to_string(),
            status: 502,
            limits: |setup| match setup {
                Setup::Bare | Setup::BareConditional | Setup::FailuresOnly => &[],
                Setup::WithoutEvidence => &[6_000],
                Setup::EveryLine => &[500, 6_500],
            },
        },
    ];
    println!("instructions per request, {}", nginx_test::env::nginx().display());
    let within = outcomes.iter().filter(|outcome| outcome.report()).count();
    if within == outcomes.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Outcome {
    /// Prints a row for each set-up and base; false when one costs more than it may.
    fn report(&self) -> bool {
        let costs = Setup::ALL.map(|setup| POOLS.map(|pool| self.cost(setup, pool)));
        let of = |setup: Setup| costs[setup as usize];
        let mut within = true;
        for setup in Setup::ALL {
            for (index, base) in setup.bases().iter().enumerate() {
                let pairs = of(setup).into_iter().zip(of(*base));
                let above = median(pairs.map(|(cost, base)| cost - base));
                let limit = (self.limits)(setup).get(index);
                let verdict = match limit {
                    Some(limit) if above > *limit => format!(" EXCEEDS {limit}"),
                    Some(limit) => format!(" of {limit}"),
                    None => String::new(),
                };
                within &= limit.is_none_or(|limit| above <= *limit);
                println!(
                    "{:<9}{:<26}{:>7} {above:>+6}{verdict}, above {}",
                    self.name,
                    setup.name(),
                    median(of(setup)),
                    base.name(),
                );
            }
        }
        within
    }

    fn cost(&self, setup: Setup, pool: &str) -> i64 {
        let run = |requests| self.instructions(setup, pool, requests);
        i64::try_from((run(MANY) - run(FEW)) / (MANY - FEW)).unwrap()
    }

    /// All instructions of an nginx that serves that many requests on one connection.
    fn instructions(&self, setup: Setup, pool: &str, requests: u64) -> u64 {
        let counts = Counts::new();
        let out = format!("--callgrind-out-file={}", counts.0.display());
        let nginx = setup
            .nginx()
            .set("backend", &self.backend)
            .set("pool", pool)
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

fn median(costs: impl IntoIterator<Item = i64>) -> i64 {
    let mut costs = Vec::from_iter(costs);
    costs.sort_unstable();
    costs[costs.len() / 2]
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
