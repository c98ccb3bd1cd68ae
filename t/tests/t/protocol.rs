//! The protocols that nginx speaks to upstreams besides HTTP, as tests of all of them need them.

use std::fmt::Display;

use nginx_test::backend::{fastcgi, h2, memcached, scgi, uwsgi};
use nginx_test::{Backend, Nginx, Running, Step};

/// A protocol, by the prefix of its directives.
pub(crate) struct Protocol {
    pub(crate) name: &'static str,
    pub(crate) request: fn() -> Step,
    /// A response with the body `hello`.
    pub(crate) good: fn() -> Vec<u8>,
    /// The beginning of a response, too short for nginx to know its status.
    pub(crate) begun: fn() -> Vec<u8>,
    /// The header of a response of 40,000 bytes, and the first 20,000.
    pub(crate) half: fn() -> Vec<u8>,
    /// A header of more than 4,096 bytes.
    pub(crate) big: fn() -> Vec<u8>,
}

const CGI: &str = "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

fn cgi_half() -> Vec<u8> {
    format!("Content-Length: 40000\r\n\r\n{}", "x".repeat(20_000)).into_bytes()
}

fn cgi_big() -> Vec<u8> {
    format!("Set-Cookie: {}\r\n\r\n", "c".repeat(5000)).into_bytes()
}

fn grpc_data() -> Vec<u8> {
    (0..2).flat_map(|_| h2::frame(h2::DATA, 0, 1, &[b'x'; 10_000])).collect()
}

fn grpc_big() -> Vec<u8> {
    let value = "v".repeat(100);
    let fields = vec![("x-field", value.as_str()); 50];
    [h2::settings(), h2::headers(0, &fields)].concat()
}

pub(crate) const PROTOCOLS: [Protocol; 5] = [
    Protocol {
        name: "fastcgi",
        request: fastcgi::request,
        good: || fastcgi::response(CGI.as_bytes()),
        begun: || fastcgi::stdout(b"Content-Ty"),
        half: || fastcgi::stdout(&cgi_half()),
        big: || fastcgi::stdout(&cgi_big()),
    },
    Protocol {
        name: "uwsgi",
        request: uwsgi::request,
        good: || CGI.into(),
        begun: || "Content-Ty".into(),
        half: cgi_half,
        big: cgi_big,
    },
    Protocol {
        name: "scgi",
        request: scgi::request,
        good: || CGI.into(),
        begun: || "Content-Ty".into(),
        half: cgi_half,
        big: cgi_big,
    },
    Protocol {
        name: "grpc",
        request: h2::request,
        good: || [h2::settings(), h2::headers(0, &[]), hello(), h2::trailers(&[])].concat(),
        begun: h2::settings,
        half: || [h2::settings(), h2::headers(0, &[]), grpc_data()].concat(),
        big: grpc_big,
    },
    Protocol {
        name: "memcached",
        request: memcached::request,
        good: || memcached::value("key", "hello"),
        begun: || "VALUE ke".into(),
        half: || format!("VALUE key 0 40000\r\n{}", "x".repeat(20_000)).into_bytes(),
        big: || format!("VALUE key 0 {}", "0".repeat(5000)).into_bytes(),
    },
];

fn hello() -> Vec<u8> {
    h2::frame(h2::DATA, 0, 1, b"hello")
}

pub(crate) fn block(protocol: &Protocol, server: &dyn Display, more: &str) -> Running {
    Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%; client_max_body_size 0; location / {
             set $memcached_key key; %protocol%_pass backend; %more% } }",
    )
    .set("server", server)
    .set("protocol", protocol.name)
    .set("more", more)
    .start()
}

/// A back end that reads a request and then does this.
pub(crate) fn backend(protocol: &Protocol, then: impl IntoIterator<Item = Step>) -> Backend {
    let steps: Vec<Step> = [(protocol.request)()].into_iter().chain(then).collect();
    Backend::script(steps)
}

/// What a well-behaved back end does after a response: only HTTP/2 keeps the connection.
pub(crate) fn end(protocol: &Protocol) -> Step {
    if protocol.name == "grpc" { Step::WaitForPeerClose } else { Step::Close }
}
