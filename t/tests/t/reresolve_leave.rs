//! Clients that leave while their request waits for DNS: nothing of it stays.

use std::process::{Command, Stdio};

use nginx_test::backend::{Dead, http};
use nginx_test::dns::Zone;
use nginx_test::{Backend, Gate, LogLine, Nginx, Running, wait};

use crate::moved::{Moved, until_answered};

/// A moved name whose DNS answers when the gate opens, and a server that is known to be dead.
struct Held {
    moved: Moved,
    gate: Gate,
    dead: Dead,
}

impl Held {
    fn start() -> Self {
        let (moved, gate) = (Moved::start(), Gate::new());
        moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
        Self { moved, gate, dead: Dead::refusing() }
    }

    /// With these further locations.
    fn nginx(&self, more: &str) -> Nginx {
        let server = "location /dead { proxy_pass http://%dead%; }";
        self.moved
            .nginx()
            .set("resolve", "failure wait=50s timeout=50s")
            .set("server", format!("{server} {more}"))
            .set("dead", &self.dead)
    }

    /// Clients come and go by `leave`; afterwards the worker has what it had before.
    fn nothing_stays(&self, nginx: &Running, leave: impl FnOnce()) {
        let before = free(nginx);
        leave();
        self.gate.open();
        wait::until("descriptors and connections to be given back", || {
            (free(nginx) == before).then_some(())
        });
        until_answered(nginx, "new");
    }
}

/// Descriptors and connections that the worker has left, as a request sees it that fails at a
/// literal address.
fn free(nginx: &Running) -> [u64; 2] {
    let seen = nginx.fetch("/dead");
    let attempt = seen.diagnosis().attempt().clone();
    ["fd_free", "conn_free"].map(|name| attempt.headroom(name).unwrap())
}

/// A request that was given up by its client.
fn given_up(line: &LogLine, held: &Held) {
    assert_eq!(line.field("status"), "499");
    assert_eq!(line.field("upstream_addr"), held.moved.then().to_string());
}

#[test]
fn clients_leave() {
    for how in ["close", "reset"] {
        let held = Held::start();
        let nginx = held.nginx("").start();
        held.nothing_stays(&nginx, || {
            let mut clients: Vec<_> = (0..40).map(|_| nginx.connect()).collect();
            for client in &mut clients {
                client.start("/");
            }
            held.moved.wait_until_failed(&nginx, 40);
            for client in clients {
                if how == "reset" {
                    client.reset();
                }
            }
            for _ in 0..40 {
                given_up(&nginx.logged(), &held);
            }
        });
    }
}

/// Some stay, and are answered.
#[test]
fn some_clients_leave() {
    let held = Held::start();
    let nginx = held.nginx("").start();
    held.nothing_stays(&nginx, || {
        let mut clients: Vec<_> = (0..20).map(|_| nginx.connect()).collect();
        for client in &mut clients {
            client.start("/");
        }
        held.moved.wait_until_failed(&nginx, 20);
        let mut stay = clients.split_off(10);
        drop(clients);
        for _ in 0..10 {
            given_up(&nginx.logged(), &held);
        }
        held.gate.open();
        for client in &mut stay {
            assert_eq!(client.read("GET").text(), "new");
            assert_eq!(nginx.logged().field("upstream_addr"), held.moved.both());
        }
    });
}

#[test]
fn an_http2_client_leaves() {
    let held = Held::start();
    let nginx = held.nginx("listen %listen_h2% http2;").start();
    let url = format!("http://{}/", nginx.address("listen_h2"));
    held.nothing_stays(&nginx, || {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--no-progress-meter",
            "--noproxy",
            "*",
            "--http2-prior-knowledge",
            "--parallel",
        ]);
        let mut curl = curl.args([&url, &url, &url]).stdout(Stdio::null()).spawn().unwrap();
        held.moved.wait_until_asked(1);
        curl.kill().unwrap();
        curl.wait().unwrap();
        given_up(&nginx.logged(), &held);
    });
}

/// Each of them waits in a subrequest.
#[test]
fn clients_of_subrequests_leave() {
    let page = "<!--# include virtual=\"/part/1\" --> <!--# include virtual=\"/part/2\" -->";
    let page = http::response(200, &["Content-Type: text/html"], page.as_bytes());
    let page = Backend::answering(page);
    for path in ["/page", "/checked", "/copied"] {
        let held = Held::start();
        let nginx = held.nginx(
            "location /page { ssi on; proxy_pass http://%page%; }
             location /part { proxy_pass http://backend; }
             location /checked { auth_request /part; proxy_pass http://%page%; }
             location /copied { mirror /part; proxy_pass http://%page%; }",
        );
        let nginx = nginx.set("page", &page).start();
        held.nothing_stays(&nginx, || {
            let mut clients: Vec<_> = (0..5).map(|_| nginx.connect()).collect();
            for client in &mut clients {
                client.start(path);
            }
            held.moved.wait_until_failed(&nginx, 5);
            drop(clients);
            // nginx looks for the client of the main request only, so the end of the others may
            // be that of their wait.
            held.gate.open();
            for _ in 0..5 {
                nginx.logged();
            }
        });
    }
}

/// They stay: each subrequest is answered by the new host.
#[test]
fn subrequests_wait() {
    let page =
        "begin <!--# include virtual=\"/part/1\" --> <!--# include virtual=\"/part/2\" --> end";
    let page = http::response(200, &["Content-Type: text/html"], page.as_bytes());
    let page = Backend::answering(page);
    for (path, text) in [
        ("/page", "begin new new end"),
        ("/checked", "begin <!--# include"),
        ("/copied", "begin <!--# include"),
    ] {
        let held = Held::start();
        let nginx = held.nginx(
            "location /page { ssi on; proxy_pass http://%page%; }
             location /part { proxy_pass http://backend; }
             location /checked { auth_request /part; proxy_pass http://%page%; }
             location /copied { mirror /part; proxy_pass http://%page%; }",
        );
        let nginx = nginx.set("page", &page).start();
        let mut client = nginx.connect();
        client.start(path);
        held.moved.wait_until_asked(1);
        held.gate.open();
        let reply = client.read("GET");
        assert_eq!(reply.status, 200);
        assert!(reply.text().starts_with(text), "{path}: {}", reply.text());
        drop(client);
        let line = nginx.logged();
        let diagnosis = line.diagnosis();
        assert_eq!(diagnosis.outcome, "recovered", "{}", diagnosis.raw);
        let parts = if path == "/page" { 2 } else { 1 };
        assert_eq!(diagnosis.causes(), vec!["connection_refused"; parts]);
        for attempt in &diagnosis.attempts {
            assert_eq!(attempt.text("dns"), Some("stale"), "{}", diagnosis.raw);
            assert!(attempt.flag("retried"), "{}", diagnosis.raw);
        }
        assert_eq!(held.moved.new.requests(), parts);
    }
}

#[test]
fn a_client_leaves_after_the_wait() {
    let held = Held::start();
    let nginx = held.nginx("location /held { proxy_pass http://backend; }").start();
    held.nothing_stays(&nginx, || {
        let mut client = nginx.connect();
        client.start("/held");
        held.moved.wait_until_asked(1);
        held.gate.open();
        wait::until("the request at the new host", || {
            (held.moved.new.requests() == 1).then_some(())
        });
        drop(client);
        let line = nginx.logged();
        assert_eq!(line.field("status"), "499");
        assert_eq!(line.field("upstream_addr"), held.moved.both());
        held.moved.new.gate().open();
    });
}

/// A server may have one connection. Whoever waits has none, and whoever leaves gives it back.
#[test]
fn no_place_stays_taken() {
    let held = Held::start();
    let nginx = held.nginx("location /held { proxy_pass http://backend; }");
    let nginx = nginx.set("port", format!("{} max_conns=1", held.moved.port)).start();
    held.nothing_stays(&nginx, || {
        let mut clients: Vec<_> = (0..5).map(|_| nginx.connect()).collect();
        for (count, client) in clients.iter_mut().enumerate() {
            client.start("/held");
            held.moved.wait_until_failed(&nginx, count + 1);
        }
        let last = clients.pop().unwrap();
        drop(clients);
        for _ in 0..4 {
            given_up(&nginx.logged(), &held);
        }
        held.gate.open();
        wait::until("the request at the new host", || {
            (held.moved.new.requests() == 1).then_some(())
        });
        let seen = nginx.fetch("/");
        assert_eq!(seen.diagnosis().causes(), ["peers_at_limit"]);
        drop(last);
        assert_eq!(nginx.logged().field("status"), "499");
        held.moved.new.gate().open();
        for _ in 0..3 {
            until_answered(&nginx, "new");
        }
    });
}

/// nginx goes on without the client, and so does the wait.
#[test]
fn clients_that_need_not_stay() {
    let held = Held::start();
    let nginx = held.nginx("").set("location", "proxy_ignore_client_abort on;").start();
    held.nothing_stays(&nginx, || {
        let mut client = nginx.connect();
        client.start("/");
        held.moved.wait_until_failed(&nginx, 1);
        drop(client);
        held.gate.open();
        let line = nginx.logged();
        assert_eq!(line.field("upstream_addr"), held.moved.both());
        assert_eq!(held.moved.new.requests(), 1);
    });
}
