//! Every protocol's request waits and recovers, and goes through nginx's redirects.

use nginx_test::backend::{Authority, fastcgi, h2, http, memcached, scgi, uwsgi};
use nginx_test::dns::Zone;
use nginx_test::{Backend, Gate, Nginx, Place, Seen, Step};

use crate::moved::{Moved, resolution};

const PAGE: &[u8] = b"Content-Type: text/plain\r\n\r\nnew";

/// The new host speaks that; one request waits for DNS, and one goes straight there.
fn speaks(pass: &str, script: Vec<Step>, tls: bool) {
    let (moved, gate) = (Moved::start(), Gate::new());
    moved.new.kill();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let listening = Backend::at(Place::At(moved.now()));
    let listening =
        if tls { listening.tls(Authority::new().issue("app.test").server()) } else { listening };
    let _new = listening.script(script);
    let nginx = Nginx::http(
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve failure wait=20s timeout=20s;
         upstream backend { server app.test:%port%; }
         server { listen %listen%; location / { %pass% } }",
    );
    let nginx = nginx.set("dns", &moved.dns).set("port", &moved.port).set("pass", pass);
    let nginx = nginx.hosts(&[("127.0.0.2", "app.test")]).start();
    let mut client = nginx.connect();
    client.start("/");
    moved.wait_until_asked(1);
    gate.open();
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    assert_eq!(seen.reply.status, 200, "{pass}: {}", seen.reply);
    assert_eq!(seen.line.field("upstream_addr"), moved.both(), "{pass}");
    assert!(resolution(&seen, "waited_ms").is_u64(), "{pass}");
    assert_eq!(seen.diagnosis().outcome, "recovered");
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 200, "{pass}: {}", seen.reply);
    assert_eq!(seen.line.field("upstream_addr"), moved.now().to_string(), "{pass}");
}

#[test]
fn fastcgi_uwsgi_scgi_and_memcached() {
    let cgi = [b"Status: 200\r\n", PAGE].concat();
    for (pass, steps) in [
        ("fastcgi_pass backend;", vec![fastcgi::request(), Step::Write(fastcgi::response(PAGE))]),
        ("uwsgi_pass backend;", vec![uwsgi::request(), Step::Write(cgi.clone())]),
        ("scgi_pass backend;", vec![scgi::request(), Step::Write(cgi)]),
        (
            "set $memcached_key x; memcached_pass backend;",
            vec![memcached::request(), Step::Write(b"VALUE x 0 3\r\nnew\r\nEND\r\n".to_vec())],
        ),
    ] {
        speaks(pass, steps, false);
    }
}

#[test]
fn grpc() {
    let steps = vec![h2::request(), Step::Write(h2::grpc_ok()), Step::WaitForPeerClose];
    speaks("grpc_pass grpc://backend;", steps, false);
}

#[test]
fn https() {
    let steps = vec![Step::Tls, Step::ReadRequest, Step::Write(http::ok("new")), Step::Close];
    speaks("proxy_pass https://backend;", steps, true);
}

/// The first upstream has nothing new; the second has moved, and its wait is its own.
#[test]
fn another_upstream_by_error_page() {
    let moved = Moved::start();
    moved.dns.set("lost.test", Zone::servfail());
    let nginx = moved
        .nginx()
        .set("beside", "upstream lost { server lost.test:%port%; }")
        .set(
            "server",
            "location /a { proxy_pass http://lost; error_page 502 = @backend; }
             location @backend { proxy_pass http://backend; }",
        )
        .hosts(&[("127.0.0.2", "app.test"), ("127.0.0.7", "lost.test")])
        .start();
    let seen = nginx.fetch("/a");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"));
    let lost = moved.port.at([127, 0, 0, 7]);
    assert_eq!(seen.line.field("upstream_addr"), format!("{lost} : {}", moved.both()));
    let verdicts: Vec<_> = seen.diagnosis().attempts.iter().map(|a| a.text("dns")).collect();
    assert_eq!(verdicts, [Some("unresolved"), Some("stale")]);
}

/// An answer from the cache is for when nobody can be reached, and nobody is when DNS says nothing.
#[test]
fn a_stale_answer_of_the_cache() {
    let moved = Moved::start();
    let cache = "proxy_cache_path %dir%/cache keys_zone=c:1m;";
    let location = "proxy_cache c; proxy_cache_valid 1h; proxy_cache_use_stale error timeout;
        add_header X-Cache $upstream_cache_status;";
    let nginx = moved.nginx().set("beside", cache).set("location", location);
    let nginx = nginx.set("resolve", "failure min=1ms").start();
    let status = |seen: &Seen| seen.reply.header("X-Cache").unwrap();
    assert_eq!(status(&nginx.fetch("/")), "MISS");
    crate::cache::expire(&nginx);
    moved.new.kill();
    moved.dns.set("app.test", Zone::servfail());
    let seen = nginx.fetch("/");
    assert_eq!((status(&seen).as_str(), seen.reply.text().as_str()), ("STALE", "new"));
    let other = nginx_test::Host::start(moved.port.at([127, 0, 0, 4]), "other");
    moved.dns.set("app.test", Zone::addresses(["127.0.0.4"]));
    let seen = nginx_test::wait::until("DNS to be asked again", || {
        let seen = nginx.fetch("/");
        (status(&seen) != "STALE").then_some(seen)
    });
    assert_eq!((status(&seen).as_str(), seen.reply.text().as_str()), ("EXPIRED", "other"));
    drop(other);
}
