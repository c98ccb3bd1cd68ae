//! Reloads, upgrades and ends of workers while names are asked for and requests wait.

use nginx_test::dns::{Kind, Zone};
use nginx_test::{Client, Gate, Nginx, Running, env, wait};

use crate::moved::{Moved, answered, rounds, until_answered};

/// Requests wait for a DNS that answers when the gate opens.
struct Waiting {
    moved: Moved,
    gate: Gate,
}

impl Waiting {
    fn start() -> Self {
        let (moved, gate) = (Moved::start(), Gate::new());
        moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
        Self { moved, gate }
    }

    fn nginx(&self) -> Nginx {
        self.moved.nginx().set("resolve", "failure wait=50s timeout=50s")
    }

    fn clients(&self, nginx: &Running) -> Vec<Client> {
        let mut clients: Vec<_> = (0..5).map(|_| nginx.connect()).collect();
        for client in &mut clients {
            client.start("/");
        }
        self.moved.wait_until_failed(nginx, 5);
        self.moved.wait_until_asked(1);
        clients
    }

    /// DNS answers, and so do the requests.
    fn all_are_answered(&self, clients: &mut [Client]) {
        self.gate.open();
        for client in clients {
            let reply = client.read("GET");
            assert_eq!((reply.status, reply.text().as_str()), (200, "new"), "{reply}");
        }
    }
}

fn gone(nginx: &Running, old: &[i32]) {
    wait::until("the old workers' end", || {
        let now = nginx.workers();
        (!old.iter().any(|pid| now.contains(pid))).then_some(())
    });
}

#[test]
fn reload() {
    let waiting = Waiting::start();
    let nginx = waiting.nginx().start();
    let mut clients = waiting.clients(&nginx);
    let old = nginx.workers();
    nginx.reload_while_busy();
    // The new worker asks on its own account.
    let mut more = nginx.connect();
    more.start("/");
    waiting.moved.wait_until_failed(&nginx, 6);
    waiting.moved.wait_until_asked(2);
    waiting.all_are_answered(&mut clients);
    assert_eq!(more.read("GET").text(), "new");
    drop((clients, more));
    gone(&nginx, &old);
    for _ in 0..6 {
        nginx.logged();
    }
    answered(&nginx, "new");
}

/// What a worker knows goes with it; the next one begins with the configuration, as read anew.
#[test]
fn reload_after_a_move() {
    let moved = Moved::start();
    let nginx = moved.nginx().start();
    answered(&nginx, "new");
    nginx.reload();
    let seen = answered(&nginx, "new");
    assert_eq!(seen.line.field("upstream_addr"), moved.both());
    nginx.etc().hosts(&[("127.0.0.3", "app.test")]);
    nginx.reload();
    let seen = answered(&nginx, "new");
    assert_eq!(seen.line.field("upstream_addr"), moved.now().to_string());
    moved.asked(2);
}

/// From off to on and back, with the same upstream block.
#[test]
fn reload_changes_the_mode() {
    let moved = Moved::start();
    let mut nginx = moved.nginx().set("resolve", "off").start();
    let conf = std::fs::read_to_string(nginx.dir().join("nginx.conf")).unwrap();
    let with = |mode: &str| conf.replace("resolve off;", &format!("resolve {mode};"));
    assert_ne!(conf, with("failure"));
    for (mode, status) in [("off", 502), ("failure", 200), ("ttl", 200), ("off", 502)] {
        nginx.rewrite("nginx.conf", &with(mode));
        nginx.reload();
        assert_eq!(nginx.fetch("/").reply.status, status, "{mode}");
        nginx.reload();
        assert_eq!(nginx.fetch("/").reply.status, status, "{mode}");
    }
}

#[test]
fn quit() {
    let waiting = Waiting::start();
    let nginx = waiting.nginx().start();
    let mut clients = waiting.clients(&nginx);
    nginx.signal(libc::SIGQUIT);
    nginx.wait_for_error("gracefully shutting down");
    waiting.all_are_answered(&mut clients);
}

/// Nobody waits any more, but DNS has not answered: that keeps no worker.
#[test]
fn quit_with_only_a_question_in_flight() {
    for mode in ["failure", "ttl"] {
        let waiting = Waiting::start();
        let nginx = waiting.nginx().set("resolve", format!("{mode} wait=0 timeout=50s")).start();
        drop(nginx.get("/"));
        waiting.moved.wait_until_asked(1);
        nginx.logged();
        nginx.stop();
    }
}

/// Nor does an answer that will be due.
#[test]
fn quit_with_an_alarm_set() {
    let moved = Moved::start();
    let nginx = moved.nginx().set("resolve", "ttl").start();
    until_answered(&nginx, "new");
    let since = std::time::Instant::now();
    nginx.stop();
    assert!(since.elapsed() < wait::patience() / 3, "{:?}", since.elapsed());
}

#[test]
fn terminate() {
    let waiting = Waiting::start();
    let nginx = waiting.nginx().start();
    let mut clients = waiting.clients(&nginx);
    nginx.signal(libc::SIGTERM);
    for client in &mut clients {
        assert!(client.try_read("GET").is_none());
    }
}

#[test]
fn worker_shutdown_timeout() {
    for how in ["reload", "quit"] {
        let waiting = Waiting::start();
        let nginx = waiting.nginx().main("worker_shutdown_timeout 200ms;").start();
        let clients = waiting.clients(&nginx);
        let old = nginx.workers();
        if how == "reload" {
            nginx.reload_while_busy();
            gone(&nginx, &old);
        } else {
            nginx.signal(libc::SIGQUIT);
        }
        for mut client in clients {
            client.read_to_end();
        }
    }
}

#[test]
fn binary_upgrade() {
    let waiting = Waiting::start();
    let mut nginx = waiting.nginx().daemon().start();
    let mut clients = waiting.clients(&nginx);
    waiting.all_are_answered(&mut clients);
    drop(clients);
    nginx.upgrade();
    for _ in 0..5 {
        nginx.logged();
    }
    answered(&nginx, "new");
}

#[test]
fn single_process() {
    let waiting = Waiting::start();
    let nginx = waiting.nginx().single_process().start();
    let mut clients = waiting.clients(&nginx);
    waiting.all_are_answered(&mut clients);
    drop(clients);
    for _ in 0..5 {
        nginx.logged();
    }
    let seen = answered(&nginx, "new");
    assert_eq!(seen.line.field("upstream_addr"), waiting.moved.now().to_string());
}

#[test]
fn single_process_ends_with_requests_waiting() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let waiting = Waiting::start();
        let nginx = waiting.nginx().single_process().start();
        let clients = waiting.clients(&nginx);
        nginx.signal(signal);
        for mut client in clients {
            client.read_to_end();
        }
    }
}

/// A worker dies with requests that wait; the next one knows nothing and asks again.
#[test]
fn a_worker_is_killed() {
    let waiting = Waiting::start();
    let nginx = waiting.nginx().allow_alert("exited on signal 9").start();
    let clients = waiting.clients(&nginx);
    let old = nginx.workers();
    // SAFETY: a worker of this test's own nginx.
    unsafe { libc::kill(old[0], libc::SIGKILL) };
    for mut client in clients {
        assert!(client.try_read("GET").is_none());
    }
    gone(&nginx, &old);
    waiting.gate.open();
    nginx.serving();
    answered(&nginx, "new");
    waiting.moved.wait_until_asked(2);
}

/// Each worker asks for itself; the cache manager and the cache loader for nobody.
#[test]
fn only_workers_ask() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
    let cache = "proxy_cache_path %dir%/cache keys_zone=c:1m loader_threshold=10ms;";
    let nginx = moved.nginx().workers(2).set("beside", cache).set("location", "proxy_cache c;");
    let nginx = nginx.set("resolve", "ttl min=100s").start();
    // A minimum of 100 s: each is due once, within it, or when it fails.
    for _ in 0..50 {
        until_answered(&nginx, "new");
    }
    let asked = rounds(&moved.dns, "app.test", Kind::A);
    assert!(asked <= 2 || env::valgrind(), "{:?}", moved.dns.questions());
}

/// `nginx -t`, with a name that nobody knows at the time, is no matter of ours.
#[test]
fn a_test_of_the_configuration_asks_nobody() {
    let moved = Moved::start();
    let checked = moved.nginx().set("resolve", "ttl").check();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    assert!(moved.dns.questions().is_empty());
}
