//! Which failures to connect a moved name is asked for, and what `proxy_next_upstream` allows then.

use std::net::Ipv4Addr;

use nginx_test::backend::{Authority, http};
use nginx_test::dns::{Dns, Zone};
use nginx_test::sandbox::netns::{Network, Route, isolated};
use nginx_test::{Backend, Host, Nginx, Place, Port, Seen, Step, env};

use crate::moved::{Moved, answered, behind, resolution};

/// As short as DNS can be asked in meanwhile: a wait takes no longer either.
fn time_out() -> String {
    format!("proxy_connect_timeout {}s;", if env::valgrind() { 6 } else { 1 })
}

/// The request was answered by the new host, after one failure of that cause.
fn recovered(seen: &Seen, cause: &str, both: &str) {
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{}", seen.reply);
    assert_eq!(seen.line.field("upstream_addr"), both);
    assert_eq!(seen.line.field("upstream_status").split(", ").nth(1), Some("200"));
    let diagnosis = seen.diagnosis();
    assert_eq!((diagnosis.outcome.as_str(), diagnosis.causes()), ("recovered", vec![cause]));
    let attempt = diagnosis.attempt();
    assert_eq!((attempt.text("dns"), attempt.flag("retried")), (Some("stale"), true));
    assert_eq!(*resolution(seen, "used"), "this_request");
}

/// The client got the first failure as it was, and nothing else was tried.
fn ended(seen: &Seen, status: u16, cause: &str, then: &str) {
    assert_eq!(seen.reply.status, status, "{}", seen.reply);
    assert_eq!(seen.line.field("upstream_addr"), then);
    assert_eq!(seen.line.field("upstream_status"), status.to_string());
    let diagnosis = seen.diagnosis();
    assert_eq!((diagnosis.outcome.as_str(), diagnosis.causes()), ("failed", vec![cause]));
    assert!(!diagnosis.attempt().flag("retried"));
}

#[test]
fn refused() {
    let moved = Moved::start();
    let nginx = moved.nginx().start();
    recovered(&nginx.fetch("/"), "connection_refused", &moved.both());
    moved.asked(1);
    assert_eq!(moved.new.requests(), 1);
}

/// From an address that is not of this machine to one that is. A loopback address would not do:
/// nobody's name moves there from elsewhere.
fn elsewhere(network: &Network, then: [u8; 4], cause: &str) {
    const NOW: [u8; 4] = [203, 0, 113, 3];
    network.address("203.0.113.3");
    let (dns, port) = (Dns::start(), Port::reserve());
    let (then, now) = (port.at(then), port.at(NOW));
    let _new = Host::start(now, "new");
    dns.set("app.test", Zone::addresses([now.ip()]));
    let nginx = behind(&dns, &port).hosts(&[(&then.ip().to_string(), "app.test")]).start();
    recovered(&nginx.fetch("/"), cause, &format!("{then}, {now}"));
}

#[test]
fn unreachable() {
    for (kind, cause) in [
        (Some(Route::Unreachable), "host_unreachable"),
        (Some(Route::Prohibit), "connection_denied"),
        (None, "network_unreachable"),
    ] {
        isolated(|network| {
            if let Some(kind) = kind {
                network.route(kind, Ipv4Addr::new(192, 0, 2, 0), 24);
            }
            elsewhere(network, [192, 0, 2, 7], cause);
        });
    }
}

/// The error comes a moment after connect(2).
#[test]
fn unreachable_after_a_moment() {
    isolated(|network| {
        let _ethernet = network.silent_ethernet();
        elsewhere(network, [198, 51, 100, 9], "host_unreachable");
    });
}

#[test]
fn connect_time_out() {
    let moved = Moved::start();
    let old = Host::start(moved.then(), "old");
    old.vanish();
    let nginx = moved.nginx().set("location", time_out()).start();
    recovered(&nginx.fetch("/"), "connection_timeout", &moved.both());
    for _ in 0..3 {
        let seen = answered(&nginx, "new");
        assert_eq!(seen.line.field("upstream_addr"), moved.now().to_string());
    }
}

/// To a name over TLS; the new host has the name's certificate.
fn over_tls(old: Step, cause: &str, conf: &str) {
    let moved = Moved::start();
    moved.new.kill();
    let ca = Authority::new();
    let page = [Step::Tls, Step::ReadRequest, Step::Write(http::ok("new")), Step::Close];
    let _new = Backend::at(Place::At(moved.now())).tls(ca.issue("app.test").server()).script(page);
    let _old = Backend::at(Place::At(moved.then())).script([old]);
    let nginx = Nginx::http(
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve failure;
         upstream backend { server app.test:%port%; }
         server { listen %listen%; location / {
             proxy_pass https://backend; proxy_ssl_trusted_certificate ca.pem;
             proxy_ssl_verify on; proxy_ssl_name app.test; %conf% } }",
    );
    let nginx = nginx.set("dns", &moved.dns).set("port", &moved.port).set("conf", conf);
    let nginx = nginx.file("ca.pem", &ca.pem()).hosts(&[("127.0.0.2", "app.test")]).start();
    let seen = nginx.fetch("/");
    recovered(&seen, cause, &moved.both());
    assert_eq!(seen.diagnosis().phase, "handshake");
}

#[test]
fn handshake_closed() {
    over_tls(Step::Close, "tls_handshake_closed", "");
}

#[test]
fn handshake_with_somebody_else() {
    over_tls(Step::Write(http::ok("no TLS here")), "tls_peer_plaintext", "");
}

#[test]
fn handshake_time_out() {
    over_tls(Step::Hold, "tls_handshake_timeout", &time_out());
}

/// What is allowed after each kind of failure, by the directive's value.
const RULES: [(&str, bool, bool); 7] = [
    ("error timeout", true, true),
    ("error", true, false),
    ("timeout", false, true),
    ("off", false, false),
    ("http_502 http_504", false, false),
    ("invalid_header", false, false),
    ("error non_idempotent", true, false),
];

#[test]
fn only_what_next_upstream_allows() {
    let gone = Moved::start();
    let silent = Moved::start();
    let old = Host::start(silent.then(), "old");
    old.vanish();
    for (rule, after_error, after_timeout) in RULES {
        let conf = format!("proxy_next_upstream {rule}; {}", time_out());
        for (moved, allowed, status, cause) in [
            (&gone, after_error, 502, "connection_refused"),
            (&silent, after_timeout, 504, "connection_timeout"),
        ] {
            moved.dns.forget();
            let nginx = moved.nginx().set("location", &conf).start();
            let seen = nginx.fetch("/");
            if allowed {
                recovered(&seen, cause, &moved.both());
            } else {
                ended(&seen, status, cause, &moved.then().to_string());
            }
            // Whoever comes later goes to the new address whatever the rule.
            moved.wait_until_asked(1);
            crate::moved::until_answered(&nginx, "new");
            moved.asked(1);
        }
    }
}

#[test]
fn no_more_tries_than_configured() {
    let moved = Moved::start();
    let nginx = moved.nginx().set("location", "proxy_next_upstream_tries 1;").start();
    ended(&nginx.fetch("/"), 502, "connection_refused", &moved.then().to_string());
    crate::moved::until_answered(&nginx, "new");
    moved.asked(1);
    let nginx = moved.nginx().set("location", "proxy_next_upstream_tries 2;").start();
    recovered(&nginx.fetch("/"), "connection_refused", &moved.both());
}

/// One fresh address after the other, and no more tries than that.
#[test]
fn each_fresh_address_is_a_try() {
    for (tries, hosts) in [(2, 2), (3, 3), (0, 4)] {
        let moved = Moved::start();
        moved.new.kill();
        moved.dns.set("app.test", Zone::addresses(["127.0.0.3", "127.0.0.4", "127.0.0.5"]));
        let tries = format!("proxy_next_upstream_tries {tries};");
        let nginx = moved.nginx().set("location", tries).start();
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502);
        let tried: Vec<_> = seen.line.field("upstream_addr").split(", ").collect();
        assert_eq!(tried.len(), hosts, "{tried:?}");
        let mut different = tried.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), hosts, "{tried:?}");
        assert_eq!(seen.diagnosis().attempts.len(), hosts);
        moved.asked(1);
    }
}

#[test]
fn off_means_off() {
    let moved = Moved::start();
    let nginx = behind(&moved.dns, &moved.port).set("resolve", "off").start();
    let seen = nginx.fetch("/");
    ended(&seen, 502, "connection_refused", &moved.then().to_string());
    assert_eq!(seen.diagnosis().attempt().text("dns"), None);
    assert!(moved.dns.questions().is_empty());
}

/// The module's two halves need not be on together.
#[test]
fn without_a_diagnosis() {
    let moved = Moved::start();
    let nginx = moved.nginx().off().start();
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"));
    assert_eq!(seen.reply.header("X-Upstream-Diagnosis"), None);
    assert!(seen.line.diagnosis.is_none());
    assert_eq!(seen.line.field("upstream_addr"), moved.both());
    assert_eq!(nginx.fetch("/").line.field("upstream_addr"), moved.now().to_string());
}

/// A name of two blocks is asked for once, and both go to its new address; with settings of its
/// own it is another matter.
#[test]
fn a_name_of_two_blocks() {
    for (settings, rounds) in
        [("", 1), ("upstream_diagnosis_resolve failure wait=8s timeout=9s;", 2)]
    {
        let moved = Moved::start();
        let other = "upstream other { server APP.test:%port%; %settings% }";
        // Long enough for a machine with much to do.
        let nginx = moved.nginx().set("resolve", "failure wait=9s timeout=9s");
        let nginx = nginx.set("beside", other).set("settings", settings);
        let nginx = nginx.set("server", "location /other { proxy_pass http://other; }").start();
        recovered(&nginx.fetch("/"), "connection_refused", &moved.both());
        let seen = nginx.fetch("/other");
        assert_eq!(seen.reply.text(), "new");
        assert_eq!(seen.line.diagnosis.is_some(), rounds == 2);
        moved.asked(rounds);
    }
}
