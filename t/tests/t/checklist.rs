//! The eight steps of the 502 checklist: broken as each step describes, and the answer holds the
//! step's remedy. The sentences are those of docs/checklist.md, with this test's addresses.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;

use nginx_test::backend::{Backlog, http};
use nginx_test::sandbox::netns::{Route, isolated};
use nginx_test::sandbox::{Landlock, mounts};
use nginx_test::{Backend, Client, Dns, Gate, Nginx, Seen, Step, Zone, env};

use crate::docs;

/// The address of this machine that is not its loopback.
const OWN: &str = "198.51.100.1";

/// One server in an upstream block, and what proxies to it.
fn proxy(server: impl std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; lingering_close off; %more%
             location / { proxy_pass http://backend; } }",
    )
    .set("server", server)
    .set("more", "")
}

/// The advice of docs/checklist.md for this step, cause and hint.
fn documented(step: u8, cause: &str, hint: &str) -> String {
    let page = docs::read("docs/checklist.md");
    let link = format!("[`{cause}`](causes.md#{cause})");
    let hint = if hint.is_empty() { String::new() } else { format!("`{hint}`") };
    let row = page.lines().map(|line| line.split(" | ").collect::<Vec<_>>()).find(|row| {
        row[0] == format!("| {step}") && row.len() == 5 && row[2] == link && row[3].trim() == hint
    });
    let row = row.unwrap_or_else(|| panic!("no example of {step}, {cause}, {hint:?}"));
    row[4].trim_end_matches(" |").trim_matches('`').to_owned()
}

/// Header and JSON have this cause and hint, and the advice is the documented one when each name
/// stands for its value.
fn says(seen: &Seen, step: u8, cause: &str, hint: &str, values: &[(&str, &str)]) {
    let member = seen.reply.member();
    let diagnosis = seen.diagnosis();
    assert_eq!((member.name.as_str(), member.token("hint").unwrap_or("")), (cause, hint));
    let attempt = diagnosis.attempt();
    assert_eq!((attempt.cause.as_str(), attempt.text("hint").unwrap_or("")), (cause, hint));
    let mut advice = documented(step, cause, hint);
    for (name, value) in values {
        assert!(advice.contains(name), "no {name} in {advice:?}");
        advice = advice.replace(name, value);
    }
    assert_eq!(diagnosis.advice, advice, "step {step}: {}", diagnosis.raw);
}

/// The same, and the line of the error log that the checklist would have one look up is there.
fn says_as_logged(seen: &Seen, message: &str, cause: &str, hint: &str, values: &[(&str, &str)]) {
    let attempt = seen.diagnosis().attempt();
    assert!(attempt.text("message").unwrap().starts_with(message), "{attempt:?}");
    says(seen, 2, cause, hint, values);
}

/// Nobody listens; then nginx leaves the server alone.
#[test]
fn step_1_the_back_end_does_not_run() {
    isolated(|network| {
        let _ethernet = network.silent_ethernet();
        let nginx = proxy("198.51.100.1:3000").start();
        says(&nginx.fetch("/"), 1, "connection_refused", "no_listener", &[]);
        let nginx = Nginx::http(
            "upstream backend { server 198.51.100.1:3000 fail_timeout=60s; server 127.0.0.1:1 down; }
             server { listen %listen%; location / { proxy_pass http://backend; } }",
        );
        let nginx = nginx.start();
        nginx.fetch("/");
        let seen = nginx.fetch("/");
        let again = seen.diagnosis().attempt().evidence("peers")[0]["tried_again_s"].to_string();
        says(&seen, 1, "no_live_peers", "", &[("<seconds>", &again)]);
    });
}

#[test]
fn step_2_no_route_to_host() {
    isolated(|network| {
        network.route(Route::Unreachable, Ipv4Addr::new(203, 0, 113, 7), 32);
        let seen = proxy("203.0.113.7:3000").start().fetch("/");
        let message = "connect() to 203.0.113.7:3000 failed (113: ";
        says_as_logged(&seen, message, "host_unreachable", "", &[]);
    });
}

#[test]
fn step_2_prematurely_closed() {
    let backend = Backend::script([Step::ReadRequest, Step::Close]);
    let seen = proxy(&backend).start().fetch("/");
    let message = "upstream prematurely closed connection";
    let address = [("<address>", backend.address())];
    says_as_logged(&seen, message, "closed_before_header", "", &address);
}

#[test]
fn step_2_reset_by_peer() {
    let backend = Backend::script([Step::ReadRequest, Step::Reset]);
    let seen = proxy(&backend).start().fetch("/");
    let address = [("<address>", backend.address())];
    says_as_logged(&seen, "recv() failed (104: ", "reset_before_header", "", &address);
}

#[test]
fn step_2_timed_out_with_a_full_queue() {
    let backlog = Backlog::full();
    let address = backlog.to_string();
    let nginx = proxy(&backlog).set("more", "proxy_connect_timeout 200ms;").start();
    let values = [("<address>", address.as_str())];
    let message = "upstream timed out (110: ";
    let (cause, hint) = ("connection_timeout", "accept_queue_full");
    says_as_logged(&nginx.fetch("/"), message, cause, hint, &values);
}

/// The back end listens on another address, another port, another path.
#[test]
fn step_3_the_back_end_listens_elsewhere() {
    isolated(|network| {
        let _ethernet = network.silent_ethernet();
        let _elsewhere = TcpListener::bind((OWN, 3000)).unwrap();
        let seen = proxy("127.0.0.1:3000").start().fetch("/");
        says(&seen, 3, "connection_refused", "listener_other_address", &[]);
    });
    let nginx = proxy("unix:%dir%/app.sock").start();
    let dir = nginx.dir().display().to_string();
    let _elsewhere = UnixListener::bind(nginx.dir().join("application.sock")).unwrap();
    says(&nginx.fetch("/"), 3, "unix_socket_missing", "", &[("/run/app", &dir)]);
}

/// The checklist's 8000 for 3000, beside a server that is right.
#[test]
fn step_3_the_back_end_listens_on_another_port() {
    isolated(|_| {
        let _right = TcpListener::bind("127.0.0.1:8000").unwrap();
        let nginx = Nginx::http(
            "upstream backend { server 127.0.0.1:3000; server 127.0.0.1:8000 down; }
             server { listen %listen%; location / { proxy_pass http://backend; } }",
        );
        let seen = nginx.start().fetch("/");
        says(&seen, 3, "connection_refused", "listener_other_port", &[]);
    });
}

/// The back end is in a container and so is nginx, in another one.
#[test]
fn step_3_the_loopback_is_that_of_a_container() {
    isolated(|_| {
        mounts::private(|mounts| {
            mounts.empty("/run");
            mounts.file("/run/.containerenv", "");
            let seen = proxy("127.0.0.1:3000").start().fetch("/");
            says(&seen, 3, "connection_refused", "loopback_in_container", &[]);
        });
    });
}

#[test]
fn step_4_the_back_end_is_slower_than_the_time_out() {
    let gate = Gate::new();
    let late = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("late"))];
    let backend = Backend::script(late);
    let nginx = proxy(&backend).set("more", "proxy_read_timeout 200ms;").start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 504);
    assert_eq!(seen.reply.member().string("limit"), Some("proxy_read_timeout=200ms"));
    assert!(seen.diagnosis().attempt().evidence("waited_ms").as_u64().unwrap() >= 200);
    assert!(seen.diagnosis().attempt().evidence("connect_ms").is_u64());
    let address = [("<address>", backend.address())];
    says(&seen, 4, "header_timeout", "timeout_reached", &address);
    gate.open();
}

/// A large cookie.
#[test]
fn step_5_the_header_does_not_fit_the_buffer() {
    let cookie = format!("Set-Cookie: session={}", "x".repeat(9000));
    let backend = Backend::answering(http::response(200, &[&cookie], b"never seen"));
    let seen = proxy(&backend).set("more", "proxy_buffer_size 4k;").start().fetch("/");
    assert_eq!(seen.reply.member().string("limit"), Some("proxy_buffer_size=4k"));
    assert_eq!(*seen.diagnosis().attempt().evidence("buffer_bytes"), 4096);
    says(&seen, 5, "header_too_big", "header_bytes_over_buffer", &[]);
}

/// A variable in proxy_pass: a name that does not exist, and nobody to ask.
#[test]
fn step_6_the_name_does_not_resolve() {
    let resolver = Dns::start().saying(Zone::nxdomain());
    let nginx = Nginx::server(
        "set $backend http://my-api.internal:3000; 
         location / { resolver %resolver% ipv6=off; proxy_pass $backend; }
         location /alone { proxy_pass $backend; }",
    );
    let nginx = nginx.set("resolver", &resolver).start();
    says(&nginx.fetch("/"), 6, "dns_not_found", "", &[]);
    says(&nginx.fetch("/alone"), 6, "resolver_missing", "", &[]);
}

#[test]
fn step_7_selinux_denies() {
    mounts::private(|mounts| {
        mounts.empty("/sys/fs");
        mounts.file("/sys/fs/selinux/enforce", "1");
        mounts.file("/sys/fs/selinux/booleans/httpd_can_network_connect", "0 0");
        let backend = Backend::ok("never reached");
        let nginx = proxy(&backend).landlock(Landlock::deny_connect()).start();
        let address = [("<address>", backend.address())];
        says(&nginx.fetch("/"), 7, "connection_denied", "selinux_denies_connect", &address);
    });
}

/// The permissions of the socket, as a back end with another user makes them.
#[test]
fn step_7_the_socket_is_not_for_nginx() {
    let nginx = proxy("unix:%dir%/app.sock").start();
    let dir = nginx.dir().display().to_string();
    let path = nginx.dir().join("app.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    says(&nginx.fetch("/"), 7, "unix_socket_denied", "", &[("/run/app", &dir)]);
}

/// Every connection of the worker waits for the back end.
#[test]
fn step_8_worker_connections() {
    let gate = Gate::new();
    let late = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("late"))];
    let backend = Backend::script(late);
    let nginx = proxy(&backend).worker_connections(16).allow_alert("worker_connections are not");
    let nginx = nginx.start();
    let mut waiting: Vec<Client> = (0..6).map(|_| nginx.connect()).collect();
    waiting.iter_mut().for_each(|client| {
        client.start("/");
    });
    backend.wait_for_connections(6);
    says(&nginx.fetch("/"), 8, "worker_connections_exhausted", "", &[]);
    gate.open();
    for client in &mut waiting {
        assert_eq!(client.read("GET").text(), "late");
    }
}

/// Idle clients have every descriptor that the worker may have.
#[test]
fn step_8_file_descriptors() {
    if env::valgrind() {
        return; // It keeps RLIMIT_NOFILE for itself.
    }
    let backend = Backend::ok("x");
    let nginx = proxy(&backend).main("worker_rlimit_nofile 40;");
    let nginx = nginx.allow_alert("(24: Too many open files)").start();
    let mut clients = Vec::new();
    let seen = loop {
        let mut client = nginx.connect();
        client.start("/");
        let reply = client.read("GET");
        let line = nginx.logged();
        clients.push(client);
        if reply.status != 200 {
            break Seen { reply, line };
        }
    };
    says(&seen, 8, "fd_exhausted", "", &[]);
}
