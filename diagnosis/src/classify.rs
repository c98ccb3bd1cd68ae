//! Message and state to verdict: ordered rules, first match wins.
//!
//! The text says what nginx met, the observation says what it was doing. Where the two do not fit
//! together the message belongs to something else (the client's connection, a static file), and
//! there is no verdict: a wrong cause is worse than none.

mod io;
mod local;

use crate::message::{self, Message};
use crate::{Cause, Errno, Family, Limit, Observation, Peers, Phase, Tls, Verdict};

/// What nginx's words and its state at that moment mean; `None` when it is no upstream failure.
///
/// `text` is nginx's message without time, level and pid in front and without ` while …` behind;
/// `address` is what was tried (`u->peer.name`), empty if nothing was. Meant for messages of level
/// `error` and worse: the client's own network errors come at `info`, in the same words.
pub fn diagnose(text: &[u8], address: &[u8], o: &Observation) -> Option<Verdict> {
    // The text would begin with the name, which a client may have chosen.
    if let Some(cause) = o.resolver_state.and_then(lookup) {
        let timed_out = cause == Cause::DnsTimeout && o.resolver_timeout_ms > 0;
        let limit = timed_out.then(|| Limit::resolver_timeout(o.resolver_timeout_ms));
        return Some(Verdict { limit, ..verdict(cause) });
    }
    match message::parse(text, address)? {
        Message::NoResolver => Some(verdict(Cause::ResolverMissing)),
        Message::InvalidUpstream => Some(verdict(Cause::UpstreamInvalid)),
        Message::NoLivePeers => Some(verdict(selection(o.peers))),
        Message::Connect(errno) => Some(connect(errno, o)),
        Message::Socket(errno) => Some(local::socket(errno, o)),
        Message::Bind(errno) => Some(with_errno(verdict(Cause::LocalBindFailed), errno)),
        Message::NoFiles => Some(local::no_files(o)),
        Message::NoConnections => Some(local::no_connections(o)),
        Message::TimedOut => Some(timed_out(o)),
        Message::Closed => closed(o),
        Message::EndedShort => ended_short(o),
        Message::SpokeBeforeTls => Some(verdict(Cause::TlsPeerPlaintext)),
        Message::Receive(failure) => io::receive(failure, o),
        Message::Send(failure) => io::send(failure, o),
        Message::Handshake(failure) => io::handshake(failure, o),
        Message::HandshakeClosed(errno) => io::handshake_closed(errno, o),
        Message::Unverified(number) => io::unverified(number, o),
        Message::OtherName => Some(verdict(Cause::TlsCertificateNameMismatch)),
        Message::TlsSetup => o.tls_wanted.then(|| verdict(Cause::TlsConfigurationError)),
        Message::HeaderTooBig => Some(header_too_big(o)),
        Message::NotHttp => Some(verdict(Cause::ProtocolMismatch)),
        Message::Foreign => Some(by_stage(Cause::ProtocolMismatch, Cause::BodyInvalid, o)),
        Message::Malformed => Some(by_stage(Cause::HeaderInvalid, Cause::BodyInvalid, o)),
        Message::StreamReset => Some(stream_reset(o)),
        Message::Disk(disk) => local::disk(disk, o),
        Message::Internal => Some(verdict(Cause::InternalError)),
        Message::NoMemory => Some(Verdict { pending: true, ..verdict(Cause::InternalError) }),
        Message::Unnamed => Some(verdict(Cause::Other)),
    }
}

/// The upstream answered with an error status of its own.
pub fn from_status(status: u16) -> Verdict {
    verdict(if status == 0 { Cause::Other } else { Cause::UpstreamStatus })
}

/// The client left first (499).
pub fn client_closed() -> Verdict {
    verdict(Cause::ClientClosed)
}

/// nginx's state says that the attempt failed, with this status, and no message explains it.
pub fn unexplained(status: u16) -> Verdict {
    const CLIENT_CLOSED_REQUEST: u16 = 499;
    if status == CLIENT_CLOSED_REQUEST { client_closed() } else { verdict(Cause::Other) }
}

fn verdict(cause: Cause) -> Verdict {
    let phase = cause.phase();
    Verdict { cause, phase, errno: None, limit: None, alert: None, pending: false }
}

fn with_errno(verdict: Verdict, errno: Option<Errno>) -> Verdict {
    Verdict { errno, ..verdict }
}

/// Whether the response header is through, so that a failure is one of the body and only `rc`
/// tells whether it was one at all.
fn in_body(o: &Observation) -> bool {
    o.header_read || o.header_sent
}

/// A cause for the header, another for the body.
fn by_stage(header: Cause, body: Cause, o: &Observation) -> Verdict {
    if in_body(o) { pending(body) } else { verdict(header) }
}

fn pending(cause: Cause) -> Verdict {
    Verdict { phase: Phase::Body, pending: true, ..verdict(cause) }
}

/// `ngx_resolver_ctx_t.state`: the rcode of the answer, or a time-out (ngx_resolver_strerror).
/// While the lookup is under way it is NGX_AGAIN, which is neither.
fn lookup(state: u16) -> Option<Cause> {
    const TIMED_OUT: u16 = 110;
    Some(match state {
        2 => Cause::DnsServerFailure,
        3 => Cause::DnsNotFound,
        5 => Cause::DnsRefused,
        TIMED_OUT => Cause::DnsTimeout,
        1..=15 => Cause::DnsError,
        _ => return None,
    })
}

/// Why nobody could be chosen: one text for all reasons.
fn selection(peers: Option<Peers>) -> Cause {
    match peers {
        Some(Peers { total: 0, .. }) => Cause::PeersEmpty,
        Some(p) if p.at_limit > 0 && p.at_limit.saturating_add(p.down) >= p.total => {
            Cause::PeersAtLimit
        }
        Some(_) | None => Cause::NoLivePeers,
    }
}

fn connect(errno: Option<Errno>, o: &Observation) -> Verdict {
    let reset = matches!(errno, Some(Errno::ECONNRESET | Errno::EPIPE));
    let unix = o.family == Family::Unix;
    let cause = match errno {
        // nginx tests a cached connection with the same call before it uses it.
        _ if o.reused => Cause::KeepaliveStale,
        _ if reset && o.tls == Tls::Handshaking => Cause::TlsHandshakeClosed,
        _ if reset && o.tls == Tls::Established => Cause::TlsClientCertificateRequired,
        Some(Errno::ECONNREFUSED) if unix => Cause::UnixSocketRefused,
        Some(Errno::ENOENT) if unix => Cause::UnixSocketMissing,
        Some(Errno::EACCES | Errno::EPERM) if unix => Cause::UnixSocketDenied,
        Some(Errno::EAGAIN) if unix => Cause::ListenQueueFull,
        Some(Errno::EACCES | Errno::EPERM) => Cause::ConnectionDenied,
        Some(Errno::ECONNRESET) => Cause::ConnectionReset,
        Some(Errno::EADDRNOTAVAIL) => Cause::EphemeralPortsExhausted,
        Some(errno) => network(errno).unwrap_or(Cause::ConnectFailed),
        None => Cause::ConnectFailed,
    };
    let phase = if o.reused { Phase::Send } else { cause.phase() };
    Verdict { phase, errno, ..verdict(cause) }
}

/// What the network can say at any time on a connection.
fn network(errno: Errno) -> Option<Cause> {
    Some(match errno {
        Errno::ECONNREFUSED => Cause::ConnectionRefused,
        Errno::ETIMEDOUT => Cause::ConnectionTimeout,
        Errno::EHOSTUNREACH | Errno::EHOSTDOWN => Cause::HostUnreachable,
        Errno::ENETUNREACH | Errno::ENETDOWN => Cause::NetworkUnreachable,
        _ => return None,
    })
}

/// Which of nginx's timers ran out.
fn timed_out(o: &Observation) -> Verdict {
    let connect = Limit::connect_timeout(o.protocol, o.connect_timeout_ms);
    let send = Limit::send_timeout(o.protocol, o.send_timeout_ms);
    let read = Limit::read_timeout(o.protocol, o.read_timeout_ms);
    let sending = o.write.timed_out && !o.read.timed_out;
    let (limit, verdict) = if in_body(o) {
        (if sending { send } else { read }, pending(Cause::BodyTimeout))
    } else if o.request_sent {
        if sending {
            (send, verdict(Cause::SendTimeout))
        } else {
            (read, verdict(Cause::HeaderTimeout))
        }
    } else if o.tls == Tls::Plain {
        (connect, verdict(Cause::ConnectionTimeout))
    } else {
        (connect, verdict(Cause::TlsHandshakeTimeout))
    };
    Verdict { errno: Some(Errno::ETIMEDOUT), limit: Some(limit), ..verdict }
}

fn closed(o: &Observation) -> Option<Verdict> {
    Some(if in_body(o) {
        pending(Cause::BodyTruncated)
    } else if o.reused && o.bytes_received == 0 {
        verdict(Cause::KeepaliveStale)
    } else if o.tls_wanted && !o.request_sent {
        verdict(Cause::TlsHandshakeClosed)
    } else {
        verdict(Cause::ClosedBeforeHeader)
    })
}

/// Certain as soon as it is said: nginx may go on to take such a response for a complete one.
fn ended_short(o: &Observation) -> Option<Verdict> {
    closed(o).map(|found| Verdict { pending: false, ..found })
}

fn header_too_big(o: &Observation) -> Verdict {
    if in_body(o) {
        return pending(Cause::BodyInvalid);
    }
    let limit = (o.buffer_size > 0).then(|| Limit::buffer_size(o.protocol, o.buffer_size));
    Verdict { limit, ..verdict(Cause::HeaderTooBig) }
}

fn stream_reset(o: &Observation) -> Verdict {
    if in_body(o) { pending(Cause::StreamReset) } else { verdict(Cause::StreamReset) }
}

#[cfg(test)]
mod tests;
