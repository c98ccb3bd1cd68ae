//! Which `server` of the configuration an address belongs to.

use nginx_sys::{ngx_http_upstream_server_t, ngx_http_upstream_srv_conf_t, ngx_http_upstream_t};

use super::reresolve::UpstreamId;
use super::{peers, text};

/// The default port of `server` in an upstream block (ngx_http_upstream_server).
const DEFAULT_PORT: &[u8] = b":80";

/// Appends the configured `server` argument behind `address`, with its port; nothing when that is not
/// certain. Best with nginx's very bytes.
pub(super) fn write(u: &ngx_http_upstream_t, address: &[u8], out: &mut Vec<u8>) {
    // SAFETY: configuration lives as long as its requests; `resolved` is in the request's pool.
    match unsafe { (u.upstream.as_ref(), u.resolved.as_ref()) } {
        (Some(block), _) if is_its_own_server(block) => implicit(block, out),
        (Some(_), _) if address.is_empty() => {}
        (Some(block), _) => {
            if let Some(server) = moved(u, address) {
                return with_port(server, out);
            }
            let write = |server: &[u8]| with_port(server, out);
            // SAFETY: a configured upstream; nginx holds no lock of its servers when it logs
            // an error (the warning inside ngx_http_upstream_free_round_robin_peer is none).
            if let Err(write) = unsafe { peers::with_server(u.upstream, address, write) } {
                // SAFETY: as above.
                unsafe { configured(block, address) }.map_or_else(|| (), write);
            }
        }
        (None, Some(resolved)) => {
            // SAFETY: as above.
            host_and_port(unsafe { text::bytes(resolved.host) }, resolved.port, out);
        }
        (None, None) => {}
    }
}

/// The server whose address re-resolution has replaced: the balancer does not know that one.
fn moved<'u>(u: &'u ngx_http_upstream_t, address: &[u8]) -> Option<&'u [u8]> {
    // SAFETY: the request is alive, and used for this call only.
    let upstream = unsafe { UpstreamId::new(core::ptr::from_ref(u).cast_mut()) };
    // SAFETY: nginx prints this name in its own error context (ngx_http_log_error_handler).
    let is_last = core::ptr::eq(address, unsafe { text::bytes_at(u.peer.name) });
    let slot = if is_last { upstream.server() } else { upstream.server_at(address) };
    slot.map(|slot| &*slot.server)
}

/// Writes the only server of an upstream that `proxy_pass` made by itself.
fn implicit(block: &ngx_http_upstream_srv_conf_t, out: &mut Vec<u8>) {
    // SAFETY: configuration lives as long as its requests.
    host_and_port(unsafe { text::bytes(block.host) }, block.port, out);
}

/// Whether the block is no `upstream {}` but made by `proxy_pass`: without servers for a name, with
/// a nameless one for a literal address (ngx_http_upstream_add).
fn is_its_own_server(block: &ngx_http_upstream_srv_conf_t) -> bool {
    // SAFETY: NULL, or an array of this type made by ngx_http_upstream_add or ngx_http_upstream.
    let servers = unsafe {
        block
            .servers
            .as_ref()
            .map_or(&[][..], |servers| servers.as_slice::<ngx_http_upstream_server_t>())
    };
    match servers {
        [] => true,
        [only] => only.name.len == 0,
        [..] => false,
    }
}

/// The `server` whose address is `address`, from the configuration: for balancers that do not keep
/// their servers as round robin does.
///
/// # Safety
/// `block` must be a configured upstream with servers.
unsafe fn configured<'c>(
    block: &'c ngx_http_upstream_srv_conf_t,
    address: &[u8],
) -> Option<&'c [u8]> {
    // SAFETY: ngx_http_upstream creates this array of ngx_http_upstream_server_t.
    let servers = unsafe { (*block.servers).as_slice::<ngx_http_upstream_server_t>() };
    let is_at = |server: &&ngx_http_upstream_server_t| {
        // SAFETY: NULL, or naddrs addresses made by ngx_parse_url, as long as the configuration.
        let addresses = unsafe {
            server
                .addrs
                .as_ref()
                .map_or(&[][..], |first| core::slice::from_raw_parts(first, server.naddrs))
        };
        // SAFETY: as above.
        addresses.iter().any(|candidate| unsafe { text::bytes(candidate.name) } == address)
    };
    let mut found = servers.iter().filter(is_at);
    match (found.next(), found.next()) {
        // SAFETY: configuration lives as long as its requests.
        (Some(only), None) => Some(unsafe { text::bytes(only.name) }),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

/// `server app;` means port 80.
#[inline]
fn with_port(server: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(server);
    let before_digits = server.iter().rposition(|byte| !byte.is_ascii_digit());
    let has_port = before_digits.and_then(|at| server.get(at)) == Some(&b':');
    if !has_port && !server.is_empty() && !server.starts_with(b"unix:") {
        out.extend_from_slice(DEFAULT_PORT);
    }
}

fn host_and_port(host: &[u8], port: nginx_sys::in_port_t, out: &mut Vec<u8>) {
    // ngx_parse_unix_domain_url keeps the path alone.
    let is_path = host.first() == Some(&b'/');
    if is_path {
        out.extend_from_slice(b"unix:");
    }
    out.extend_from_slice(host);
    if !is_path && port != 0 {
        out.extend_from_slice(format!(":{port}").as_bytes());
    }
}
