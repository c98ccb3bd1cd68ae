//! Failures of the TLS handshake with an upstream, on back ends of every wrong kind.

use nginx_test::backend::tls::{Config, Leaf, TLS12, TLS13};
use nginx_test::backend::{Authority, http};
use nginx_test::{Backend, Nginx, Place, Running, Step};

use crate::expect::{Failure, ended, nothing};

const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";
const NAME: &str = "app.test";

/// nginx as the client of one TLS back end; `more` goes into its location.
fn https(backend: &Backend, more: &str) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; location / { proxy_pass https://backend; %more% } }",
    )
    .set("server", backend)
    .set("more", more)
}

/// nginx that verifies the certificate, for the name `app.test`.
fn verifying(backend: &Backend, authority: &Authority, more: &str) -> Running {
    let verify = "proxy_ssl_verify on; proxy_ssl_trusted_certificate %dir%/ca.pem;
        proxy_ssl_name app.test; proxy_ssl_server_name on;";
    https(backend, &(verify.to_owned() + more)).file("ca.pem", &authority.pem()).start()
}

fn answering(config: Config) -> Backend {
    let script = [Step::Tls, Step::ReadRequest, Step::Write(http::ok("hello")), Step::Close];
    Backend::at(Place::Tcp).tls(config).script(script)
}

/// Reads the ClientHello: one record, whose length is in its head.
fn client_hello() -> Step {
    Step::ReadUntil(|bytes| match bytes {
        [22, _, _, high, low, rest @ ..] => rest.len() >= u16::from_be_bytes([*high, *low]).into(),
        _ => false,
    })
}

/// A back end that reads the ClientHello and answers with these bytes.
fn after_hello(bytes: &[u8]) -> Backend {
    Backend::script([client_hello(), Step::Write(bytes.to_vec()), Step::WaitForPeerClose])
}

fn failure<'a>(backend: &'a Backend, cause: &'a str, message: &'a str) -> Failure<'a> {
    Failure { message, ..Failure::of(backend.address(), cause, "handshake") }
}

/// A fatal alert in a record of its own.
fn alert(number: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, number]
}

#[test]
fn a_good_back_end() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        let backend = answering(authority.issue(NAME).versions(&[version]).server());
        let nginx = verifying(&backend, &authority, "proxy_ssl_protocols TLSv1.2 TLSv1.3;");
        // The second handshake may resume the first one's session.
        for _ in 0..3 {
            let seen = nginx.fetch("/");
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
            nothing(&seen);
        }
        assert_eq!(backend.connections(), 3);
    }
}

#[test]
fn tls_handshake_timeout() {
    let part_of_a_record = [22, 3, 3, 0, 90, 2];
    for sent in [&[][..], &part_of_a_record] {
        let backend =
            Backend::script([client_hello(), Step::Write(sent.to_vec()), Step::WaitForPeerClose]);
        let nginx = https(&backend, "proxy_connect_timeout 200ms;").start();
        let seen = nginx.fetch("/");
        let expected = Failure {
            errno: "ETIMEDOUT",
            limit: "proxy_connect_timeout=200ms",
            ..failure(&backend, "tls_handshake_timeout", TIMED_OUT)
        };
        ended(&seen, 504, "failed", &[expected]);
        let ms = seen.reply.member().integer("ms").unwrap();
        assert!((190..5000).contains(&ms), "{ms} ms");
        let advice = &seen.diagnosis().advice;
        assert!(advice.contains("proxy_connect_timeout covers connecting and the"), "{advice}");
    }
}

#[test]
fn tls_handshake_closed() {
    let closed = "peer closed connection in SSL handshake";
    let reset = "peer closed connection in SSL handshake (104: Connection reset by peer)";
    for (script, errno, message) in [
        (vec![client_hello(), Step::Close], "", closed),
        (vec![client_hello(), Step::Write(vec![22, 3, 3]), Step::Close], "", closed),
        (vec![client_hello(), Step::Reset], "ECONNRESET", reset),
    ] {
        let backend = Backend::script(script);
        let expected = Failure { errno, ..failure(&backend, "tls_handshake_closed", message) };
        ended(&https(&backend, "").start().fetch("/"), 502, "failed", &[expected]);
    }
}

#[test]
fn tls_alert() {
    for (number, words) in [
        (40, "TLS alert 40 (handshake_failure)"),
        (80, "TLS alert 80 (internal_error)"),
        (112, "TLS alert 112 (unrecognized_name)"),
        (201, "TLS alert 201;"),
    ] {
        let backend = after_hello(&alert(number));
        let nginx = https(&backend, "").start();
        let seen = nginx.fetch("/");
        let message = format!("SSL alert number {number}");
        ended(&seen, 502, "failed", &[failure(&backend, "tls_alert", &message)]);
        assert!(seen.diagnosis().advice.contains(words), "{}", seen.diagnosis().advice);
    }
}

#[test]
fn tls_alert_in_proxy_status() {
    let backend = after_hello(&alert(70));
    let seen = https(&backend, "upstream_diagnosis_proxy_status edge;").start().fetch("/");
    let members = seen.reply.list("Proxy-Status");
    assert_eq!(members.len(), 1, "{}", seen.reply);
    assert_eq!(members[0].token("error"), Some("tls_alert_received"));
    assert_eq!(members[0].integer("alert-id"), Some(70));
}

/// The same from a real TLS server: no version, or no cipher, that both sides know.
#[test]
fn tls_alert_for_want_of_a_common_version_or_cipher() {
    const AES: nginx_test::backend::tls::CipherSuite =
        nginx_test::backend::tls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let authority = Authority::new();
    let versions = authority.issue(NAME).versions(&[&TLS13]).server();
    let ciphers = authority.issue(NAME).versions(&[&TLS12]).ciphers(&[AES]).server();
    for (config, more, message) in [
        (versions, "proxy_ssl_protocols TLSv1.2;", "alert number 70"),
        (ciphers, "proxy_ssl_ciphers ECDHE-ECDSA-CHACHA20-POLY1305;", "alert number 40"),
    ] {
        let backend = answering(config);
        let more = format!("proxy_ssl_server_name on; proxy_ssl_name {NAME}; {more}");
        let nginx = https(&backend, &more).start();
        let expected = failure(&backend, "tls_alert", message);
        ended(&nginx.fetch("/"), 502, "failed", &[expected]);
    }
}

#[test]
fn tls_protocol_error() {
    // A record with ServerHelloDone, which cannot be the first message.
    let out_of_order = [22, 3, 3, 0, 4, 14, 0, 0, 0];
    let backend = after_hello(&out_of_order);
    let expected = failure(&backend, "tls_protocol_error", "SSL_do_handshake() failed (SSL: ");
    ended(&https(&backend, "").start().fetch("/"), 502, "failed", &[expected]);
}

#[test]
fn tls_peer_plaintext() {
    for words in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "-ERR what is this?\r\n"]
    {
        let backend = after_hello(words.as_bytes());
        let nginx = https(&backend, "").start();
        let expected = failure(&backend, "tls_peer_plaintext", "SSL_do_handshake() failed");
        let seen = nginx.fetch("/");
        ended(&seen, 502, "failed", &[expected]);
        let advice = format!("{backend} does not speak TLS");
        assert!(seen.diagnosis().advice.starts_with(&advice), "{}", seen.diagnosis().advice);
    }
}

/// Runs one request against a certificate that nginx has to refuse.
fn refused(leaf: &Leaf, trusted: &Authority, more: &str, cause: &str, message: &str) {
    let backend = answering(leaf.server());
    let nginx = verifying(&backend, trusted, more);
    let expected = failure(&backend, cause, message);
    ended(&nginx.fetch("/"), 502, "failed", &[expected]);
}

#[test]
fn tls_certificate_untrusted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let message = "upstream SSL certificate verify error: (21:unable to verify the first";
    refused(&authority.issue(NAME), &other, "", "tls_certificate_untrusted", message);
}

#[test]
fn tls_certificate_expired() {
    let authority = Authority::new();
    let cause = "tls_certificate_expired";
    let expired = "upstream SSL certificate verify error: (10:certificate has expired)";
    refused(&authority.issue_expired(NAME), &authority, "", cause, expired);
    let early = "upstream SSL certificate verify error: (9:certificate is not yet valid)";
    refused(&authority.issue_too_early(NAME), &authority, "", cause, early);
}

#[test]
fn tls_certificate_name_mismatch() {
    let authority = Authority::new();
    let message = "upstream SSL certificate does not match \"app.test\"";
    let leaf = authority.issue("other.test");
    refused(&leaf, &authority, "", "tls_certificate_name_mismatch", message);
}

/// A name that the client chose stays inside the message.
#[test]
fn tls_certificate_name_mismatch_with_a_hostile_name() {
    let authority = Authority::new();
    let backend = answering(authority.issue("other.test").server());
    let nginx = https(
        &backend,
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate %dir%/ca.pem;
         proxy_ssl_name $http_x_name;",
    );
    let nginx = nginx.file("ca.pem", &authority.pem()).start();
    let name = "x\" while connecting (111), client";
    let message = format!("upstream SSL certificate does not match \"{name}\"");
    let expected = failure(&backend, "tls_certificate_name_mismatch", &message);
    let seen = nginx.fetch_with("GET", "/", &[&format!("X-Name: {name}")], b"");
    ended(&seen, 502, "failed", &[expected]);
}

/// A back end whose certificate is refused is a reason to ask the next one.
#[test]
fn the_next_server_has_a_good_certificate() {
    let authority = Authority::new();
    let bad = answering(authority.issue_expired(NAME).server());
    let good = answering(authority.issue(NAME).server());
    let nginx = Nginx::http(
        "upstream backend { server %bad%; server %good% backup; }
         server { listen %listen%; location / { proxy_pass https://backend;
             proxy_ssl_verify on; proxy_ssl_trusted_certificate %dir%/ca.pem;
             proxy_ssl_name app.test; } }",
    );
    let nginx = nginx.set("bad", &bad).set("good", &good).file("ca.pem", &authority.pem()).start();
    let expired = failure(&bad, "tls_certificate_expired", "(10:certificate has expired)");
    let seen = nginx.fetch("/");
    ended(&seen, 200, "recovered", &[Failure { retried: true, ..expired }]);
    assert_eq!(seen.reply.text(), "hello");
}
