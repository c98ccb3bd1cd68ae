//! Upstreams whose address is known only at run time: a variable in proxy_pass.

use std::net::Ipv4Addr;

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Dns, Nginx, Place, Running, Seen, Step, Zone};

use crate::expect::{Failure, ended, nothing};

/// proxy_pass with the host and port that the client sends.
fn forward(resolver: &Dns, more: &str) -> Running {
    Nginx::location(
        "resolver %resolver% ipv6=off; resolver_timeout 20s; proxy_pass http://$http_x_to; %more%",
    )
    .set("resolver", resolver)
    .set("more", more)
    .start()
}

fn ask(nginx: &Running, to: &str) -> Seen {
    nginx.fetch_with("GET", "/", &[&format!("X-To: {to}")], b"")
}

/// A failure to find an address for `app.test:8080`.
fn unresolved<'a>(cause: &'a str, message: &'a str) -> Failure<'a> {
    Failure {
        cause,
        phase: "resolve",
        upstream: "app.test",
        server: "app.test:8080",
        message,
        ..Failure::default()
    }
}

fn answers(answer: Zone, cause: &str, message: &str) {
    let resolver = Dns::start().saying(answer);
    let nginx = forward(&resolver, "");
    let seen = ask(&nginx, "app.test:8080");
    ended(&seen, 502, "failed", &[unresolved(cause, message)]);
    assert_eq!(seen.reply.member().integer("ms"), None, "no attempt was made");
    let questions = resolver.questions();
    assert!(questions.iter().all(|asked| asked.name == "app.test"), "{questions:?}");
}

#[test]
fn dns_not_found() {
    for answer in [Zone::nxdomain(), Zone::no_data()] {
        answers(answer, "dns_not_found", "app.test could not be resolved (3: Host not found)");
    }
}

#[test]
fn dns_server_failure() {
    let message = "app.test could not be resolved (2: Server failure)";
    answers(Zone::servfail(), "dns_server_failure", message);
}

#[test]
fn dns_refused() {
    let message = "app.test could not be resolved (5: Operation refused)";
    answers(Zone::refused(), "dns_refused", message);
}

#[test]
fn dns_error() {
    let message = "app.test could not be resolved (4: Unimplemented)";
    answers(Zone::code(4), "dns_error", message);
}

/// Nobody answers, nobody is there, and answers that nginx takes for noise.
#[test]
fn dns_timeout() {
    let resolver = Dns::start().saying(Zone::silent());
    let nobody = Dead::refusing();
    let (unasked, unknown) =
        (Dns::start().saying(Zone::code(1)), Dns::start().saying(Zone::code(9)));
    let servers = [&resolver as &dyn std::fmt::Display, &nobody, &unasked, &unknown];
    for server in servers {
        let nginx = Nginx::location(
            "resolver %resolver% ipv6=off; resolver_timeout 300ms; proxy_pass http://$http_x_to;",
        );
        let nginx = nginx.set("resolver", server).start();
        let message = "app.test could not be resolved (110: Operation timed out)";
        let expected =
            Failure { limit: "resolver_timeout=300ms", ..unresolved("dns_timeout", message) };
        ended(&ask(&nginx, "app.test:8080"), 502, "failed", &[expected]);
    }
    assert!(!resolver.questions().is_empty());
}

#[test]
fn resolver_missing() {
    let nginx = Nginx::location("proxy_pass http://$http_x_to;").start();
    let seen = ask(&nginx, "app.test:8080");
    let message = "no resolver defined to resolve app.test";
    ended(&seen, 502, "failed", &[unresolved("resolver_missing", message)]);
    let advice = &seen.diagnosis().advice;
    assert!(advice.contains("add a resolver directive"), "{advice}");
}

#[test]
fn upstream_invalid() {
    let nginx = Nginx::location("resolver 127.0.0.1; proxy_pass $http_x_to;").start();
    for (to, message) in [
        ("", "invalid URL prefix in \"\""),
        ("app.test:8080", "invalid URL prefix in \"app.test:8080\""),
        ("ftp://app.test", "invalid URL prefix in \"ftp://app.test\""),
        ("http://", "invalid URL prefix in \"http://\""),
        ("http://:8080", "no host in upstream \":8080\""),
        ("http://app.test:99999", "invalid port in upstream \"app.test:99999\""),
        ("http://app.test:x", "invalid port in upstream \"app.test:x\""),
        ("http://[::1", "invalid host in upstream \"[::1\""),
        ("http://unix:", "no path in the unix domain socket in upstream \"unix:\""),
    ] {
        let seen = ask(&nginx, to);
        let expected =
            Failure { cause: "upstream_invalid", phase: "resolve", message, ..Failure::default() };
        ended(&seen, 500, "failed", &[expected]);
        let advice = &seen.diagnosis().advice;
        assert!(advice.starts_with("proxy_pass came out as no usable address"), "{advice}");
    }
}

/// FastCGI and its kin have no default port, and advice names their own directive.
#[test]
fn upstream_invalid_without_a_port() {
    for protocol in ["fastcgi", "uwsgi", "scgi"] {
        let conf = format!("resolver 127.0.0.1; {protocol}_pass $http_x_to;");
        let seen = ask(&Nginx::location(&conf).start(), "app.test");
        let message = "no port in upstream \"app.test\"";
        let failure = unresolved("upstream_invalid", message);
        ended(&seen, 500, "failed", &[Failure { server: "app.test", ..failure }]);
        let advice = format!("{protocol}_pass came out as no usable address");
        assert!(seen.diagnosis().advice.starts_with(&advice), "{}", seen.diagnosis().advice);
    }
}

#[test]
fn dns_not_found_in_every_protocol() {
    let resolver = Dns::start().saying(Zone::nxdomain());
    for protocol in ["fastcgi", "uwsgi", "scgi", "grpc"] {
        let conf = format!("resolver %resolver% ipv6=off; {protocol}_pass $http_x_to;");
        let nginx = Nginx::location(&conf).set("resolver", &resolver).start();
        let message = "app.test could not be resolved (3: Host not found)";
        let expected = unresolved("dns_not_found", message);
        ended(&ask(&nginx, "app.test:8080"), 502, "failed", &[expected]);
    }
}

/// Names that say what nginx says about other failures, with what a header or a log could choke on.
#[test]
fn dns_not_found_with_a_hostile_name() {
    let resolver = Dns::start().saying(Zone::nxdomain());
    let nginx = Nginx::server(
        "resolver %resolver% ipv6=off; large_client_header_buffers 4 32k;
         location ~ \"(?s)^/(.*)$\" { proxy_pass http://$1; }",
    );
    let nginx = nginx.set("resolver", &resolver).start();
    for name in [
        "no live upstreams",
        "upstream timed out (110)",
        "upstream prematurely closed connection",
        "connect() failed (111) could not be resolved (2)",
        "no resolver defined to resolve x",
        "a, client 1.2.3.4, server _",
        "a while connecting to upstream, client",
        "q\" , other;phase=body \\ ",
        "\r\nX-Injected. 1\r\n",
        "\u{1}\t\u{e9}\u{20ac}\"",
        "(\"v\"), null",
        &"n".repeat(3000),
        &"m.".repeat(100),
    ] {
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let seen = nginx.fetch(&format!("/{escaped}"));
        assert_eq!(seen.reply.status, 502, "{name:?}: {}", seen.reply);
        let member = seen.reply.member();
        assert_eq!(
            (member.name.as_str(), member.token("phase")),
            ("dns_not_found", Some("resolve"))
        );
        assert_eq!(member.token("errno"), None);
        assert!(seen.reply.header("X-Injected").is_none());
        assert_eq!(seen.diagnosis().attempt().cause, "dns_not_found");
        if name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && name.len() < 200 {
            assert_eq!(member.string("upstream"), Some(name));
        }
    }
}

#[test]
fn resolver_missing_with_a_hostile_name() {
    let nginx = Nginx::location("proxy_pass http://$http_x_to;").start();
    for name in ["x could not be resolved (3)", "no live upstreams", "x (111) while connecting"] {
        let seen = ask(&nginx, name);
        let member = seen.reply.member();
        assert_eq!((member.name.as_str(), member.token("errno")), ("resolver_missing", None));
        assert_eq!(member.string("upstream"), Some(name));
    }
}

#[test]
fn a_name_with_a_good_address() {
    let backend = Backend::ok("found");
    let resolver = Dns::start().saying(Zone::addresses([Ipv4Addr::LOCALHOST]).ttl(60));
    let port = backend.address().rsplit(':').next().unwrap();
    let nginx = forward(&resolver, "");
    for _ in 0..2 {
        let seen = ask(&nginx, &format!("app.test:{port}"));
        assert_eq!(seen.reply.text(), "found");
        nothing(&seen);
    }
}

/// An address that nobody else in these tests listens on.
fn silent(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 88, last)
}

fn refused<'a>(server: &'a str, address: &'a str) -> Failure<'a> {
    Failure {
        upstream: "app.test",
        server,
        errno: "ECONNREFUSED",
        message: "connect() failed (111: Connection refused)",
        ..Failure::of(address, "connection_refused", "connect")
    }
}

#[test]
fn every_address_of_a_name_refuses() {
    let dead = Dead::refusing();
    let port = dead.address().rsplit(':').next().unwrap();
    let addresses = vec![Ipv4Addr::LOCALHOST, silent(1), silent(2)];
    let resolver = Dns::start().saying(Zone::addresses(&addresses).ttl(60));
    let nginx = forward(&resolver, "");
    let server = format!("app.test:{port}");
    let seen = ask(&nginx, &server);
    let tried = seen.line.field("upstream_addr").to_owned();
    let tried: Vec<&str> = tried.split(", ").collect();
    let expected: Vec<Failure> = tried
        .iter()
        .enumerate()
        .map(|(n, address)| Failure { retried: n < 2, ..refused(&server, address) })
        .collect();
    ended(&seen, 502, "failed", &expected);
    let mut sorted: Vec<String> = tried.iter().map(|&address| address.to_owned()).collect();
    sorted.sort();
    let mut all: Vec<String> = addresses.iter().map(|ip| format!("{ip}:{port}")).collect();
    all.sort();
    assert_eq!(sorted, all);
}

/// nginx begins with either address: once with the good one, once with the other.
#[test]
fn one_address_of_a_name_refuses() {
    let script = [Step::ReadRequest, Step::Write(http::ok("found")), Step::Close];
    let backend = Backend::at(Place::Ip(silent(3))).script(script);
    let port = backend.address().rsplit(':').next().unwrap();
    let bad = format!("{}:{port}", silent(4));
    let resolver = Dns::start().saying(Zone::addresses([silent(3), silent(4)]).ttl(60));
    let nginx = forward(&resolver, "");
    let server = format!("app.test:{port}");
    let mut kinds = [false, false];
    while kinds != [true, true] {
        let seen = ask(&nginx, &server);
        assert_eq!(seen.reply.text(), "found");
        let retried = seen.line.field("upstream_addr").contains(", ");
        kinds[usize::from(retried)] = true;
        if retried {
            let first = Failure { retried: true, ..refused(&server, &bad) };
            ended(&seen, 200, "recovered", &[first]);
        } else {
            nothing(&seen);
        }
    }
}

/// A variable may also name an upstream block, or hold a literal address.
#[test]
fn a_variable_that_needs_no_resolver() {
    let dead = Dead::refusing();
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://$http_x_to; } }",
    );
    let nginx = nginx.set("server", &dead).start();
    let message = "connect() failed (111: Connection refused)";
    let of_block = Failure {
        errno: "ECONNREFUSED",
        message,
        ..Failure::of(dead.address(), "connection_refused", "connect")
    };
    ended(&ask(&nginx, "backend"), 502, "failed", &[of_block]);
    let literal = Failure { upstream: "127.0.0.1", ..of_block };
    ended(&ask(&nginx, dead.address()), 502, "failed", &[literal]);

    let dead = Dead::refusing_v6();
    let literal = Failure { upstream: "[::1]", server: dead.address(), ..of_block };
    let literal = Failure { address: dead.address(), ..literal };
    ended(&ask(&nginx, dead.address()), 502, "failed", &[literal]);

    let dead = Dead::missing_socket();
    let to = format!("{dead}:/");
    let seen = ask(&nginx, &to);
    let member = seen.reply.member();
    assert_eq!(member.name, "unix_socket_missing");
    assert_eq!(member.string("address"), Some(dead.address()));
}
