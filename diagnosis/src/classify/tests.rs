use super::*;
use crate::{Io, Protocol};

fn connected() -> Observation {
    Observation { connection: true, connected: true, ..Observation::default() }
}

fn sent() -> Observation {
    Observation { request_sent: true, request_body_sent: true, ..connected() }
}

fn cause(text: &str, o: &Observation) -> Option<Cause> {
    diagnose(text.as_bytes(), b"10.0.0.7:3000", o).map(|verdict| verdict.cause)
}

const TIMED_OUT: &str = "upstream timed out (110: Connection timed out)";

#[test]
fn the_flags_tell_which_timer_ran_out() {
    let timer = Io { timed_out: true, ..Io::default() };
    for (o, cause, phase, limit) in [
        (connected(), Cause::ConnectionTimeout, Phase::Connect, "proxy_connect_timeout=0s"),
        (
            Observation { tls: Tls::Handshaking, tls_wanted: true, ..connected() },
            Cause::TlsHandshakeTimeout,
            Phase::Handshake,
            "proxy_connect_timeout=0s",
        ),
        (
            Observation { write: timer, request_body_sent: false, ..sent() },
            Cause::SendTimeout,
            Phase::Send,
            "proxy_send_timeout=0s",
        ),
        (
            Observation { read: timer, ..sent() },
            Cause::HeaderTimeout,
            Phase::Header,
            "proxy_read_timeout=0s",
        ),
        (
            Observation { read: timer, header_read: true, ..sent() },
            Cause::BodyTimeout,
            Phase::Body,
            "proxy_read_timeout=0s",
        ),
        (
            Observation { write: timer, header_sent: true, upgraded: true, ..sent() },
            Cause::BodyTimeout,
            Phase::Body,
            "proxy_send_timeout=0s",
        ),
    ] {
        let verdict = diagnose(TIMED_OUT.as_bytes(), b"", &o).unwrap();
        assert_eq!((verdict.cause, verdict.phase), (cause, phase));
        assert_eq!(verdict.limit.unwrap().to_string(), limit);
        assert_eq!(verdict.errno, Some(Errno::ETIMEDOUT));
        assert_eq!(verdict.pending, phase == Phase::Body);
    }
}

#[test]
fn every_protocol_names_its_own_directive() {
    for (module, prefix) in [
        ("proxy", "proxy"),
        ("fastcgi", "fastcgi"),
        ("uwsgi", "uwsgi"),
        ("scgi", "scgi"),
        ("grpc", "grpc"),
        ("memcached", "memcached"),
        ("lua", "proxy"),
    ] {
        let protocol = Protocol::from_module(module.as_bytes());
        let o = Observation { protocol, read_timeout_ms: 1000, ..sent() };
        let limit = diagnose(TIMED_OUT.as_bytes(), b"", &o).unwrap().limit.unwrap();
        assert_eq!(limit.to_string(), format!("{prefix}_read_timeout=1s"));
    }
}

#[test]
fn a_lookup_that_failed_says_so_whatever_the_name_says() {
    let names = ["upstream timed out (110: x)", "no live upstreams", "a", ""];
    for (state, cause) in [
        (1, Some(Cause::DnsError)),
        (2, Some(Cause::DnsServerFailure)),
        (3, Some(Cause::DnsNotFound)),
        (5, Some(Cause::DnsRefused)),
        (15, Some(Cause::DnsError)),
        (110, Some(Cause::DnsTimeout)),
        // Done, and NGX_AGAIN: not over yet.
        (0, None),
        (65534, None),
    ] {
        for name in names {
            let o = Observation { resolver_state: Some(state), ..Observation::default() };
            let text = format!("{name} could not be resolved ({state}: x)");
            let verdict = diagnose(text.as_bytes(), b"", &o);
            assert_eq!(verdict.map(|verdict| verdict.cause), cause, "{text}");
        }
    }
}

#[test]
fn a_reset_after_the_handshake_asks_for_a_certificate() {
    let reset = "connect() failed (104: Connection reset by peer)";
    let tls = |tls| Observation { tls, tls_wanted: true, ..connected() };
    for (o, expected) in [
        (tls(Tls::Plain), Cause::ConnectionReset),
        (tls(Tls::Handshaking), Cause::TlsHandshakeClosed),
        (tls(Tls::Established), Cause::TlsClientCertificateRequired),
        (Observation { reused: true, ..tls(Tls::Established) }, Cause::KeepaliveStale),
    ] {
        assert_eq!(cause(reset, &o), Some(expected), "{o:?}");
    }
}

#[test]
fn words_of_another_connection_are_no_verdict() {
    let body = Observation { header_read: true, header_sent: true, ..sent() };
    for (text, o) in [
        ("recv() failed (104: Connection reset by peer)", Observation::default()),
        ("writev() failed (32: Broken pipe)", Observation::default()),
        ("writev() failed (32: Broken pipe)", body),
        ("SSL_read() failed (SSL: error:0A000126:SSL routines::unexpected eof)", sent()),
        ("SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::x)", sent()),
        ("peer closed connection in SSL handshake", sent()),
        ("cannot load certificate \"x\": BIO_new_file() failed", sent()),
        ("open() \"/srv/www/50x.html\" failed (13: Permission denied)", body),
        ("open() \"/srv/www/50x.html\" failed (28: No space left on device)", sent()),
    ] {
        assert_eq!(cause(text, &o), None, "{text}");
    }
}

#[test]
fn what_goes_wrong_in_the_body_is_pending() {
    let o = Observation { header_read: true, header_sent: true, ..sent() };
    for text in [
        TIMED_OUT,
        "upstream prematurely closed connection",
        "recv() failed (104: Connection reset by peer)",
        "readv() failed (113: No route to host)",
        "upstream sent invalid chunked response",
        "upstream rejected request with error 2",
        "upstream sent too large http2 frame: 4740180",
        "pwritev() \"/var/lib/nginx/proxy/1/00/0000000001\" failed (28: No space left on device)",
    ] {
        assert_eq!(diagnose(text.as_bytes(), b"", &o).map(|v| v.pending), Some(true), "{text}");
    }
}

#[test]
fn what_no_message_says() {
    assert_eq!(from_status(503).cause, Cause::UpstreamStatus);
    assert_eq!(client_closed().phase, Phase::Client);
    assert_eq!(unexplained(499), client_closed());
    assert_eq!(unexplained(502).cause, Cause::Other);
}
