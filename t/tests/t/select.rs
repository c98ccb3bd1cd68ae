//! Choosing a server: every balancer in the tree, and none that could be chosen.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Dns, Gate, Nginx, Running, Step, Zone, env};

use crate::expect::{Failure, ended, nothing};

const BALANCERS: [&str; 7] = [
    "",
    "least_conn;",
    "ip_hash;",
    "hash $request_uri;",
    "hash $request_uri consistent;",
    "random;",
    "random two;",
];
const ROUND_ROBIN: usize = 0;
const LEAST_CONN: usize = 1;

/// What may stand around a balancer; each keeps the servers in a place of its own.
const AROUND: [(&str, &str); 4] = [
    ("", ""),
    ("zone %name% 64k;", ""),
    ("", "keepalive 4;"),
    ("zone %name% 64k;", "keepalive 4;"),
];

/// Every balancer in every surrounding, in one nginx: `/u0`, `/u1`, … with these servers.
fn every_balancer(servers: &str) -> (Nginx, Vec<String>) {
    some_balancers(&BALANCERS, servers)
}

fn some_balancers(balancers: &[&str], servers: &str) -> (Nginx, Vec<String>) {
    let (mut upstreams, mut locations, mut names) = (String::new(), String::new(), Vec::new());
    for balancer in balancers {
        for (zone, keepalive) in AROUND {
            let name = format!("u{}", names.len());
            let zone = zone.replace("%name%", &name);
            writeln!(upstreams, "upstream {name} {{ {zone} {balancer} {servers} {keepalive} }}")
                .unwrap();
            writeln!(locations, "location /{name} {{ proxy_pass http://{name}; }}").unwrap();
            names.push(name);
        }
    }
    let body = format!("{upstreams} server {{ listen %listen%; {locations} }}");
    (Nginx::http(&body), names)
}

/// `127.1` is a name to nginx and an address to getaddrinfo(3): a `server` argument that differs
/// from the address it stands for.
fn alias(address: &str) -> String {
    address.replace("127.0.0.1", "127.1")
}

fn unchosen<'a>(upstream: &'a str, cause: &'a str) -> Failure<'a> {
    let failure = Failure { upstream, ..Failure::of("", cause, "select") };
    Failure { message: "no live upstreams", ..failure }
}

/// Both servers were tried in the order that nginx says, each under its configured name.
fn both_refused(nginx: &Running, upstream: &str, servers: [(&str, &str); 2]) {
    let seen = nginx.fetch(&format!("/{upstream}"));
    let tried: Vec<&str> = seen.line.field("upstream_addr").split(", ").collect();
    let as_set: BTreeSet<&str> = tried.iter().copied().collect();
    assert_eq!(as_set, servers.iter().map(|(_, address)| *address).collect(), "{upstream}");
    let failures: Vec<Failure> = tried
        .iter()
        .enumerate()
        .map(|(number, address)| {
            let (server, address) = servers.iter().find(|(_, a)| a == address).unwrap();
            Failure {
                upstream,
                server,
                errno: "ECONNREFUSED",
                retried: number == 0,
                message: "connect() failed (111: Connection refused)",
                ..Failure::of(address, "connection_refused", "connect")
            }
        })
        .collect();
    ended(&seen, 502, "failed", &failures);
}

#[test]
fn every_balancer_names_the_server_it_chose() {
    let (one, other) = (Dead::refusing(), Dead::refusing());
    let named = alias(one.address());
    let servers = "server %named% weight=3 max_fails=0; server %other% max_fails=0;";
    let (nginx, upstreams) = every_balancer(servers);
    let nginx = nginx.set("named", &named).set("other", &other).start();
    for upstream in &upstreams {
        let servers = [(named.as_str(), one.address()), (other.address(), other.address())];
        both_refused(&nginx, upstream, servers);
    }
}

#[test]
fn a_backup_is_named_when_it_was_chosen() {
    let (one, other) = (Dead::refusing(), Dead::refusing());
    let named = alias(other.address());
    let balancers = [BALANCERS[ROUND_ROBIN], BALANCERS[LEAST_CONN]];
    let servers = "server %one% max_fails=0; server %named% max_fails=0 backup;";
    let (nginx, upstreams) = some_balancers(&balancers, servers);
    let nginx = nginx.set("named", &named).set("one", &one).start();
    for upstream in &upstreams {
        let servers = [(one.address(), one.address()), (named.as_str(), other.address())];
        both_refused(&nginx, upstream, servers);
    }
}

/// nginx's own string tells the two apart, unless it makes a copy (with a zone, since 1.27.3): then
/// nothing is said rather than something wrong.
#[test]
fn two_servers_with_one_address() {
    let dead = Dead::refusing();
    let named = alias(dead.address());
    let (nginx, upstreams) =
        every_balancer("server %named% max_fails=0; server %dead% max_fails=0;");
    let nginx = nginx.set("named", &named).set("dead", &dead).start();
    for upstream in &upstreams {
        let seen = nginx.fetch(&format!("/{upstream}"));
        let members = seen.reply.members();
        let said: BTreeSet<_> = members.iter().map(|member| member.string("server")).collect();
        let both: BTreeSet<_> = [Some(named.as_str()), Some(dead.address())].into();
        let copies = env::nginx_version() >= (1, 27, 3);
        assert!(said == both || copies && said == [None].into(), "{}", seen.reply);
        assert!(members.iter().all(|member| member.string("address") == Some(dead.address())));
    }
}

#[test]
fn no_live_peers() {
    let (nginx, upstreams) = every_balancer("server 127.0.0.1:1 down; server 127.0.0.1:2 down;");
    let nginx = nginx.start();
    for upstream in &upstreams {
        let seen = nginx.fetch(&format!("/{upstream}"));
        ended(&seen, 502, "failed", &[unchosen(upstream, "no_live_peers")]);
        let advice = &seen.diagnosis().advice;
        assert!(advice.contains(&format!("no server of {upstream} ")), "{advice}");
    }
}

#[test]
fn no_live_peers_after_max_fails() {
    let (one, other) = (Dead::refusing(), Dead::refusing());
    let (nginx, upstreams) = every_balancer("server %one%; server %other% weight=2;");
    let nginx = nginx.set("one", &one).set("other", &other).start();
    for upstream in &upstreams {
        let servers = [(one.address(), one.address()), (other.address(), other.address())];
        both_refused(&nginx, upstream, servers);
        let seen = nginx.fetch(&format!("/{upstream}"));
        ended(&seen, 502, "failed", &[unchosen(upstream, "no_live_peers")]);
    }
}

#[test]
fn no_live_peers_with_a_backup() {
    let balancers = [BALANCERS[ROUND_ROBIN], BALANCERS[LEAST_CONN]];
    let dead = Dead::refusing();
    let servers = "server 127.0.0.1:1 down; server %dead% backup; server 127.0.0.1:2 backup down;";
    let (nginx, upstreams) = some_balancers(&balancers, servers);
    let nginx = nginx.set("dead", &dead).start();
    for upstream in &upstreams {
        let path = format!("/{upstream}");
        assert_eq!(nginx.fetch(&path).diagnosis().attempts[0].cause, "connection_refused");
        ended(&nginx.fetch(&path), 502, "failed", &[unchosen(upstream, "no_live_peers")]);
    }
}

/// A back end that answers when the gate opens, so that its connections stay counted.
fn holding(gate: &Gate) -> Backend {
    let steps = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("late"))];
    Backend::script(steps)
}

#[test]
fn peers_at_limit() {
    let gate = Gate::new();
    let (one, other) = (holding(&gate), holding(&gate));
    let servers = "server %one% max_conns=1; server %other% max_conns=1; server 127.0.0.1:1 down;";
    let (nginx, upstreams) = every_balancer(servers);
    let nginx = nginx.worker_connections(512).set("one", &one).set("other", &other).start();
    let mut waiting = Vec::new();
    for (number, upstream) in upstreams.iter().enumerate() {
        let path = format!("/{upstream}");
        for _ in 0..2 {
            let mut client = nginx.connect();
            client.start(&path);
            waiting.push(client);
        }
        one.wait_for_connections(number + 1);
        other.wait_for_connections(number + 1);
        let seen = nginx.fetch(&path);
        ended(&seen, 502, "failed", &[unchosen(upstream, "peers_at_limit")]);
        let advice = &seen.diagnosis().advice;
        assert!(advice.contains("max_conns"), "{advice}");
    }
    gate.open();
    for mut client in waiting {
        assert_eq!(client.read("GET").text(), "late");
    }
}

/// nginx has another rule for an upstream of one server.
#[test]
fn peers_at_limit_with_one_server() {
    let gate = Gate::new();
    let backend = holding(&gate);
    let nginx = Nginx::http(
        "upstream backend { server %server% max_conns=1; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("server", &backend).start();
    let mut client = nginx.connect();
    client.start("/");
    backend.wait_for_connections(1);
    ended(&nginx.fetch("/"), 502, "failed", &[unchosen("backend", "peers_at_limit")]);
    gate.open();
    assert_eq!(client.read("GET").text(), "late");
    nginx.log(2);
}

/// One server at its limit and one that has just failed: not all are at the limit.
#[test]
fn a_mixture_is_no_live_peers() {
    let gate = Gate::new();
    let (busy, dead) = (holding(&gate), Dead::refusing());
    let nginx = Nginx::http(
        "upstream backend { server %busy% max_conns=1; server %dead% max_fails=0; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("busy", &busy).set("dead", &dead).start();
    let mut client = nginx.connect();
    client.start("/");
    busy.wait_for_connections(1);
    let refused = Failure::of(dead.address(), "connection_refused", "connect");
    let failures = [
        Failure { errno: "ECONNREFUSED", retried: true, ..refused },
        unchosen("backend", "no_live_peers"),
    ];
    ended(&nginx.fetch("/"), 502, "failed", &failures);
    gate.open();
    assert_eq!(client.read("GET").text(), "late");
}

/// Only `server … resolve` (free since 1.27.3) lets an upstream be without any address.
#[test]
fn peers_empty() {
    if env::nginx_version() < (1, 27, 3) {
        return;
    }
    let resolver = Dns::start().saying(Zone::nxdomain());
    let nginx = Nginx::http(
        "resolver %resolver% ipv6=off valid=1s; resolver_timeout 500ms;
         upstream backend { zone backend 64k; server app.test:80 resolve; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("resolver", &resolver).start();
    let seen = nginx.fetch("/");
    ended(&seen, 502, "failed", &[unchosen("backend", "peers_empty")]);
    assert!(seen.diagnosis().advice.starts_with("backend has no address"));
}

/// The address of a resolved server belongs to the configured name.
#[test]
fn a_server_that_nginx_resolves_keeps_its_name() {
    if env::nginx_version() < (1, 27, 3) {
        return;
    }
    let dead = Dead::refusing();
    let port = dead.address().rsplit(':').next().unwrap();
    let resolver = Dns::start().saying(Zone::addresses([Ipv4Addr::LOCALHOST]).ttl(60));
    let nginx = Nginx::http(
        "resolver %resolver% ipv6=off;
         upstream backend { zone backend 64k; server app.test:%port% resolve; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("resolver", &resolver).set("port", port).start();
    nginx_test::wait::until("the name to be resolved", || {
        (nginx.fetch("/").diagnosis().cause == "connection_refused").then_some(())
    });
    let server = format!("app.test:{port}");
    let refused = Failure::of(dead.address(), "connection_refused", "connect");
    let expected = Failure { server: &server, errno: "ECONNREFUSED", ..refused };
    ended(&nginx.fetch("/"), 502, "failed", &[expected]);
}

/// A server that works again after another failed: nothing of the failure stays.
#[test]
fn a_working_choice_is_silent() {
    let (good, dead) = (Backend::ok("good"), Dead::refusing());
    let (nginx, upstreams) = every_balancer("server %good%; server %dead% max_fails=1;");
    let nginx = nginx.set("good", &good).set("dead", &dead).start();
    for upstream in &upstreams {
        let path = format!("/{upstream}");
        for _ in 0..4 {
            let seen = nginx.fetch(&path);
            assert_eq!(seen.reply.text(), "good");
            if seen.line.diagnosis.is_some() {
                let refused = Failure::of(dead.address(), "connection_refused", "connect");
                let refused = Failure { errno: "ECONNREFUSED", retried: true, ..refused };
                ended(&seen, 200, "recovered", &[Failure { upstream, ..refused }]);
            } else {
                nothing(&seen);
            }
        }
    }
}
