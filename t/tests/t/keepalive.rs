//! Connections that nginx keeps to a back end, across failures.

use nginx_test::backend::http;
use nginx_test::{Backend, Nginx, Running, Seen, Step};

use crate::expect::{Failure, ended, nothing};

fn keeping(backend: &Backend, more: &str) -> Running {
    Nginx::http(
        "upstream backend { server %server%; keepalive 2; }
         server { listen %listen%; location / { proxy_pass http://backend;
             proxy_http_version 1.1; proxy_set_header Connection \"\"; %more% } }",
    )
    .set("server", backend)
    .set("more", more)
    .start()
}

fn serve() -> [Step; 2] {
    [Step::ReadRequest, Step::Write(http::ok("served"))]
}

fn served(seen: &Seen) {
    assert_eq!(seen.reply.text(), "served");
    nothing(seen);
}

/// A failed connection is not kept; the next request has a new one, and that one is kept again.
#[test]
fn a_failure_between_two_good_requests() {
    let first = [&serve()[..], &[Step::ReadRequest, Step::Hold]].concat();
    let backend = Backend::scripts(vec![first, [&serve()[..], &[Step::Again]].concat()]);
    let nginx = keeping(&backend, "proxy_read_timeout 200ms;");
    served(&nginx.fetch("/"));
    let timeout = Failure {
        errno: "ETIMEDOUT",
        limit: "proxy_read_timeout=200ms",
        reused: true,
        ..Failure::of(backend.address(), "header_timeout", "header")
    };
    ended(&nginx.fetch("/"), 504, "failed", &[timeout]);
    for _ in 0..3 {
        served(&nginx.fetch("/"));
    }
    assert_eq!(backend.connections(), 2);
}

/// The upstream's own error does not cost the connection.
#[test]
fn an_error_of_the_upstream_on_a_kept_connection() {
    let own = Step::Write(http::response(503, &[], b"own words"));
    let script = [&serve()[..], &[Step::ReadRequest, own], &serve()[..]].concat();
    let backend = Backend::script([script, vec![Step::WaitForPeerClose]].concat());
    let nginx = keeping(&backend, "");
    served(&nginx.fetch("/"));
    let failure = Failure::of(backend.address(), "upstream_status", "header");
    let seen = nginx.fetch("/");
    let reused = seen.diagnosis().attempt().flag("reused");
    ended(&seen, 503, "upstream_error", &[Failure { status: 503, reused, ..failure }]);
    served(&nginx.fetch("/"));
    assert_eq!(backend.connections(), 1);
}

/// Every kept connection is stale: nginx goes through all of them and then makes a new one.
#[test]
fn several_stale_connections() {
    let gate = nginx_test::Gate::new();
    let slow = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("served"))];
    let stale = [&slow[..], &[Step::ReadRequest, Step::Close]].concat();
    let good = [&serve()[..], &[Step::Again]].concat();
    let backend = Backend::scripts(vec![stale.clone(), stale, good]);
    let nginx = keeping(&backend, "");
    let mut clients = [nginx.connect(), nginx.connect()];
    for client in &mut clients {
        client.start("/");
    }
    backend.wait_for_connections(2);
    gate.open();
    for client in &mut clients {
        served(&Seen { reply: client.read("GET"), line: nginx.logged() });
    }
    let stale = Failure {
        reused: true,
        retried: true,
        message: "upstream prematurely closed connection",
        ..Failure::of(backend.address(), "keepalive_stale", "header")
    };
    let seen = nginx.fetch("/");
    ended(&seen, 200, "recovered", &[stale, stale]);
    assert_eq!(seen.reply.text(), "served");
}

/// Connections that the back end closed while they were idle: nginx notices, nothing fails.
#[test]
fn an_idle_connection_that_ends_is_no_failure() {
    let once = [&serve()[..], &[Step::Close]].concat();
    let backend = Backend::script(once);
    let nginx = keeping(&backend, "");
    for count in 1..4 {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 200);
        // The close may come just when the connection is taken again.
        if let Some(diagnosis) = &seen.line.diagnosis {
            assert_eq!(
                (diagnosis.outcome.as_str(), diagnosis.cause.as_str()),
                ("recovered", "keepalive_stale")
            );
        }
        backend.wait_until_gone(count - 1);
    }
}
