//! What runs out on this side: descriptors, connections, ports. And the figures that say so.

use std::fs;

use nginx_test::backend::{Backlog, Dead, http};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Backend, Client, Gate, Nginx, Running, Seen, Step, env, wait};

use crate::expect::{Failure, ended};

/// Connections of an idle worker: two listening sockets and the channel to the master.
const IDLE: u64 = 3;

/// `worker_rlimit_nofile` where descriptors run out.
const FILES: u64 = 40;

/// valgrind keeps RLIMIT_NOFILE for itself.
fn nginx_can_limit_files() -> bool {
    !env::valgrind()
}

/// One server in an upstream block, and what proxies to it.
fn proxy(server: &dyn std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    )
    .set("server", server)
}

/// A back end that answers when the gate opens.
fn holding(gate: &Gate) -> Backend {
    let late = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("late"))];
    Backend::script(late)
}

/// So many requests wait for that back end; each takes two connections.
fn hold(nginx: &Running, backend: &Backend, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| {
        let mut client = nginx.connect();
        client.start("/");
        client
    });
    let clients = clients.collect();
    backend.wait_for_connections(count);
    clients
}

fn open_files(nginx: &Running) -> u64 {
    descriptors(nginx).len() as u64
}

fn descriptors(nginx: &Running) -> Vec<u64> {
    let directory = fs::read_dir(format!("/proc/{}/fd", nginx.workers()[0])).unwrap();
    directory.map(|fd| fd.unwrap().file_name().to_string_lossy().parse().unwrap()).collect()
}

fn headroom(seen: &Seen) -> [u64; 4] {
    let diagnosis = seen.diagnosis();
    ["fd_free", "fd_limit", "conn_free", "conn_limit"]
        .map(|name| diagnosis.attempt().headroom(name).unwrap())
}

/// A worker of which every descriptor is in use, most of them by these idle clients.
fn without_descriptors(backend: &Backend) -> (Running, Vec<Client>) {
    use_up(limited(backend).main(&format!("worker_rlimit_nofile {FILES};")))
}

fn limited(backend: &Backend) -> Nginx {
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; client_body_buffer_size 1k; lingering_close off;
             location / { proxy_pass http://backend; }
             location /served { return 200; } }",
    );
    nginx.set("server", backend).allow_alert("socket() failed (24: Too many open files)")
}

fn use_up(nginx: Nginx) -> (Running, Vec<Client>) {
    let nginx = nginx.start();
    let mut clients = Vec::new();
    while !no_descriptor_is_left(&nginx) {
        let mut client = nginx.connect();
        assert_eq!(client.get("/served").status, 200);
        nginx.logged();
        clients.push(client);
    }
    (nginx, clients)
}

/// The test itself may have been started with an open descriptor above the limit.
fn no_descriptor_is_left(nginx: &Running) -> bool {
    let open = descriptors(nginx);
    (0..FILES).all(|fd| open.contains(&fd))
}

#[test]
fn fd_exhausted() {
    if !nginx_can_limit_files() {
        return;
    }
    let backend = Backend::ok("x");
    let (nginx, mut clients) = without_descriptors(&backend);
    let seen = Seen { reply: clients[0].get("/"), line: nginx.logged() };
    let expected = Failure {
        errno: "EMFILE",
        limit: "worker_rlimit_nofile=40",
        message: "socket() failed (24: Too many open files)",
        ..Failure::of(backend.address(), "fd_exhausted", "connect")
    };
    ended(&seen, 500, "failed", &[expected]);
    let [fd_free, fd_limit, conn_free, conn_limit] = headroom(&seen);
    assert_eq!((fd_free, fd_limit, conn_limit), (0, FILES, 128));
    assert_eq!(conn_free, 128 - IDLE - clients.len() as u64);
    let diagnosis = seen.diagnosis();
    let advice = &diagnosis.advice;
    assert!(advice.contains("(worker_rlimit_nofile=40); raise it"), "{advice}");
    let figure = |name| diagnosis.attempt().evidence(name);
    assert_eq!((figure("fd_limit"), figure("fd_limit_hard")), (&FILES.into(), &FILES.into()));
    assert_eq!(*figure("fd_limit_set_by"), "worker_rlimit_nofile");
    assert_eq!(*figure("worker_connections"), 128);

    // nginx closes the client's connection after a 500: one descriptor to spare, and it works.
    assert!(clients[0].read_to_end().is_empty());
    wait::until("a descriptor", || (!no_descriptor_is_left(&nginx)).then_some(()));
    assert_eq!(clients[1].get("/").text(), "x");
}

/// nginx.conf says nothing, so the limit is what nginx was started with.
#[test]
fn fd_exhausted_by_the_limit_of_the_system() {
    if !nginx_can_limit_files() {
        return;
    }
    let backend = Backend::ok("x");
    let limit = format!("--nofile={FILES}:1000");
    let (nginx, mut clients) = use_up(limited(&backend).prefix(&["prlimit", &limit]));
    let seen = Seen { reply: clients[0].get("/"), line: nginx.logged() };
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.cause, "fd_exhausted");
    let figure = |name| diagnosis.attempt().evidence(name);
    assert_eq!((figure("fd_limit"), figure("fd_limit_hard")), (&FILES.into(), &1000.into()));
    assert_eq!(*figure("fd_limit_set_by"), "RLIMIT_NOFILE");
    assert!(diagnosis.advice.contains("set worker_rlimit_nofile above"), "{}", diagnosis.advice);
}

/// The first thing that nginx lacks a descriptor for is the file that keeps the request body.
#[test]
fn fd_exhausted_for_a_temporary_file() {
    if !nginx_can_limit_files() {
        return;
    }
    let backend = Backend::ok("never reached");
    let (nginx, mut clients) = without_descriptors(&backend);
    let seen = Seen { reply: clients[0].post("/", &[b'x'; 65536]), line: nginx.logged() };
    let expected = Failure {
        server: "",
        address: "",
        errno: "EMFILE",
        limit: "worker_rlimit_nofile=40",
        message: "failed (24: Too many open files)",
        ..Failure::of(backend.address(), "fd_exhausted", "local")
    };
    ended(&seen, 500, "failed", &[expected]);
    assert_eq!(headroom(&seen)[0], 0);
}

#[test]
fn worker_connections_exhausted() {
    const LIMIT: u32 = 16;
    let gate = Gate::new();
    let backend = holding(&gate);
    let nginx = proxy(&backend)
        .worker_connections(LIMIT)
        .allow_alert("16 worker_connections are not enough")
        .start();
    // Idle 3, six requests 12, and the client of the last request.
    let waiting = hold(&nginx, &backend, 6);
    let seen = nginx.fetch("/");
    let expected = Failure {
        limit: "worker_connections=16",
        message: "16 worker_connections are not enough",
        ..Failure::of(backend.address(), "worker_connections_exhausted", "connect")
    };
    ended(&seen, 500, "failed", &[expected]);
    let [_, _, conn_free, conn_limit] = headroom(&seen);
    assert_eq!((conn_free, conn_limit), (0, LIMIT.into()));
    let diagnosis = seen.diagnosis();
    let said = "(worker_connections=16): 7 from clients, 7 to upstreams and others, 2 to listen";
    assert!(diagnosis.advice.contains(said), "{}", diagnosis.advice);
    let figure = |name| diagnosis.attempt().evidence(name);
    let uses = ["client_connections", "listening_sockets", "other_connections"].map(figure);
    assert_eq!(uses, [7, 2, 7]);
    assert_eq!((figure("worker_connections"), figure("idle_connections")), (&16.into(), &0.into()));
    gate.open();
    for mut client in waiting {
        assert_eq!(client.read("GET").text(), "late");
    }
}

#[test]
fn ephemeral_ports_exhausted() {
    isolated(|network| {
        let gate = Gate::new();
        let backend = holding(&gate);
        let nginx = Nginx::http(
            "upstream backend { server %server%; }
             server { listen %listen%; listen %listen_b%;
                 location / { proxy_pass http://backend; } }",
        );
        let nginx = nginx.set("server", &backend).start();
        // One port for each address that is connected to, which also goes for the clients here.
        network.local_ports(61000, 61000);
        let mut waiting = hold(&nginx, &backend, 1);
        let seen = Seen {
            reply: Client::connect(nginx.address("listen_b")).get("/"),
            line: nginx.logged(),
        };
        let failure = Failure::of(backend.address(), "ephemeral_ports_exhausted", "connect");
        let message =
            format!("connect() to {backend} failed (99: Cannot assign requested address)");
        let expected = Failure { errno: "EADDRNOTAVAIL", message: &message, ..failure };
        ended(&seen, 502, "failed", &[expected]);
        let diagnosis = seen.diagnosis();
        let said = format!("no local port is left for {backend}: there are 1 (61000 to 61000)");
        assert!(diagnosis.advice.starts_with(&said), "{}", diagnosis.advice);
        assert!(diagnosis.advice.contains("ip_local_port_range"), "{}", diagnosis.advice);
        let figure = |name| diagnosis.attempt().evidence(name);
        let range = ["port_first", "port_last", "ports"].map(figure);
        assert_eq!(range, [61000, 61000, 1]);
        assert!(figure("tcp_in_use").as_u64() > Some(2) && figure("tcp_time_wait").is_u64());
        gate.open();
        assert_eq!(waiting[0].read("GET").text(), "late");
    });
}

/// A connection that times out, and how many the firewall tracks where one does.
#[test]
fn tracked_connections_are_counted() {
    let backlog = Backlog::full();
    let conf = "proxy_pass http://%server%; proxy_connect_timeout 100ms;";
    let seen = Nginx::location(conf).set("server", &backlog).start().fetch("/");
    assert_eq!(seen.diagnosis().cause, "connection_timeout");
    let diagnosis = seen.diagnosis();
    let figure = |name| diagnosis.attempt().evidence(name);
    let max = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").ok();
    let max: Option<u64> = max.map(|text| text.trim().parse().unwrap());
    assert_eq!(figure("conntrack_max").as_u64(), max);
    assert_eq!(figure("conntrack_count").is_u64(), max.is_some());
    assert_eq!(*figure("directive"), "proxy_connect_timeout");
}

/// Each figure follows what is in use, to within the connections of the request itself.
#[test]
fn headroom_counts_what_is_in_use() {
    const CONNECTIONS: u32 = 64;
    const LIMIT: u64 = 100;
    if !nginx_can_limit_files() {
        return;
    }
    let (gate, dead) = (Gate::new(), Dead::refusing());
    let backend = holding(&gate);
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%;
             location / { proxy_pass http://backend; }
             location /dead { proxy_pass http://%dead%; } }",
    );
    let nginx = nginx
        .set("server", &backend)
        .set("dead", &dead)
        .worker_connections(CONNECTIONS)
        .main(&format!("worker_rlimit_nofile {LIMIT};"))
        .start();
    let mut waiting = Vec::new();
    for round in 0..4 {
        let [fd_free, fd_limit, conn_free, conn_limit] = headroom(&nginx.fetch("/dead"));
        assert_eq!((fd_limit, conn_limit), (LIMIT, CONNECTIONS.into()), "limits");
        // The request's own: its client, and its connection to the back end.
        let used = conn_limit - conn_free;
        assert_eq!(used, IDLE + 2 * (round * 5) + 2, "connections in round {round}");
        // The client of /dead may be closed by now.
        let open = wait::until("the last client to be gone", || {
            let [now, used] = [open_files(&nginx), fd_limit - fd_free];
            (now + 2 == used || now + 1 == used).then_some((now, used))
        });
        assert!(open.1 - open.0 <= 2, "{open:?}");
        waiting.extend((0..5).map(|_| {
            let mut client = nginx.connect();
            client.start("/");
            client
        }));
        backend.wait_for_connections(waiting.len());
    }
    gate.open();
    for mut client in waiting {
        assert_eq!(client.read("GET").text(), "late");
    }
}

/// Every attempt has the figures of its own moment.
#[test]
fn headroom_of_each_attempt() {
    let (one, other) = (Dead::refusing(), Dead::refusing());
    let nginx = proxy(&one).set("server", format!("{one}; server {other}")).start();
    let seen = nginx.fetch("/");
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.causes(), ["connection_refused", "connection_refused"]);
    for attempt in &diagnosis.attempts {
        assert_eq!(attempt.headroom("conn_limit"), Some(128));
        assert_eq!(attempt.headroom("conn_free"), Some(128 - IDLE - 2));
    }
}
