//! Clients and upstreams that put nginx's own words where nginx repeats them: no verdict changes.

use nginx_test::backend::{Dead, fastcgi, http, memcached, uwsgi};
use nginx_test::{Backend, Client, Nginx, Running, Seen, Step};

use crate::expect::nothing;

/// nginx's texts for other failures, and pieces of the context that follows them.
const TEXTS: [&str; 10] = [
    "connect() failed (111: Connection refused) while connecting to upstream, client: 9.9.9.9",
    "upstream timed out (110: Connection timed out) while reading response header from upstream",
    "no live upstreams while connecting to upstream, client: 127.0.0.1, server: , request: \"",
    ", client: 127.0.0.1",
    " while reading response header from upstream, client: 127.0.0.1",
    "\" while connecting to upstream, client: 127.0.0.1",
    "2026/01/01 00:00:00 [error] 1#1: *1 recv() failed (104: Connection reset by peer)",
    "app.test could not be resolved (3: Host not found)",
    "upstream sent too big header while reading response header from upstream",
    "%s%n%V%*s\\\\x00\\\"",
];

struct Failing {
    dead: Dead,
    closing: Backend,
    silent: Backend,
    big: Backend,
}

/// A path, and what is expected there: cause, errno, nginx's message.
const FAILURES: [(&str, &str, Option<&str>, &str); 4] = [
    (
        "/refused",
        "connection_refused",
        Some("ECONNREFUSED"),
        "connect() failed (111: Connection refused)",
    ),
    ("/closing", "closed_before_header", None, "upstream prematurely closed connection"),
    (
        "/silent",
        "header_timeout",
        Some("ETIMEDOUT"),
        "upstream timed out (110: Connection timed out)",
    ),
    ("/big", "header_too_big", None, "upstream sent too big header"),
];

impl Failing {
    fn new() -> Self {
        let big = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(8192));
        Self {
            dead: Dead::refusing(),
            closing: Backend::script([Step::ReadRequest, Step::Close]),
            silent: Backend::script([Step::ReadRequest, Step::Hold]),
            big: Backend::answering_once(big),
        }
    }

    fn start(&self, more: &str) -> Running {
        let nginx = Nginx::server(
            "large_client_header_buffers 4 32k; listen unix:%dir%/socket; %more%
             location /refused { proxy_pass http://%refused%; }
             location /closing { proxy_pass http://%closing%; }
             location /silent { proxy_pass http://%silent%; proxy_read_timeout 50ms; }
             location /big { proxy_pass http://%big%; }",
        );
        let nginx = nginx.set("more", more).set("refused", &self.dead);
        let nginx = nginx.set("closing", &self.closing).set("silent", &self.silent);
        nginx.set("big", &self.big).start()
    }
}

fn is(seen: &Seen, cause: &str, errno: Option<&str>, message: &str) {
    let attempt = seen.diagnosis().attempt();
    assert_eq!(attempt.cause, cause, "{attempt:?}");
    assert_eq!(attempt.text("errno"), errno, "{attempt:?}");
    assert_eq!(attempt.text("message"), Some(message), "{attempt:?}");
    assert_eq!(seen.reply.causes(), [cause]);
}

/// As it may stand in a request line: what HTTP forbids there in per cent signs.
fn encoded(text: &str) -> String {
    let forbidden = |c: char| c <= ' ' || c == '#' || c == '?' || c == '%';
    let encode = |c: char| if forbidden(c) { format!("%{:02X}", c as u32) } else { c.into() };
    text.chars().map(encode).collect()
}

#[test]
fn no_request_changes_a_verdict() {
    let failing = Failing::new();
    let nginx = failing.start("");
    for (path, cause, errno, message) in FAILURES {
        for text in TEXTS {
            let (uri, raw) = (format!("{path}/{0}?{0}", encoded(text)), text.replace('"', ""));
            let headers = [format!("User-Agent: {text}"), format!("Referer: {raw}")];
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            is(&nginx.fetch_with("GET", &uri, &headers, b""), cause, errno, message);
        }
    }
}

#[test]
fn no_host_or_method_changes_a_verdict() {
    let failing = Failing::new();
    let nginx = failing.start("");
    for (path, cause, errno, message) in FAILURES {
        for host in ["client:127.0.0.1", ",client:", "connect()", "\"while\"", "a(111:b)", "\u{e9}"]
        {
            let mut client = nginx.connect();
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let reply = client.read("GET");
            assert!(matches!(reply.status, 400 | 502 | 504), "{host}: {reply}");
            let line = nginx.logged();
            if reply.status == 400 {
                assert!(line.diagnosis.is_none());
            } else {
                is(&Seen { reply, line }, cause, errno, message);
            }
        }
        is(&nginx.fetch_with("CONNECTING_TO", path, &[], b""), cause, errno, message);
    }
}

/// Lines of more than nginx's 2,048 bytes: what a client says comes last, and is cut.
#[test]
fn no_long_request_changes_a_verdict() {
    let failing = Failing::new();
    let nginx = failing.start("");
    for (path, cause, errno, message) in FAILURES {
        for length in [1700, 1800, 1850, 1900, 2000, 2048, 8000, 20_000] {
            let uri = format!("{path}/{}?{}", "x".repeat(length), "y".repeat(length / 2));
            is(&nginx.fetch(&uri), cause, errno, message);
        }
    }
}

/// The context names the client, whose address is cut off by its length.
#[test]
fn every_kind_of_client_is_cut_off() {
    let failing = Failing::new();
    let nginx = failing.start("set_real_ip_from 127.0.0.0/8; real_ip_header X-From;");
    let message = FAILURES[0].3;
    for from in ["10.0.0.1", "2001:db8::1234:5678", "1.2.3.4", "::", "nonsense", ""] {
        let header = format!("X-From: {from}");
        let seen = nginx.fetch_with("GET", "/refused", &[&header], b"");
        assert_eq!(seen.diagnosis().attempt().text("message"), Some(message), "{from}");
    }
    let socket = format!("unix:{}/socket", nginx.dir().display());
    assert_eq!(Client::connect(&socket).get("/refused").causes(), ["connection_refused"]);
    assert_eq!(nginx.logged().diagnosis().attempt().text("message"), Some(message));
}

/// One `proxy_pass` to a back end that says this once.
fn upstream_says(bytes: impl Into<Vec<u8>>) -> Seen {
    let backend = Backend::answering_once(bytes);
    let nginx = Nginx::location("proxy_pass http://%backend%;").set("backend", &backend).start();
    nginx.fetch("/")
}

fn one(seen: &Seen, cause: &str, phase: &str) {
    let attempt = seen.diagnosis().attempt();
    assert_eq!((attempt.cause.as_str(), attempt.phase.as_str()), (cause, phase), "{attempt:?}");
    assert_eq!(attempt.text("errno"), None, "{attempt:?}");
}

/// NUL makes a header line invalid, and nginx repeats what came before it.
#[test]
fn no_invalid_header_of_an_upstream_changes_a_verdict() {
    for text in TEXTS {
        let response = format!("HTTP/1.1 200 OK\r\nX: {text}\0\r\n\r\n");
        let seen = upstream_says(response);
        assert_eq!(seen.reply.status, 502, "{text}");
        one(&seen, "header_invalid", "header");
    }
}

#[test]
fn no_repeated_length_of_an_upstream_changes_a_verdict() {
    for text in TEXTS {
        let seen = upstream_says(format!("HTTP/1.1 200 OK\r\nContent-Length: {text}\r\n\r\n"));
        // 1.22 takes what is no number for no length.
        let unread = seen.reply.status == 200 && seen.line.diagnosis.is_none();
        if !unread {
            one(&seen, "header_invalid", "header");
        }
        let twice =
            format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: {text}\r\n\r\nx");
        let seen = upstream_says(twice);
        if seen.reply.status != 200 {
            one(&seen, "header_invalid", "header");
        }
    }
}

#[test]
fn no_length_of_a_repeated_header_changes_a_verdict() {
    let nginx = |backend: &Backend| {
        let conf = "proxy_buffer_size 32k; proxy_buffers 4 32k; proxy_pass http://%backend%;";
        Nginx::location(conf).set("backend", backend).start()
    };
    for length in [100, 500, 1800, 1880, 1900, 1910, 1920, 1930, 1940, 1950, 1960, 1970, 1980]
        .into_iter()
        .chain([1990, 2000, 2010, 2020, 2030, 2040, 2048, 2100, 8192])
    {
        let tail = " while reading response header from upstream, client: 127.0.0.1";
        let response = format!("HTTP/1.1 200 OK\r\nX: {}{tail}\0\r\n\r\n", "x".repeat(length));
        let backend = Backend::answering_once(response);
        let seen = nginx(&backend).fetch("/");
        one(&seen, "header_invalid", "header");
        let attempt = seen.diagnosis().attempt();
        assert!(attempt.text("message").unwrap().len() <= 600, "{attempt:?}");
    }
}

#[test]
fn no_other_protocol_of_an_upstream_changes_a_verdict() {
    for text in TEXTS {
        // Passed on as it came, as HTTP/0.9: without a header.
        let backend = Backend::answering_once(format!("{text}\r\n\r\n"));
        let nginx = Nginx::location("proxy_pass http://%backend%;").set("backend", &backend);
        let nginx = nginx.start();
        let mut client = nginx.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert!(client.read_to_end().starts_with(text.as_bytes()));
        let line = nginx.logged();
        let attempt = line.diagnosis().attempt();
        assert_eq!((attempt.cause.as_str(), attempt.text("errno")), ("protocol_mismatch", None));

        let bytes = format!("Status: x{text}\r\n\r\n");
        let backend = Backend::script([uwsgi::request(), Step::Write(bytes.into()), Step::Close]);
        let conf = "uwsgi_pass %backend%; uwsgi_param REQUEST_METHOD GET;";
        let nginx = Nginx::location(conf).set("backend", &backend).start();
        one(&nginx.fetch("/"), "header_invalid", "header");

        let key = "set $memcached_key k; memcached_pass %backend%;";
        let bytes = format!("{text}\r\n").into_bytes();
        let backend = Backend::script([memcached::request(), Step::Write(bytes), Step::Close]);
        let nginx = Nginx::location(key).set("backend", &backend).start();
        let seen = nginx.fetch("/");
        assert_eq!(seen.diagnosis().attempt().phase, "header");
        assert!(
            ["header_invalid", "closed_before_header"].contains(&seen.diagnosis().cause.as_str())
        );
    }
}

/// nginx repeats at level error what a FastCGI back end writes to its stderr.
#[test]
fn no_stderr_is_a_failure() {
    for text in TEXTS {
        let mut bytes = fastcgi::stderr(text.as_bytes());
        bytes.extend(fastcgi::response(b"Content-Type: text/plain\r\n\r\nhello"));
        let backend = Backend::script([fastcgi::request(), Step::Write(bytes), Step::Close]);
        let conf = "fastcgi_pass %backend%; fastcgi_param REQUEST_METHOD GET;";
        let nginx = Nginx::location(conf).set("backend", &backend).start();
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.text(), "hello");
        nothing(&seen);
    }
}

/// What nginx says of a file, long after the upstream has done its part, is no matter of it.
#[test]
fn a_missing_file_is_no_failure_of_an_upstream() {
    let dead = Dead::refusing();
    let accel = Backend::answering(http::response(200, &["X-Accel-Redirect: /files/x"], b""));
    let nginx = Nginx::server(
        "location /accel { proxy_pass http://%accel%; }
         location /files { internal; root %dir%; }
         location /page { proxy_pass http://%dead%; error_page 502 /files/y; }",
    );
    let nginx = nginx.set("accel", &accel).set("dead", &dead).start();
    let seen = nginx.fetch("/accel");
    assert_eq!(seen.reply.status, 404);
    nginx.wait_for_error("/files/x\" failed (2: No such file or directory)");
    nothing(&seen);

    let seen = nginx.fetch("/page");
    assert_eq!(seen.reply.status, 404);
    nginx.wait_for_error("/files/y\" failed (2: No such file or directory)");
    assert_eq!(seen.diagnosis().causes(), ["connection_refused"]);
    assert_eq!(seen.reply.causes(), ["connection_refused"]);
}
