//! A bug of the module costs a request its diagnosis, and nothing else: every callback is made to
//! panic (`upstream_diagnosis_test_panic`, only in the build for these tests).

use nginx_test::backend::Dead;
use nginx_test::{Backend, Nginx, Reply, Running, Step, wait};

const ALERT: &str = "upstream diagnosis: internal error at ";

/// `%listen%` panics at one point; `%listen_sane%` does not. `own.log` holds what is logged.
fn panicking(point: &str) -> Nginx {
    let http = "log_format own escape=none '$status $upstream_diagnosis_json';
        access_log %dir%/own.log own;
        server { listen %listen%; upstream_diagnosis_test_panic %point%;
          location / { proxy_pass http://%dead%; }
          location /short { proxy_pass http://%short%; proxy_buffering off; }
          location /fine { proxy_pass http://%fine%; }
          location /missing { root %dir%; } }
        server { listen %listen_sane%;
          location / { proxy_pass http://%dead%; }
          location /short { proxy_pass http://%short%; proxy_buffering off; } }";
    Nginx::http(http).set("point", point).set("log", "").allow_alert(ALERT)
}

struct World {
    dead: Dead,
    short: Backend,
    fine: Backend,
}

impl World {
    fn new() -> Self {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec();
        Self {
            dead: Dead::refusing(),
            short: Backend::script([Step::ReadRequest, Step::Write(head), Step::Close]),
            fine: Backend::ok("fine"),
        }
    }

    fn start(&self, nginx: Nginx) -> Running {
        let nginx = nginx.set("dead", &self.dead).set("short", &self.short);
        nginx.set("fine", &self.fine).start()
    }
}

/// The n-th line of the own log: status, and the JSON as it was written.
fn logged(nginx: &Running, count: usize) -> Vec<String> {
    let path = nginx.dir().join("own.log");
    wait::until(&format!("{count} lines"), || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (text.ends_with('\n') && lines.len() >= count).then_some(lines)
    })
}

fn alerts(nginx: &Running) -> usize {
    nginx.error_log().lines().filter(|line| line.contains("[alert]")).count()
}

/// What a client sees but for our header.
fn without_ours(reply: &Reply) -> (u16, Vec<u8>, bool, Vec<String>) {
    let names = reply.headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned());
    let names = names.filter(|name| name != "X-Upstream-Diagnosis").collect();
    (reply.status, reply.body.clone(), reply.complete, names)
}

/// Requests that reach every point, answered as if the module were not there.
fn answered_as_ever(nginx: &Running, world: &World) -> Vec<Reply> {
    let plain = world.start(panicking("rewrite").set("point", "rewrite").off());
    let paths = ["/", "/", "/fine", "/missing/x", "/short", "/"];
    let replies: Vec<Reply> = paths.iter().map(|path| nginx.get(path)).collect();
    for (path, reply) in paths.iter().zip(&replies) {
        let expected = plain.get(path);
        assert_eq!(without_ours(reply), without_ours(&expected), "{path}");
    }
    replies
}

/// After a panic the same worker still diagnoses whatever does not make it panic.
fn others_are_diagnosed(nginx: &Running) {
    let sane = nginx.address("listen_sane");
    for _ in 0..2 {
        let reply = nginx_test::Client::connect(sane).get("/");
        assert_eq!((reply.status, reply.causes()), (502, vec!["connection_refused".to_owned()]));
    }
}

/// One `[alert]` line per worker, whatever number of panics.
fn survives(point: &str) -> (Vec<Reply>, Vec<String>) {
    let world = World::new();
    let nginx = world.start(panicking(point));
    let replies = answered_as_ever(&nginx, &world);
    let lines = logged(&nginx, replies.len());
    others_are_diagnosed(&nginx);
    let alert = nginx.wait_for_error(ALERT);
    assert!(alert.ends_with(", the request goes on without a diagnosis"), "{alert}");
    assert_eq!(alerts(&nginx), 1, "{}", nginx.error_log());
    let said = nginx.error_log();
    let refused = said.lines().filter(|line| line.contains("(111: Connection refused)"));
    for line in refused {
        let whole = "while connecting to upstream, client: 127.0.0.1, server: , request: \"GET / ";
        assert!(line.contains(whole), "{line}");
    }
    (replies, lines)
}

/// Without its log handler the module has not seen why: at most it says that something was.
#[test]
fn rewrite() {
    let (replies, lines) = survives("rewrite");
    for (reply, line) in replies.iter().zip(&lines) {
        assert!(matches!(&reply.causes()[..], [] | [_]), "{reply}");
        assert!(reply.causes().iter().all(|cause| cause == "other"), "{reply}");
        let harmless = line.ends_with(" null") || line.contains(r#""cause":"other""#);
        assert!(harmless, "{line}");
    }
}

#[test]
fn log_handler() {
    let (replies, lines) = survives("log_handler");
    for (reply, line) in replies.iter().zip(&lines) {
        assert!(reply.causes().iter().all(|cause| cause == "other"), "{reply}");
        let harmless = line.ends_with(" null") || line.contains(r#""cause":"other""#);
        assert!(harmless, "{line}");
    }
}

#[test]
fn header_filter() {
    let (replies, lines) = survives("header_filter");
    for (reply, line) in replies.iter().zip(&lines) {
        assert_eq!(reply.header("X-Upstream-Diagnosis"), None);
        let status = format!("{} ", reply.status);
        assert!(line.starts_with(&status), "{line}");
    }
    assert!(lines[0].contains(r#""cause":"connection_refused""#), "{}", lines[0]);
    assert!(lines[2].ends_with(" null"), "{}", lines[2]);
}

/// Only a failure in the body needs the end to be watched.
#[test]
fn finalize() {
    let (replies, lines) = survives("finalize");
    assert_eq!(replies[0].causes(), ["connection_refused"]);
    assert!(lines[0].contains(r#""cause":"connection_refused""#), "{}", lines[0]);
    let short = lines.iter().find(|line| line.starts_with("200 ") && !line.ends_with(" null"));
    assert_eq!(short, None);
}

/// What the header filter has seen is in the log all the same.
#[test]
fn log_phase() {
    let (replies, lines) = survives("log_phase");
    assert_eq!(replies[0].causes(), ["connection_refused"]);
    assert!(lines[0].contains(r#""cause":"connection_refused""#), "{}", lines[0]);
    assert!(lines[2].ends_with(" null"), "{}", lines[2]);
}

#[test]
fn variable() {
    let (replies, lines) = survives("variable");
    assert_eq!(replies[0].causes(), ["connection_refused"]);
    for (reply, line) in replies.iter().zip(&lines) {
        assert_eq!(*line, format!("{} null", reply.status), "a log of JSON objects stays one");
    }
}

#[test]
fn a_variable_in_a_condition() {
    let world = World::new();
    let nginx = panicking("variable").set(
        "on",
        "upstream_diagnosis on; access_log %dir%/if.log combined if=$upstream_diagnosis;
         map $upstream_diagnosis_cause $mapped { default some; '' none; }
         add_header X-Mapped $mapped always;",
    );
    let nginx = world.start(nginx);
    let reply = nginx.get("/");
    assert_eq!((reply.status, reply.header("X-Mapped").as_deref()), (502, Some("none")));
    nginx.wait_for_error(ALERT);
}

#[test]
fn each_worker_says_it_once() {
    let world = World::new();
    let nginx = world.start(panicking("log_handler").workers(2));
    let workers = nginx.workers();
    let mut pids = wait::until("both workers to panic", || {
        assert_eq!(nginx.get("/").status, 502);
        let text = nginx.error_log();
        let lines = text.lines().filter(|line| line.contains("[alert]"));
        let pids: Vec<i32> = lines.map(pid_of).collect();
        (pids.len() >= 2).then_some(pids)
    });
    for _ in 0..20 {
        assert_eq!(nginx.get("/").status, 502);
    }
    assert_eq!(alerts(&nginx), 2, "{}", nginx.error_log());
    pids.sort_unstable();
    let mut expected = workers;
    expected.sort_unstable();
    assert_eq!(pids, expected);
}

/// `2026/01/01 00:00:00 [alert] 12#12: …`
fn pid_of(line: &str) -> i32 {
    line.split("] ").nth(1).and_then(|rest| rest.split('#').next()?.parse().ok()).unwrap()
}

#[test]
fn in_a_single_process() {
    let world = World::new();
    let nginx = world.start(panicking("header_filter").single_process());
    for _ in 0..3 {
        assert_eq!(nginx.get("/").status, 502);
    }
    nginx.wait_for_error(ALERT);
    others_are_diagnosed(&nginx);
    assert_eq!(alerts(&nginx), 1);
}

#[test]
fn an_unknown_point_is_refused() {
    let checked = Nginx::http("\nupstream_diagnosis_test_panic nowhere;\n").check();
    assert_eq!(checked.code, Some(1));
    let place = checked.place_of("nowhere");
    let expected = format!("[emerg] invalid value \"nowhere\" in {place}\n");
    assert!(checked.stderr.contains(&expected), "{}", checked.stderr);
}
