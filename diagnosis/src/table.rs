//! The causes, one row each: documentation, advice, header and tests are made from it.

use crate::cause::Phase::{Body, Client, Connect, Handshake, Header, Local, Resolve, Select, Send};
use crate::cause::Provoked::Test;
use crate::cause::{Advice, Hole, Phase, Row};

/// A row reads: meaning; name(token, usual phase, RFC 9209 error, its rcode, checklist steps).
macro_rules! causes {
    ($(
        #[doc = $meaning:literal]
        $name:ident($token:literal, $phase:expr, $error:expr, $rcode:expr, $step:expr) {
            reason: $reason:literal,
            advice: $first:literal $($hole:ident $text:literal)*,
            provoked: $provoked:expr,
        }
    )*) => {
        /// Why an attempt failed. A closed list; new ones are appended.
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
                    $(Self::$name => const {
                        &Row {
                            token: $token,
                            phase: $phase,
                            error_type: $error,
                            rcode: $rcode,
                            meaning: $meaning.trim_ascii(),
                            reason: $reason,
                            advice: Advice { first: $first, rest: &[$((Hole::$hole, $text)),*] },
                            step: &$step,
                            provoked: $provoked,
                        }
                    },)*
                }
            }
        }
    };
}

causes! {
    /// the upstream's name does not exist, or has no address
    DnsNotFound("dns_not_found", Resolve, Some("dns_error"), Some("NXDOMAIN"), [6]) {
        reason: "a typing error, a record that was removed, or a name that only another name server \
            knows",
        advice: "the name server has no address for " Upstream "; correct the name, or create the \
            record",
        provoked: Test("resolve::dns_not_found"),
    }
    /// the name server could not find the answer
    DnsServerFailure("dns_server_failure", Resolve, Some("dns_error"), Some("SERVFAIL"), [6]) {
        reason: "the zone's own servers are unreachable, or DNSSEC does not validate",
        advice: "the name server could not answer for " Upstream "; check the server in the \
            resolver directive and the zone behind it",
        provoked: Test("resolve::dns_server_failure"),
    }
    /// the name server refused the question
    DnsRefused("dns_refused", Resolve, Some("dns_error"), Some("REFUSED"), [6]) {
        reason: "the name server does not serve this host, or not this zone",
        advice: "the name server does not answer nginx about " Upstream "; allow this host there, \
            or name another server in the resolver directive",
        provoked: Test("resolve::dns_refused"),
    }
    /// the name server answered with another error
    DnsError("dns_error", Resolve, Some("dns_error"), None, [6]) {
        reason: "something that is no name server, or one that is broken",
        advice: "looking up " Upstream " failed; ask the server in the resolver directive for \
            that name yourself and compare",
        provoked: Test("resolve::dns_error"),
    }
    /// no name server answered in time
    DnsTimeout("dns_timeout", Resolve, Some("dns_timeout"), None, [6]) {
        reason: "the address in the resolver directive is wrong or behind a firewall",
        advice: "no name server answered about " Upstream " in time; check that the address in \
            the resolver directive can be reached, or raise resolver_timeout",
        provoked: Test("resolve::dns_timeout"),
    }
    /// the name is known only at run time, and there is no resolver to ask
    ResolverMissing("resolver_missing", Resolve, Some("proxy_configuration_error"), None, [6]) {
        reason: "a variable in proxy_pass and no resolver directive",
        advice: "nginx has nobody to ask for the address of " Upstream "; add a resolver \
            directive with your name server, such as 'resolver 127.0.0.53 valid=30s'",
        provoked: Test("resolve::resolver_missing"),
    }
    /// the address that was configured or computed is not one
    UpstreamInvalid("upstream_invalid", Resolve, Some("proxy_configuration_error"), None, [3]) {
        reason: "a variable in proxy_pass that is empty, or lacks the scheme or the port",
        advice: "" Prefix "_pass came out as no usable address for this request; check what its \
            variables hold, the scheme and the port",
        provoked: Test("resolve::upstream_invalid"),
    }
    /// every server of the upstream is down or has failed
    NoLivePeers("no_live_peers", Select, Some("destination_unavailable"), None, [1]) {
        reason: "the back ends failed max_fails times within fail_timeout and are being left alone",
        advice: "no server of " Upstream " is in use at the moment; start the back ends, and see \
            the failures logged before this one for why they were put aside",
        provoked: Test("select::no_live_peers"),
    }
    /// every server of the upstream has max_conns connections
    PeersAtLimit("peers_at_limit", Select, Some("connection_limit_reached"), None, [8]) {
        reason: "more requests at a time than max_conns allows",
        advice: "every server of " Upstream " is at its max_conns; raise it, add servers, or make \
            the back end answer faster",
        provoked: Test("select::peers_at_limit"),
    }
    /// the upstream has no address at all
    PeersEmpty("peers_empty", Select, Some("destination_unavailable"), None, [6]) {
        reason: "the name in its server line does not resolve (yet)",
        advice: "" Upstream " has no address at the moment; check the name in its server line and \
            what the name server answers",
        provoked: Test("select::peers_empty"),
    }
    /// the host is there and nothing listens on the port
    ConnectionRefused("connection_refused", Connect, Some("connection_refused"), None, [1, 2, 3]) {
        reason: "the back end is not running, still starting, or listens on another port or address",
        advice: "nothing listens on " Peer "; start the back end or correct the server line",
        provoked: Test("connect::connection_refused"),
    }
    /// the connection was reset before it could be used
    ConnectionReset("connection_reset", Connect, Some("connection_terminated"), None, [2]) {
        reason: "the back end, or a balancer before it, drops connections that it cannot serve",
        advice: "" Peer " reset the connection at once; see its log, its limits and any balancer \
            in between",
        provoked: Test("connect::connection_reset"),
    }
    /// nobody answered the connection attempt in time
    ConnectionTimeout("connection_timeout", Connect, Some("connection_timeout"), None, [2, 4]) {
        reason: "a firewall that drops packets, a host that is down, or a full listen queue",
        advice: "" Peer " did not accept the connection within " Limit "; check that the host is \
            up, that no firewall drops the packets and that its listen queue is not full, before \
            changing " Directive "",
        provoked: Test("connect::connection_timeout"),
    }
    /// the network says that the host cannot be reached
    HostUnreachable("host_unreachable", Connect, Some("destination_ip_unroutable"), None, [2]) {
        reason: "the host is down, its address is wrong, or a firewall rejects",
        advice: "there is no way to the host of " Peer "; check that it is up, that the address \
            is right and the firewalls in between",
        provoked: Test("connect::host_unreachable"),
    }
    /// this machine has no route to the address
    NetworkUnreachable(
        "network_unreachable", Connect,
        Some("destination_ip_unroutable"), None, [2]
    ) {
        reason: "a missing route, an interface that is down, or an IPv6 address on a host without \
            IPv6",
        advice: "this machine has no route to " Peer "; check the address, the routes and whether \
            IPv6 works here",
        provoked: Test("connect::network_unreachable"),
    }
    /// this system does not let nginx connect
    ConnectionDenied("connection_denied", Connect, Some("destination_ip_prohibited"), None, [7]) {
        reason: "SELinux, a sandbox or a local firewall rule",
        advice: "this system does not let nginx connect to " Peer "; with SELinux run 'setsebool \
            -P httpd_can_network_connect 1', otherwise look for a local firewall rule or a \
            sandbox",
        provoked: Test("connect::connection_denied"),
    }
    /// there is no such socket file
    UnixSocketMissing("unix_socket_missing", Connect, Some("destination_unavailable"), None, [3]) {
        reason: "the back end is not running, or puts its socket elsewhere",
        advice: "there is no socket at " Peer "; start the back end or correct the path in the \
            server line",
        provoked: Test("unix_socket::unix_socket_missing"),
    }
    /// the socket file is there and nobody listens on it
    UnixSocketRefused("unix_socket_refused", Connect, Some("connection_refused"), None, [1, 3]) {
        reason: "the back end died and left the file behind",
        advice: "nobody listens on " Peer ", the file is a left-over; start the back end",
        provoked: Test("unix_socket::unix_socket_refused"),
    }
    /// nginx may not use the socket file
    UnixSocketDenied("unix_socket_denied", Connect, Some("destination_ip_prohibited"), None, [7]) {
        reason: "permissions of the file or of a directory above it, or SELinux",
        advice: "nginx's user may not use " Peer "; let it write to the socket and enter every \
            directory above it, and with SELinux run 'setsebool -P httpd_can_network_relay 1'",
        provoked: Test("unix_socket::unix_socket_denied"),
    }
    /// the socket's listen queue is full
    ListenQueueFull("listen_queue_full", Connect, Some("connection_refused"), None, [2, 8]) {
        reason: "the back end accepts more slowly than requests come",
        advice: "the listen queue of " Peer " is full; give the back end more workers, or a \
            longer backlog (and net.core.somaxconn with it)",
        provoked: Test("unix_socket::listen_queue_full"),
    }
    /// no local port is left for a connection to this address
    EphemeralPortsExhausted(
        "ephemeral_ports_exhausted", Connect,
        Some("proxy_internal_error"), None, [8]
    ) {
        reason: "a new connection for every request, each holding its port for a minute after it was \
            closed",
        advice: "no local port is left for " Peer "; keep connections open (keepalive in the \
            upstream block) and widen net.ipv4.ip_local_port_range",
        provoked: Test("exhaustion::ephemeral_ports_exhausted"),
    }
    /// the local address to connect from cannot be used
    LocalBindFailed("local_bind_failed", Connect, Some("proxy_configuration_error"), None, [3]) {
        reason: "proxy_bind with an address that this host does not have, or without the rights it \
            needs",
        advice: "nginx cannot connect to " Peer " from the address in " Prefix "_bind; use one \
            that this host has, and give nginx the rights that 'transparent' needs",
        provoked: Test("connect::local_bind_failed"),
    }
    /// no file descriptor is left
    FdExhausted("fd_exhausted", Connect, Some("proxy_internal_error"), None, [8]) {
        reason: "the limit is too low for the connections and files in use",
        advice: "nginx has no file descriptor left (" Limit "); raise worker_rlimit_nofile and \
            the system's own limit",
        provoked: Test("exhaustion::fd_exhausted"),
    }
    /// all connections of this worker are in use
    WorkerConnectionsExhausted(
        "worker_connections_exhausted", Connect,
        Some("proxy_internal_error"), None, [8]
    ) {
        reason: "the limit counts connections to clients and to upstreams alike",
        advice: "all connections of this worker are in use (" Limit "); raise worker_connections \
            in the events block, and worker_rlimit_nofile with it",
        provoked: Test("exhaustion::worker_connections_exhausted"),
    }
    /// connecting failed with an error that has no cause of its own
    ConnectFailed("connect_failed", Connect, Some("destination_unavailable"), None, [2]) {
        reason: "an address or a socket of the wrong kind, or a system out of memory",
        advice: "connecting to " Peer " failed with " Errno "; check that the server line names \
            an address that this system can connect to",
        provoked: Test("connect::connect_failed"),
    }
    /// the TLS handshake was not over in time
    TlsHandshakeTimeout("tls_handshake_timeout", Handshake, Some("connection_timeout"), None, [4]) {
        reason: "a back end that is overloaded, or a port that waits for something else than TLS",
        advice: "" Peer " did not finish the TLS handshake within " Limit "; check that the port \
            speaks TLS and how busy the back end is; " Directive " covers connecting and the \
            handshake together",
        provoked: Test("tls::tls_handshake_timeout"),
    }
    /// the peer closed or reset the connection in the TLS handshake
    TlsHandshakeClosed(
        "tls_handshake_closed", Handshake,
        Some("connection_terminated"), None, [2]
    ) {
        reason: "a port that does not speak TLS, or a server that refuses the name or the protocol \
            version",
        advice: "" Peer " closed the connection in the TLS handshake; check that the port speaks \
            TLS, and try '" Prefix "_ssl_server_name on'",
        provoked: Test("tls::tls_handshake_closed"),
    }
    /// TLS failed on our side for another reason
    TlsProtocolError("tls_protocol_error", Handshake, Some("tls_protocol_error"), None, [2]) {
        reason: "protocol versions or ciphers that have nothing in common, or a broken TLS library",
        advice: "TLS with " Peer " failed; compare " Prefix "_ssl_protocols and " Prefix "\
            _ssl_ciphers with what the back end offers",
        provoked: Test("tls::tls_protocol_error"),
    }
    /// the peer refused with a TLS alert
    TlsAlert("tls_alert", Handshake, Some("tls_alert_received"), None, [2]) {
        reason: "a server name that the back end does not know, or protocol versions or ciphers that \
            it does not accept",
        advice: "" Peer " refused with TLS alert " Alert "; check the server name (" Prefix "\
            _ssl_server_name, " Prefix "_ssl_name), " Prefix "_ssl_protocols and " Prefix "\
            _ssl_ciphers",
        provoked: Test("tls::tls_alert"),
    }
    /// the port does not speak TLS
    TlsPeerPlaintext("tls_peer_plaintext", Handshake, Some("tls_protocol_error"), None, [2, 3]) {
        reason: "https:// to a plain HTTP port",
        advice: "" Peer " does not speak TLS; use the scheme without TLS in " Prefix "_pass, or \
            the back end's TLS port",
        provoked: Test("tls::tls_peer_plaintext"),
    }
    /// the peer's certificate does not lead to a trusted authority
    TlsCertificateUntrusted(
        "tls_certificate_untrusted", Handshake,
        Some("tls_certificate_error"), None, [3]
    ) {
        reason: "a private or self-signed certificate, or a missing intermediate one",
        advice: "the certificate of " Peer " does not verify; put the authority that issued it \
            into " Prefix "_ssl_trusted_certificate, and have the back end send its intermediate \
            certificates",
        provoked: Test("tls::tls_certificate_untrusted"),
    }
    /// the peer's certificate is not valid at this time
    TlsCertificateExpired(
        "tls_certificate_expired", Handshake,
        Some("tls_certificate_error"), None, [3]
    ) {
        reason: "it was not renewed, or a clock is wrong",
        advice: "a certificate of " Peer " is out of date; renew it, and check both clocks",
        provoked: Test("tls::tls_certificate_expired"),
    }
    /// the peer's certificate is for another name
    TlsCertificateNameMismatch(
        "tls_certificate_name_mismatch", Handshake,
        Some("tls_certificate_error"), None, [3]
    ) {
        reason: "nginx checks for the name in proxy_pass, which is often the upstream block's",
        advice: "the certificate of " Peer " is for another name; set " Prefix "_ssl_name to a \
            name that it holds",
        provoked: Test("tls::tls_certificate_name_mismatch"),
    }
    /// the peer wants a certificate from nginx, or another one
    TlsClientCertificateRequired(
        "tls_client_certificate_required", Handshake,
        Some("tls_alert_received"), None, [3]
    ) {
        reason: "mutual TLS on the back end, and no proxy_ssl_certificate or one that is out of date",
        advice: "" Peer " wants a certificate from nginx that it accepts; set " Prefix "\
            _ssl_certificate and " Prefix "_ssl_certificate_key, to one that is valid and whose \
            authority the back end trusts",
        provoked: Test("tls_own_side::tls_client_certificate_required"),
    }
    /// nginx could not set up its own side of TLS
    TlsConfigurationError(
        "tls_configuration_error", Handshake,
        Some("proxy_configuration_error"), None, [3]
    ) {
        reason: "a certificate or key file, named with a variable, that cannot be read",
        advice: "nginx could not set up TLS for " Peer "; check the files of " Prefix "\
            _ssl_certificate and " Prefix "_ssl_certificate_key, and " Prefix "_ssl_name",
        provoked: Test("tls_own_side::tls_configuration_error"),
    }
    /// the peer did not read the request in time
    SendTimeout("send_timeout", Send, Some("connection_write_timeout"), None, [4]) {
        reason: "a back end that is stuck while a large request is on its way",
        advice: "" Peer " read nothing of the request for " Limit "; find what keeps it from \
            reading before raising " Directive "",
        provoked: Test("send_header::send_timeout"),
    }
    /// the peer closed the connection while the request was being sent
    SendReset("send_reset", Send, Some("connection_terminated"), None, [2]) {
        reason: "a back end that refuses large requests without reading them, or crashed",
        advice: "" Peer " closed the connection while the request was being sent; check its limit \
            on the size of a request, and its log for a crash",
        provoked: Test("send_header::send_reset"),
    }
    /// an idle connection from the keepalive cache had been closed by the peer
    KeepaliveStale("keepalive_stale", Header, Some("connection_terminated"), None, [2]) {
        reason: "the back end closes idle connections sooner than nginx does",
        advice: "" Peer " had closed this idle connection; make the back end's keep-alive \
            time-out longer than keepalive_timeout in the upstream block",
        provoked: Test("send_header::keepalive_stale"),
    }
    /// the peer closed the connection before a complete response header
    ClosedBeforeHeader(
        "closed_before_header", Header,
        Some("http_response_incomplete"), None, [1, 2]
    ) {
        reason: "the back end crashed, was killed for its memory, or gave the request up",
        advice: "" Peer " closed the connection without a complete answer; see the back end's log \
            for a crash, an out-of-memory kill or a time-out of its own",
        provoked: Test("send_header::closed_before_header"),
    }
    /// the peer reset the connection before a complete response header
    ResetBeforeHeader("reset_before_header", Header, Some("connection_terminated"), None, [2]) {
        reason: "a crash, a full queue, or a balancer in between",
        advice: "" Peer " reset the connection instead of answering; see the back end's log for a \
            crash or a full queue, and any balancer in between",
        provoked: Test("send_header::reset_before_header"),
    }
    /// the peer took the request and sent no complete response header in time
    HeaderTimeout("header_timeout", Header, Some("http_response_timeout"), None, [2, 4]) {
        reason: "a slow query, a deadlock or an overloaded back end",
        advice: "" Peer " sent no complete response header within " Limit "; find what keeps it \
            busy, and raise " Directive " only if it needs that long",
        provoked: Test("send_header::header_timeout"),
    }
    /// the response header is larger than the buffer for it
    HeaderTooBig("header_too_big", Header, Some("http_response_header_section_size"), None, [5]) {
        reason: "many or large cookies, or long tokens",
        advice: "the response header does not fit into " Limit "; raise " Directive " (nginx -t \
            names the buffers that have to grow with it), or send fewer and smaller cookies",
        provoked: Test("send_header::header_too_big"),
    }
    /// the response header breaks the protocol
    HeaderInvalid("header_invalid", Header, Some("http_protocol_error"), None, [2]) {
        reason: "a script that prints before its header, or repeats Content-Length",
        advice: "" Peer " sent a header that nginx has to refuse; the message says what is wrong \
            with it, correct it in the back end",
        provoked: Test("send_header::header_invalid"),
    }
    /// the port speaks another protocol
    ProtocolMismatch("protocol_mismatch", Header, Some("http_protocol_error"), None, [3]) {
        reason: "HTTP to a FastCGI, uWSGI or TLS port, or gRPC to one that knows only HTTP/1",
        advice: "" Peer " does not speak what " Prefix "_pass expects; use the directive and the \
            scheme of its protocol, or the right port",
        provoked: Test("protocols::protocol_mismatch"),
    }
    /// the peer ended the HTTP/2 stream with an error
    StreamReset("stream_reset", Header, Some("http_protocol_error"), None, [2]) {
        reason: "the back end refused or cancelled the call, or is shutting down",
        advice: "" Peer " ended the HTTP/2 stream with " Code "; see the back end's log for why \
            it refused the call",
        provoked: Test("grpc::stream_reset"),
    }
    /// the peer closed the connection before the end of the response
    BodyTruncated("body_truncated", Body, Some("http_response_incomplete"), None, [2]) {
        reason: "a crash or a time-out in the back end while it was answering",
        advice: "" Peer " closed the connection in the middle of the response; see the back end's \
            log for a crash or a time-out of its own",
        provoked: Test("body::body_truncated"),
    }
    /// the peer reset the connection in the middle of the response
    BodyReset("body_reset", Body, Some("http_response_incomplete"), None, [2]) {
        reason: "a crash in the back end, or a balancer in between",
        advice: "" Peer " reset the connection in the middle of the response; see the back end's \
            log, and any balancer in between",
        provoked: Test("body::body_reset"),
    }
    /// the response stopped in the middle
    BodyTimeout("body_timeout", Body, Some("connection_read_timeout"), None, [4]) {
        reason: "a back end that streams and then waits for something",
        advice: "" Peer " stopped in the middle of the response for " Limit "; find what it waits \
            for, or raise " Directive " for long polls and streams",
        provoked: Test("body::body_timeout"),
    }
    /// the framing of the response body is broken
    BodyInvalid("body_invalid", Body, Some("http_response_transfer_coding"), None, [2]) {
        reason: "wrong chunks, trailers, frames or records, often from a hand-written server",
        advice: "" Peer " sent a body whose framing is broken; correct it in the back end or in \
            whatever rewrites its answers",
        provoked: Test("body::body_invalid"),
    }
    /// the upstream answered with an error of its own
    UpstreamStatus("upstream_status", Header, None, None, [1]) {
        reason: "an error in the application, which nginx passed on",
        advice: "" Peer " itself answered " Status "; nginx only passed it on, so look in the \
            back end's log",
        provoked: Test("send_header::upstream_status"),
    }
    /// no space is left for a temporary file or the cache
    DiskFull("disk_full", Local, Some("proxy_internal_error"), None, [5]) {
        reason: "large responses or uploads on a small disk",
        advice: "no space is left for nginx's temporary files or cache; free some, move " Prefix "\
            _temp_path or client_body_temp_path, or bound them with " Prefix "_max_temp_file_size \
            and the cache's max_size",
        provoked: Test("local::disk_full"),
    }
    /// a temporary file or the cache could not be used
    DiskFailed("disk_failed", Local, Some("proxy_internal_error"), None, [5]) {
        reason: "wrong owner or permissions after a change of user, or a broken disk",
        advice: "nginx could not use its temporary file or cache (" Errno "); check owner, \
            permissions and disk of the path in the message",
        provoked: Test("local::disk_failed"),
    }
    /// the client left before the answer
    ClientClosed("client_closed", Client, None, None, []) {
        reason: "a client that is impatient, because of its own time-out or a user who went on",
        advice: "the client left before " Peer " had answered; if that is common, compare its \
            time-out with the time that the back end takes",
        provoked: Test("client::client_closed"),
    }
    /// nginx itself could not go on
    InternalError("internal_error", Local, Some("proxy_internal_error"), None, []) {
        reason: "no memory, or a state that nginx does not expect",
        advice: "nginx could not go on with this request; see its error log, and how much memory \
            is free",
        provoked: Test("local::internal_error"),
    }
    /// a failure that no other cause describes
    Other("other", Local, Some("proxy_internal_error"), None, []) {
        reason: "a message or a state that is not in this table yet",
        advice: "no known cause fits this failure of " Upstream "; the error log has nginx's own \
            message, and a report of it would help others",
        provoked: Test("local::other"),
    }
}

impl Cause {
    /// As written in the header and in JSON.
    pub const fn token(self) -> &'static str {
        self.row().token
    }

    /// The phase it usually comes in.
    pub const fn phase(self) -> Phase {
        self.row().phase
    }
}
