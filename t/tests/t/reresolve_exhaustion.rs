//! No connection or descriptor is left to ask with: the last good addresses stay, nobody crashes,
//! and it is over as soon as there is something again.

use std::fs;

use nginx_test::backend::http;
use nginx_test::dns::Zone;
use nginx_test::{Backend, Client, Gate, Host, Nginx, Running, Step, env, wait};

use crate::moved::{Moved, answered, behind, resolution, until_answered};

/// Connections of an idle worker: two listening sockets and the channel to the master.
const IDLE: u32 = 3;
/// Connections, or descriptors, of a worker here.
const LIMIT: u32 = 40;
const SERVED: &str = "location /served { return 200; }";

fn nginx(moved: &Moved) -> Nginx {
    moved.nginx().set("resolve", "failure min=10ms wait=20s timeout=1s").set("server", SERVED)
}

fn descriptors(nginx: &Running) -> Vec<u32> {
    let directory = fs::read_dir(format!("/proc/{}/fd", nginx.workers()[0])).unwrap();
    directory.map(|fd| fd.unwrap().file_name().to_string_lossy().parse().unwrap()).collect()
}

/// Idle clients, of which the first still has something to ask.
fn idle(nginx: &Running, enough: impl Fn(&[Client]) -> bool) -> Vec<Client> {
    let mut clients = Vec::new();
    while !enough(&clients) {
        let mut client = nginx.connect();
        assert_eq!(client.get("/served").status, 200);
        nginx.logged();
        clients.push(client);
    }
    clients
}

/// Requests to a back end that holds them, which take all connections but so many.
fn with_connections(moved: &Moved, left: u32) -> (Running, Vec<Client>, Gate, Backend) {
    const BUSY: u32 = 10;
    let gate = Gate::new();
    let late = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("late"))];
    let holds = Backend::script(late);
    let server = "location /held { proxy_pass http://%holds%; }";
    let nginx = nginx(moved).set("server", server).set("holds", &holds);
    let nginx = nginx.worker_connections(IDLE + 2 * BUSY + left);
    let nginx = nginx.allow_alert("worker_connections are not enough").start();
    let mut busy: Vec<_> = (0..BUSY).map(|_| nginx.connect()).collect();
    for client in &mut busy {
        client.start("/held");
    }
    holds.wait_for_connections(BUSY as usize);
    (nginx, busy, gate, holds)
}

/// The client's, nginx's own to the server or ours to wait with, and two to ask with.
#[test]
fn few_connections() {
    for (left, status) in [(1, 500), (2, 502), (3, 200), (4, 200)] {
        let moved = Moved::start();
        let (nginx, busy, gate, _holds) = with_connections(&moved, left);
        let reply = nginx.connect().get("/");
        assert_eq!(reply.status, status, "{left}: {reply}");
        let line = nginx.logged();
        if status == 502 {
            let told = &line.diagnosis().raw["attempts"][0]["resolution"];
            assert_eq!(told["error"], "unavailable", "{told}");
            assert!(moved.dns.questions().is_empty());
        }
        gate.open();
        for mut client in busy {
            assert_eq!(client.read("GET").text(), "late");
            nginx.logged();
        }
        until_answered(&nginx, "new");
        assert_eq!(nginx.workers().len(), 1);
    }
}

/// DNS has answered before; a failure without a connection to ask with keeps that.
#[test]
fn the_last_good_stays() {
    let moved = Moved::start();
    let (nginx, busy, gate, holds) = with_connections(&moved, 4);
    answered(&nginx, "new");
    let mut more = nginx.connect();
    more.start("/held");
    holds.wait_for_connections(11);
    moved.dns.set("app.test", Zone::addresses(["127.0.0.4"]));
    let other = Host::start(moved.port.at([127, 0, 0, 4]), "other");
    moved.new.kill();
    moved.dns.forget();
    for _ in 0..20 {
        let reply = wait::until("a connection to be free", || {
            let mut client = nginx.connect();
            client.start("/").try_read("GET")
        });
        assert_eq!(reply.status, 502, "{reply}");
        let line = nginx.logged();
        assert_eq!(line.field("upstream_addr"), moved.now().to_string());
    }
    assert!(moved.dns.questions().is_empty());
    moved.new.revive();
    gate.open();
    for mut client in busy.into_iter().chain([more]) {
        assert_eq!(client.read("GET").text(), "late");
        nginx.logged();
    }
    answered(&nginx, "new");
    moved.new.kill();
    until_answered(&nginx, "other");
    drop(other);
}

/// The same with descriptors. valgrind keeps RLIMIT_NOFILE for itself.
#[test]
fn few_descriptors() {
    if env::valgrind() {
        return;
    }
    for left in 0..5 {
        let moved = Moved::start();
        let nginx = nginx(&moved)
            .main(&format!("worker_rlimit_nofile {LIMIT};"))
            .allow_alert("Too many open files")
            .start();
        let used = |_: &[Client]| {
            let open = descriptors(&nginx);
            (0..LIMIT).filter(|fd| !open.contains(fd)).count() <= left
        };
        let mut clients = idle(&nginx, used);
        for client in clients.iter_mut().take(3) {
            let reply = client.get("/");
            assert!([200, 500, 502].contains(&reply.status), "{left}: {reply}");
            nginx.logged();
        }
        let worker = nginx.workers();
        drop(clients);
        let seen = until_answered(&nginx, "new");
        if let Some(diagnosis) = &seen.line.diagnosis {
            assert_eq!(diagnosis.outcome, "recovered");
            assert_eq!(*resolution(&seen, "current"), serde_json::json!(["127.0.0.3"]));
        }
        assert_eq!(nginx.workers(), worker);
    }
}

/// In `ttl` mode nobody's request asks: the alarm finds nothing to ask with, and rings again.
#[test]
fn an_alarm_without_descriptors() {
    if env::valgrind() {
        return;
    }
    let moved = Moved::start();
    let nginx = behind(&moved.dns, &moved.port)
        .set("resolve", "ttl min=20ms max=20ms wait=20s timeout=1s")
        .set("server", SERVED)
        .main(&format!("worker_rlimit_nofile {LIMIT};"))
        .allow_alert("Too many open files")
        .start();
    until_answered(&nginx, "new");
    let other = Host::start(moved.port.at([127, 0, 0, 4]), "other");
    moved.dns.set("app.test", Zone::addresses(["127.0.0.4"]));
    moved.dns.forget();
    let clients = idle(&nginx, |_| {
        let open = descriptors(&nginx);
        (0..LIMIT).all(|fd| open.contains(&fd))
    });
    drop(clients);
    until_answered(&nginx, "other");
    drop(other);
}
