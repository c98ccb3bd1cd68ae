//! Connections that `keepalive` cannot keep.

use super::configuration::{Configuration, Pass, Scope};
use super::target::{self, Target};
use super::{Finding, shown};

/// The `proxy_pass` and `fastcgi_pass` lines to an upstream with `keepalive` that send what ends
/// the connection. Newer versions of nginx send the right things by themselves.
pub(super) fn find(configuration: &Configuration, by_default: bool) -> Vec<Finding> {
    let kept = configuration.passes().filter_map(|pass| {
        let upstream = kept_upstream(configuration, pass)?;
        let reason = reason(pass, by_default)?;
        Some(finding(pass, upstream, reason))
    });
    kept.collect()
}

/// The upstream with `keepalive` that requests go to.
pub(super) fn kept_upstream<'c>(
    configuration: &'c Configuration,
    pass: Pass<'c>,
) -> Option<Scope<'c>> {
    let Target::Name { host, .. } = target::parse(pass.directive.argument()) else { return None };
    let upstream = configuration.upstream(host)?;
    let keepalive = upstream.all(b"keepalive").next()?;
    (keepalive.argument() != b"0").then_some(upstream)
}

/// What the block sends as `Connection`; `None` when that is left to nginx.
pub(super) fn connection_header<'c>(scope: Scope<'c>) -> Option<&'c [u8]> {
    let nearest = scope.nearest(b"proxy_set_header")?;
    let header = nearest
        .all(b"proxy_set_header")
        .find(|header| header.argument().eq_ignore_ascii_case(b"connection"))?;
    header.arguments().get(1).map(Vec::as_slice)
}

fn reason(pass: Pass<'_>, by_default: bool) -> Option<&'static str> {
    match pass.protocol {
        b"proxy" => of_http(pass.scope, by_default),
        b"fastcgi" => {
            let kept = pass.scope.inherited(b"fastcgi_keep_conn");
            let kept = kept.is_some_and(|flag| flag.argument().eq_ignore_ascii_case(b"on"));
            (!kept).then_some("without \"fastcgi_keep_conn on\"")
        }
        _ => None,
    }
}

fn of_http(scope: Scope<'_>, by_default: bool) -> Option<&'static str> {
    let connection = connection_header(scope);
    let closes = match connection {
        Some(value) => value.eq_ignore_ascii_case(b"close"),
        None => !by_default,
    };
    let old = match scope.inherited(b"proxy_http_version") {
        Some(version) => version.argument() == b"1.0",
        None => !by_default,
    };
    // An old-fashioned way to ask for a kept connection, and a variable may do so.
    let asks = connection
        .is_some_and(|value| value.eq_ignore_ascii_case(b"keep-alive") || value.contains(&b'$'));
    match (old && !asks, closes) {
        (true, true) => Some("without \"proxy_http_version 1.1\" and with \"Connection: close\""),
        (true, false) => Some("without \"proxy_http_version 1.1\""),
        (false, true) => Some("with \"Connection: close\""),
        (false, false) => None,
    }
}

fn finding(pass: Pass<'_>, upstream: Scope<'_>, reason: &str) -> Finding {
    let text = format!(
        "requests to \"{}\" are sent {reason}, so its keepalive keeps nothing: each request pays \
         for a connection of its own",
        shown(upstream.argument())
    );
    Finding::warn(text, pass.directive.place())
}
