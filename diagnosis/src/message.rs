//! nginx's own texts: which of them an upstream attempt can end with.
//!
//! A text is told by how it begins, never by what is somewhere inside it: after nginx's first words
//! come names and header lines that a client or an upstream chose. Collected from nginx 1.22.1 to
//! 1.31.5; what is not here (stderr of a FastCGI back end, warnings, other modules) is no failure.

mod disk;
mod sent;
mod tls;

use crate::Errno;

pub(crate) use disk::{Call, Disk};
pub(crate) use tls::TlsError;

/// What nginx said, without the state it said it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A name, and no resolver to ask.
    NoResolver,
    /// The configured or computed upstream is no upstream.
    InvalidUpstream,
    /// No peer to choose.
    NoLivePeers,
    /// connect(), at once or later.
    Connect(Option<Errno>),
    /// socket() and the options that a socket needs.
    Socket(Option<Errno>),
    /// The local address of proxy_bind.
    Bind(Option<Errno>),
    /// A descriptor beyond what nginx made room for.
    NoFiles,
    /// worker_connections.
    NoConnections,
    /// A timer of nginx's own.
    TimedOut,
    /// The peer closed where more was expected.
    Closed,
    /// The peer ended a response before the length that it had given.
    EndedShort,
    /// Data came before TLS had begun.
    SpokeBeforeTls,
    /// recv() and its kin.
    Receive(Failure),
    /// send() and its kin.
    Send(Failure),
    /// The TLS handshake.
    Handshake(Failure),
    /// The peer closed in the TLS handshake.
    HandshakeClosed(Option<Errno>),
    /// A certificate that does not verify, with OpenSSL's number.
    Unverified(Option<i64>),
    /// A certificate for another name.
    OtherName,
    /// Our own side of TLS could not be set up.
    TlsSetup,
    /// A header larger than the buffer.
    HeaderTooBig,
    /// A first line that is no status line, taken for HTTP/0.9.
    NotHttp,
    /// The bytes of another protocol.
    Foreign,
    /// A header, record, chunk or frame that breaks its protocol.
    Malformed,
    /// RST_STREAM or GOAWAY.
    StreamReset,
    /// A file of nginx's own.
    Disk(Disk),
    /// Memory, or a state that nginx never expects.
    Internal,
    /// Out of memory somewhere in the request.
    NoMemory,
    /// A failure of this side that no cause describes.
    Unnamed,
}

/// A failed read, write or handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) errno: Option<Errno>,
    pub(crate) tls: Option<TlsError>,
}

/// What `text` says; `None` for anything that is not the end of an upstream attempt. `address` is
/// the one that nginx prints after "connect() to".
pub(crate) fn parse(text: &[u8], address: &[u8]) -> Option<Message> {
    if let Some(rest) = text.strip_prefix(b"upstream ") {
        return sent::upstream(rest);
    }
    if let Some(rest) = text.strip_prefix(b"connect() ") {
        return connect(rest, address);
    }
    exact(text)
        .or_else(|| system_call(text))
        .or_else(|| disk::parse(text).map(Message::Disk))
        .or_else(|| worker_limit(text))
        .or_else(|| begins(text))
}

/// "connect() failed (…" once the kernel has decided, "connect() to … failed (…" when it knew.
fn connect(rest: &[u8], address: &[u8]) -> Option<Message> {
    if let Some(tail) = rest.strip_prefix(b"failed") {
        return only_errno(tail).map(Message::Connect);
    }
    let tail = rest.strip_prefix(b"to ")?;
    let after = tail.strip_prefix(address).and_then(|tail| tail.strip_prefix(b" failed"));
    let errno = after.and_then(only_errno).unwrap_or_else(|| errno_at_end(tail));
    Some(Message::Connect(errno))
}

/// Texts without a variable part.
fn exact(text: &[u8]) -> Option<Message> {
    Some(match text {
        b"no live upstreams" => Message::NoLivePeers,
        b"no upstream configuration"
        | b"zero length URI to proxy"
        | b"https protocol requires SSL support"
        | b"suwsgi protocol requires SSL support"
        | b"grpcs protocol requires SSL support"
        | b"the \"$memcached_key\" variable is not set" => Message::InvalidUpstream,
        b"could not enable transparent proxying for IPv6 on this platform" => Message::Bind(None),
        b"no connection data found for keepalive http2 connection"
        | b"invalid header after joining FastCGI records" => Message::Internal,
        b"connection upgrade in subrequest" => Message::Unnamed,
        _ => return None,
    })
}

/// Texts that end with the error of one system call, or of OpenSSL.
fn system_call(text: &[u8]) -> Option<Message> {
    const PLAIN: &Beginnings<fn(Option<Errno>) -> Message> = &[
        (b"socket() failed", Message::Socket),
        (b"ioctl(FIONBIO) failed", Message::Socket),
        (b"fcntl(O_NONBLOCK) failed", Message::Socket),
        (b"setsockopt(SO_RCVBUF) failed", Message::Socket),
        (b"setsockopt(SO_REUSEADDR) failed", Message::Bind),
        (b"setsockopt(SO_BINDANY) failed", Message::Bind),
        (b"setsockopt(IP_TRANSPARENT) failed", Message::Bind),
        (b"setsockopt(IP_BINDANY) failed", Message::Bind),
        (b"setsockopt(IPV6_TRANSPARENT) failed", Message::Bind),
        (b"setsockopt(IPV6_BINDANY) failed", Message::Bind),
        (b"peer closed connection in SSL handshake", Message::HandshakeClosed),
        (b"recv() failed", |errno| Message::Receive(Failure { errno, tls: None })),
        (b"readv() failed", |errno| Message::Receive(Failure { errno, tls: None })),
        (b"ioctl(FIONREAD) failed", |errno| Message::Receive(Failure { errno, tls: None })),
        (b"writev() failed", |errno| Message::Send(Failure { errno, tls: None })),
        (b"send() failed", |errno| Message::Send(Failure { errno, tls: None })),
        (b"sendfile() failed", |errno| Message::Send(Failure { errno, tls: None })),
        (b"kevent() reported that connect() failed", Message::Connect),
    ];
    const TLS: &Beginnings<fn(Failure) -> Message> = &[
        (b"SSL_do_handshake() failed", Message::Handshake),
        (b"SSL_read() failed", Message::Receive),
        (b"SSL_write() failed", Message::Send),
        (b"SSL_sendfile() failed", Message::Send),
    ];
    if let Some(tail) = text.strip_prefix(b"bind(") {
        // The address has passed ngx_parse_addr_port, so it holds no parenthesis.
        let end = tail.iter().position(|b| *b == b')')?;
        let tail = tail.get(end..)?.strip_prefix(b") failed")?;
        return only_errno(tail).map(Message::Bind);
    }
    if text.starts_with(b"SSL_") {
        let (tail, message) = strip_any(text, TLS)?;
        return tls::failure(tail).map(message);
    }
    let (tail, message) = strip_any(text, PLAIN)?;
    only_errno(tail).map(message)
}

/// How a text begins, and what that means.
type Beginnings<T> = [(&'static [u8], T)];

fn strip_any<'a, T: Copy>(text: &'a [u8], table: &Beginnings<T>) -> Option<(&'a [u8], T)> {
    table.iter().find_map(|(words, value)| Some((text.strip_prefix(*words)?, *value)))
}

/// ngx_get_connection's complaints.
fn worker_limit(text: &[u8]) -> Option<Message> {
    let words = text.trim_ascii_start();
    let digits = words.iter().take_while(|b| b.is_ascii_digit()).count();
    match words.get(digits..)? {
        // With ", reusing connections" behind it, it is a warning.
        b" worker_connections are not enough" if digits > 0 => Some(Message::NoConnections),
        rest if rest.starts_with(b"the new socket has number ") => Some(Message::NoFiles),
        _ => None,
    }
}

/// Texts that go on with a name or a number.
fn begins(text: &[u8]) -> Option<Message> {
    /// ngx_parse_url's errors (ngx_inet.c), as the proxying modules print them.
    const BAD_URL: &[&[u8]] = &[
        b"no port",
        b"no host",
        b"host not found",
        b"invalid host",
        b"invalid port",
        b"invalid port range",
        b"invalid IPv6 address",
        b"no path in the unix domain socket",
        b"too long path in the unix domain socket",
        b"the unix domain sockets are not supported on this platform",
        b"the INET6 sockets are not supported on this platform",
    ];
    const TABLE: &Beginnings<Message> = &[
        (b"no resolver defined to resolve ", Message::NoResolver),
        (b"invalid URL prefix in \"", Message::InvalidUpstream),
        (b"cannot load certificate ", Message::TlsSetup),
        (b"SSL_use_certificate(", Message::TlsSetup),
        (b"SSL_use_PrivateKey(", Message::TlsSetup),
        (b"SSL_set0_chain(", Message::TlsSetup),
        (b"SSL_set_tlsext_host_name(", Message::TlsSetup),
        (b"SSL_set_alpn_protos() failed", Message::TlsSetup),
        (b"SSL_new() failed", Message::Internal),
        (b"SSL_set_fd() failed", Message::Internal),
        (b"SSL_set_ex_data() failed", Message::Internal),
        (b"SSL_set_session() failed", Message::Internal),
        (b"malloc(", Message::NoMemory),
        (b"posix_memalign(", Message::NoMemory),
        (b"memalign(", Message::NoMemory),
        (b"memcached sent invalid response: \"HTTP/", Message::Foreign),
        (b"memcached sent invalid response: \"", Message::Malformed),
        (b"memcached sent invalid key in response ", Message::Malformed),
        (b"memcached sent invalid flags in response ", Message::Malformed),
        (b"memcached sent invalid length in response ", Message::Malformed),
        (b"fastcgi request record is too big: ", Message::Unnamed),
        (b"fastcgi request length mismatch", Message::Unnamed),
        (b"uwsgi request is too ", Message::Unnamed),
        (b"uwsgi request length mismatch", Message::Unnamed),
        (b"scgi request length mismatch", Message::Unnamed),
        (b"too long http2 ", Message::Unnamed),
        (b"no buffer space in ", Message::Internal),
        (b"cache \"", Message::Unnamed),
    ];
    if let Some((_, message)) = strip_any(text, TABLE) {
        return Some(message);
    }
    let bad_url = |error: &&[u8]| {
        text.strip_prefix(*error).is_some_and(|rest| rest.starts_with(b" in upstream \""))
    };
    BAD_URL.iter().any(bad_url).then_some(Message::InvalidUpstream)
}

/// The rest of a text that holds nothing but an errno, or nothing at all: `Some(None)`. Anything
/// else is not that text.
fn only_errno(rest: &[u8]) -> Option<Option<Errno>> {
    if rest.is_empty() {
        return Some(None);
    }
    let (errno, words) = leading_errno(rest)?;
    let inside = words.strip_suffix(b")")?;
    // Without a way out of the loop, sixteen bytes are done at a time.
    let closes = |bytes: &[u8]| bytes.iter().fold(false, |yes, byte| yes | (*byte == b')'));
    let (chunks, rest) = inside.as_chunks::<16>();
    let closes = closes(rest) || chunks.iter().any(|chunk| closes(chunk));
    (!closes).then_some(Some(errno))
}

/// The ` (N: words)` that ngx_log_errno puts at the very end, after whatever names.
fn errno_at_end(text: &[u8]) -> Option<Errno> {
    let start = text.windows(2).rposition(|pair| pair == b" (")?;
    leading_errno(text.get(start..)?).map(|(errno, _)| errno)
}

fn leading_errno(rest: &[u8]) -> Option<(Errno, &[u8])> {
    let rest = rest.strip_prefix(b" (")?;
    let (number, words) = number(rest)?;
    words.strip_prefix(b": ").map(|words| (Errno(number), words))
}

/// A decimal number in front, and what follows it.
fn number(text: &[u8]) -> Option<(i32, &[u8])> {
    let (mut number, mut rest) = (0_i32, text);
    while let [digit @ b'0'..=b'9', others @ ..] = rest {
        number = number.checked_mul(10)?.checked_add(i32::from(digit.wrapping_sub(b'0')))?;
        rest = others;
    }
    (rest.len() < text.len()).then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_read_only_where_nginx_puts_it() {
        let refused = Some(Errno::ECONNREFUSED);
        for (text, address, errno) in [
            ("connect() failed (111: Connection refused)", "", refused),
            ("connect() to 10.0.0.1:80 failed (111: Connection refused)", "10.0.0.1:80", refused),
            (
                "connect() to unix:/a failed (111: x failed (2: y)",
                "unix:/a failed (111: x",
                Some(Errno::ENOENT),
            ),
            ("connect() to unix:/a (13: b failed (111: Connection refused)", "", refused),
            ("connect() to unix:/a (13: b failed", "", Some(Errno::EACCES)),
        ] {
            let message = parse(text.as_bytes(), address.as_bytes());
            assert_eq!(message, Some(Message::Connect(errno)), "{text}");
        }
    }

    #[test]
    fn a_longer_text_is_another_text() {
        for text in [
            "connect() failed (111: Connection refused) could not be resolved (3: Host not found)",
            "recv() failed (104: Connection reset by peer), client: 1.2.3.4",
            "no live upstreams could not be resolved (3: Host not found)",
            "512 worker_connections are not enough, reusing connections",
            "worker_connections are not enough",
            "upstream timed out",
            "upstream timed out (110: Connection timed out) could not be resolved (2: x)",
            "kevent() reported about an closed connection (54: x)",
        ] {
            let expected = (text == "upstream timed out").then_some(Message::TimedOut);
            assert_eq!(parse(text.as_bytes(), b""), expected, "{text}");
        }
    }
}
