//! Clients that leave, and clients that are slow: seldom the upstream's fault.

use std::process::{Command, Stdio};

use nginx_test::backend::{Backlog, Dead, http};
use nginx_test::{Backend, Client, Dns, Gate, LogLine, Nginx, Running, Seen, Step, Zone, wait};

use crate::expect::{Failure, logged, nothing};

fn block(server: &dyn std::fmt::Display, more: &str) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend; %more% } }",
    )
    .set("server", server)
    .set("more", more)
}

fn left(address: &str) -> Failure<'_> {
    Failure::of(address, "client_closed", "client")
}

/// What the log says of a request whose answer nobody saw.
fn unseen(line: LogLine) -> Seen {
    Seen { reply: nginx_test::Reply::from_head(b"HTTP/1.1 499 nobody saw it"), line }
}

fn aborted(nginx: &Running, failures: &[Failure]) {
    let seen = unseen(nginx.logged());
    assert_eq!(seen.line.field("status"), "499");
    logged(&seen, 499, "aborted", failures);
}

/// FIN, and RST.
const WAYS: [fn(Client); 2] = [drop, Client::reset];

#[test]
fn client_closed() {
    for leave in WAYS {
        let backend = Backend::script([Step::ReadRequest, Step::Hold]);
        let nginx = block(&backend, "").start();
        let mut client = nginx.connect();
        client.start("/");
        backend.wait_for_connections(1);
        leave(client);
        aborted(&nginx, &[left(backend.address())]);
    }
}

#[test]
fn client_closed_while_connecting() {
    for leave in WAYS {
        let backlog = Backlog::full();
        let address = backlog.address().to_string();
        let nginx = block(&backlog, "").start();
        let mut client = nginx.connect();
        client.start("/");
        wait::until("nginx to connect", || backlog.is_awaited().then_some(()));
        leave(client);
        aborted(&nginx, &[left(&address)]);
    }
}

#[test]
fn client_closed_while_looking_up_a_name() {
    for leave in WAYS {
        let resolver = Dns::start().saying(Zone::silent());
        let nginx = Nginx::location(
            "resolver %resolver% ipv6=off; set $to app.test:8080; proxy_pass http://$to;",
        );
        let nginx = nginx.set("resolver", &resolver).start();
        let mut client = nginx.connect();
        client.start("/");
        resolver.wait_for_questions(1);
        leave(client);
        let expected = Failure { upstream: "app.test", server: "app.test:8080", ..left("") };
        aborted(&nginx, &[expected]);
    }
}

#[test]
fn client_closed_in_the_middle_of_a_header() {
    let part = Gate::new();
    let backend = Backend::script([
        Step::ReadRequest,
        Step::Write(b"HTTP/1.1 200 OK\r\nX-Part: ".to_vec()),
        Step::Open(part.clone()),
        Step::Hold,
    ]);
    let nginx = block(&backend, "").start();
    let mut client = nginx.connect();
    client.start("/");
    part.wait();
    drop(client);
    aborted(&nginx, &[left(backend.address())]);
}

/// One server had failed already, and the client did not wait for the other.
#[test]
fn client_closed_after_a_retry() {
    let (dead, slow) = (Dead::refusing(), Backend::script([Step::ReadRequest, Step::Hold]));
    let nginx = block(&format!("{dead} max_fails=0; server {slow}"), "").start();
    let mut client = nginx.connect();
    client.start("/");
    slow.wait_for_connections(1);
    drop(client);
    let refused = Failure::of(dead.address(), "connection_refused", "connect");
    let refused = Failure { errno: "ECONNREFUSED", retried: true, ..refused };
    aborted(&nginx, &[refused, left(slow.address())]);
}

/// The other upstream of an error_page was the one that the client did not wait for.
#[test]
fn client_closed_after_a_redirect() {
    let (dead, slow) = (Dead::refusing(), Backend::script([Step::ReadRequest, Step::Hold]));
    let nginx =
        block(&dead, "error_page 502 = @other; } location @other { proxy_pass http://%slow%;");
    let nginx = nginx.set("slow", &slow).start();
    let mut client = nginx.connect();
    client.start("/");
    slow.wait_for_connections(1);
    drop(client);
    let refused = Failure::of(dead.address(), "connection_refused", "connect");
    let refused = Failure { errno: "ECONNREFUSED", ..refused };
    let left = Failure { upstream: "127.0.0.1", ..left(slow.address()) };
    aborted(&nginx, &[refused, left]);
}

/// The main request has no upstream yet: its subrequest is what the client did not wait for.
#[test]
fn client_closed_while_a_subrequest_waits() {
    let (slow, good) = (Backend::script([Step::ReadRequest, Step::Hold]), Backend::ok("good"));
    let nginx = block(&slow, "} location /main { auth_request /; proxy_pass http://%good%;");
    let nginx = nginx.set("good", &good).start();
    let mut client = nginx.connect();
    client.start("/main");
    slow.wait_for_connections(1);
    drop(client);
    aborted(&nginx, &[left(slow.address())]);
}

#[test]
fn client_closed_over_http2() {
    let backend = Backend::script([Step::ReadRequest, Step::Hold]);
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen% http2; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("server", &backend).start();
    let url = format!("http://{}/", nginx.address("listen"));
    let curl = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--http2-prior-knowledge", &url])
        .stdout(Stdio::null())
        .spawn();
    let mut curl = curl.unwrap();
    backend.wait_for_connections(1);
    curl.kill().unwrap();
    curl.wait().unwrap();
    aborted(&nginx, &[left(backend.address())]);
}

/// With proxy_ignore_client_abort nginx goes on, and the request ends as its upstream lets it.
#[test]
fn client_closed_and_ignored() {
    let (gate, read) = (Gate::new(), Gate::new());
    let waiting = [Step::ReadRequest, Step::Open(read.clone()), Step::Wait(gate.clone())];
    let good = Backend::script([&waiting[..], &[Step::Write(http::ok("late"))]].concat());
    let bad = Backend::script([&waiting[..], &[Step::Close]].concat());
    let started = |backend: &Backend| {
        let nginx = block(backend, "proxy_ignore_client_abort on;").start();
        let mut client = nginx.connect();
        client.start("/");
        backend.wait_for_connections(1);
        drop(client);
        nginx
    };
    let (fine, failing) = (started(&good), started(&bad));
    gate.open();
    let seen = unseen(fine.logged());
    assert_eq!(seen.line.field("status"), "200");
    nothing(&seen);

    let seen = unseen(failing.logged());
    assert_eq!(seen.line.field("status"), "502");
    let closed = Failure::of(bad.address(), "closed_before_header", "header");
    let message = "upstream prematurely closed connection";
    logged(&seen, 502, "failed", &[Failure { message, ..closed }]);
}

/// For the cache's sake nginx goes on too; then the upstream fails, and nobody is there any more.
#[test]
fn client_closed_before_a_cacheable_failure() {
    let gate = Gate::new();
    let backend = Backend::script([Step::ReadRequest, Step::Wait(gate.clone()), Step::Close]);
    let nginx = Nginx::http(
        "proxy_cache_path %dir%/cache keys_zone=c:1m;
         upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend; proxy_cache c;
             proxy_cache_valid any 1m; } }",
    );
    let nginx = nginx.set("server", &backend).error_level("info").start();
    let mut client = nginx.connect();
    client.start("/");
    backend.wait_for_connections(1);
    drop(client);
    nginx.wait_for_error("client prematurely closed connection");
    gate.open();
    let closed = Failure::of(backend.address(), "closed_before_header", "header");
    let message = "upstream prematurely closed connection";
    aborted(&nginx, &[Failure { message, ..closed }]);
}

/// The header was through: the upstream did its part, and nginx logs 200.
#[test]
fn client_closed_after_the_header() {
    let large = http::ok(&"x".repeat(16 << 20));
    let (half, _) = large.split_at(1 << 20);
    for buffering in ["", "proxy_buffering off;", "proxy_max_temp_file_size 0;"] {
        for leave in WAYS {
            let backend = Backend::script([
                Step::ReadRequest,
                Step::Write(half.to_vec()),
                Step::WaitForPeerClose,
            ]);
            let nginx = block(&backend, buffering).start();
            let mut client = nginx.connect();
            let reply = client.start("/").read_header();
            leave(client);
            let line = nginx.logged();
            assert_eq!(line.field("status"), "200");
            nothing(&Seen { reply, line });
        }
    }
}

/// The client is too slow to read: send_timeout is over, and the upstream is fine.
#[test]
fn a_slow_reader_is_no_upstream_failure() {
    let backend = Backend::ok(&"x".repeat(16 << 20));
    for buffering in ["", "proxy_buffering off;", "proxy_max_temp_file_size 0;"] {
        let nginx = block(&backend, &format!("send_timeout 200ms; {buffering}")).start();
        let mut client = nginx.connect();
        let reply = client.start("/").read_header();
        let line = nginx.logged();
        client.read_to_end();
        nothing(&Seen { reply, line });
    }
}

/// The client is too slow to send its request, or gives up on it.
#[test]
fn a_slow_or_partial_request_is_no_upstream_failure() {
    let backend = Backend::script([Step::ReadHead, Step::Hold]);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome";
    for buffering in ["", "proxy_request_buffering off;"] {
        let nginx = block(&backend, &format!("client_body_timeout 200ms; {buffering}")).start();
        let mut client = nginx.connect();
        let reply = client.send(head).try_read("POST");
        let line = nginx.logged();
        assert_eq!(line.field("status"), "408", "{reply:?}");
        nothing(&unseen(line));

        let nginx = block(&backend, buffering).start();
        let client = nginx.connect();
        client.finish_sending();
        drop(client);
        let mut client = nginx.connect();
        client.send(head);
        drop(client);
        let line = nginx.logged();
        assert!(["400", "499"].contains(&line.field("status")), "{}", line.fields);
        if line.field("status") == "400" {
            nothing(&unseen(line));
        }
    }
}

/// A value that was taken early must not grow between the two passes of the access log.
#[test]
fn a_variable_that_was_read_before_the_end() {
    let backend = Backend::script([Step::ReadRequest, Step::Hold]);
    let early = "set $field \"$upstream_diagnosis\"; set $json \"$upstream_diagnosis_json\";
        set $advice \"$upstream_diagnosis_advice\";";
    let nginx = block(&backend, early).start();
    let mut client = nginx.connect();
    client.start("/");
    backend.wait_for_connections(1);
    drop(client);
    aborted(&nginx, &[left(backend.address())]);
}

#[test]
fn a_status_of_the_upstream_s_own_is_no_client_that_left() {
    let backend = Backend::answering(http::response(499, &[], b"own"));
    let nginx = Nginx::location("proxy_pass http://%backend%;").set("backend", &backend).start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 499);
    nothing(&seen);
}
