//! Upgraded connections (websockets), of which nginx says little.

use nginx_test::backend::http;
use nginx_test::{Backend, Gate, Nginx, Running, Seen, Step};

use crate::expect::{Failure, logged, nothing};

const HEAD: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

fn block(backend: &Backend, more: &str) -> Running {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend;
             proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
             proxy_set_header Connection upgrade; %more% } }",
    )
    .set("server", backend)
    .set("more", more)
    .start()
}

/// Switches protocols and says hello.
fn upgrading(then: impl IntoIterator<Item = Step>) -> Backend {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\n\r\nhello";
    let mut steps = vec![Step::ReadHead, Step::Write(switch.into())];
    steps.extend(then);
    Backend::script(steps)
}

/// Upgrades, waits for the hello, and then for nginx's end of it.
fn talk(nginx: &Running, meanwhile: impl FnOnce()) -> Seen {
    let mut client = nginx.connect();
    let reply = client.send(HEAD).read_header();
    assert_eq!(reply.status, 101);
    meanwhile();
    assert!(client.read_to_end().starts_with(b"hello"));
    Seen { reply, line: nginx.logged() }
}

/// nginx logs this at level info only.
#[test]
fn an_idle_one() {
    for level in ["info", "notice", "error", "crit"] {
        let backend = upgrading([Step::Hold]);
        let nginx = Nginx::http(
            "upstream backend { server %server%; }
             server { listen %listen%; location / { proxy_pass http://backend;
                 proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
                 proxy_set_header Connection upgrade; proxy_read_timeout 200ms; } }",
        );
        let nginx = nginx.set("server", &backend).error_level(level).start();
        let seen = talk(&nginx, || ());
        let expected = Failure {
            errno: "ETIMEDOUT",
            limit: "proxy_read_timeout=200ms",
            status: 101,
            message: "upstream timed out (110: Connection timed out)",
            ..Failure::of(backend.address(), "body_timeout", "body")
        };
        logged(&seen, 101, "truncated", &[expected]);
        let ms = seen.diagnosis().attempt().number("ms").unwrap();
        assert!((190..5000).contains(&ms), "{ms} ms");
    }
}

#[test]
fn a_peer_that_resets() {
    let gate = Gate::new();
    let backend = upgrading([Step::Wait(gate.clone()), Step::Reset]);
    let nginx = block(&backend, "");
    let seen = talk(&nginx, || gate.open());
    let expected = Failure {
        errno: "ECONNRESET",
        status: 101,
        message: "recv() failed (104: Connection reset by peer)",
        ..Failure::of(backend.address(), "body_reset", "body")
    };
    logged(&seen, 101, "truncated", &[expected]);
}

/// Either side may end it: that is how it ends.
#[test]
fn a_peer_that_closes_is_no_failure() {
    let gate = Gate::new();
    let backend = upgrading([Step::Wait(gate.clone()), Step::Close]);
    let nginx = block(&backend, "");
    nothing(&talk(&nginx, || gate.open()));
}

#[test]
fn a_client_that_leaves_is_no_failure() {
    for reset in [false, true] {
        let backend = upgrading([Step::WaitForPeerClose]);
        let nginx = block(&backend, "");
        let mut client = nginx.connect();
        let reply = client.send(HEAD).read_header();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        nothing(&Seen { reply, line: nginx.logged() });
    }
}

/// The client does not read what the back end has to say.
#[test]
fn a_slow_client_is_no_failure() {
    let backend = upgrading([Step::Write(vec![b'x'; 16 << 20]), Step::Hold]);
    let nginx = block(&backend, "send_timeout 200ms;");
    let mut client = nginx.connect();
    let reply = client.send(HEAD).read_header();
    let line = nginx.logged();
    client.read_to_end();
    nothing(&Seen { reply, line });
}

/// The back end does not want to: an answer like any other.
#[test]
fn a_refused_upgrade() {
    let backend = Backend::answering(http::response(503, &[], b"no"));
    let nginx = block(&backend, "");
    let seen = Seen { reply: nginx.connect().send(HEAD).read("GET"), line: nginx.logged() };
    let failure = Failure::of(backend.address(), "upstream_status", "header");
    logged(&seen, 503, "upstream_error", &[Failure { status: 503, ..failure }]);
}
