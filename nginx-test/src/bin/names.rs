//! What re-resolution costs while nothing fails: instructions per request, with 1,000 named servers.
//! Those of the allocator are left out, and calls of it must not be more.
#![allow(clippy::arithmetic_side_effects, reason = "a benchmark reports a problem by panicking")]

use std::fmt::Write;
use std::process::ExitCode;

use nginx_test::callgrind::{self, Cost};
use nginx_test::dns::{Dns, Zone};
use nginx_test::{Backend, Nginx, env};

/// Servers, and the names that they share: nginx looks each server's name up when it starts.
const SERVERS: usize = 1_000;
const NAMES: usize = 100;
/// Most that it may add.
const LIMIT: i64 = 150;

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
    access_log off;
    keepalive_requests 1000000;
    upstream_diagnosis on;
    upstream_diagnosis_resolver %dns%;
    %resolve%
    %upstreams%
    server {
        listen %listen%;
        location / {
            proxy_pass http://%first%;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        %locations%
    }
}
"#;

/// Where the servers stand.
#[derive(Clone, Copy)]
enum Shape {
    /// In one block.
    OneBlock,
    /// In as many blocks.
    ManyBlocks,
    /// In no block: names in `proxy_pass`.
    NoBlock,
}

impl Shape {
    const ALL: [Self; 3] = [Self::OneBlock, Self::ManyBlocks, Self::NoBlock];

    fn name(self) -> &'static str {
        match self {
            Self::OneBlock => "one upstream of 1,000 servers",
            Self::ManyBlocks => "1,000 upstreams of one server",
            Self::NoBlock => "1,000 names in proxy_pass",
        }
    }

    /// The upstreams, where the first location goes, and other locations.
    fn text(self, port: &str) -> (String, String, String) {
        let (mut blocks, mut locations) = (String::new(), String::new());
        let server = |n: usize| format!("server h{}.test:{port};", n % NAMES);
        for n in 0..SERVERS {
            match self {
                Self::OneBlock => blocks += &server(n),
                Self::ManyBlocks => {
                    let _ = writeln!(blocks, "upstream b{n} {{ {} keepalive 8; }}", server(n));
                }
                // A port of its own makes each an upstream of its own; nobody asks for it.
                Self::NoBlock => {
                    let target = format!("http://h{}.test:{}", n % NAMES, 10_000 + n);
                    let _ = writeln!(locations, "location /{n} {{ proxy_pass {target}; }}");
                }
            }
        }
        match self {
            Self::OneBlock => {
                let block = format!("upstream b0 {{ {blocks} keepalive 8; }}");
                (block, "b0".to_owned(), locations)
            }
            Self::ManyBlocks => (blocks, "b500".to_owned(), locations),
            Self::NoBlock => (blocks, format!("h0.test:{port}"), locations),
        }
    }
}

fn cost(shape: Shape, resolve: &str, backend: &Backend, dns: &Dns) -> Cost {
    let port = backend.to_string().rsplit(':').next().unwrap_or_default().to_owned();
    let (upstreams, first, locations) = shape.text(&port);
    let hosts: Vec<String> = (0..NAMES).map(|n| format!("h{n}.test")).collect();
    let hosts: Vec<(&str, &str)> = hosts.iter().map(|name| ("127.0.0.1", name.as_str())).collect();
    let nginx = || {
        Nginx::raw(CONF)
            .set("dns", dns)
            .set("resolve", resolve)
            .set("upstreams", &upstreams)
            .set("first", &first)
            .set("locations", &locations)
            .hosts(&hosts)
    };
    let cost = callgrind::per_request(nginx, 200);
    let asked = dns.questions().len();
    assert_eq!(asked, 0, "questions while nothing failed");
    cost
}

fn main() -> ExitCode {
    println!("instructions per request with named servers, {}", env::nginx().display());
    let backend = Backend::ok("served");
    let dns = Dns::start().saying(Zone::addresses(["127.0.0.1"]).ttl(300));
    let mut within = true;
    for shape in Shape::ALL {
        let off = cost(shape, "", &backend, &dns);
        let on = cost(shape, "upstream_diagnosis_resolve failure;", &backend, &dns);
        let above = on.instructions - off.instructions;
        let good = above <= LIMIT && on.allocations <= off.allocations;
        let verdict = if good { "of" } else { "EXCEEDS" };
        println!(
            "{:<32}{:>8}, {} allocations; failure mode {above:>+5} {verdict} {LIMIT}, {:+}",
            shape.name(),
            off.instructions,
            off.allocations,
            on.allocations - off.allocations
        );
        within &= good;
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
