//! `r->upstream` of one request.

use core::marker::PhantomData;
use std::cell::RefCell;

use diagnosis::evidence::connection::Connection;
use diagnosis::evidence::peers::Peer;
use diagnosis::{Family, Headroom, Io, Observation, Protocol, Tls};
use nginx_sys::{
    ngx_connection_t, ngx_current_msec, ngx_event_t, ngx_http_upstream_conf_t, ngx_http_upstream_t,
    ngx_resolver_ctx_t,
};

use super::headers::{self, Names};
use super::request::Request;
use super::reresolve::UpstreamId;
use super::state::{State, UNSET};
use super::{entry, peers, server, system, text};
use crate::record::Record;
use crate::reresolve::Lookup;

/// The upstream of a live request.
#[derive(Clone, Copy)]
pub(crate) struct Upstream<'r> {
    raw: *mut ngx_http_upstream_t,
    request: PhantomData<&'r ()>,
}

impl<'r> Upstream<'r> {
    /// # Safety
    /// `raw` must be `r->upstream` of a request that lives for `'r`, or NULL.
    pub(super) unsafe fn new(raw: *mut ngx_http_upstream_t) -> Option<Self> {
        (!raw.is_null()).then_some(Self { raw, request: PhantomData })
    }

    fn get(&self) -> &'r ngx_http_upstream_t {
        // SAFETY: new's contract; nginx changes the structure only between our callbacks.
        unsafe { &*self.raw }
    }

    /// `None` while the proxying module still works out where to go (ngx_http_proxy_eval).
    fn conf(&self) -> Option<&'r ngx_http_upstream_conf_t> {
        // SAFETY: u->conf is NULL or the location's configuration.
        unsafe { self.get().conf.as_ref() }
    }

    fn connection(&self) -> Option<&'r ngx_connection_t> {
        // SAFETY: nginx sets the pointer to NULL when it closes the connection
        // (ngx_http_upstream_next, ngx_http_upstream_finalize_request).
        unsafe { self.get().peer.connection.as_ref() }
    }

    fn state(&self) -> Option<&'r State> {
        // SAFETY: u->state points into r->upstream_states since the last push, or is NULL.
        unsafe { self.get().state.cast::<State>().as_ref() }
    }

    /// Whether a peer has been asked for since the last redirect.
    pub(crate) fn has_begun(self) -> bool {
        self.state().is_some_and(|state| !state.is_separator())
    }

    /// Whether `state` is the one of the current attempt.
    pub(crate) fn is_at(self, state: &State) -> bool {
        self.state().is_some_and(|current| core::ptr::eq(current, state))
    }

    /// The status that the upstream sent; 0 before that.
    pub(crate) fn status(self) -> u16 {
        u16::try_from(self.get().headers_in.status_n).unwrap_or(0)
    }

    /// Milliseconds since the current attempt began (ngx_http_upstream_connect).
    pub(crate) fn elapsed_ms(self) -> u64 {
        // SAFETY: a plain counter that nginx updates once per turn of the event loop.
        let now = unsafe { ngx_current_msec };
        now.wrapping_sub(self.get().start_time) as u64
    }

    /// The address that was tried last, as in `$upstream_addr`; the upstream's name when none
    /// could be chosen; empty before that.
    pub(crate) fn address(self) -> &'r [u8] {
        // SAFETY: nginx prints this name in its own error context (ngx_http_log_error_handler).
        unsafe { text::bytes_at(self.get().peer.name) }
    }

    /// The upstream block, or the host of an implicit or variable upstream.
    pub(crate) fn name(self) -> &'r [u8] {
        // SAFETY: configuration lives as long as its requests; `resolved` is in the request's pool.
        unsafe {
            let u = self.get();
            if let Some(block) = u.upstream.as_ref() {
                text::bytes(block.host)
            } else if let Some(resolved) = u.resolved.as_ref() {
                text::bytes(resolved.host)
            } else {
                let block = self.conf().and_then(|conf| conf.upstream.as_ref());
                block.map_or(&[], |block| text::bytes(block.host))
            }
        }
    }

    /// Which of nginx's proxying modules this is.
    pub(crate) fn protocol(self) -> Protocol {
        let u = self.get();
        // SAFETY: the name is a string literal of the module.
        let module = self.conf().map_or(&[][..], |conf| unsafe { text::bytes(conf.module) });
        // SAFETY: the schema is a string literal of the module.
        let schema = unsafe { text::bytes(u.schema) };
        match (module, schema) {
            // The one module of nginx's that does not say its name in its configuration.
            ([], b"memcached://") => Protocol::Memcached,
            (module, _) => Protocol::from_module(module),
        }
    }

    /// The address family, from the text that nginx made of the address (ngx_sock_ntop).
    pub(crate) fn family(address: &[u8]) -> Family {
        match address {
            [] => Family::None,
            [b'u', b'n', b'i', b'x', b':', ..] => Family::Unix,
            [b'[', ..] => Family::Inet6,
            [..] => Family::Inet,
        }
    }

    /// Appends the configured `server` argument behind `address`, with its port; nothing when that
    /// is not certain (two servers that resolved to one address). Best with nginx's very bytes.
    pub(crate) fn write_server(self, address: &[u8], out: &mut Vec<u8>) {
        server::write(self.get(), address, out);
    }

    /// What DNS may have more to say about; `None` where re-resolution is off.
    pub(crate) fn dns_lookup(self) -> Option<Lookup> {
        // SAFETY: the request's record, which this goes to, is in the pool that u is in.
        let upstream = unsafe { UpstreamId::new(self.raw) };
        let slot = upstream.server()?;
        let tried = std::str::from_utf8(self.address()).ok().and_then(|text| text.parse().ok());
        let tried = tried.map(|address: std::net::SocketAddr| address.ip());
        Some(Lookup { name: slot.name, tried, upstream })
    }

    /// nginx's state at this moment, with this worker's `headroom`.
    pub(crate) fn observation(self, headroom: Option<Headroom>) -> Observation {
        let u = self.get();
        let conf = self.conf();
        let of_conf = |value: fn(&ngx_http_upstream_conf_t) -> usize| conf.map_or(0, value) as u64;
        let lookup = self.lookup();
        let state = self.state().filter(|state| !state.is_separator());
        let connection = self.connection();
        let io = |event: fn(&ngx_connection_t) -> *mut ngx_event_t| {
            connection.map_or_else(Io::default, |connection| flags(event(connection)))
        };
        Observation {
            protocol: self.protocol(),
            family: Self::family(self.address()),
            resolver_state: lookup.and_then(|lookup| u16::try_from(lookup.state).ok()),
            resolver_timeout_ms: lookup.map_or(0, |lookup| lookup.timeout as u64),
            connection: connection.is_some(),
            tls: connection.map_or(Tls::Plain, tls),
            tls_wanted: u.ssl() != 0,
            verify_result: connection.map_or(0, verify_result),
            certificate_requested: connection.is_some_and(certificate_requested),
            request_sent: u.request_sent() != 0,
            request_body_sent: u.request_body_sent() != 0,
            header_sent: u.header_sent() != 0,
            connected: state.is_some_and(|state| state.0.connect_time != UNSET),
            header_read: state.is_some_and(State::has_header),
            connect_ms: state.and_then(State::connect_ms),
            header_ms: state.and_then(State::header_ms),
            reused: u.peer.cached() != 0,
            upgraded: u.upgrade() != 0,
            read: io(|connection| connection.read),
            write: io(|connection| connection.write),
            bytes_received: state.map_or(0, State::bytes_received),
            bytes_sent: connection
                .map_or(0, |connection| u64::try_from(connection.sent).unwrap_or(0)),
            buffer_full: !u.buffer.start.is_null() && u.buffer.last == u.buffer.end,
            status: self.status(),
            peers: self.peers(),
            connect_timeout_ms: of_conf(|conf| conf.connect_timeout),
            send_timeout_ms: of_conf(|conf| conf.send_timeout),
            read_timeout_ms: of_conf(|conf| conf.read_timeout),
            buffer_size: of_conf(|conf| conf.buffer_size),
            worker_connections: headroom.map_or(0, |headroom| headroom.conn_limit),
            file_limit: headroom.map_or(0, |headroom| headroom.fd_limit),
        }
    }

    /// The lookup that nginx is waiting for or whose answer it is handling.
    fn lookup(&self) -> Option<&'r ngx_resolver_ctx_t> {
        // SAFETY: u->resolved->ctx is NULL or such a lookup (ngx_http_upstream_resolve_handler
        // frees it and sets NULL afterwards).
        unsafe { self.get().resolved.as_ref()?.ctx.as_ref() }
    }

    /// Only when no server has been chosen: the walk takes the servers' lock, which nginx does
    /// not hold at the moment when it says "no live upstreams" (ngx_http_upstream_connect).
    fn peers(&self) -> Option<diagnosis::Peers> {
        let u = self.get();
        let unchosen = u.peer.sockaddr.is_null() && u.peer.connection.is_null();
        // SAFETY: u->upstream is a configured upstream.
        (unchosen && !u.upstream.is_null()).then(|| unsafe { peers::count(u.upstream) }).flatten()
    }

    /// How long the connection has been open, and for how many requests.
    pub(crate) fn connection_use(self) -> Option<Connection> {
        let connection = self.connection()?;
        // SAFETY: a plain counter that nginx updates once per turn of the event loop.
        let now = unsafe { ngx_current_msec };
        Some(Connection {
            // Set by ngx_event_connect_peer.
            age_ms: now.wrapping_sub(connection.start_time) as u64,
            // Counted by ngx_http_upstream_connect.
            requests: connection.requests as u64,
            // SAFETY: new's contract; used for this call only.
            keepalive_timeout_ms: unsafe { UpstreamId::new(self.raw) }.keepalive_timeout_ms(),
            tcp: system::tcp_info(connection.fd),
        })
    }

    /// The first servers one by one, and how many there are, when none has been chosen.
    pub(crate) fn servers(self) -> Option<(Vec<Peer>, u64)> {
        let u = self.get();
        let unchosen = u.peer.sockaddr.is_null() && u.peer.connection.is_null();
        // SAFETY: as in `peers`.
        (unchosen && !u.upstream.is_null()).then(|| unsafe { peers::list(u.upstream) }).flatten()
    }

    /// The first servers of the upstream that is tried, one by one.
    pub(crate) fn neighbours(self) -> Vec<Peer> {
        let upstream = self.get().upstream;
        // SAFETY: as in `write_server`.
        let listed = (!upstream.is_null()).then(|| unsafe { peers::list(upstream) }).flatten();
        listed.map_or_else(Vec::new, |(servers, _)| servers)
    }

    /// Whether trailers of the upstream go on to the client.
    #[cfg(nginx1_27_2)]
    pub(crate) fn passes_trailers(self) -> bool {
        self.conf().is_some_and(|conf| conf.pass_trailers != 0)
    }

    /// Whether trailers of the upstream go on to the client.
    #[cfg(not(nginx1_27_2))]
    pub(crate) fn passes_trailers(self) -> bool {
        self.conf().is_some_and(|conf| conf.pass_trailers() != 0)
    }

    /// Keeps the upstream's trailers with one of these names from being passed on.
    pub(crate) fn hide_trailers(self, names: &Names<'_>) {
        // SAFETY: new's contract; the list is initialized before the response header is read
        // (ngx_http_upstream_process_header), and so before there is a response to end.
        unsafe { headers::hide_all(&raw mut (*self.raw).headers_in.trailers, names) };
    }

    /// Whether the client and the upstream talk through an upgraded connection.
    pub(crate) fn is_upgraded(self) -> bool {
        self.get().upgrade() != 0
    }

    /// An upgraded connection on which nginx waited in vain for the upstream.
    pub(crate) fn upgraded_timed_out(self) -> bool {
        self.is_upgraded()
            && self.connection().is_some_and(|connection| {
                flags(connection.read).timed_out || flags(connection.write).timed_out
            })
    }

    /// Has nginx's verdict on the end of this upstream reported to `observe::ended`.
    pub(crate) fn watch_end(self, request: Request<'_>, record: &RefCell<Record>) {
        // SAFETY: new's contract; no reference to the structure is held here.
        let slot = unsafe { &mut (*self.raw).finalize_request };
        let Some(original) = *slot else { return };
        if !core::ptr::fn_addr_eq(original, entry::FINALIZE) {
            record.borrow_mut().keep_finalizer(request.id(), original);
            *slot = Some(entry::FINALIZE);
        }
    }
}

fn flags(event: *mut ngx_event_t) -> Io {
    // SAFETY: a connection's events are allocated for the life of the worker
    // (ngx_event_process_init).
    let event = unsafe { &*event };
    Io { timed_out: event.timedout() != 0, eof: event.eof() != 0, error: event.error() != 0 }
}

#[cfg(ngx_feature = "ssl")]
fn tls(connection: &ngx_connection_t) -> Tls {
    // SAFETY: c->ssl is NULL or lives in the connection's pool (ngx_ssl_create_connection).
    match unsafe { connection.ssl.as_ref() } {
        None => Tls::Plain,
        Some(ssl) if ssl.handshaked() != 0 => Tls::Established,
        Some(_) => Tls::Handshaking,
    }
}

#[cfg(ngx_feature = "ssl")]
fn verify_result(connection: &ngx_connection_t) -> i64 {
    match tls(connection) {
        // SAFETY: c->ssl is not NULL then, and its SSL object lives until ngx_ssl_shutdown.
        Tls::Established => unsafe {
            nginx_sys::SSL_get_verify_result((*connection.ssl).connection)
        },
        Tls::Plain | Tls::Handshaking => 0,
    }
}

/// Whether the peer's CertificateRequest has come, which brings its list of authorities, if only
/// an empty one (in TLS 1.3 the list may be absent).
#[cfg(ngx_feature = "ssl")]
fn certificate_requested(connection: &ngx_connection_t) -> bool {
    match tls(connection) {
        // SAFETY: as in `verify_result`.
        Tls::Handshaking => unsafe {
            !nginx_sys::SSL_get_client_CA_list((*connection.ssl).connection).is_null()
        },
        Tls::Plain | Tls::Established => false,
    }
}

#[cfg(not(ngx_feature = "ssl"))]
fn certificate_requested(_: &ngx_connection_t) -> bool {
    false
}

#[cfg(not(ngx_feature = "ssl"))]
fn tls(_: &ngx_connection_t) -> Tls {
    Tls::Plain
}

#[cfg(not(ngx_feature = "ssl"))]
fn verify_result(_: &ngx_connection_t) -> i64 {
    0
}
