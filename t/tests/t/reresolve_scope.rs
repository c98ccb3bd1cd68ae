//! Where re-resolution is on: by block, in whatever order the configuration says it.

use nginx_test::Nginx;
use nginx_test::dns::Zone;

use crate::moved::{Moved, answered};

/// A configuration of `http {}` in front of a moved name.
fn with(moved: &Moved, http: &str) -> Nginx {
    let nginx = Nginx::http(http).set("dns", &moved.dns).set("port", &moved.port);
    nginx.hosts(&[("127.0.0.2", "app.test")])
}

const SERVER: &str = "server { listen %listen%; location / { proxy_pass http://backend; } }";

#[test]
fn the_directives_may_come_last() {
    for block in ["", "keepalive 2;", "least_conn; keepalive 2;", "ip_hash;"] {
        let moved = Moved::start();
        let http = format!(
            "upstream backend {{ {block} server app.test:%port%; }} {SERVER}
             upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve failure;"
        );
        let nginx = with(&moved, &http).start();
        let seen = answered(&nginx, "new");
        assert_eq!(seen.line.field("upstream_addr"), moved.both(), "{block}");
        answered(&nginx, "new");
        moved.asked(1);
    }
}

#[test]
fn a_block_has_its_own() {
    for (http, block, status) in [
        ("failure", "off", 502),
        ("off", "failure", 200),
        ("failure wait=0", "failure", 200),
        ("failure", "failure wait=0", 502),
        ("ttl", "off", 502),
    ] {
        for before in [true, false] {
            let moved = Moved::start();
            let own = format!("upstream_diagnosis_resolve {block};");
            let (first, last) = if before { (own.as_str(), "") } else { ("", own.as_str()) };
            let conf = format!(
                "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve {http};
                 upstream backend {{ {first} server app.test:%port%; keepalive 2; {last} }} {SERVER}"
            );
            let nginx = with(&moved, &conf).start();
            assert_eq!(nginx.fetch("/").reply.status, status, "{http}; {block}");
            if block == "off" {
                assert!(moved.dns.questions().is_empty(), "{http}; {block}");
            }
        }
    }
}

/// The upstreams that `proxy_pass` makes are of the `http` block; those with variables, which
/// nginx's own resolver looks up for each request, are left alone.
#[test]
fn upstreams_without_a_block() {
    let moved = Moved::start();
    let nginx = with(
        &moved,
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve failure;
         server { listen %listen%; resolver %dns% ipv6=off;
             location / { proxy_pass http://app.test:%port%; }
             location /same { proxy_pass http://app.test:%port%/; }
             location /other { set $name other.test; proxy_pass http://$name:%port%; }
             location /literal { set $name 127.0.0.2; proxy_pass http://$name:%port%; } }",
    );
    let nginx = nginx.start();
    moved.dns.set("other.test", Zone::addresses(["127.0.0.3"]));
    let seen = nginx.fetch("/other");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"));
    assert_eq!(nginx.fetch("/literal").reply.status, 502);
    moved.dns.forget();
    let seen = answered(&nginx, "new");
    assert_eq!(seen.line.field("upstream_addr"), moved.both());
    let seen = nginx.fetch("/same");
    assert_eq!(
        (seen.reply.status, seen.line.field("upstream_addr")),
        (200, &*moved.now().to_string())
    );
    moved.asked(1);
}

/// Nothing that was configured is looked up unless it fails.
#[test]
fn nobody_asks_without_a_failure() {
    let moved = Moved::start();
    let old = nginx_test::Host::start(moved.then(), "old");
    let nginx = moved.nginx().start();
    for _ in 0..20 {
        answered(&nginx, "old");
    }
    assert!(moved.dns.questions().is_empty());
    drop(old);
}
