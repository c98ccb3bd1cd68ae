//! TLS with an upstream that fails for what nginx's own side does: no client certificate, files
//! that cannot be read, TLS to a plain port and plain HTTP to a TLS port.

use std::io::Write;

use crate::expect::{Failure, ended, nothing};
use nginx_test::backend::tls::{TLS12, TLS13};
use nginx_test::backend::{Authority, Backlog, http};
use nginx_test::stream::Stream;
use nginx_test::{Backend, Gate, Nginx, Place, Seen, Step};

const NAME: &str = "app.test";
const OWN: &str = "proxy_ssl_certificate %dir%/own.pem; proxy_ssl_certificate_key %dir%/own.key;";
const BOTH: &str = "proxy_ssl_protocols TLSv1.2 TLSv1.3;";

fn https(server: &dyn std::fmt::Display, more: &str) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass https://backend; %more% } }",
    )
    .set("server", server)
    .set("more", more)
}

fn serving() -> [Step; 4] {
    [Step::Tls, Step::ReadRequest, Step::Write(http::ok("hello")), Step::Close]
}

#[test]
fn tls_client_certificate_required() {
    let authority = Authority::new();
    for (version, message) in [(&TLS12, "SSL_do_handshake() failed"), (&TLS13, "SSL_read() failed")]
    {
        let leaf = authority.issue(NAME).demand_client_certificate(&authority);
        let backend =
            Backend::at(Place::Tcp).tls(leaf.versions(&[version]).server()).script(serving());
        let nginx = https(&backend, BOTH).start();
        let seen = nginx.fetch("/");
        let expected = Failure {
            message,
            ..Failure::of(backend.address(), "tls_client_certificate_required", "handshake")
        };
        ended(&seen, 502, "failed", &[expected]);
        let advice = &seen.diagnosis().advice;
        assert!(advice.contains("set proxy_ssl_certificate and"), "{advice}");
    }
}

/// OpenSSL's servers say handshake_failure in TLS 1.2, which says something else to those that did
/// not ask for a certificate.
#[test]
fn tls_client_certificate_required_and_a_handshake_failure() {
    let authority = Authority::new();
    let leaf = || authority.issue(NAME).versions(&[&TLS12]);
    let asking = leaf().demand_client_certificate(&authority).server();
    for (config, cause) in
        [(asking, "tls_client_certificate_required"), (leaf().server(), "tls_alert")]
    {
        // The alert comes for the client's second flight: a record of the handshake.
        let script = [
            Step::TlsServerHello,
            Step::Read(5),
            Step::Write(vec![21, 3, 3, 0, 2, 2, 40]),
            Step::Finish,
            Step::WaitForPeerClose,
        ];
        let backend = Backend::at(Place::Tcp).tls(config).script(script);
        let message = "alert number 40";
        let failure = Failure::of(backend.address(), cause, "handshake");
        let seen = https(&backend, "").start().fetch("/");
        ended(&seen, 502, "failed", &[Failure { message, ..failure }]);
    }
}

/// A server that checks the certificate late and resets without an alert.
#[test]
fn tls_client_certificate_required_and_a_reset() {
    let (reached, go) = (Gate::new(), Gate::new());
    let config = Authority::new().issue(NAME).versions(&[&TLS12]).server();
    let script = [Step::TlsInTwo(reached.clone(), go.clone()), Step::Reset];
    let backend = Backend::at(Place::Tcp).tls(config).script(script);
    let nginx = https(&backend, "").start();
    let mut client = nginx.connect();
    client.start("/");
    reached.wait();
    let frozen = nginx.freeze();
    go.open();
    backend.wait_until_gone(0);
    drop(frozen);
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    let expected = Failure {
        errno: "ECONNRESET",
        message: "connect() failed (104: Connection reset by peer)",
        ..Failure::of(backend.address(), "tls_client_certificate_required", "handshake")
    };
    ended(&seen, 502, "failed", &[expected]);
}

#[test]
fn a_client_certificate_that_is_accepted() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let leaf = authority.issue(NAME).demand_client_certificate(&authority);
        let backend =
            Backend::at(Place::Tcp).tls(leaf.versions(&[version]).server()).script(serving());
        let own = authority.issue("nginx.test");
        let nginx = https(&backend, &(OWN.to_owned() + BOTH));
        let nginx = nginx.file("own.pem", &own.pem()).file("own.key", &own.key_pem()).start();
        let seen = nginx.fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
        nothing(&seen);
    }
}

/// A certificate that the back end does not accept: of another authority, or out of date.
#[test]
fn a_client_certificate_that_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    for version in [&TLS12, &TLS13] {
        for (own, message) in [
            (other.issue("nginx.test"), "SSL alert number 48"),
            (authority.issue_expired("nginx.test"), "SSL alert number 45"),
        ] {
            let leaf = authority.issue(NAME).demand_client_certificate(&authority);
            let backend =
                Backend::at(Place::Tcp).tls(leaf.versions(&[version]).server()).script(serving());
            let nginx = https(&backend, &(OWN.to_owned() + BOTH));
            let nginx = nginx.file("own.pem", &own.pem()).file("own.key", &own.key_pem()).start();
            let cause = "tls_client_certificate_required";
            let failure = Failure::of(backend.address(), cause, "handshake");
            ended(&nginx.fetch("/"), 502, "failed", &[Failure { message, ..failure }]);
        }
    }
}

#[test]
fn tls_configuration_error() {
    let authority = Authority::new();
    let (own, foreign) = (authority.issue("nginx.test"), authority.issue("nginx.test"));
    let backend = Backend::at(Place::Tcp).tls(authority.issue(NAME).server()).script(serving());
    let nginx = https(
        &backend,
        "proxy_ssl_certificate %dir%/$arg_cert; proxy_ssl_certificate_key %dir%/$arg_key;
         proxy_ssl_server_name on; proxy_ssl_name $arg_name;",
    )
    .file("own.pem", &own.pem())
    .file("own.key", &own.key_pem())
    .file("foreign.key", &foreign.key_pem())
    .start();
    nothing(&nginx.fetch("/?cert=own.pem&key=own.key&name=app.test"));
    let long = format!("/?cert=own.pem&key=own.key&name={}", "n".repeat(300));
    for (path, message) in [
        ("/?cert=missing.pem&key=own.key&name=a", "cannot load certificate \""),
        ("/?cert=own.key&key=own.key&name=a", "cannot load certificate \""),
        ("/?cert=own.pem&key=missing.key&name=a", "cannot load certificate key \""),
        ("/?cert=own.pem&key=foreign.key&name=a", "SSL_use_PrivateKey(\""),
        (&long, "SSL_set_tlsext_host_name(\"nnn"),
    ] {
        let expected = Failure {
            message,
            ..Failure::of(backend.address(), "tls_configuration_error", "handshake")
        };
        ended(&nginx.fetch(path), 500, "failed", &[expected]);
    }
}

/// Plain HTTP to a TLS port: the alert is taken for an HTTP/0.9 response and goes to the client
/// without any header.
#[test]
fn protocol_mismatch_of_plain_http_to_a_tls_port() {
    let config = Authority::new().issue(NAME).server();
    let backend = Backend::at(Place::Tcp).tls(config).script(serving());
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    );
    let nginx = nginx.set("server", &backend).start();
    let mut client = nginx.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let bytes = client.read_to_end();
    assert_eq!((bytes.len(), bytes[0]), (7, 21), "a TLS alert: {}", bytes.escape_ascii());
    let line = nginx.logged();
    // nginx's own word for the status of an HTTP/0.9 response.
    assert_eq!(line.field("status"), "009");
    let diagnosis = line.diagnosis.as_ref().unwrap();
    assert_eq!((diagnosis.outcome.as_str(), diagnosis.status), ("upstream_error", 9));
    let expected = Failure {
        message: "upstream sent no valid HTTP/1.0 header",
        ..Failure::of(backend.address(), "protocol_mismatch", "header")
    };
    expected.is_in_json(diagnosis.attempt());
}

/// A server that speaks first, so that nginx finds bytes before it has begun TLS.
#[test]
fn tls_peer_plaintext_that_speaks_first() {
    let backlog = Backlog::full();
    let address = backlog.address().to_string();
    let nginx = https(&address, "").start();
    let mut client = nginx.connect();
    client.start("/");
    nginx_test::wait::until("nginx to connect", || backlog.is_awaited().then_some(()));
    let frozen = nginx.freeze();
    let accepted = Stream::Tcp(backlog.drain());
    (&accepted).write_all(b"HTTP/1.1 408 Request Time-out\r\n\r\n").unwrap();
    drop(frozen);
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    let message = "upstream prematurely sent response";
    let failure = Failure::of(&address, "tls_peer_plaintext", "handshake");
    ended(&seen, 502, "failed", &[Failure { message, ..failure }]);
}
