//! The same failures in every protocol that nginx speaks to upstreams besides HTTP.

use nginx_test::backend::{Authority, Dead, fastcgi, h2, http, uwsgi};
use nginx_test::{Backend, Gate, Nginx, Place, Seen, Step};

use crate::expect::{Failure, ended, logged, nothing};
use crate::protocol::{PROTOCOLS, Protocol, backend, block, end};

const CLOSED: &str = "upstream prematurely closed connection";
const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";

#[test]
fn good_back_ends() {
    for protocol in &PROTOCOLS {
        let backend = backend(protocol, [Step::Write((protocol.good)()), end(protocol)]);
        let seen = block(protocol, &backend, "").fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
        nothing(&seen);
    }
}

#[test]
fn connection_refused() {
    for protocol in &PROTOCOLS {
        let dead = Dead::refusing();
        let expected = Failure {
            errno: "ECONNREFUSED",
            message: "connect() failed (111: Connection refused)",
            ..Failure::of(dead.address(), "connection_refused", "connect")
        };
        ended(&block(protocol, &dead, "").fetch("/"), 502, "failed", &[expected]);
    }
}

#[test]
fn closed_before_header() {
    for protocol in &PROTOCOLS {
        for sent in [Vec::new(), (protocol.begun)()] {
            // Not Step::Close: gRPC acknowledges SETTINGS, and unread bytes make a close a reset.
            let backend = backend(protocol, [Step::Write(sent), Step::Finish, Step::Hold]);
            let expected = Failure {
                message: CLOSED,
                ..Failure::of(backend.address(), "closed_before_header", "header")
            };
            ended(&block(protocol, &backend, "").fetch("/"), 502, "failed", &[expected]);
        }
    }
}

#[test]
fn reset_before_header() {
    for protocol in &PROTOCOLS {
        let backend = backend(protocol, [Step::Reset]);
        let expected = Failure {
            errno: "ECONNRESET",
            message: "recv() failed (104: Connection reset by peer)",
            ..Failure::of(backend.address(), "reset_before_header", "header")
        };
        ended(&block(protocol, &backend, "").fetch("/"), 502, "failed", &[expected]);
    }
}

#[test]
fn header_timeout() {
    for protocol in &PROTOCOLS {
        for sent in [Vec::new(), (protocol.begun)()] {
            let backend = backend(protocol, [Step::Write(sent), Step::WaitForPeerClose]);
            let more = format!("{}_read_timeout 150ms;", protocol.name);
            let limit = format!("{}_read_timeout=150ms", protocol.name);
            let expected = Failure {
                errno: "ETIMEDOUT",
                limit: &limit,
                message: TIMED_OUT,
                ..Failure::of(backend.address(), "header_timeout", "header")
            };
            let seen = block(protocol, &backend, &more).fetch("/");
            ended(&seen, 504, "failed", &[expected]);
            assert!(seen.diagnosis().advice.contains(&limit), "{}", seen.diagnosis().advice);
        }
    }
}

#[test]
fn send_timeout() {
    for protocol in PROTOCOLS.iter().filter(|p| !matches!(p.name, "grpc" | "memcached")) {
        let backend = Backend::at(Place::Tcp).small_receive_buffer().script([Step::Hold]);
        let more = format!("{}_send_timeout 150ms;", protocol.name);
        let limit = format!("{}_send_timeout=150ms", protocol.name);
        let expected = Failure {
            errno: "ETIMEDOUT",
            limit: &limit,
            message: TIMED_OUT,
            ..Failure::of(backend.address(), "send_timeout", "send")
        };
        let nginx = block(protocol, &backend, &more);
        let seen = nginx.fetch_with("POST", "/", &[], &vec![b'x'; 16 << 20]);
        ended(&seen, 504, "failed", &[expected]);
    }
}

#[test]
fn header_too_big() {
    for protocol in &PROTOCOLS {
        let backend = backend(protocol, [Step::Write((protocol.big)()), Step::WaitForPeerClose]);
        let limit = format!("{}_buffer_size=4k", protocol.name);
        let expected = Failure {
            limit: &limit,
            message: "upstream sent too big header",
            // Unlike the others it sends the status by itself, in front.
            status: if protocol.name == "grpc" { 200 } else { 0 },
            ..Failure::of(backend.address(), "header_too_big", "header")
        };
        let more = format!("{}_buffer_size 4k;", protocol.name);
        let seen = block(protocol, &backend, &more).fetch("/");
        ended(&seen, 502, "failed", &[expected]);
        assert!(seen.diagnosis().advice.contains(&limit), "{}", seen.diagnosis().advice);
    }
}

/// Half a response, and the rest of the script once the client has the header.
fn through_half(protocol: &Protocol, more: &str, then: &[Step]) -> (String, Seen) {
    let gate = Gate::new();
    let half = [Step::Write((protocol.half)()), Step::Wait(gate.clone())];
    let backend = backend(protocol, half.into_iter().chain(then.iter().cloned()));
    // Otherwise nginx takes the end of a FastCGI connection for the end of the response.
    let more =
        if protocol.name == "fastcgi" { "fastcgi_keep_conn on;" } else { "" }.to_owned() + more;
    let nginx = block(protocol, &backend, &more);
    let mut client = nginx.connect();
    let header = client.start("/").read_header();
    assert_eq!((header.status, header.members().len()), (200, 0), "{}", protocol.name);
    gate.open();
    assert!(client.read_to_end().len() < 40_000, "the whole body came");
    (backend.address().to_owned(), Seen { reply: header, line: nginx.logged() })
}

#[test]
fn body_truncated() {
    for protocol in &PROTOCOLS {
        let (address, seen) = through_half(protocol, "", &[Step::Finish, Step::Hold]);
        let failure = Failure::of(&address, "body_truncated", "body");
        logged(&seen, 200, "truncated", &[Failure { message: CLOSED, status: 200, ..failure }]);
    }
}

#[test]
fn body_reset() {
    for protocol in &PROTOCOLS {
        let (address, seen) = through_half(protocol, "", &[Step::Reset]);
        let expected = Failure {
            errno: "ECONNRESET",
            message: "failed (104: Connection reset by peer)",
            status: 200,
            ..Failure::of(&address, "body_reset", "body")
        };
        logged(&seen, 200, "truncated", &[expected]);
    }
}

#[test]
fn body_timeout() {
    for protocol in &PROTOCOLS {
        let more = format!("{}_read_timeout 150ms;", protocol.name);
        let limit = format!("{}_read_timeout=150ms", protocol.name);
        let (address, seen) = through_half(protocol, &more, &[Step::WaitForPeerClose]);
        let expected = Failure {
            errno: "ETIMEDOUT",
            limit: &limit,
            message: TIMED_OUT,
            status: 200,
            ..Failure::of(&address, "body_timeout", "body")
        };
        logged(&seen, 200, "truncated", &[expected]);
    }
}

/// The back end's own 5xx.
#[test]
fn upstream_status() {
    let cgi = b"Status: 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    for (protocol, response) in PROTOCOLS.iter().zip([
        fastcgi::response(cgi),
        cgi.to_vec(),
        cgi.to_vec(),
        [
            h2::settings(),
            // `:status` as a literal with the name of the static table's entry 8.
            h2::frame(h2::HEADERS, h2::END_HEADERS | h2::END_STREAM, 1, b"\x08\x03503"),
        ]
        .concat(),
    ]) {
        let backend = backend(protocol, [Step::Write(response), end(protocol)]);
        let failure = Failure::of(backend.address(), "upstream_status", "header");
        let seen = block(protocol, &backend, "").fetch("/");
        ended(&seen, 503, "upstream_error", &[Failure { status: 503, ..failure }]);
    }
}

/// Answers in another protocol, by the prefix of the directive that asked.
#[test]
fn protocol_mismatch() {
    let bad_request = http::response(400, &[], b"what?");
    let tls_alert = vec![21, 3, 3, 0, 2, 2, 10];
    for (name, sent, message) in [
        ("fastcgi", &bad_request, "upstream sent unsupported FastCGI protocol version: 72"),
        ("fastcgi", &tls_alert, "upstream sent unsupported FastCGI protocol version: 21"),
        ("grpc", &bad_request, "upstream sent too large http2 frame: 4740180"),
        ("grpc", &tls_alert, "upstream sent too large http2 frame: 1377027"),
        ("memcached", &bad_request, "memcached sent invalid response: \"HTTP/1.1 400 Said"),
    ] {
        let protocol = PROTOCOLS.iter().find(|p| p.name == name).unwrap();
        // gRPC needs nine bytes to see a frame.
        let padded = [sent.clone(), vec![0; 9]].concat();
        let backend = backend(protocol, [Step::Write(padded), Step::WaitForPeerClose]);
        let failure = Failure::of(backend.address(), "protocol_mismatch", "header");
        let seen = block(protocol, &backend, "").fetch("/");
        ended(&seen, 502, "failed", &[Failure { message, ..failure }]);
        let advice = format!("does not speak what {name}_pass expects");
        assert!(seen.diagnosis().advice.contains(&advice), "{}", seen.diagnosis().advice);
    }
}

/// uwsgi and SCGI take an HTTP status line too: a plain HTTP server answers for itself.
#[test]
fn http_to_uwsgi_and_scgi_is_an_answer() {
    for protocol in PROTOCOLS.iter().filter(|p| matches!(p.name, "uwsgi" | "scgi")) {
        let backend = backend(protocol, [Step::Write(http::response(400, &[], b"")), Step::Close]);
        let seen = block(protocol, &backend, "").fetch("/");
        assert_eq!(seen.reply.status, 400);
        nothing(&seen);
    }
}

/// HTTP to a port that speaks something else, whose words nginx takes for HTTP/0.9.
#[test]
fn protocol_mismatch_of_http_to_another_protocol() {
    for sent in [
        b"ERROR\r\n".to_vec(),
        fastcgi::end(),
        [h2::settings(), h2::goaway(0, 1)].concat(),
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"\x00\xff garbage".to_vec(),
    ] {
        let backend =
            Backend::script([Step::ReadHead, Step::Write(sent.clone()), Step::Finish, Step::Hold]);
        let nginx = Nginx::http(
            "upstream backend { server %server%; }
             server { listen %listen%; location / { proxy_pass http://backend; } }",
        );
        let nginx = nginx.set("server", &backend).start();
        let mut client = nginx.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(client.read_to_end(), sent);
        let line = nginx.logged();
        let expected = Failure {
            message: "upstream sent no valid HTTP/1.0 header",
            ..Failure::of(backend.address(), "protocol_mismatch", "header")
        };
        expected.is_in_json(line.diagnosis.as_ref().unwrap().attempt());
    }
}

#[test]
fn header_invalid() {
    let no_name = b": no name\r\n\r\n";
    for (name, sent, message) in [
        ("fastcgi", fastcgi::stdout(no_name), "upstream sent invalid header: \""),
        (
            "fastcgi",
            fastcgi::stdout(b"Status: abc\r\n\r\n"),
            "upstream sent invalid status \"abc\"",
        ),
        ("uwsgi", no_name.to_vec(), "upstream sent invalid header: \""),
        ("uwsgi", b"Status: abc\r\n\r\n".to_vec(), "upstream sent invalid status \"abc\""),
        ("scgi", no_name.to_vec(), "upstream sent invalid header: \""),
        ("scgi", b"Status: abc\r\n\r\n".to_vec(), "upstream sent invalid status \"abc\""),
        ("memcached", b"ERROR\r\n".to_vec(), "memcached sent invalid response: \"ERROR\""),
        ("memcached", b"VALUE other 0 5\r\n".to_vec(), "memcached sent invalid key in response"),
        ("memcached", b"VALUE key 0 x\r\n".to_vec(), "memcached sent invalid length in response"),
    ] {
        let protocol = PROTOCOLS.iter().find(|p| p.name == name).unwrap();
        let backend = backend(protocol, [Step::Write(sent), Step::WaitForPeerClose]);
        let failure = Failure::of(backend.address(), "header_invalid", "header");
        let seen = block(protocol, &backend, "").fetch("/");
        ended(&seen, 502, "failed", &[Failure { message, ..failure }]);
    }
}

#[test]
fn a_memcached_miss_is_no_failure() {
    let memcached = &PROTOCOLS[4];
    let backend = backend(memcached, [Step::Write(b"END\r\n".to_vec()), Step::WaitForPeerClose]);
    let seen = block(memcached, &backend, "").fetch("/");
    assert_eq!(seen.reply.status, 404);
    nothing(&seen);
}

/// TLS in other protocols has the same failures, and their directives in the advice.
#[test]
fn tls_certificate_expired() {
    let authority = Authority::new();
    let verify = |prefix: &str| {
        format!(
            "{prefix}_ssl_verify on; {prefix}_ssl_trusted_certificate %dir%/ca.pem;
             {prefix}_ssl_name app.test;"
        )
    };
    for (pass, request) in
        [("grpc_pass grpcs", h2::request()), ("uwsgi_pass suwsgi", uwsgi::request())]
    {
        let prefix = pass.split('_').next().unwrap();
        for (leaf, good) in
            [(authority.issue_expired("app.test"), false), (authority.issue("app.test"), true)]
        {
            let protocol = PROTOCOLS.iter().find(|p| p.name == prefix).unwrap();
            let script = [
                Step::Tls,
                request.clone(),
                Step::Write((protocol.good)()),
                Step::WaitForPeerClose,
            ];
            let backend = Backend::at(Place::Tcp).tls(leaf.server()).script(script);
            let nginx = Nginx::http(
                "upstream backend { server %server%; }
                 server { listen %listen%; location / { %pass%://backend; %verify% } }",
            );
            let nginx = nginx.set("server", &backend).set("pass", pass);
            let nginx = nginx.set("verify", verify(prefix)).file("ca.pem", &authority.pem());
            let seen = nginx.start().fetch("/");
            if good {
                assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
                nothing(&seen);
                continue;
            }
            let expected = Failure {
                message: "(10:certificate has expired)",
                ..Failure::of(backend.address(), "tls_certificate_expired", "handshake")
            };
            ended(&seen, 502, "failed", &[expected]);
        }
    }
}
