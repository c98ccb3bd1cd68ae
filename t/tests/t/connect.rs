//! Failures between picking a server and having a connection to it.

use std::net::Ipv4Addr;

use nginx_test::backend::{Backlog, Dead};
use nginx_test::sandbox::Landlock;
use nginx_test::sandbox::netns::{Route, isolated};
use nginx_test::stream::Stream;
use nginx_test::{Backend, Dns, Nginx, Place, Step, Zone};

use crate::expect::{Failure, ended, nothing};

const REFUSED: &str = "connect() failed (111: Connection refused)";

/// One server in an upstream block.
fn block(server: &dyn std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend; %more% } }",
    )
    .set("server", server)
    .set("more", "")
}

fn refused(address: &str) -> Failure<'_> {
    let failure = Failure::of(address, "connection_refused", "connect");
    Failure { errno: "ECONNREFUSED", message: REFUSED, ..failure }
}

#[test]
fn connection_refused() {
    let dead = Dead::refusing();
    let nginx = block(&dead).start();
    let seen = nginx.fetch("/");
    ended(&seen, 502, "failed", &[refused(dead.address())]);
    let advice = format!("nothing listens on {dead}");
    assert!(seen.diagnosis().advice.starts_with(&advice), "{}", seen.diagnosis().advice);

    let member = seen.reply.member();
    assert!((0..1000).contains(&member.integer("ms").unwrap()), "{member:?}");
    assert_eq!(member.integer("conn-limit"), Some(128));
    let open = std::fs::read_dir(format!("/proc/{}/fd", nginx.workers()[0])).unwrap().count();
    let used = member.integer("fd-limit").unwrap() - member.integer("fd-free").unwrap();
    assert!((used - open as i64).abs() <= 3, "{used} used, {open} open: {member:?}");
}

#[test]
fn connection_refused_v6() {
    let dead = Dead::refusing_v6();
    ended(&block(&dead).start().fetch("/"), 502, "failed", &[refused(dead.address())]);
}

#[test]
fn connection_refused_without_an_upstream_block() {
    let dead = Dead::refusing();
    let nginx = Nginx::location("proxy_pass http://%server%;").set("server", &dead).start();
    let expected = Failure { upstream: "127.0.0.1", ..refused(dead.address()) };
    ended(&nginx.fetch("/"), 502, "failed", &[expected]);
}

#[test]
fn connection_refused_with_a_variable() {
    let dead = Dead::refusing();
    let nginx = Nginx::location("set $to %server%; proxy_pass http://$to;");
    let expected = Failure { upstream: "127.0.0.1", ..refused(dead.address()) };
    ended(&nginx.set("server", &dead).start().fetch("/"), 502, "failed", &[expected]);
}

#[test]
fn connection_refused_with_a_resolved_name() {
    let dead = Dead::refusing();
    let port = dead.address().rsplit(':').next().unwrap();
    let resolver = Dns::start().saying(Zone::addresses([Ipv4Addr::LOCALHOST]).ttl(60));
    let nginx = Nginx::location(
        "resolver %resolver% ipv6=off; set $to app.test:%port%; proxy_pass http://$to;",
    );
    let nginx = nginx.set("resolver", &resolver).set("port", port).start();
    let server = format!("app.test:{port}");
    let expected = Failure { upstream: "app.test", server: &server, ..refused(dead.address()) };
    ended(&nginx.fetch("/"), 502, "failed", &[expected]);
}

#[test]
fn connection_refused_by_a_named_server() {
    let dead = Dead::refusing();
    let port = dead.address().rsplit(':').next().unwrap();
    let name = format!("localhost:{port}");
    let nginx = block(&name).start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 502);
    for member in seen.reply.members() {
        assert_eq!(member.name, "connection_refused");
        assert_eq!(member.string("server"), Some(name.as_str()));
    }
    let tried: Vec<_> =
        seen.reply.members().iter().map(|m| m.string("address").unwrap().to_owned()).collect();
    assert_eq!(tried.join(", "), seen.line.field("upstream_addr"));
}

#[test]
fn a_quiet_error_log_hides_nothing() {
    let dead = Dead::refusing();
    for level in ["crit", "emerg"] {
        let nginx = block(&dead).error_level(level).start();
        ended(&nginx.fetch("/"), 502, "failed", &[refused(dead.address())]);
        assert_eq!(nginx.error_log(), "", "{level}");
    }
}

#[test]
fn connection_timeout() {
    let backlog = Backlog::full();
    let address = backlog.address().to_string();
    let nginx = block(&backlog).set("more", "proxy_connect_timeout 200ms;").start();
    let seen = nginx.fetch("/");
    let expected = Failure {
        errno: "ETIMEDOUT",
        limit: "proxy_connect_timeout=200ms",
        message: "upstream timed out (110: Connection timed out)",
        ..Failure::of(&address, "connection_timeout", "connect")
    };
    ended(&seen, 504, "failed", &[expected]);
    let ms = seen.reply.member().integer("ms").unwrap();
    assert!((190..5000).contains(&ms), "{ms} ms");
}

#[test]
fn connection_timeout_names_the_directive_of_its_protocol() {
    let backlog = Backlog::full();
    for protocol in ["proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached"] {
        let to = if protocol == "proxy" { "http://%server%" } else { "%server%" };
        let key = if protocol == "memcached" { "set $memcached_key x;" } else { "" };
        let conf = format!("{key} {protocol}_pass {to}; {protocol}_connect_timeout 100ms;");
        let nginx = Nginx::location(&conf).set("server", &backlog).start();
        let member = nginx.fetch("/").reply.member();
        assert_eq!(member.name, "connection_timeout", "{protocol}");
        let limit = format!("{protocol}_connect_timeout=100ms");
        assert_eq!(member.string("limit"), Some(limit.as_str()));
    }
}

/// The kernel gives up before nginx does: no limit of nginx was hit.
#[test]
fn connection_timeout_of_the_kernel() {
    isolated(|network| {
        network.sysctl("ipv4/tcp_syn_retries", "1");
        network.sysctl("ipv4/tcp_syn_linear_timeouts", "0");
        let backlog = Backlog::full();
        let address = backlog.address().to_string();
        let expected = Failure {
            errno: "ETIMEDOUT",
            message: "connect() failed (110: Connection timed out)",
            ..Failure::of(&address, "connection_timeout", "connect")
        };
        ended(&block(&backlog).start().fetch("/"), 502, "failed", &[expected]);
    });
}

/// The connection is established and reset before nginx looks at it: nginx stands still meanwhile.
#[test]
fn connection_reset() {
    let backlog = Backlog::full();
    let address = backlog.address().to_string();
    let nginx = block(&backlog).start();
    let mut client = nginx.connect();
    client.start("/");
    nginx_test::wait::until("nginx to connect", || backlog.is_awaited().then_some(()));
    let frozen = nginx.freeze();
    Stream::Tcp(backlog.drain()).reset();
    drop(frozen);
    let seen = nginx_test::Seen { reply: client.read("GET"), line: nginx.logged() };
    let expected = Failure {
        errno: "ECONNRESET",
        message: "connect() failed (104: Connection reset by peer)",
        ..Failure::of(&address, "connection_reset", "connect")
    };
    ended(&seen, 502, "failed", &[expected]);
}

#[test]
fn host_unreachable() {
    isolated(|network| {
        network.route(Route::Unreachable, Ipv4Addr::new(192, 0, 2, 0), 24);
        let _ethernet = network.silent_ethernet();
        let cases = [
            ("192.0.2.1:80", "connect() to 192.0.2.1:80 failed (113: No route to host)"),
            ("198.51.100.2:80", "connect() failed (113: No route to host)"),
        ];
        for (address, message) in cases {
            let failure = Failure::of(address, "host_unreachable", "connect");
            let expected = Failure { errno: "EHOSTUNREACH", message, ..failure };
            ended(&block(&address).start().fetch("/"), 502, "failed", &[expected]);
        }
    });
}

#[test]
fn network_unreachable() {
    isolated(|_| {
        for address in ["192.0.2.1:80", "[2001:db8::1]:80"] {
            let failure = Failure::of(address, "network_unreachable", "connect");
            let expected = Failure { errno: "ENETUNREACH", message: "(101: ", ..failure };
            ended(&block(&address).start().fetch("/"), 502, "failed", &[expected]);
        }
    });
}

#[test]
fn connection_denied() {
    let backend = Backend::ok("never reached");
    let nginx = block(&backend).landlock(Landlock::deny_connect()).start();
    let failure = Failure::of(backend.address(), "connection_denied", "connect");
    let message = "failed (13: Permission denied)";
    ended(&nginx.fetch("/"), 502, "failed", &[Failure { errno: "EACCES", message, ..failure }]);
    assert_eq!(backend.connections(), 0);
}

#[test]
fn connect_failed() {
    isolated(|network| {
        network.route(Route::Blackhole, Ipv4Addr::new(192, 0, 2, 0), 24);
        let failure = Failure::of("192.0.2.1:80", "connect_failed", "connect");
        let expected = Failure { errno: "EINVAL", message: "(22: ", ..failure };
        ended(&block(&"192.0.2.1:80").start().fetch("/"), 502, "failed", &[expected]);
    });
}

#[test]
fn local_bind_failed() {
    let backend = Backend::ok("never reached");
    let nginx = block(&backend).set("more", "proxy_bind 192.0.2.77;").start();
    let failure = Failure::of(backend.address(), "local_bind_failed", "connect");
    let message = "bind(192.0.2.77) failed (99: Cannot assign requested address)";
    let expected = Failure { errno: "EADDRNOTAVAIL", message, ..failure };
    ended(&nginx.fetch("/"), 500, "failed", &[expected]);
}

/// Two servers in an upstream block, tried in this order.
fn pair(first: &dyn std::fmt::Display, second: &dyn std::fmt::Display) -> Nginx {
    Nginx::http(
        "upstream backend { server %first% max_fails=0; server %second% %backup% max_fails=0; }
         server { listen %listen%; location / { proxy_pass http://backend; %more% } }",
    )
    .set("first", first)
    .set("second", second)
    .set("backup", "backup")
    .set("more", "")
}

#[test]
fn the_next_server_answers() {
    let (dead, live) = (Dead::refusing(), Backend::ok("live"));
    let nginx = pair(&dead, &live).start();
    for _ in 0..3 {
        let seen = nginx.fetch("/");
        let first = Failure { retried: true, ..refused(dead.address()) };
        ended(&seen, 200, "recovered", &[first]);
        assert_eq!(seen.reply.text(), "live");
    }
}

#[test]
fn the_next_server_fails_too() {
    let (first, second) = (Dead::refusing(), Backend::script([Step::ReadHead, Step::Close]));
    let nginx = pair(&first, &second).start();
    let closed = Failure {
        message: "upstream prematurely closed connection",
        ..Failure::of(second.address(), "closed_before_header", "header")
    };
    let retried = Failure { retried: true, ..refused(first.address()) };
    ended(&nginx.fetch("/"), 502, "failed", &[retried, closed]);
}

#[test]
fn both_of_a_round_robin_refuse() {
    let (first, second) = (Dead::refusing(), Dead::refusing());
    let nginx = pair(&first, &second).set("backup", "").start();
    let seen = nginx.fetch("/");
    let one = Failure { retried: true, ..refused(first.address()) };
    ended(&seen, 502, "failed", &[one, refused(second.address())]);
    assert_eq!(seen.line.field("upstream_addr"), format!("{first}, {second}"));
}

#[test]
fn no_retry_when_forbidden() {
    let (dead, live) = (Dead::refusing(), Backend::ok("never asked"));
    for more in ["proxy_next_upstream off;", "proxy_next_upstream_tries 1;"] {
        let nginx = pair(&dead, &live).set("more", more).start();
        ended(&nginx.fetch("/"), 502, "failed", &[refused(dead.address())]);
    }
    assert_eq!(live.connections(), 0);
}

#[test]
fn a_keepalive_upstream_that_went_away() {
    // An address of its own, so that nobody else's back end takes the port over.
    let place = Place::Ip(Ipv4Addr::new(127, 0, 77, 1));
    let answer = Step::Write(nginx_test::backend::http::ok("x"));
    let backend = Backend::at(place).script([Step::ReadRequest, answer, Step::Again]);
    let address = backend.address().to_owned();
    let nginx = Nginx::http(
        "upstream backend { server %server%; keepalive 4; }
         server { listen %listen%; location / { proxy_pass http://backend;
             proxy_http_version 1.1; proxy_set_header Connection \"\"; } }",
    );
    let nginx = nginx.set("server", &backend).start();
    nothing(&nginx.fetch("/"));
    nothing(&nginx.fetch("/"));
    assert_eq!(backend.connections(), 1, "the connection was not reused");
    drop(backend);
    // nginx may still hold the dead connection, and then says so; after that it is refused.
    let causes = nginx.fetch("/").reply.causes();
    assert_eq!(causes.last().map(String::as_str), Some("connection_refused"), "{causes:?}");
    ended(&nginx.fetch("/"), 502, "failed", &[refused(&address)]);
}
