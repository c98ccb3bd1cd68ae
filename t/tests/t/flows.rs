//! Where nginx takes a request whose upstream failed, or answered with an error of its own.

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Nginx, Running, Step};

use crate::expect::{Failure, ended, nothing};

/// A location that proxies to `backend`, with these directives and further locations.
fn with(server: &dyn std::fmt::Display, location: &str, more: &str) -> Nginx {
    Nginx::http(&format!(
        "upstream backend {{ server %server%; }}
         server {{ listen %listen%;
             location / {{ proxy_pass http://backend; {location} }}
             {more} }}"
    ))
    .set("server", server)
    .file("page.html", "a page of ours")
}

const PAGE: &str = "location = /page.html { root %dir%; }";

fn refused(dead: &Dead) -> Failure<'_> {
    let failure = Failure::of(dead.address(), "connection_refused", "connect");
    Failure { errno: "ECONNREFUSED", message: "connect() failed (111: ", ..failure }
}

fn said(backend: &Backend, status: u64) -> Failure<'_> {
    Failure { status, ..Failure::of(backend.address(), "upstream_status", "header") }
}

/// An upstream that `proxy_pass` made from an address.
fn implicit(failure: Failure<'_>) -> Failure<'_> {
    Failure { upstream: "127.0.0.1", ..failure }
}

fn saying(status: u16) -> Backend {
    Backend::answering(http::response(status, &[], b"own words"))
}

#[test]
fn an_error_page_from_a_file() {
    let dead = Dead::refusing();
    let cases = [("error_page 502 /page.html;", 502), ("error_page 502 =200 /page.html;", 200)];
    for (error_page, status) in cases {
        let nginx = with(&dead, error_page, PAGE).start();
        let seen = nginx.fetch("/");
        // Nobody's upstream answered: nginx did.
        ended(&seen, status, "failed", &[refused(&dead)]);
        assert_eq!(seen.reply.text(), "a page of ours");
    }
}

#[test]
fn an_error_page_that_redirects_or_returns() {
    let dead = Dead::refusing();
    let nginx = with(&dead, "error_page 502 =302 http://elsewhere.test/;", "").start();
    let seen = nginx.fetch("/");
    ended(&seen, 302, "failed", &[refused(&dead)]);
    assert_eq!(seen.reply.header("Location").as_deref(), Some("http://elsewhere.test/"));

    let returns = "location @said { return 503 said; }";
    let nginx = with(&dead, "error_page 502 = @said;", returns).start();
    let seen = nginx.fetch("/");
    ended(&seen, 503, "failed", &[refused(&dead)]);
    assert_eq!(seen.reply.text(), "said");
}

/// To a URI and to a named location alike.
fn fallbacks(dead: &Dead, fallback: &dyn std::fmt::Display, more: &str) -> [Running; 2] {
    [("= @other", "@other"), ("= /other", "/other")].map(|(page, location)| {
        let other = format!("location {location} {{ proxy_pass http://%fallback%; {more} }}");
        with(dead, &format!("error_page 502 504 {page};"), &other).set("fallback", fallback).start()
    })
}

#[test]
fn an_error_page_from_another_upstream() {
    let (dead, other) = (Dead::refusing(), Backend::ok("from the other"));
    for nginx in fallbacks(&dead, &other, "") {
        let seen = nginx.fetch("/");
        ended(&seen, 200, "recovered", &[refused(&dead)]);
        assert_eq!(seen.reply.text(), "from the other");
        let tried = format!("{dead} : {other}");
        assert_eq!(seen.line.field("upstream_addr"), tried);
    }
}

#[test]
fn an_error_page_from_another_upstream_that_fails() {
    let (dead, other) = (Dead::refusing(), Dead::refusing());
    for nginx in fallbacks(&dead, &other, "") {
        let failures = [refused(&dead), implicit(refused(&other))];
        ended(&nginx.fetch("/"), 502, "failed", &failures);
    }
    let slow = Backend::script([Step::Hold]);
    for nginx in fallbacks(&dead, &slow, "proxy_read_timeout 100ms;") {
        let timeout = Failure {
            errno: "ETIMEDOUT",
            limit: "proxy_read_timeout=100ms",
            ..Failure::of(slow.address(), "header_timeout", "header")
        };
        ended(&nginx.fetch("/"), 504, "failed", &[refused(&dead), implicit(timeout)]);
    }
}

/// The other upstream answers, with an error of its own.
#[test]
fn an_error_page_from_another_upstream_that_says_no() {
    let (dead, other) = (Dead::refusing(), saying(503));
    for nginx in fallbacks(&dead, &other, "") {
        let seen = nginx.fetch("/");
        let failures = [refused(&dead), implicit(said(&other, 503))];
        ended(&seen, 503, "upstream_error", &failures);
        assert_eq!(seen.reply.text(), "own words");
    }
}

#[test]
fn error_pages_one_after_another() {
    let (dead, other, good) = (Dead::refusing(), Dead::refusing(), Backend::ok("third"));
    let nginx = with(
        &dead,
        "recursive_error_pages on; error_page 502 = @second;",
        "location @second { recursive_error_pages on; proxy_pass http://%other%;
             error_page 502 = @third; }
         location @third { proxy_pass http://%good%; }",
    );
    let nginx = nginx.set("other", &other).set("good", &good).start();
    let failures = [refused(&dead), implicit(refused(&other))];
    ended(&nginx.fetch("/"), 200, "recovered", &failures);
}

#[test]
fn an_upstreams_own_error_is_not_nginxs() {
    for status in [500, 502, 503, 504] {
        let own = saying(status);
        // Without proxy_intercept_errors an error_page does not apply.
        let page = format!("error_page {status} /page.html;");
        let nginx = with(&own, &page, PAGE).start();
        let seen = nginx.fetch("/");
        ended(&seen, status, "upstream_error", &[said(&own, status.into())]);
        assert_eq!(seen.reply.text(), "own words");
        let advice = &seen.diagnosis().advice;
        assert!(advice.contains(&format!("itself answered {status}")), "{advice}");
    }
}

#[test]
fn an_intercepted_error() {
    let own = saying(502);
    let nginx = with(&own, "proxy_intercept_errors on; error_page 502 /page.html;", PAGE).start();
    let seen = nginx.fetch("/");
    ended(&seen, 502, "failed", &[said(&own, 502)]);
    assert_eq!(seen.reply.text(), "a page of ours");

    let other = Backend::ok("from the other");
    let more = "location @other { proxy_pass http://%other%; }";
    let nginx = with(&own, "proxy_intercept_errors on; error_page 502 = @other;", more);
    let nginx = nginx.set("other", &other).start();
    ended(&nginx.fetch("/"), 200, "recovered", &[said(&own, 502)]);

    // Intercepted, but no page for it.
    let nginx = with(&own, "proxy_intercept_errors on; error_page 404 /page.html;", PAGE).start();
    ended(&nginx.fetch("/"), 502, "upstream_error", &[said(&own, 502)]);
}

#[test]
fn an_intercepted_404_is_no_failure() {
    let missing = saying(404);
    let nginx = with(&missing, "proxy_intercept_errors on; error_page 404 /page.html;", PAGE);
    let seen = nginx.start().fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (404, "a page of ours"));
    nothing(&seen);

    let other = Backend::ok("from the other");
    let more = "location @other { proxy_pass http://%other%; }";
    let nginx = with(&missing, "proxy_intercept_errors on; error_page 404 = @other;", more);
    let seen = nginx.set("other", &other).start().fetch("/");
    assert_eq!(seen.reply.text(), "from the other");
    nothing(&seen);
}

fn accelerating(status: u16, to: &str) -> Backend {
    let header = format!("X-Accel-Redirect: {to}");
    Backend::answering(http::response(status, &[&header], b"not seen"))
}

#[test]
fn an_accelerated_redirect() {
    let dead = Dead::refusing();
    let to_upstream = accelerating(200, "/other");
    let other = "location /other { internal; proxy_pass http://%other%; }";
    let nginx = with(&to_upstream, "", other).set("other", &dead).start();
    ended(&nginx.fetch("/"), 502, "failed", &[implicit(refused(&dead))]);

    let good = Backend::ok("from the other");
    let nginx = with(&to_upstream, "", other).set("other", &good).start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.text(), "from the other");
    nothing(&seen);

    let to_file = accelerating(200, "/page.html");
    let seen = with(&to_file, "", PAGE).start().fetch("/");
    assert_eq!(seen.reply.text(), "a page of ours");
    nothing(&seen);

    let to_nothing = accelerating(200, "/missing/page.html");
    let seen = with(&to_nothing, "", "location /missing { root %dir%; }").start().fetch("/");
    assert_eq!(seen.reply.status, 404);
    nothing(&seen);
}

/// The redirect hides the status it came with, but that server did say 503.
#[test]
fn an_accelerated_redirect_from_an_error() {
    let (own, good) = (accelerating(503, "/other"), Backend::ok("from the other"));
    let other = "location /other { internal; proxy_pass http://%other%; }";
    let nginx = with(&own, "", other).set("other", &good).start();
    let seen = nginx.fetch("/");
    ended(&seen, seen.reply.status, "recovered", &[said(&own, 503)]);
    assert_eq!(seen.reply.text(), "from the other");
}

/// A server failed before the one that redirected.
#[test]
fn an_accelerated_redirect_after_a_retry() {
    let (dead, redirecting) = (Dead::refusing(), accelerating(200, "/page.html"));
    let servers = format!("{dead} max_fails=0; server {redirecting}");
    let nginx = with(&servers, "", PAGE).start();
    let seen = nginx.fetch("/");
    ended(&seen, 200, "recovered", &[Failure { retried: true, ..refused(&dead) }]);
}

/// A request that went through rewrites, try_files and named locations first.
#[test]
fn redirects_before_the_upstream() {
    let dead = Dead::refusing();
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; root %dir%;
             location / { try_files $uri @app; }
             location @app { rewrite ^ /app break; proxy_pass http://backend; }
             location /rewritten { rewrite ^ /direct last; }
             location /direct { proxy_pass http://backend; }
             location /index/ { index none.html /direct; } }",
    );
    let nginx = nginx.set("server", &dead).start();
    for path in ["/missing", "/rewritten", "/direct"] {
        ended(&nginx.fetch(path), 502, "failed", &[refused(&dead)]);
    }
}

/// Failures of one request on a client connection are not those of the next.
#[test]
fn requests_of_one_connection() {
    let (dead, good) = (Dead::refusing(), Backend::ok("good"));
    let nginx = with(&dead, "", "location /good { proxy_pass http://%good%; }");
    let nginx = nginx.set("good", &good).start();
    let mut client = nginx.connect();
    for _ in 0..3 {
        for (path, status) in [("/", 502), ("/good", 200)] {
            let seen = nginx_test::Seen { reply: client.get(path), line: nginx.logged() };
            assert_eq!(seen.reply.status, status);
            if status == 200 {
                nothing(&seen);
            } else {
                ended(&seen, 502, "failed", &[refused(&dead)]);
            }
        }
    }
}

/// What nginx says without asking an upstream.
#[test]
fn errors_of_nginx_alone() {
    let good = Backend::ok("good");
    let nginx = Nginx::http(
        "limit_req_zone $host zone=slow:64k rate=1r/m;
         server { listen %listen%; root %dir%;
             location / { proxy_pass http://%good%; client_max_body_size 1; }
             location /502 { return 502; }
             location /500 { if ($uri) { return 500; } proxy_pass http://%good%; }
             location /limited { limit_req zone=slow; proxy_pass http://%good%; }
             location /denied { deny all; proxy_pass http://%good%; }
             location /looping { rewrite ^ /looping last; } }",
    );
    let nginx = nginx.set("good", &good).start();
    for (path, status) in [
        ("/502", 502),
        ("/500", 500),
        ("/limited", 200),
        ("/limited", 503),
        ("/denied", 403),
        ("/looping", 500),
    ] {
        let seen = nginx.fetch(path);
        assert_eq!(seen.reply.status, status, "{path}");
        nothing(&seen);
    }
    let seen = nginx.fetch_with("POST", "/", &[], b"too large");
    assert_eq!(seen.reply.status, 413);
    nothing(&seen);
}
