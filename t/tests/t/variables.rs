//! The variables: their values, when there are none, and when they are read.

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Nginx, Running, Step, wait};

use crate::expect::{Failure, logged, nothing};

/// The lines of a log of the test's own, as soon as there are so many.
fn lines(nginx: &Running, count: usize) -> Vec<String> {
    let path = nginx.dir().join("own.log");
    wait::until(&format!("{count} lines in own.log"), || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let complete = text.ends_with('\n') && text.lines().count() >= count;
        complete.then(|| text.lines().map(str::to_owned).collect())
    })
}

/// `/` fails, `/fine` does not; `%own%` is the format of own.log.
fn with_format(format: &str, escape: &str, dead: &Dead, fine: &Backend) -> Nginx {
    let nginx = Nginx::http(
        "log_format own escape=%escape% '%own%'; access_log %dir%/own.log own %if%;
         upstream backend { server %dead%; } %more%
         server { listen %listen%;
           location / { proxy_pass http://backend; }
           location /fine { proxy_pass http://%fine%; }
           location /static { return 204; } }",
    );
    let nginx = nginx.set("log", "").set("own", format).set("escape", escape).set("if", "");
    nginx.set("more", "").set("dead", dead).set("fine", fine)
}

const ALL: &str = "$upstream_diagnosis|$upstream_diagnosis_cause|$upstream_diagnosis_phase|\
    $upstream_diagnosis_outcome|$upstream_diagnosis_server|$upstream_diagnosis_address|\
    $upstream_diagnosis_errno|$upstream_diagnosis_limit|$upstream_diagnosis_advice|\
    $upstream_diagnosis_attempts|$upstream_diagnosis_fd_free|$upstream_diagnosis_fd_limit|\
    $upstream_diagnosis_conn_free|$upstream_diagnosis_conn_limit";

#[test]
fn each_has_its_value() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let nginx = with_format(ALL, "none", &dead, &fine).start();
    let reply = nginx.get("/");
    let member = reply.member();
    let line = lines(&nginx, 1).remove(0);
    let values: Vec<&str> = line.split('|').collect();
    let number = |name: &str| member.integer(name).unwrap().to_string();
    let advice = format!("nothing listens on {dead}; ");
    assert!(values[8].starts_with(&advice), "{line}");
    let expected = [
        &reply.header("X-Upstream-Diagnosis").unwrap(),
        "connection_refused",
        "connect",
        "failed",
        dead.address(),
        dead.address(),
        "ECONNREFUSED",
        "",
        values[8],
        "1",
        &number("fd-free"),
        &number("fd-limit"),
        &number("conn-free"),
        &number("conn-limit"),
    ];
    assert_eq!(values, expected);
}

#[test]
fn none_is_found_without_a_failure() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let count = ALL.split('|').count();
    for on in ["upstream_diagnosis on;", ""] {
        for (escape, empty) in [("none", ""), ("json", ""), ("default", "-")] {
            let nginx = with_format(ALL, escape, &dead, &fine).set("on", on).start();
            let paths: &[&str] = if on.is_empty() {
                &["/", "/fine", "/static", "/static/x"]
            } else {
                &["/fine", "/static", "/fine/x"]
            };
            for path in paths {
                let _ = nginx.get(path);
            }
            for line in lines(&nginx, paths.len()) {
                assert_eq!(line, vec![empty; count].join("|"), "{on} {escape}");
            }
        }
    }
}

#[test]
fn the_object_is_null_without_a_failure() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let format = "$uri $upstream_diagnosis_json";
    for escape in ["none", "json", "default"] {
        let nginx = with_format(format, escape, &dead, &fine).start();
        for path in ["/fine", "/static", "/"] {
            let _ = nginx.get(path);
        }
        let lines = lines(&nginx, 3);
        assert_eq!(lines[..2], ["/fine null", "/static null"], "{escape}");
        assert!(lines[2].starts_with("/ {"), "{}", lines[2]);
    }
    let nginx = with_format(format, "none", &dead, &fine).set("on", "").start();
    let _ = nginx.get("/");
    assert_eq!(lines(&nginx, 1), ["/ null"]);
}

#[test]
fn a_condition_logs_failures_only() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    for variable in ["", "_cause", "_outcome", "_attempts", "_errno"] {
        let condition = format!("if=$upstream_diagnosis{variable}");
        let nginx = with_format("$uri", "none", &dead, &fine).set("if", condition).start();
        for path in ["/fine", "/one", "/static", "/fine", "/two", "/fine"] {
            let _ = nginx.get(path);
        }
        assert_eq!(lines(&nginx, 2), ["/one", "/two"], "{variable}");
    }
}

#[test]
fn a_map_reads_them() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let map = "map $upstream_diagnosis_cause $team { '' nobody; ~^connection_ network; }
        map $upstream_diagnosis_outcome $loggable { failed 1; default 0; }";
    let nginx = with_format("$uri $team", "none", &dead, &fine).set("more", map).start();
    for path in ["/fine", "/x"] {
        let _ = nginx.get(path);
    }
    assert_eq!(lines(&nginx, 2), ["/fine nobody", "/x network"]);
    let nginx = with_format("$uri", "none", &dead, &fine).set("more", map);
    let nginx = nginx.set("if", "if=$loggable").start();
    for path in ["/fine", "/x"] {
        let _ = nginx.get(path);
    }
    assert_eq!(lines(&nginx, 1), ["/x"]);
}

#[test]
fn add_header_reads_them() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let add = "add_header X-Cause $upstream_diagnosis_cause always;
        add_header X-Json $upstream_diagnosis_json always;
        add_header X-Attempts $upstream_diagnosis_attempts always;";
    let nginx = with_format("$upstream_diagnosis_json", "none", &dead, &fine).set("more", add);
    let nginx = nginx.start();
    let failed = nginx.get("/");
    assert_eq!(failed.header("X-Cause").as_deref(), Some("connection_refused"));
    assert_eq!(failed.header("X-Attempts").as_deref(), Some("1"));
    assert_eq!(failed.header("X-Json"), lines(&nginx, 1).pop());
    let fine = nginx.get("/fine");
    assert_eq!((fine.header("X-Cause"), fine.header("X-Attempts")), (None, None));
    assert_eq!(fine.header("X-Json").as_deref(), Some("null"));
}

/// A back end that promises more than it sends, and when told to closes.
fn short(gate: &nginx_test::Gate) -> Backend {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec();
    Backend::script([Step::ReadRequest, Step::Write(head), Step::Wait(gate.clone()), Step::Close])
}

/// When the header goes out nothing has failed yet; the log must know better afterwards.
#[test]
fn an_early_look_does_not_last() {
    let gate = nginx_test::Gate::new();
    let backend = short(&gate);
    let add: String = nginx_test::conf::SCALARS
        .iter()
        .map(|name| format!("add_header X-Early{name} '[$upstream_diagnosis{name}]' always;"))
        .collect();
    let nginx = Nginx::http(
        "upstream backend { server %backend%; }
         server { listen %listen%; location / { proxy_pass http://backend;
           proxy_buffering off; add_header X-Json $upstream_diagnosis_json; %add% } }",
    );
    let nginx = nginx.set("add", add).set("backend", &backend).start();
    let mut client = nginx.connect();
    let early = client.start("/").read_header();
    assert_eq!(early.header("X-Json").as_deref(), Some("null"));
    for name in nginx_test::conf::SCALARS {
        assert_eq!(early.header(&format!("X-Early{name}")).as_deref(), Some("[]"), "{name}");
    }
    gate.open();
    let line = nginx.logged();
    let failure = Failure {
        message: "upstream prematurely closed connection",
        ..Failure::of(backend.address(), "body_truncated", "body")
    };
    let seen = nginx_test::Seen { reply: early, line };
    logged(&seen, 200, "truncated", &[Failure { status: 200, ..failure }]);
}

/// One look after the first failure, another after the second.
#[test]
fn a_look_between_two_failures_does_not_last() {
    let (first, second) = (Dead::refusing(), Backend::script([Step::ReadRequest, Step::Close]));
    let nginx = Nginx::http(
        "server { listen %listen%;
           location / { proxy_pass http://%first%; error_page 502 = @second; }
           location @second { set $seen $upstream_diagnosis_cause;
             proxy_set_header X-Why '$upstream_diagnosis_cause $upstream_diagnosis_attempts $seen';
             proxy_pass http://%second%; } }",
    );
    let nginx = nginx.set("first", &first).set("second", &second).start();
    let seen = nginx.fetch("/");
    let asked = String::from_utf8(second.received(0)).unwrap();
    let expected = "X-Why: connection_refused 1 connection_refused\r\n";
    assert!(asked.contains(expected), "{asked}");
    assert_eq!(seen.diagnosis().causes(), ["connection_refused", "closed_before_header"]);
    assert_eq!(seen.reply.causes(), ["connection_refused", "closed_before_header"]);
    assert_eq!(seen.line.field("upstream_diagnosis_attempts"), "2");
    assert_eq!(seen.line.field("upstream_diagnosis_cause"), "closed_before_header");
}

/// `error_page` with a variable; the page tells its own URI.
fn page_of(path: &str, status: u16, cause: &str) {
    let dead = Dead::refusing();
    let busy = Backend::answering(http::response(503, &[], b"theirs"));
    let nginx = Nginx::server(
        "proxy_intercept_errors on; error_page 502 503 /error/$upstream_diagnosis_cause;
         location / { proxy_pass http://%dead%; }
         location /busy { proxy_pass http://%busy%; }
         location /error { internal; return 200 $uri; }",
    );
    let nginx = nginx.set("dead", &dead).set("busy", &busy).start();
    let seen = nginx.fetch(path);
    assert_eq!((seen.reply.status, seen.reply.text()), (status, format!("/error/{cause}")));
    assert_eq!(seen.reply.causes(), [cause]);
    assert_eq!(seen.diagnosis().outcome, "failed");
}

#[test]
fn an_error_page_may_be_chosen_by_the_cause() {
    page_of("/", 502, "connection_refused");
}

/// nginx logs nothing of such a failure.
#[test]
fn an_error_page_may_be_chosen_by_an_intercepted_status() {
    page_of("/busy", 503, "upstream_status");
}

#[test]
fn attempts_are_counted_beyond_those_kept() {
    let dead = Dead::refusing();
    for count in [2, 5, 32, 33, 40] {
        let servers = "server %dead% max_fails=0;".repeat(count);
        let nginx = Nginx::http(&format!(
            "upstream backend {{ {servers} }}
             server {{ listen %listen%; location / {{ proxy_pass http://backend; }} }}"
        ));
        let nginx = nginx.set("dead", &dead).start();
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502);
        assert_eq!(seen.line.field("upstream_diagnosis_attempts"), count.to_string());
        let raw = &seen.diagnosis().raw;
        let kept = seen.diagnosis().attempts.len();
        let dropped = raw["dropped"].as_u64().unwrap_or(0) as usize;
        assert_eq!(kept + dropped, count, "{raw}");
        let members = seen.reply.members();
        assert_eq!(members[0].is("truncated"), members.len() < count);
        assert!(members.iter().rev().skip(1).all(|member| member.is("retried")));
        assert_eq!(seen.diagnosis().outcome, "failed");
    }
}

#[test]
fn in_every_location_of_a_request() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let nginx = Nginx::server(
        "location / { proxy_pass http://%dead%; error_page 502 /page; }
         location /page { return 200 '$upstream_diagnosis_cause $upstream_diagnosis_outcome'; }
         location /other { error_page 404 = @other; return 404; }
         location @other { proxy_pass http://%fine%; }",
    );
    let nginx = nginx.set("dead", &dead).set("fine", &fine).start();
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (502, "connection_refused failed"));
    nothing(&nginx.fetch("/other"));
}

/// A subrequest's failure belongs to the request that the client made.
#[test]
fn of_a_subrequest_in_the_main_request() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let nginx = Nginx::http(
        "log_format own '$uri $upstream_diagnosis_cause'; access_log %dir%/own.log own;
         server { listen %listen%; root %dir%; ssi on; log_subrequest on;
           location /checked { auth_request /auth; auth_request_set $why $upstream_diagnosis_cause;
             error_page 500 /why; proxy_pass http://%fine%; }
           location /why { return 200 'why: $why'; }
           location = /auth { internal; proxy_pass http://%dead%; }
           location /page.html { }
           location /part { proxy_pass http://%dead%; } }",
    );
    let page = "<!--# include virtual=\"/part\" wait=\"yes\" -->\
        [<!--# echo var=\"upstream_diagnosis_cause\" -->]";
    let nginx = nginx.set("log", "").file("page.html", page);
    let nginx = nginx.set("dead", &dead).set("fine", &fine).start();
    let reply = nginx.get("/checked");
    assert_eq!((reply.status, reply.text().as_str()), (500, "why: connection_refused"));
    assert_eq!(reply.causes(), ["connection_refused"]);
    let page = nginx.get("/page.html").text();
    assert!(page.ends_with("[connection_refused]"), "{page}");
    let lines = lines(&nginx, 4);
    assert!(lines.contains(&"/auth connection_refused".to_owned()), "{lines:?}");
    assert!(lines.contains(&"/part connection_refused".to_owned()), "{lines:?}");
    assert!(lines.contains(&"/page.html connection_refused".to_owned()), "{lines:?}");
}

/// The next request on a connection starts with nothing.
#[test]
fn of_one_request_only() {
    let (dead, fine) = (Dead::refusing(), Backend::ok("fine"));
    let nginx = with_format("$uri $upstream_diagnosis_attempts", "none", &dead, &fine).start();
    let mut client = nginx.connect();
    for (path, status) in [("/1", 502), ("/fine", 200), ("/2", 502), ("/static", 204), ("/3", 502)]
    {
        assert_eq!(client.get(path).status, status);
    }
    assert_eq!(lines(&nginx, 5), ["/1 1", "/fine ", "/2 1", "/static ", "/3 1"]);
}
