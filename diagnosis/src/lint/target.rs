//! What a `server` of an upstream or a `proxy_pass` points to.

use std::net::IpAddr;
use std::str;

/// A destination, without the URI behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'c> {
    /// The path of a unix socket, which may have variables in it.
    Unix(&'c [u8]),
    /// A literal address, with its port if it has one.
    Address { host: &'c [u8], whole: &'c [u8] },
    /// A name: of an upstream, or of a host with its port if it has one.
    Name { host: &'c [u8], whole: &'c [u8] },
    /// Variables say what.
    Variable,
}

/// Variables that begin with a slash, so that a host ends before them.
const PATHS: [&[u8]; 6] =
    [b"$request_uri", b"$uri", b"$document_uri", b"${request_uri}", b"${uri}", b"$is_args"];

/// Reads the argument of `server`, `proxy_pass`, `fastcgi_pass` and their kin.
pub(super) fn parse(argument: &[u8]) -> Target<'_> {
    let rest = after_scheme(argument);
    if let Some(path) = rest.strip_prefix(b"unix:") {
        // A URI may follow the path of a proxy_pass: unix:/path:/uri.
        let path = if rest.len() < argument.len() { until(path, b":") } else { path };
        return Target::Unix(path);
    }
    let whole = authority(rest);
    if whole.is_empty() || whole.contains(&b'$') {
        return Target::Variable;
    }
    let host = host(whole);
    if is_address(host) { Target::Address { host, whole } } else { Target::Name { host, whole } }
}

fn after_scheme(argument: &[u8]) -> &[u8] {
    let schemes: [&[u8]; 4] = [b"http://", b"https://", b"grpc://", b"grpcs://"];
    let scheme = schemes.iter().find(|scheme| {
        argument.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    scheme.and_then(|scheme| argument.get(scheme.len()..)).unwrap_or(argument)
}

/// Up to the path, be it literal or a variable.
fn authority(rest: &[u8]) -> &[u8] {
    let literal = until(rest, b"/?");
    let dollar = until(literal, b"$");
    let variable = literal.get(dollar.len()..).unwrap_or_default();
    if PATHS.iter().any(|path| variable.starts_with(path)) { dollar } else { literal }
}

fn host(whole: &[u8]) -> &[u8] {
    match whole.strip_prefix(b"[") {
        Some(inner) => until(inner, b"]"),
        None => until(whole, b":"),
    }
}

fn is_address(host: &[u8]) -> bool {
    // As `server *:80`; a bare port is 0.0.0.0.
    host == b"*"
        || host.iter().all(u8::is_ascii_digit)
        || str::from_utf8(host).is_ok_and(|host| host.parse::<IpAddr>().is_ok())
}

fn until<'c>(bytes: &'c [u8], any: &[u8]) -> &'c [u8] {
    let end = bytes.iter().position(|byte| any.contains(byte)).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Target<'_> {
        let host = text.split(':').next().unwrap().as_bytes();
        Target::Name { host, whole: text.as_bytes() }
    }

    fn address<'c>(host: &'c str, whole: &'c str) -> Target<'c> {
        Target::Address { host: host.as_bytes(), whole: whole.as_bytes() }
    }

    #[test]
    fn a_target_is_read_as_nginx_does() {
        for (argument, target) in [
            ("http://10.0.0.1:80/x", address("10.0.0.1", "10.0.0.1:80")),
            ("https://[::1]:8443", address("::1", "[::1]:8443")),
            ("127.0.0.1:9000", address("127.0.0.1", "127.0.0.1:9000")),
            ("8080", address("8080", "8080")),
            ("http://app:3000/x", name("app:3000")),
            ("HTTP://app", name("app")),
            ("grpcs://app:443", name("app:443")),
            ("app:3000", name("app:3000")),
            ("http://app$request_uri", name("app")),
            ("http://app/$x", name("app")),
            ("http://$host", Target::Variable),
            ("$backend", Target::Variable),
            ("http://app:$port/", Target::Variable),
            ("http://unix:/run/x.sock:/uri", Target::Unix(b"/run/x.sock")),
            ("http://unix:/run/x.sock", Target::Unix(b"/run/x.sock")),
            ("unix:/run/x:y", Target::Unix(b"/run/x:y")),
            ("http://unix:/run/$x.sock:/", Target::Unix(b"/run/$x.sock")),
        ] {
            assert_eq!(parse(argument.as_bytes()), target, "{argument}");
        }
    }
}
