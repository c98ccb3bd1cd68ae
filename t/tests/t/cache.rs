//! Failures behind a cache: stale answers, cached errors, updates that nobody waits for.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nginx_test::backend::http;
use nginx_test::{Backend, Nginx, Running, Step, wait};

use crate::expect::{Failure, ended, logged, nothing};

/// A cache whose entries hold as long as the test says.
fn cached(backend: &Backend, more: &str) -> Running {
    Nginx::http(&format!(
        "proxy_cache_path %dir%/cache keys_zone=c:1m;
         upstream backend {{ server %server%; }}
         server {{ listen %listen%; location / {{ proxy_pass http://backend; proxy_cache c;
             proxy_cache_valid 200 1h; add_header X-Cache $upstream_cache_status always;
             {more} }} }}"
    ))
    .set("server", backend)
    .start()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Puts the only entry's end of validity into the past: the second word of its header
/// (ngx_http_file_cache_header_t), which nginx reads anew each time.
pub(crate) fn expire(nginx: &Running) {
    let file = wait::until("the cached file", || files(&nginx.dir().join("cache")).pop());
    let file = fs::File::options().write(true).open(file).unwrap();
    file.write_all_at(&1u64.to_ne_bytes(), 8).unwrap();
}

/// The first connection is served, and closed; what then?
fn once_then(answer: Vec<u8>, then: &[Step]) -> Backend {
    let first = vec![Step::ReadRequest, Step::Write(answer), Step::Close];
    Backend::scripts(vec![first, then.to_vec()])
}

fn closing(answer: Vec<u8>) -> Backend {
    once_then(answer, &[Step::ReadRequest, Step::Close])
}

fn closed(backend: &Backend) -> Failure<'_> {
    let failure = Failure::of(backend.address(), "closed_before_header", "header");
    Failure { message: "upstream prematurely closed connection", ..failure }
}

fn said(backend: &Backend, status: u64) -> Failure<'_> {
    Failure { status, ..Failure::of(backend.address(), "upstream_status", "header") }
}

fn status_of_cache(seen: &nginx_test::Seen) -> String {
    seen.reply.header("X-Cache").unwrap_or_default()
}

#[test]
fn a_stale_answer() {
    let backend = closing(http::ok("fresh"));
    let nginx = cached(&backend, "proxy_cache_use_stale error timeout;");
    nothing(&nginx.fetch("/"));
    nothing(&nginx.fetch("/"));
    assert_eq!(backend.connections(), 1);
    expire(&nginx);
    let seen = nginx.fetch("/");
    ended(&seen, 200, "recovered", &[closed(&backend)]);
    assert_eq!((status_of_cache(&seen).as_str(), seen.reply.text().as_str()), ("STALE", "fresh"));
}

#[test]
fn a_stale_answer_after_several_attempts() {
    let first = closing(http::ok("fresh"));
    let second = Backend::script([Step::ReadRequest, Step::Close]);
    let servers = format!("{first} max_fails=0; server {second}");
    let nginx = Nginx::http(
        "proxy_cache_path %dir%/cache keys_zone=c:1m;
         upstream backend { server %servers% max_fails=0 backup; }
         server { listen %listen%; location / { proxy_pass http://backend; proxy_cache c;
             proxy_cache_valid 200 1h; proxy_cache_use_stale error; } }",
    );
    let nginx = nginx.set("servers", servers).start();
    nothing(&nginx.fetch("/"));
    expire(&nginx);
    let failures = [Failure { retried: true, ..closed(&first) }, closed(&second)];
    ended(&nginx.fetch("/"), 200, "recovered", &failures);
}

/// The server's own error is replaced by the old answer, without a word in the error log.
#[test]
fn a_stale_answer_for_an_error_of_the_upstream() {
    let busy = [Step::ReadRequest, Step::Write(http::response(503, &[], b"busy")), Step::Close];
    let backend = once_then(http::ok("fresh"), &busy);
    let nginx = cached(&backend, "proxy_cache_use_stale http_503;");
    nothing(&nginx.fetch("/"));
    expire(&nginx);
    let seen = nginx.fetch("/");
    ended(&seen, 200, "recovered", &[said(&backend, 503)]);
    assert_eq!(seen.reply.text(), "fresh");
}

/// The answer itself allows it (RFC 5861).
#[test]
fn a_stale_answer_that_the_upstream_allows() {
    let header = ["Cache-Control: max-age=3600, stale-if-error=36000"];
    let backend = closing(http::response(200, &header, b"fresh"));
    let nginx = cached(&backend, "");
    nothing(&nginx.fetch("/"));
    // Just over, as stale-if-error counts from then on.
    let file = wait::until("the cached file", || files(&nginx.dir().join("cache")).pop());
    let file = fs::File::options().read(true).write(true).open(file).unwrap();
    let mut word = [0; 8];
    file.read_exact_at(&mut word, 8).unwrap();
    let now = u64::from_ne_bytes(word) - 3600;
    file.write_all_at(&(now - 10).to_ne_bytes(), 8).unwrap();
    ended(&nginx.fetch("/"), 200, "recovered", &[closed(&backend)]);
}

#[test]
fn no_stale_answer_is_allowed() {
    let backend = closing(http::ok("fresh"));
    let nginx = cached(&backend, "proxy_cache_use_stale timeout;");
    nothing(&nginx.fetch("/"));
    expire(&nginx);
    ended(&nginx.fetch("/"), 502, "failed", &[closed(&backend)]);
}

/// The client gets the old answer at once; the update fails later, and is told in the log.
#[test]
fn a_background_update_fails() {
    let busy = [Step::ReadRequest, Step::Write(http::response(500, &[], b"busy")), Step::Close];
    for (backend, expected) in
        [(closing(http::ok("fresh")), None), (once_then(http::ok("fresh"), &busy), Some(500))]
    {
        let more = "proxy_cache_use_stale updating; proxy_cache_background_update on;";
        let nginx = cached(&backend, more);
        nothing(&nginx.fetch("/"));
        expire(&nginx);
        let seen = nginx.fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "fresh"));
        let failure = expected.map_or_else(|| closed(&backend), |status| said(&backend, status));
        logged(&seen, 200, "recovered", &[failure]);
    }
}

/// A hit is no attempt: nothing failed this time.
#[test]
fn a_cached_error() {
    let dead = nginx_test::backend::Dead::refusing();
    let nginx = Nginx::http(
        "proxy_cache_path %dir%/cache keys_zone=c:1m;
         upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend; proxy_cache c;
             proxy_cache_valid any 1h; } }",
    );
    let nginx = nginx.set("server", &dead).start();
    let failure = Failure::of(dead.address(), "connection_refused", "connect");
    ended(&nginx.fetch("/"), 502, "failed", &[Failure { errno: "ECONNREFUSED", ..failure }]);
    for _ in 0..2 {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502);
        nothing(&seen);
    }
}

#[test]
fn a_cached_error_of_the_upstream() {
    let backend = once_then(http::response(503, &[], b"own words"), &[Step::Close]);
    let nginx = cached(&backend, "proxy_cache_valid any 1h;");
    ended(&nginx.fetch("/"), 503, "upstream_error", &[said(&backend, 503)]);
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (503, "own words"));
    nothing(&seen);
}

/// A back end that answers again ends the story.
#[test]
fn a_stale_answer_and_then_a_fresh_one() {
    let serve = |body: &str| vec![Step::ReadRequest, Step::Write(http::ok(body)), Step::Close];
    let gone = vec![Step::ReadRequest, Step::Close];
    let backend = Backend::scripts(vec![serve("first"), gone, serve("second")]);
    let nginx = cached(&backend, "proxy_cache_use_stale error;");
    nothing(&nginx.fetch("/"));
    expire(&nginx);
    ended(&nginx.fetch("/"), 200, "recovered", &[closed(&backend)]);
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.text(), "second");
    nothing(&seen);
}
