//! The causes: one row each. Documentation, advice and tests are made from it.

use crate::cause::{Phase, Provoked, Row};

macro_rules! causes {
    ($($name:ident: $meaning:literal, $row:expr;)*) => {
        /// Why an attempt failed. Append-only.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $(#[doc = $meaning] $name,)*
        }

        impl Cause {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What the project knows about it.
            pub const fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => const { &Row { meaning: $meaning, ..$row } },)*
                }
            }

            /// As written in the header and in JSON.
            pub const fn token(self) -> &'static str {
                self.row().token
            }

            /// The phase it usually comes in.
            pub const fn phase(self) -> Phase {
                self.row().phase
            }
        }
    };
}

const ROW: Row = Row {
    token: "",
    phase: Phase::Local,
    error_type: None,
    rcode: None,
    meaning: "",
    reason: "",
    advice: "",
    step: &[],
    provoked: Provoked::Corpus(""),
};

causes! {
    DnsNotFound: "dns not found", Row {
        token: "dns_not_found",
        phase: Phase::Resolve,
        error_type: Some("dns_error"),
        rcode: Some("NXDOMAIN"),
        step: &[6],
        provoked: Provoked::Test("resolve::dns_not_found"),
        ..ROW
    };
    DnsServerFailure: "dns server failure", Row {
        token: "dns_server_failure",
        phase: Phase::Resolve,
        error_type: Some("dns_error"),
        rcode: Some("SERVFAIL"),
        step: &[6],
        provoked: Provoked::Test("resolve::dns_server_failure"),
        ..ROW
    };
    DnsRefused: "dns refused", Row {
        token: "dns_refused",
        phase: Phase::Resolve,
        error_type: Some("dns_error"),
        rcode: Some("REFUSED"),
        step: &[6],
        provoked: Provoked::Test("resolve::dns_refused"),
        ..ROW
    };
    DnsError: "dns error", Row {
        token: "dns_error",
        phase: Phase::Resolve,
        error_type: Some("dns_error"),
        rcode: None,
        step: &[6],
        provoked: Provoked::Test("resolve::dns_error"),
        ..ROW
    };
    DnsTimeout: "dns timeout", Row {
        token: "dns_timeout",
        phase: Phase::Resolve,
        error_type: Some("dns_timeout"),
        rcode: None,
        step: &[6],
        provoked: Provoked::Test("resolve::dns_timeout"),
        ..ROW
    };
    ResolverMissing: "resolver missing", Row {
        token: "resolver_missing",
        phase: Phase::Resolve,
        error_type: Some("proxy_configuration_error"),
        rcode: None,
        step: &[6],
        provoked: Provoked::Test("resolve::resolver_missing"),
        ..ROW
    };
    UpstreamInvalid: "upstream invalid", Row {
        token: "upstream_invalid",
        phase: Phase::Resolve,
        error_type: Some("proxy_configuration_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("resolve::upstream_invalid"),
        ..ROW
    };
    NoLivePeers: "no live peers", Row {
        token: "no_live_peers",
        phase: Phase::Select,
        error_type: Some("destination_unavailable"),
        rcode: None,
        step: &[1],
        provoked: Provoked::Test("select::no_live_peers"),
        ..ROW
    };
    PeersAtLimit: "peers at limit", Row {
        token: "peers_at_limit",
        phase: Phase::Select,
        error_type: Some("connection_limit_reached"),
        rcode: None,
        step: &[8],
        provoked: Provoked::Test("select::peers_at_limit"),
        ..ROW
    };
    PeersEmpty: "peers empty", Row {
        token: "peers_empty",
        phase: Phase::Select,
        error_type: Some("destination_unavailable"),
        rcode: None,
        step: &[6],
        provoked: Provoked::Test("select::peers_empty"),
        ..ROW
    };
    ConnectionRefused: "connection refused", Row {
        token: "connection_refused",
        phase: Phase::Connect,
        error_type: Some("connection_refused"),
        rcode: None,
        step: &[1, 2, 3],
        provoked: Provoked::Test("connect::connection_refused"),
        ..ROW
    };
    ConnectionReset: "connection reset", Row {
        token: "connection_reset",
        phase: Phase::Connect,
        error_type: Some("connection_terminated"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("connect::connection_reset"),
        ..ROW
    };
    ConnectionTimeout: "connection timeout", Row {
        token: "connection_timeout",
        phase: Phase::Connect,
        error_type: Some("connection_timeout"),
        rcode: None,
        step: &[2, 4],
        provoked: Provoked::Test("connect::connection_timeout"),
        ..ROW
    };
    HostUnreachable: "host unreachable", Row {
        token: "host_unreachable",
        phase: Phase::Connect,
        error_type: Some("destination_ip_unroutable"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("connect::host_unreachable"),
        ..ROW
    };
    NetworkUnreachable: "network unreachable", Row {
        token: "network_unreachable",
        phase: Phase::Connect,
        error_type: Some("destination_ip_unroutable"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("connect::network_unreachable"),
        ..ROW
    };
    ConnectionDenied: "connection denied", Row {
        token: "connection_denied",
        phase: Phase::Connect,
        error_type: Some("destination_ip_prohibited"),
        rcode: None,
        step: &[7],
        provoked: Provoked::Test("connect::connection_denied"),
        ..ROW
    };
    UnixSocketMissing: "unix socket missing", Row {
        token: "unix_socket_missing",
        phase: Phase::Connect,
        error_type: Some("destination_unavailable"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("unix_socket::unix_socket_missing"),
        ..ROW
    };
    UnixSocketRefused: "unix socket refused", Row {
        token: "unix_socket_refused",
        phase: Phase::Connect,
        error_type: Some("connection_refused"),
        rcode: None,
        step: &[1, 3],
        provoked: Provoked::Test("unix_socket::unix_socket_refused"),
        ..ROW
    };
    UnixSocketDenied: "unix socket denied", Row {
        token: "unix_socket_denied",
        phase: Phase::Connect,
        error_type: Some("destination_ip_prohibited"),
        rcode: None,
        step: &[7],
        provoked: Provoked::Test("unix_socket::unix_socket_denied"),
        ..ROW
    };
    ListenQueueFull: "listen queue full", Row {
        token: "listen_queue_full",
        phase: Phase::Connect,
        error_type: Some("connection_refused"),
        rcode: None,
        step: &[2, 8],
        provoked: Provoked::Test("unix_socket::listen_queue_full"),
        ..ROW
    };
    EphemeralPortsExhausted: "ephemeral ports exhausted", Row {
        token: "ephemeral_ports_exhausted",
        phase: Phase::Connect,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[8],
        provoked: Provoked::Test("exhaustion::ephemeral_ports_exhausted"),
        ..ROW
    };
    LocalBindFailed: "local bind failed", Row {
        token: "local_bind_failed",
        phase: Phase::Connect,
        error_type: Some("proxy_configuration_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("connect::local_bind_failed"),
        ..ROW
    };
    FdExhausted: "fd exhausted", Row {
        token: "fd_exhausted",
        phase: Phase::Connect,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[8],
        provoked: Provoked::Test("exhaustion::fd_exhausted"),
        ..ROW
    };
    WorkerConnectionsExhausted: "worker connections exhausted", Row {
        token: "worker_connections_exhausted",
        phase: Phase::Connect,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[8],
        provoked: Provoked::Test("exhaustion::worker_connections_exhausted"),
        ..ROW
    };
    ConnectFailed: "connect failed", Row {
        token: "connect_failed",
        phase: Phase::Connect,
        error_type: Some("destination_unavailable"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("connect::connect_failed"),
        ..ROW
    };
    TlsHandshakeTimeout: "tls handshake timeout", Row {
        token: "tls_handshake_timeout",
        phase: Phase::Handshake,
        error_type: Some("connection_timeout"),
        rcode: None,
        step: &[4],
        provoked: Provoked::Test("tls::tls_handshake_timeout"),
        ..ROW
    };
    TlsHandshakeClosed: "tls handshake closed", Row {
        token: "tls_handshake_closed",
        phase: Phase::Handshake,
        error_type: Some("connection_terminated"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("tls::tls_handshake_closed"),
        ..ROW
    };
    TlsProtocolError: "tls protocol error", Row {
        token: "tls_protocol_error",
        phase: Phase::Handshake,
        error_type: Some("tls_protocol_error"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("tls::tls_protocol_error"),
        ..ROW
    };
    TlsAlert: "tls alert", Row {
        token: "tls_alert",
        phase: Phase::Handshake,
        error_type: Some("tls_alert_received"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("tls::tls_alert"),
        ..ROW
    };
    TlsPeerPlaintext: "tls peer plaintext", Row {
        token: "tls_peer_plaintext",
        phase: Phase::Handshake,
        error_type: Some("tls_protocol_error"),
        rcode: None,
        step: &[2, 3],
        provoked: Provoked::Test("tls::tls_peer_plaintext"),
        ..ROW
    };
    TlsCertificateUntrusted: "tls certificate untrusted", Row {
        token: "tls_certificate_untrusted",
        phase: Phase::Handshake,
        error_type: Some("tls_certificate_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("tls::tls_certificate_untrusted"),
        ..ROW
    };
    TlsCertificateExpired: "tls certificate expired", Row {
        token: "tls_certificate_expired",
        phase: Phase::Handshake,
        error_type: Some("tls_certificate_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("tls::tls_certificate_expired"),
        ..ROW
    };
    TlsCertificateNameMismatch: "tls certificate name mismatch", Row {
        token: "tls_certificate_name_mismatch",
        phase: Phase::Handshake,
        error_type: Some("tls_certificate_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("tls::tls_certificate_name_mismatch"),
        ..ROW
    };
    TlsClientCertificateRequired: "tls client certificate required", Row {
        token: "tls_client_certificate_required",
        phase: Phase::Handshake,
        error_type: Some("tls_alert_received"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("tls::tls_client_certificate_required"),
        ..ROW
    };
    TlsConfigurationError: "tls configuration error", Row {
        token: "tls_configuration_error",
        phase: Phase::Handshake,
        error_type: Some("proxy_configuration_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("tls::tls_configuration_error"),
        ..ROW
    };
    SendTimeout: "send timeout", Row {
        token: "send_timeout",
        phase: Phase::Send,
        error_type: Some("connection_write_timeout"),
        rcode: None,
        step: &[4],
        provoked: Provoked::Test("send_header::send_timeout"),
        ..ROW
    };
    SendReset: "send reset", Row {
        token: "send_reset",
        phase: Phase::Send,
        error_type: Some("connection_terminated"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("send_header::send_reset"),
        ..ROW
    };
    KeepaliveStale: "keepalive stale", Row {
        token: "keepalive_stale",
        phase: Phase::Header,
        error_type: Some("connection_terminated"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("send_header::keepalive_stale"),
        ..ROW
    };
    ClosedBeforeHeader: "closed before header", Row {
        token: "closed_before_header",
        phase: Phase::Header,
        error_type: Some("http_response_incomplete"),
        rcode: None,
        step: &[1, 2],
        provoked: Provoked::Test("send_header::closed_before_header"),
        ..ROW
    };
    ResetBeforeHeader: "reset before header", Row {
        token: "reset_before_header",
        phase: Phase::Header,
        error_type: Some("connection_terminated"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("send_header::reset_before_header"),
        ..ROW
    };
    HeaderTimeout: "header timeout", Row {
        token: "header_timeout",
        phase: Phase::Header,
        error_type: Some("http_response_timeout"),
        rcode: None,
        step: &[2, 4],
        provoked: Provoked::Test("send_header::header_timeout"),
        ..ROW
    };
    HeaderTooBig: "header too big", Row {
        token: "header_too_big",
        phase: Phase::Header,
        error_type: Some("http_response_header_section_size"),
        rcode: None,
        step: &[5],
        provoked: Provoked::Test("send_header::header_too_big"),
        ..ROW
    };
    HeaderInvalid: "header invalid", Row {
        token: "header_invalid",
        phase: Phase::Header,
        error_type: Some("http_protocol_error"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("send_header::header_invalid"),
        ..ROW
    };
    ProtocolMismatch: "protocol mismatch", Row {
        token: "protocol_mismatch",
        phase: Phase::Header,
        error_type: Some("http_protocol_error"),
        rcode: None,
        step: &[3],
        provoked: Provoked::Test("protocols::protocol_mismatch"),
        ..ROW
    };
    StreamReset: "stream reset", Row {
        token: "stream_reset",
        phase: Phase::Header,
        error_type: Some("http_protocol_error"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("protocols::stream_reset"),
        ..ROW
    };
    BodyTruncated: "body truncated", Row {
        token: "body_truncated",
        phase: Phase::Body,
        error_type: Some("http_response_incomplete"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("body::body_truncated"),
        ..ROW
    };
    BodyReset: "body reset", Row {
        token: "body_reset",
        phase: Phase::Body,
        error_type: Some("http_response_incomplete"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("body::body_reset"),
        ..ROW
    };
    BodyTimeout: "body timeout", Row {
        token: "body_timeout",
        phase: Phase::Body,
        error_type: Some("connection_read_timeout"),
        rcode: None,
        step: &[4],
        provoked: Provoked::Test("body::body_timeout"),
        ..ROW
    };
    BodyInvalid: "body invalid", Row {
        token: "body_invalid",
        phase: Phase::Body,
        error_type: Some("http_response_transfer_coding"),
        rcode: None,
        step: &[2],
        provoked: Provoked::Test("body::body_invalid"),
        ..ROW
    };
    UpstreamStatus: "upstream status", Row {
        token: "upstream_status",
        phase: Phase::Header,
        error_type: None,
        rcode: None,
        step: &[1],
        provoked: Provoked::Test("send_header::upstream_status"),
        ..ROW
    };
    DiskFull: "disk full", Row {
        token: "disk_full",
        phase: Phase::Local,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[5],
        provoked: Provoked::Test("local::disk_full"),
        ..ROW
    };
    DiskFailed: "disk failed", Row {
        token: "disk_failed",
        phase: Phase::Local,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[5],
        provoked: Provoked::Test("local::disk_failed"),
        ..ROW
    };
    ClientClosed: "client closed", Row {
        token: "client_closed",
        phase: Phase::Client,
        error_type: None,
        rcode: None,
        step: &[],
        provoked: Provoked::Test("client::client_closed"),
        ..ROW
    };
    InternalError: "internal error", Row {
        token: "internal_error",
        phase: Phase::Local,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[],
        provoked: Provoked::Test("local::internal_error"),
        ..ROW
    };
    Other: "other", Row {
        token: "other",
        phase: Phase::Local,
        error_type: Some("proxy_internal_error"),
        rcode: None,
        step: &[],
        provoked: Provoked::Test("local::other"),
        ..ROW
    };
}
