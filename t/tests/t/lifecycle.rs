//! Reloads, upgrades, ends: a diagnosis for every request, whichever process serves it.

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Client, Gate, LogLine, Nginx, Reply, Running, Step, env, wait};

use crate::expect::{Failure, ended, nothing};

const REFUSED: &str = "connect() failed (111: Connection refused)";
const CLOSED: &str = "upstream prematurely closed connection";

/// A frame whose `http {}` a test rewrites; `%load%` stays under its control.
fn frame(load: &str, http: &str) -> String {
    format!(
        "{load}\ndaemon %daemon%; master_process %master%; pid %dir%/nginx.pid;
         error_log %dir%/error.log notice; events {{ worker_connections 64; }}
         http {{ %paths% {http} }}\n"
    )
}

/// Everything on, and one server in an upstream block.
const ON: &str = "%log% %probe% %on% upstream backend { server %backend%; }
    server { listen %listen%; location / { proxy_pass http://backend; } }";
/// Nothing of the module's, not even in the log.
const PLAIN: &str = "%probe% access_log off; upstream backend { server %backend%; }
    server { listen %listen%; location / { proxy_pass http://backend; } }";

fn refused(dead: &Dead) -> Failure<'_> {
    let failure = Failure::of(dead.address(), "connection_refused", "connect");
    Failure { errno: "ECONNREFUSED", message: REFUSED, ..failure }
}

fn diagnoses(nginx: &Running, dead: &Dead) {
    ended(&nginx.fetch("/"), 502, "failed", &[refused(dead)]);
}

/// A back end that reads a request and closes without an answer when told to.
fn closing(gate: &Gate) -> Backend {
    Backend::script([Step::ReadRequest, Step::Wait(gate.clone()), Step::Close])
}

/// What the client in flight has got in the end, and the log says, is that nobody answered.
fn ended_unanswered(mut client: Client, line: impl FnOnce() -> LogLine, backend: &Backend) {
    let reply = client.read("GET");
    let failure = Failure::of(backend.address(), "closed_before_header", "header");
    let seen = nginx_test::Seen { reply, line: line() };
    ended(&seen, 502, "failed", &[Failure { message: CLOSED, ..failure }]);
}

#[test]
fn reload() {
    let dead = Dead::refusing();
    let nginx = Nginx::raw(&frame("%load%", ON)).set("backend", &dead).start();
    for _ in 0..3 {
        diagnoses(&nginx, &dead);
        nginx.reload();
    }
    diagnoses(&nginx, &dead);
}

#[test]
fn reload_with_a_request_in_flight() {
    let gate = Gate::new();
    let backend = closing(&gate);
    let nginx = Nginx::raw(&frame("%load%", ON)).set("backend", &backend).start();
    let mut clients: Vec<_> = (0..2).map(|_| nginx.connect()).collect();
    for client in &mut clients {
        client.start("/");
    }
    backend.wait_for_connections(2);
    nginx.reload_while_busy();
    gate.open();
    for client in clients {
        ended_unanswered(client, || nginx.logged(), &backend);
    }
    // The new worker's own.
    let mut client = nginx.connect();
    client.start("/");
    ended_unanswered(client, || nginx.logged(), &backend);
}

#[test]
fn reload_changes_the_settings() {
    let dead = Dead::refusing();
    let mut nginx = Nginx::raw(&frame("%load%", ON)).set("backend", &dead).start();
    diagnoses(&nginx, &dead);
    let renamed = ON.replace("%on%", "%on% upstream_diagnosis_header X-Why;");
    let off = ON.replace("%on%", "upstream_diagnosis off;");
    for (conf, header) in
        [(renamed.as_str(), Some("X-Why")), (&off, None), (&renamed, Some("X-Why"))]
    {
        nginx.rewrite("nginx.conf", &frame("%load%", conf));
        nginx.reload();
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502);
        assert_eq!(seen.reply.list("X-Why").len(), usize::from(header.is_some()));
        assert_eq!(seen.line.diagnosis.is_some(), header.is_some());
        assert!(seen.reply.members().is_empty());
    }
}

/// A bad configuration changes nothing, not even for the workers that the master makes later.
fn survives_a_bad_reload(good: &str, bad: &str, words: &str, load: &str, check: impl Fn(&Running)) {
    let nginx = Nginx::raw(&frame(load, good)).allow_alert(words);
    let dead = Dead::refusing();
    let mut nginx = nginx.set("backend", &dead).start();
    check(&nginx);
    nginx.rewrite("nginx.conf", bad);
    nginx.signal(libc::SIGHUP);
    nginx.wait_for_error(words);
    check(&nginx);
    let old = nginx.serving();
    // SAFETY: a worker of this test's own nginx, which ends orderly.
    unsafe { libc::kill(old, libc::SIGTERM) };
    wait::until("another worker", || (nginx.serving() != old).then_some(()));
    check(&nginx);
}

#[test]
fn reload_to_a_bad_configuration() {
    let bad = frame("%load%", &ON.replace("%on%", "%on% upstream_diagnosis_trust nobody;"));
    let words = "invalid value \"nobody\" in";
    survives_a_bad_reload(ON, &bad, words, "%load%", |nginx| {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.causes(), ["connection_refused"]);
    });
    // Noticed only when all of http {} has been read and set up.
    let bad = frame("%load%", ON) + "nonsense;";
    survives_a_bad_reload(ON, &bad, "unknown directive \"nonsense\"", "%load%", |nginx| {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.causes(), ["connection_refused"]);
    });
}

/// The failed configuration has turned the module on: nothing of that may last.
#[test]
fn reload_from_off_to_a_bad_configuration() {
    let off = ON.replace("%on%", "");
    let bad = frame("%load%", ON) + "nonsense;";
    survives_a_bad_reload(&off, &bad, "unknown directive \"nonsense\"", "%load%", |nginx| {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502);
        nothing(&seen);
    });
}

/// The same with a configuration that turns it off.
#[test]
fn reload_from_on_to_a_bad_configuration_that_is_off() {
    let bad = frame("%load%", &ON.replace("%on%", "")) + "nonsense;";
    survives_a_bad_reload(ON, &bad, "unknown directive \"nonsense\"", "%load%", |nginx| {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.causes(), ["connection_refused"]);
    });
}

fn is_plain(reply: &Reply) {
    assert_eq!((reply.status, reply.header("X-Upstream-Diagnosis")), (502, None), "{reply}");
}

#[test]
fn reload_that_removes_the_module() {
    let (gate, dead) = (Gate::new(), Dead::refusing());
    let backend = closing(&gate);
    let both = ON.replace("location /", "location /slow { proxy_pass http://%slow%; } location /");
    let nginx = Nginx::raw(&frame("%load%", &both)).set("backend", &dead).set("slow", &backend);
    let mut nginx = nginx.start();
    let module = nginx.address("load").to_owned();
    diagnoses(&nginx, &dead);
    let mut client = nginx.connect();
    client.start("/slow");
    backend.wait_for_connections(1);
    nginx.rewrite("nginx.conf", &frame("", PLAIN));
    nginx.reload_while_busy();
    // Until then the old worker accepts connections too.
    nginx.wait_for_error("gracefully shutting down");
    is_plain(&nginx.get("/"));
    // The old worker has not forgotten the module.
    gate.open();
    let reply = client.read("GET");
    assert_eq!(reply.causes(), ["closed_before_header"]);
    assert_eq!(nginx.logged().diagnosis().cause, "closed_before_header");
    is_plain(&nginx.get("/"));

    nginx.rewrite("nginx.conf", &frame(&module, ON));
    nginx.reload();
    diagnoses(&nginx, &dead);
}

#[test]
fn reload_that_adds_the_module() {
    let dead = Dead::refusing();
    let nginx = Nginx::raw(&frame("%load%", PLAIN)).bare().set("backend", &dead);
    let mut nginx = nginx.start();
    is_plain(&nginx.get("/"));
    let log = "access_log %dir%/w.log w;";
    let on = PLAIN.replace(
        "%probe%",
        &format!("%probe% log_format w '$upstream_diagnosis_cause'; {log} upstream_diagnosis on;"),
    );
    let on = on.replace("access_log off;", "");
    let load = format!("load_module {};", env::module().display());
    nginx.rewrite("nginx.conf", &frame(&load, &on));
    nginx.reload();
    assert_eq!(nginx.get("/").causes(), ["connection_refused"]);
    let path = nginx.dir().join("w.log");
    let line = wait::until("a log line", || {
        std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
    });
    assert_eq!(line, "connection_refused\n");
    nginx.rewrite("nginx.conf", &frame("", PLAIN));
    nginx.reload();
    is_plain(&nginx.get("/"));
}

#[test]
fn binary_upgrade() {
    let dead = Dead::refusing();
    let mut nginx = Nginx::raw(&frame("%load%", ON)).daemon().set("backend", &dead).start();
    diagnoses(&nginx, &dead);
    nginx.upgrade();
    diagnoses(&nginx, &dead);
    nginx.reload();
    diagnoses(&nginx, &dead);
}

#[test]
fn several_workers() {
    let dead = Dead::refusing();
    let nginx = Nginx::location("proxy_pass http://%backend%;").workers(2);
    let nginx = nginx.set("backend", &dead).start();
    for _ in 0..10 {
        assert_eq!(nginx.fetch("/").reply.causes(), ["connection_refused"]);
    }
}

#[test]
fn single_process() {
    let dead = Dead::refusing();
    let nginx = Nginx::raw(&frame("%load%", ON)).single_process().set("backend", &dead).start();
    diagnoses(&nginx, &dead);
}

/// The only reload there is for a single process: nginx cannot serve a new configuration then.
#[test]
fn single_process_reload_to_a_bad_configuration() {
    let dead = Dead::refusing();
    let off = ON.replace("%on%", "");
    let words = "unknown directive \"nonsense\"";
    for (good, cause) in [(ON, Some("connection_refused")), (&off, None)] {
        let nginx = Nginx::raw(&frame("%load%", good)).single_process().allow_alert(words);
        let mut nginx = nginx.set("backend", &dead).start();
        nginx.rewrite("nginx.conf", &(frame("%load%", ON) + "nonsense;"));
        nginx.signal(libc::SIGHUP);
        // A single process looks for signals after each event, and then waits for the next one
        // without looking again (ngx_single_process_cycle).
        drop(nginx.connect());
        nginx.wait_for_error(words);
        assert_eq!(nginx.fetch("/").reply.causes(), Vec::from_iter(cause));
    }
}

#[test]
fn quit_with_requests_in_flight() {
    let gate = Gate::new();
    let backend = closing(&gate);
    let nginx = Nginx::raw(&frame("%load%", ON)).set("backend", &backend).start();
    let mut client = nginx.connect();
    client.start("/");
    backend.wait_for_connections(1);
    nginx.signal(libc::SIGQUIT);
    nginx.wait_for_error("gracefully shutting down");
    gate.open();
    ended_unanswered(client, || nginx.logged(), &backend);
}

#[test]
fn quit_with_an_answer_in_flight() {
    let gate = Gate::new();
    let answer = Step::Write(http::ok("in the end"));
    let backend = Backend::script([Step::ReadRequest, Step::Wait(gate.clone()), answer]);
    let nginx = Nginx::raw(&frame("%load%", ON)).set("backend", &backend).start();
    let mut client = nginx.connect();
    client.start("/");
    backend.wait_for_connections(1);
    nginx.signal(libc::SIGQUIT);
    nginx.wait_for_error("gracefully shutting down");
    gate.open();
    let reply = client.read("GET");
    assert_eq!(reply.text(), "in the end");
    nothing(&nginx_test::Seen { reply, line: nginx.logged() });
}

/// nginx closes what is left after that time; the requests end as they do without the module.
#[test]
fn worker_shutdown_timeout() {
    let end = |bare: bool| {
        let gate = Gate::new();
        let backend = closing(&gate);
        let nginx = Nginx::location("proxy_pass http://%backend%;");
        let nginx = nginx.main("worker_shutdown_timeout 100ms;").set("backend", &backend);
        let nginx = if bare { nginx.bare() } else { nginx }.start();
        let mut client = nginx.connect();
        client.start("/");
        backend.wait_for_connections(1);
        let old = nginx.workers();
        nginx.reload_while_busy();
        wait::until("the old worker's end", || {
            let now = nginx.workers();
            (!old.iter().any(|pid| now.contains(pid))).then_some(())
        });
        let line = nginx.logged();
        let reply = client.try_read("GET").map(|reply| reply.status);
        (reply, line.field("status").to_owned(), line.diagnosis)
    };
    let (reply, status, none) = end(true);
    assert!(none.is_none());
    let (with_reply, with_status, diagnosis) = end(false);
    assert_eq!((with_reply, &with_status), (reply, &status));
    // Nobody but nginx ended it: whatever is said, it is not the upstream's fault.
    if let Some(diagnosis) = diagnosis {
        assert_eq!((diagnosis.outcome.as_str(), status.as_str()), ("aborted", "499"));
    }
}

#[test]
fn terminated_with_requests_in_flight() {
    let gate = Gate::new();
    let backend = closing(&gate);
    let nginx = Nginx::raw(&frame("%load%", ON)).set("backend", &backend).start();
    let mut clients: Vec<_> = (0..3).map(|_| nginx.connect()).collect();
    for client in &mut clients {
        client.start("/");
    }
    backend.wait_for_connections(3);
    nginx.signal(libc::SIGTERM);
    for client in &mut clients {
        assert!(client.try_read("GET").is_none());
    }
}
