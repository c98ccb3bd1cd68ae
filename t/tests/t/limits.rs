//! The limit that was hit is named by the directive of the protocol in use, with its value.

use nginx_test::backend::{fastcgi, scgi, uwsgi};
use nginx_test::{Backend, Member, Nginx, Place, Seen, Step};

/// A location that passes to `backend` with that protocol.
fn passing(protocol: &str, backend: &Backend, more: &str) -> Seen {
    let to = if protocol == "proxy" { "http://%server%" } else { "%server%" };
    let more = match protocol {
        "memcached" => format!("set $memcached_key x; {more}"),
        "fastcgi" | "scgi" | "uwsgi" => format!("{protocol}_param REQUEST_METHOD GET; {more}"),
        _ => more.to_owned(),
    };
    let nginx = Nginx::server(&format!(
        "client_max_body_size 0; location / {{ {protocol}_pass {to}; {more} }}"
    ));
    let method = if more.contains("send_timeout") { "POST" } else { "GET" };
    let body = if method == "POST" { vec![b'x'; 16 << 20] } else { Vec::new() };
    nginx.set("server", backend).start().fetch_with(method, "/", &[], &body)
}

fn assert_limit(seen: &Seen, cause: &str, limit: &str) {
    let member: Member = seen.reply.member();
    assert_eq!((member.name.as_str(), member.string("limit")), (cause, Some(limit)));
    assert!(seen.diagnosis().advice.contains(limit.split('=').next().unwrap()), "{seen:?}");
}

#[test]
fn read_timeouts() {
    for protocol in ["proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached"] {
        let backend = Backend::script([Step::Hold]);
        let seen = passing(protocol, &backend, &format!("{protocol}_read_timeout 100ms;"));
        assert_limit(&seen, "header_timeout", &format!("{protocol}_read_timeout=100ms"));
        assert_eq!(seen.reply.status, 504);
    }
}

#[test]
fn send_timeouts() {
    for protocol in ["proxy", "fastcgi", "uwsgi", "scgi"] {
        let backend = Backend::at(Place::Tcp).small_receive_buffer().script([Step::Hold]);
        let seen = passing(protocol, &backend, &format!("{protocol}_send_timeout 200ms;"));
        assert_limit(&seen, "send_timeout", &format!("{protocol}_send_timeout=200ms"));
        assert_eq!(seen.reply.status, 504);
    }
}

#[test]
fn buffer_sizes() {
    let header = format!("Status: 200\r\nSet-Cookie: {}\r\n\r\n", "c".repeat(8000));
    let http = format!("HTTP/1.1 200 OK\r\n{header}");
    let cases = [
        ("proxy", Step::ReadHead, http.into_bytes()),
        ("fastcgi", fastcgi::request(), fastcgi::response(header.as_bytes())),
        ("uwsgi", uwsgi::request(), header.clone().into_bytes()),
        ("scgi", scgi::request(), header.clone().into_bytes()),
    ];
    for (protocol, request, answer) in cases {
        let backend = Backend::script([request, Step::Write(answer), Step::WaitForPeerClose]);
        let seen = passing(protocol, &backend, &format!("{protocol}_buffer_size 2k;"));
        assert_limit(&seen, "header_too_big", &format!("{protocol}_buffer_size=2k"));
        assert_eq!(seen.reply.status, 502);
    }
}

/// Values are written as one would configure them.
#[test]
fn units() {
    for (configured, shown) in [("1s", "1s"), ("1", "1s"), ("1100ms", "1100ms")] {
        let backend = Backend::script([Step::Hold]);
        let seen = passing("proxy", &backend, &format!("proxy_read_timeout {configured};"));
        assert_limit(&seen, "header_timeout", &format!("proxy_read_timeout={shown}"));
    }
}
