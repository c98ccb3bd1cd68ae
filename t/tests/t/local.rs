//! Failures on this side of the proxy: disks, local addresses, memory, and what has no name.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nginx_test::backend::http;
use nginx_test::sandbox::SmallDisk;
use nginx_test::{Backend, Nginx, Running, Seen, Step};

use crate::expect::{Failure, ended, logged, nothing};

/// More than a small disk and the buffers of two sockets hold.
const LARGE: usize = 16 << 20;
const NO_SPACE: &str = "failed (28: No space left on device)";

fn proxy(backend: &Backend, http: &str, location: &str) -> Nginx {
    Nginx::http(&format!(
        "{http} upstream backend {{ server %server%; }}
         server {{ listen %listen%; location / {{ proxy_pass http://backend; {location} }} }}"
    ))
    .set("server", backend)
}

/// A client that reads nothing after the header until nginx has given up.
fn fetch_slowly(nginx: &Running, error: &str) -> Seen {
    let mut client = nginx.connect();
    let reply = client.start("/").read_header();
    nginx.wait_for_error(error);
    assert!(client.read_to_end().len() < LARGE, "the whole body came");
    Seen { reply, line: nginx.logged() }
}

fn no_space(backend: &Backend) -> Failure<'_> {
    let failure = Failure::of(backend.address(), "disk_full", "local");
    Failure { errno: "ENOSPC", message: NO_SPACE, ..failure }
}

#[test]
fn disk_full_for_temporary_files() {
    let disk = SmallDisk::new(65536);
    let backend = Backend::ok(&"x".repeat(LARGE));
    let nginx = proxy(&backend, "", "proxy_temp_path %disk%/temp;").set("disk", &disk).start();
    let seen = fetch_slowly(&nginx, NO_SPACE);
    logged(&seen, 200, "truncated", &[Failure { status: 200, ..no_space(&backend) }]);
    let advice = &seen.diagnosis().advice;
    assert!(advice.contains("proxy_temp_path"), "{advice}");
}

#[test]
fn disk_full_for_the_cache() {
    let backend = Backend::ok(&"x".repeat(1 << 20));
    for path in ["%disk%/cache", "%disk%/cache levels=1:2 use_temp_path=off"] {
        let disk = SmallDisk::new(65536);
        let cache = format!("proxy_cache_path {path} keys_zone=c:1m;");
        let nginx = proxy(
            &backend,
            &cache,
            "proxy_cache c; proxy_cache_valid 1m; proxy_temp_path %disk%/temp; postpone_output 0;",
        );
        let nginx = nginx.set("disk", &disk).start();
        let mut client = nginx.connect();
        let reply = client.start("/").read_header();
        assert!(client.read_to_end().len() < 1 << 20, "the whole body came");
        let seen = Seen { reply, line: nginx.logged() };
        let full = Failure { status: 200, ..no_space(&backend) };
        // The kernel may take a part of the last write, which is no error yet.
        let partly = Failure { errno: "", message: "has written only ", ..full };
        let errno = seen.diagnosis().attempt().text("errno");
        logged(&seen, 200, "truncated", &[if errno.is_some() { full } else { partly }]);
    }
}

/// The request's body is on its way to the disk before anybody is asked.
#[test]
fn disk_full() {
    let disk = SmallDisk::new(65536);
    let backend = Backend::ok("never reached");
    let more = "client_body_temp_path %disk%/body; client_body_buffer_size 16k;
        client_max_body_size 0;";
    let nginx = proxy(&backend, "", more).set("disk", &disk).start();
    let body = vec![b'x'; 1 << 20];
    let seen = nginx.fetch_with("POST", "/", &[], &body);
    let expected = Failure { server: "", address: "", ..no_space(&backend) };
    ended(&seen, 500, "failed", &[expected]);
    assert_eq!(backend.connections(), 0);
    let advice = &seen.diagnosis().advice;
    assert!(advice.contains("client_body_temp_path"), "{advice}");
    // What fits into the buffer never sees the disk.
    nothing(&nginx.fetch_with("POST", "/", &[], b"small"));
}

fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn disk_failed() {
    let backend = Backend::ok(&"x".repeat(LARGE));
    for levels in ["", "1 2"] {
        let more = format!("proxy_temp_path %dir%/forbidden {levels};");
        let nginx = proxy(&backend, "", &more).start();
        forbid(&nginx.dir().join("forbidden"));
        let seen = fetch_slowly(&nginx, "(13: Permission denied)");
        logged(&seen, 200, "truncated", &[Failure { status: 200, ..disk_failure(&backend) }]);
    }
}

fn disk_failure(backend: &Backend) -> Failure<'_> {
    let failure = Failure::of(backend.address(), "disk_failed", "local");
    Failure { errno: "EACCES", message: "failed (13: Permission denied)", ..failure }
}

#[test]
fn disk_failed_for_a_request_body() {
    let backend = Backend::ok("never reached");
    let more = "client_body_temp_path %dir%/forbidden; client_body_buffer_size 16k;";
    let nginx = proxy(&backend, "", more).start();
    forbid(&nginx.dir().join("forbidden"));
    let seen = nginx.fetch_with("POST", "/", &[], &[b'x'; 65536]);
    let expected = Failure { server: "", address: "", ..disk_failure(&backend) };
    ended(&seen, 500, "failed", &[expected]);
    let body = ["client_body_in_file_only", "proxy_request_buffering"];
    assert!(body.iter().all(|word| !seen.diagnosis().advice.contains(word)));
}

#[test]
fn disk_failed_for_a_cached_response() {
    let answer = http::response(200, &["Cache-Control: max-age=60"], b"cached");
    let backend = Backend::answering(answer);
    let cache = "proxy_cache_path %dir%/cache keys_zone=c:1m;";
    let nginx = proxy(&backend, cache, "proxy_cache c;").start();
    nothing(&nginx.fetch("/"));
    let cached = nginx_test::wait::until("the cached file", || {
        let mut files = fs::read_dir(nginx.dir().join("cache")).ok()?;
        files.next().map(|file| file.unwrap().path())
    });
    forbid(&cached);
    let seen = nginx.fetch("/");
    let expected = Failure { server: "", address: "", ..disk_failure(&backend) };
    ended(&seen, 500, "failed", &[expected]);
    assert_eq!(backend.connections(), 1);
}

/// A static file that cannot be opened is nobody's upstream.
#[test]
fn a_static_file_is_no_upstream() {
    let nginx = Nginx::location("root %dir%/files;").file("page", "text").start();
    fs::create_dir(nginx.dir().join("files")).unwrap();
    fs::write(nginx.dir().join("files/page"), "text").unwrap();
    forbid(&nginx.dir().join("files/page"));
    let seen = nginx.fetch("/page");
    assert_eq!(seen.reply.status, 403);
    nothing(&seen);
}

#[test]
fn local_bind_failed_on_a_port_in_use() {
    let backend = Backend::ok("never reached");
    let other = Backend::ok("holds the port");
    let more = format!("proxy_bind {other};");
    let nginx = proxy(&backend, "", &more).start();
    let failure = Failure::of(backend.address(), "local_bind_failed", "connect");
    let message = format!("bind({other}) failed (98: Address already in use)");
    let expected = Failure { errno: "EADDRINUSE", message: &message, ..failure };
    let seen = nginx.fetch("/");
    ended(&seen, 500, "failed", &[expected]);
    assert!(seen.diagnosis().advice.contains("proxy_bind"), "{}", seen.diagnosis().advice);
}

#[test]
fn local_bind_failed_with_an_address_of_another_family() {
    let backend = Backend::ok("never reached");
    let nginx = proxy(&backend, "", "proxy_bind ::1;").start();
    let failure = Failure::of(backend.address(), "local_bind_failed", "connect");
    let expected = Failure { errno: "EAFNOSUPPORT", message: "bind(::1) failed", ..failure };
    ended(&nginx.fetch("/"), 500, "failed", &[expected]);
}

/// nginx complains about such an address and goes on without it.
#[test]
fn an_invalid_local_address_is_no_failure() {
    let backend = Backend::ok("answer");
    let nginx = proxy(&backend, "", "set $local nonsense; proxy_bind $local;").start();
    let seen = nginx.fetch("/");
    nginx.wait_for_error("invalid local address \"nonsense\"");
    assert_eq!(seen.reply.text(), "answer");
    nothing(&seen);
}

/// A header buffer of 200 TB: more than a process can have.
#[test]
fn internal_error() {
    let backend = Backend::ok("never read");
    let more = "proxy_buffer_size 200000000m; proxy_buffers 8 200000000m;
        proxy_max_temp_file_size 0;";
    let nginx = proxy(&backend, "", more).allow_alert("malloc(").start();
    let expected = Failure {
        message: "malloc(209715200000000) failed (12: Cannot allocate memory)",
        ..Failure::of(backend.address(), "internal_error", "local")
    };
    ended(&nginx.fetch("/"), 500, "failed", &[expected]);
}

/// A subrequest that the back end wants to upgrade: nothing that anybody would do.
#[test]
fn other() {
    let upgrade = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    let page =
        http::response(200, &["Content-Type: text/html"], b"<!--# include virtual=\"/part\" -->");
    let whole = Backend::answering(page);
    let part =
        Backend::script([Step::ReadHead, Step::Write(upgrade.to_vec()), Step::WaitForPeerClose]);
    let nginx = Nginx::http(
        "upstream whole { server %whole%; } upstream backend { server %part%; }
         proxy_http_version 1.1; postpone_output 0;
         server { listen %listen%;
             location / { ssi on; proxy_pass http://whole; }
             location /part { proxy_set_header Upgrade x; proxy_set_header Connection upgrade;
                 proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("whole", &whole).set("part", &part).start();
    let headers = ["Upgrade: x", "Connection: Upgrade"];
    let mut client = nginx.connect();
    let head = nginx_test::client::head("GET", "/", &headers, 0);
    let reply = client.send(head).read_header();
    client.read_to_end();
    let seen = Seen { reply, line: nginx.logged() };
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.causes(), ["other"], "{}", diagnosis.raw);
    let attempt = diagnosis.attempt();
    assert_eq!(attempt.text("message"), Some("connection upgrade in subrequest"));
    assert_eq!(attempt.text("address"), Some(part.address()));
    assert_eq!(attempt.number("status"), Some(101));
}
