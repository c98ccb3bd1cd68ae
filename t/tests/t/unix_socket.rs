//! Back ends on unix sockets that cannot be connected to.

use nginx_test::backend::Dead;
use nginx_test::{Nginx, Seen};

use crate::expect::{Failure, ended};

/// The same failure through an upstream block, without one, and in other protocols.
fn through_every_pass(dead: &Dead, cause: &str, errno: &str, advice: &str) {
    let nginx = Nginx::http(
        "upstream backend { server %dead%; }
         upstream shared { zone shared 64k; server %dead%; keepalive 1; }
         server { listen %listen%;
             location / { proxy_pass http://backend; }
             location /shared { proxy_pass http://shared; }
             location /implicit { proxy_pass http://%dead%:/; }
             location /fastcgi { fastcgi_pass %dead%; }
             location /uwsgi { uwsgi_pass %dead%; }
             location /grpc { grpc_pass backend; } }",
    );
    let nginx = nginx.set("dead", dead).start();
    let failure = Failure { errno, ..Failure::of(dead.address(), cause, "connect") };
    let message = format!("connect() to {dead} failed (");
    let failure = Failure { message: &message, ..failure };
    for (path, upstream) in [("/", "backend"), ("/shared", "shared"), ("/grpc", "backend")] {
        let seen = nginx.fetch(path);
        ended(&seen, 502, "failed", &[Failure { upstream, ..failure }]);
        advises(&seen, advice);
    }
    for path in ["/implicit", "/fastcgi", "/uwsgi"] {
        let seen = nginx.fetch(path);
        let upstream = seen.reply.member().string("upstream").unwrap().to_owned();
        assert!(dead.address().ends_with(&upstream), "{upstream} of {dead}");
        ended(&seen, 502, "failed", &[Failure { upstream: &upstream, ..failure }]);
        advises(&seen, advice);
    }
}

fn advises(seen: &Seen, advice: &str) {
    let given = &seen.diagnosis().advice;
    assert!(given.contains(advice), "{given}");
}

#[test]
fn unix_socket_missing() {
    let dead = Dead::missing_socket();
    let advice = format!("there is no socket at {dead}");
    through_every_pass(&dead, "unix_socket_missing", "ENOENT", &advice);
}

#[test]
fn unix_socket_refused() {
    let dead = Dead::stale_socket();
    let advice = format!("nobody listens on {dead}");
    through_every_pass(&dead, "unix_socket_refused", "ECONNREFUSED", &advice);
}

/// The kernel refuses a connection to something that is no socket.
#[test]
fn unix_socket_refused_by_a_regular_file() {
    let dead = Dead::regular_file();
    let advice = format!("{dead} is a regular file and not a socket");
    through_every_pass(&dead, "unix_socket_refused", "ECONNREFUSED", &advice);
}

#[test]
fn unix_socket_denied() {
    let dead = Dead::forbidden_socket();
    let path = dead.address().trim_start_matches("unix:");
    let advice = format!("may not write to {path} (mode 0000, owner 0, group 0)");
    through_every_pass(&dead, "unix_socket_denied", "EACCES", &advice);
}

#[test]
fn listen_queue_full() {
    let dead = Dead::full_unix_queue();
    let advice = format!("the listen queue of {dead} is full");
    through_every_pass(&dead, "listen_queue_full", "EAGAIN", &advice);
}
