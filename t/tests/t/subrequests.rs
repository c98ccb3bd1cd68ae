//! Failures in subrequests: somebody waits for some of them, and nobody for others.

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Nginx, Step};

use crate::expect::{Failure, ended, logged, nothing};

fn saying(status: u16) -> Backend {
    Backend::answering(http::response(status, &[], b"own words"))
}

fn refused<'a>(dead: &'a Dead, upstream: &'a str) -> Failure<'a> {
    let failure = Failure::of(dead.address(), "connection_refused", "connect");
    let message = "connect() failed (111: Connection refused)";
    Failure { upstream, errno: "ECONNREFUSED", message, ..failure }
}

fn said<'a>(backend: &'a Backend, upstream: &'a str, status: u64) -> Failure<'a> {
    let failure = Failure::of(backend.address(), "upstream_status", "header");
    Failure { upstream, status, ..failure }
}

/// `auth` answers first, then `main`.
fn authenticated(auth: &dyn std::fmt::Display, main: &dyn std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream auth { server %auth%; } upstream main { server %answer%; }
         server { listen %listen%;
             location / { auth_request /auth; proxy_pass http://main; }
             location /auth { internal; proxy_pass http://auth; } }",
    )
    .set("auth", auth)
    .set("answer", main)
}

#[test]
fn auth_request_refused() {
    let (dead, good) = (Dead::refusing(), Backend::ok("good"));
    let nginx = authenticated(&dead, &good).start();
    ended(&nginx.fetch("/"), 500, "failed", &[refused(&dead, "auth")]);
    assert_eq!(good.connections(), 0);
}

#[test]
fn auth_request_answers_with_an_error() {
    let good = Backend::ok("good");
    for status in [500, 503] {
        let bad = saying(status);
        let nginx = authenticated(&bad, &good).start();
        ended(&nginx.fetch("/"), 500, "failed", &[said(&bad, "auth", status.into())]);
    }
}

#[test]
fn auth_request_that_says_no_is_no_failure() {
    let good = Backend::ok("good");
    for status in [401, 403] {
        let no = saying(status);
        let seen = authenticated(&no, &good).start().fetch("/");
        assert_eq!(seen.reply.status, status);
        nothing(&seen);
    }
}

#[test]
fn auth_request_retried() {
    let (dead, yes, good) = (Dead::refusing(), Backend::ok(""), Backend::ok("good"));
    let auth = format!("{dead} max_fails=0; server {yes}");
    let nginx = authenticated(&auth, &good).start();
    let seen = nginx.fetch("/");
    let failure = Failure { retried: true, ..refused(&dead, "auth") };
    ended(&seen, 200, "recovered", &[failure]);
    assert_eq!(seen.reply.text(), "good");
}

#[test]
fn auth_request_passes_and_the_main_request_fails() {
    let (yes, dead) = (Backend::ok(""), Dead::refusing());
    let nginx = authenticated(&yes, &dead).start();
    ended(&nginx.fetch("/"), 502, "failed", &[refused(&dead, "main")]);
}

#[test]
fn auth_request_retried_and_the_main_request_fails() {
    let (first, yes, dead) = (Dead::refusing(), Backend::ok(""), Dead::refusing());
    let auth = format!("{first} max_fails=0; server {yes}");
    let nginx = authenticated(&auth, &dead).start();
    let failures = [Failure { retried: true, ..refused(&first, "auth") }, refused(&dead, "main")];
    ended(&nginx.fetch("/"), 502, "failed", &failures);
}

fn mirrored(mirror: &dyn std::fmt::Display, main: &dyn std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream copy { server %mirror%; } upstream main { server %answer%; }
         server { listen %listen%;
             location / { mirror /mirror; proxy_read_timeout 300ms; proxy_pass http://main; }
             location /mirror { internal; proxy_read_timeout 100ms; proxy_pass http://copy; } }",
    )
    .set("mirror", mirror)
    .set("answer", main)
}

/// The client has its answer; that the copy went nowhere is for the log.
#[test]
fn a_mirror_fails() {
    let (dead, good) = (Dead::refusing(), Backend::ok("good"));
    let nginx = mirrored(&dead, &good).start();
    for _ in 0..3 {
        let seen = nginx.fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "good"));
        logged(&seen, 200, "recovered", &[refused(&dead, "copy")]);
    }
    let bad = saying(500);
    let nginx = mirrored(&bad, &good).start();
    logged(&nginx.fetch("/"), 200, "recovered", &[said(&bad, "copy", 500)]);
}

/// Both at once: nginx keeps one "while …" for all of them, and each gets its own cause.
#[test]
fn a_mirror_and_the_main_request_fail() {
    let (dead, slow) = (Dead::refusing(), Backend::script([Step::Hold]));
    let timeout = |upstream, limit| Failure {
        upstream,
        limit,
        errno: "ETIMEDOUT",
        message: "upstream timed out",
        ..Failure::of(slow.address(), "header_timeout", "header")
    };
    let nginx = mirrored(&dead, &slow).start();
    let failures = [refused(&dead, "copy"), timeout("main", "proxy_read_timeout=300ms")];
    ended(&nginx.fetch("/"), 504, "failed", &failures);

    let nginx = mirrored(&slow, &dead).start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.causes(), ["connection_refused"]);
    let diagnosis = seen.diagnosis();
    assert_eq!((diagnosis.outcome.as_str(), diagnosis.status), ("failed", 502));
    refused(&dead, "main").is_in_json(&diagnosis.attempts[0]);
    timeout("copy", "proxy_read_timeout=100ms").is_in_json(&diagnosis.attempts[1]);
}

fn page_of(parts: &[&str]) -> Backend {
    let includes: String =
        parts.iter().map(|part| format!("<!--# include virtual=\"{part}\" -->")).collect();
    let page = format!("begin {includes} end");
    Backend::answering(http::response(200, &["Content-Type: text/html"], page.as_bytes()))
}

fn included(page: &Backend, part: &dyn std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream page { server %page%; } upstream part { server %part%; }
         server { listen %listen%;
             location / { ssi on; proxy_pass http://page; }
             location /part { proxy_pass http://part; }
             location /good { return 200 included; } }",
    )
    .set("page", page)
    .set("part", part)
}

/// nginx puts its own error page into the middle of the page.
#[test]
fn an_included_part_fails() {
    let dead = Dead::refusing();
    let page = page_of(&["/part"]);
    let nginx = included(&page, &dead).start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 200);
    assert!(seen.reply.text().contains("502 Bad Gateway"), "{}", seen.reply.text());
    logged(&seen, 200, "failed", &[refused(&dead, "part")]);
}

#[test]
fn an_included_part_is_an_error_of_its_upstream() {
    let bad = saying(500);
    let page = page_of(&["/part"]);
    let nginx = included(&page, &bad).start();
    let seen = nginx.fetch("/");
    assert!(seen.reply.text().contains("own words"), "{}", seen.reply.text());
    logged(&seen, 200, "upstream_error", &[said(&bad, "part", 500)]);
}

#[test]
fn an_included_part_is_retried() {
    let (dead, good) = (Dead::refusing(), Backend::ok("part of it"));
    let servers = format!("{dead} max_fails=0; server {good}");
    let page = page_of(&["/part"]);
    let nginx = included(&page, &servers).start();
    let seen = nginx.fetch("/");
    assert!(seen.reply.text().contains("part of it"), "{}", seen.reply.text());
    logged(&seen, 200, "recovered", &[Failure { retried: true, ..refused(&dead, "part") }]);
}

/// Every failing part is told, and none that worked.
#[test]
fn several_included_parts_fail() {
    let dead = Dead::refusing();
    let page = page_of(&["/part/1", "/good", "/part/2", "/part/3"]);
    let nginx = included(&page, &dead).start();
    let seen = nginx.fetch("/");
    assert!(seen.reply.text().contains("included"));
    let failure = refused(&dead, "part");
    logged(&seen, 200, "failed", &[failure, failure, failure]);
}

#[test]
fn included_parts_that_work_are_silent() {
    let (good, page) = (Backend::ok("part of it"), page_of(&["/part", "/good"]));
    let nginx = included(&page, &good).start();
    let seen = nginx.fetch("/");
    assert!(seen.reply.text().contains("part of it"));
    nothing(&seen);
}

/// A subrequest has an error_page of its own: another upstream, a file.
#[test]
fn an_error_page_in_a_subrequest() {
    let (dead, good) = (Dead::refusing(), Backend::ok("from the other"));
    let page = page_of(&["/part"]);
    let nginx = Nginx::http(
        "upstream page { server %page%; } upstream part { server %part%; }
         server { listen %listen%;
             location / { ssi on; proxy_pass http://page; }
             location /checked { auth_request /part; proxy_pass http://%good%; }
             location /part { proxy_pass http://part; error_page 502 = @other; }
             location @other { proxy_pass http://%good%; } }",
    );
    let nginx = nginx.set("page", &page).set("part", &dead).set("good", &good).start();
    for (path, text) in [("/", "begin from the other end"), ("/checked", "from the other")] {
        let seen = nginx.fetch(path);
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, text));
        logged(&seen, 200, "recovered", &[refused(&dead, "part")]);
    }
}

/// The part of the page is an old one from the cache.
#[test]
fn a_stale_part() {
    let gone = vec![Step::ReadRequest, Step::Close];
    let served = vec![Step::ReadRequest, Step::Write(http::ok("part of it")), Step::Close];
    let (page, part) = (page_of(&["/part"]), Backend::scripts(vec![served, gone]));
    let nginx = Nginx::http(
        "proxy_cache_path %dir%/cache keys_zone=c:1m;
         upstream page { server %page%; } upstream part { server %part%; }
         server { listen %listen%;
             location / { ssi on; proxy_pass http://page; }
             location /part { proxy_pass http://part; proxy_cache c; proxy_cache_valid 1h;
                 proxy_cache_use_stale error; } }",
    );
    let nginx = nginx.set("page", &page).set("part", &part).start();
    nothing(&nginx.fetch("/"));
    crate::cache::expire(&nginx);
    let seen = nginx.fetch("/");
    assert!(seen.reply.text().contains("part of it"), "{}", seen.reply.text());
    let failure = Failure::of(part.address(), "closed_before_header", "header");
    logged(&seen, 200, "recovered", &[Failure { upstream: "part", ..failure }]);
}
