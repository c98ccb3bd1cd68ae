//! Reading, writing and TLS on the upstream's connection.

use super::{closed, in_body, network, pending, verdict, with_errno};
use crate::message::{Failure, TlsError};
use crate::{Cause, Errno, Observation, Phase, Tls, Verdict};

/// recv() and SSL_read(): the client's connection fails in the same words, so there must be one to
/// the upstream.
pub(super) fn receive(failure: Failure, o: &Observation) -> Option<Verdict> {
    if !o.connection {
        return None;
    }
    if let Some(error) = failure.tls {
        return receive_tls(error, failure.errno, o);
    }
    let errno = failure.errno?;
    let reset = is_reset(errno);
    let found = if in_body(o) {
        pending(match errno {
            Errno::ETIMEDOUT => Cause::BodyTimeout,
            _ if reset => Cause::BodyReset,
            _ => network(errno).unwrap_or(Cause::Other),
        })
    } else if o.reused && o.bytes_received == 0 {
        verdict(Cause::KeepaliveStale)
    } else if o.tls_wanted && o.tls == Tls::Plain {
        verdict(Cause::TlsHandshakeClosed)
    } else if reset && o.request_sent && !o.request_body_sent {
        verdict(Cause::SendReset)
    } else {
        Verdict {
            phase: Phase::Header,
            ..verdict(match errno {
                Errno::ETIMEDOUT => Cause::HeaderTimeout,
                _ if reset => Cause::ResetBeforeHeader,
                _ => network(errno).unwrap_or(Cause::Other),
            })
        }
    };
    Some(with_errno(found, failure.errno))
}

fn receive_tls(error: TlsError, errno: Option<Errno>, o: &Observation) -> Option<Verdict> {
    if o.tls != Tls::Established {
        return None;
    }
    if error == TlsError::Closed {
        return closed(o);
    }
    let found = established(error, Phase::Header, o);
    let found =
        if in_body(o) { Verdict { phase: Phase::Body, pending: true, ..found } } else { found };
    Some(with_errno(found, errno))
}

/// send() and SSL_write(): after the header it is the client's, unless the connection was upgraded,
/// the request is still going out, or nginx has noted the error on the upstream's connection, as
/// when it acknowledges frames of gRPC.
pub(super) fn send(failure: Failure, o: &Observation) -> Option<Verdict> {
    let ours = o.upgraded || !o.request_body_sent || o.write.error;
    if !o.connection || (in_body(o) && !ours) {
        return None;
    }
    let found = match (failure.tls, failure.errno) {
        (Some(_), _) if o.tls != Tls::Established => return None,
        (Some(error), _) => established(error, Phase::Send, o),
        (None, Some(errno)) => Verdict { phase: Phase::Send, ..verdict(send_errno(errno, o)) },
        (None, None) => return None,
    };
    let found = if found.cause == Cause::DiskFailed {
        verdict(Cause::DiskFailed)
    } else if in_body(o) {
        Verdict { phase: Phase::Body, pending: true, ..found }
    } else {
        found
    };
    Some(with_errno(found, failure.errno))
}

fn send_errno(errno: Errno, o: &Observation) -> Cause {
    match errno {
        _ if is_reset(errno) && in_body(o) => Cause::BodyReset,
        _ if is_reset(errno) && o.reused && o.bytes_received == 0 => Cause::KeepaliveStale,
        _ if is_reset(errno) => Cause::SendReset,
        Errno::ETIMEDOUT => Cause::SendTimeout,
        // sendfile() could not read the buffered request body.
        Errno::EIO => Cause::DiskFailed,
        _ => network(errno).unwrap_or(Cause::Other),
    }
}

fn is_reset(errno: Errno) -> bool {
    matches!(errno, Errno::ECONNRESET | Errno::EPIPE | Errno::ENOTCONN)
}

/// OpenSSL's error on a connection whose handshake is over.
fn established(error: TlsError, phase: Phase, o: &Observation) -> Verdict {
    match error {
        TlsError::Alert(alert) => alerted(alert, phase, o),
        TlsError::NotTls
        | TlsError::Closed
        | TlsError::Unverified
        | TlsError::Setup
        | TlsError::Other => Verdict { phase, ..verdict(Cause::TlsProtocolError) },
    }
}

/// A server has only one certificate to complain about: the client's, missing (116 in TLS 1.3; 40,
/// and 42 from some servers, in TLS 1.2) or not accepted. In TLS 1.3 that comes after our side of
/// the handshake is over.
fn alerted(alert: u8, phase: Phase, o: &Observation) -> Verdict {
    const HANDSHAKE_FAILURE: u8 = 40;
    let found = match alert {
        // no_certificate … certificate_unknown, unknown_ca, access_denied, certificate_required
        41..=46 | 48 | 49 | 116 => verdict(Cause::TlsClientCertificateRequired),
        // Version and ciphers were agreed on before the peer asked for a certificate.
        HANDSHAKE_FAILURE if o.certificate_requested => {
            verdict(Cause::TlsClientCertificateRequired)
        }
        _ => Verdict { phase, ..verdict(Cause::TlsAlert) },
    };
    Verdict { alert: Some(alert), ..found }
}

pub(super) fn handshake(failure: Failure, o: &Observation) -> Option<Verdict> {
    if !o.connection || !o.tls_wanted {
        return None;
    }
    let found = match (failure.tls, failure.errno) {
        (Some(TlsError::Alert(alert)), _) => alerted(alert, Phase::Handshake, o),
        (Some(TlsError::NotTls), _) => verdict(Cause::TlsPeerPlaintext),
        (Some(TlsError::Unverified), _) => verdict(Cause::TlsCertificateUntrusted),
        (Some(TlsError::Setup), _) => verdict(Cause::TlsConfigurationError),
        (Some(TlsError::Closed), _) => verdict(Cause::TlsHandshakeClosed),
        (_, Some(errno)) if is_reset(errno) => verdict(Cause::TlsHandshakeClosed),
        (_, Some(Errno::ETIMEDOUT)) => verdict(Cause::TlsHandshakeTimeout),
        (_, Some(errno)) if network(errno).is_some() => {
            Verdict { phase: Phase::Handshake, ..verdict(network(errno).unwrap_or(Cause::Other)) }
        }
        _ => verdict(Cause::TlsProtocolError),
    };
    Some(with_errno(found, failure.errno))
}

pub(super) fn handshake_closed(errno: Option<Errno>, o: &Observation) -> Option<Verdict> {
    o.tls_wanted.then(|| with_errno(verdict(Cause::TlsHandshakeClosed), errno))
}

/// `number` is OpenSSL's X509_V_ERR_…, as nginx printed it.
pub(super) fn unverified(number: Option<i64>, o: &Observation) -> Option<Verdict> {
    const NOT_YET_VALID: i64 = 9;
    const EXPIRED: i64 = 10;
    const HOSTNAME_MISMATCH: i64 = 62;
    const IP_ADDRESS_MISMATCH: i64 = 64;
    Some(verdict(match number.unwrap_or(o.verify_result) {
        NOT_YET_VALID | EXPIRED => Cause::TlsCertificateExpired,
        HOSTNAME_MISMATCH..=IP_ADDRESS_MISMATCH => Cause::TlsCertificateNameMismatch,
        _ => Cause::TlsCertificateUntrusted,
    }))
}
