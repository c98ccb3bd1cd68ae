//! What the module reads off nginx at the moment of a message.

/// Which upstream module made the request; named as in `u->conf->module`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `ngx_http_proxy_module`, with and without TLS.
    #[default]
    Http,
    /// `ngx_http_fastcgi_module`.
    FastCgi,
    /// `ngx_http_uwsgi_module`.
    Uwsgi,
    /// `ngx_http_scgi_module`.
    Scgi,
    /// `ngx_http_grpc_module`.
    Grpc,
    /// `ngx_http_memcached_module`.
    Memcached,
}

impl Protocol {
    /// From `u->conf->module`; an unknown module is taken for `proxy`.
    pub fn from_module(module: &[u8]) -> Self {
        match module {
            b"fastcgi" => Self::FastCgi,
            b"uwsgi" => Self::Uwsgi,
            b"scgi" => Self::Scgi,
            b"grpc" => Self::Grpc,
            b"memcached" => Self::Memcached,
            _ => Self::Http,
        }
    }

    /// The first word of its directives, as in `proxy_pass`.
    pub const fn directive_prefix(self) -> &'static str {
        match self {
            Self::Http => "proxy",
            Self::FastCgi => "fastcgi",
            Self::Uwsgi => "uwsgi",
            Self::Scgi => "scgi",
            Self::Grpc => "grpc",
            Self::Memcached => "memcached",
        }
    }
}

/// The family of the address that was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// No address yet.
    #[default]
    None,
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
    /// A unix socket.
    Unix,
}

/// How far TLS to the upstream got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// No TLS on this connection (yet).
    #[default]
    Plain,
    /// The handshake has begun and is not over.
    Handshaking,
    /// The handshake is over (`c->ssl->handshaked`).
    Established,
}

/// The flags of one event (`ngx_event_t`) of the upstream connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Its timer ran out.
    pub timed_out: bool,
    /// End of stream was read.
    pub eof: bool,
    /// The system call failed.
    pub error: bool,
}

/// The peers of the upstream block when none could be chosen; the counts are disjoint, the rest of
/// `total` was tried already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// All of them, backups included.
    pub total: u32,
    /// Marked `down`.
    pub down: u32,
    /// Put aside by `max_fails`.
    pub failed: u32,
    /// At `max_conns`.
    pub at_limit: u32,
}

/// nginx's state at the moment a message was logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The upstream module.
    pub protocol: Protocol,
    /// Family of the address that was tried.
    pub family: Family,
    /// `ngx_resolver_ctx_t.state` while `u->resolved->ctx` is set.
    pub resolver_state: Option<u16>,
    /// `ngx_resolver_ctx_t.timeout` of that lookup, milliseconds.
    pub resolver_timeout_ms: u64,
    /// `u->peer.connection` is not NULL.
    pub connection: bool,
    /// How far TLS got.
    pub tls: Tls,
    /// `u->ssl`: TLS is to be spoken.
    pub tls_wanted: bool,
    /// `SSL_get_verify_result` when TLS is established, else 0.
    pub verify_result: i64,
    /// The peer asked for our certificate: `SSL_get_client_CA_list` is not NULL in the handshake.
    pub certificate_requested: bool,
    /// `u->request_sent`: sending has begun.
    pub request_sent: bool,
    /// `u->request_body_sent`.
    pub request_body_sent: bool,
    /// `u->header_sent`: the client has the response header.
    pub header_sent: bool,
    /// `state->connect_time` is set; after the handshake when TLS is spoken.
    pub connected: bool,
    /// `state->header_time` is set: the response header was read.
    pub header_read: bool,
    /// `state->connect_time`, milliseconds, once it is set.
    pub connect_ms: Option<u64>,
    /// `state->header_time`, milliseconds, once it is set.
    pub header_ms: Option<u64>,
    /// The connection came from the keepalive cache.
    pub reused: bool,
    /// `u->upgrade`: bytes are passed through both ways.
    pub upgraded: bool,
    /// Read event of the upstream connection.
    pub read: Io,
    /// Write event of the upstream connection.
    pub write: Io,
    /// Bytes read from the upstream in this attempt.
    pub bytes_received: u64,
    /// Bytes sent to the upstream in this attempt.
    pub bytes_sent: u64,
    /// `u->buffer.last == u->buffer.end`.
    pub buffer_full: bool,
    /// The upstream's own status code, or 0.
    pub status: u16,
    /// When no peer could be chosen: why not.
    pub peers: Option<Peers>,
    /// `u->conf->connect_timeout`, milliseconds.
    pub connect_timeout_ms: u64,
    /// `u->conf->send_timeout`, milliseconds.
    pub send_timeout_ms: u64,
    /// `u->conf->read_timeout`, milliseconds.
    pub read_timeout_ms: u64,
    /// `u->conf->buffer_size`, bytes.
    pub buffer_size: u64,
    /// `worker_connections`.
    pub worker_connections: u64,
    /// The soft RLIMIT_NOFILE of this worker.
    pub file_limit: u64,
}
