//! What OpenSSL adds to a failed call: ` (SSL: error:0A000410:SSL routines::…) (104: …)`.

use super::{Failure, errno_at_end, only_errno};

/// The error of OpenSSL that explains the failure best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsError {
    /// The peer sent this alert.
    Alert(u8),
    /// What came is no TLS record.
    NotTls,
    /// The connection ended without a close_notify.
    Closed,
    /// A certificate that OpenSSL itself refused.
    Unverified,
    /// Our own configuration leaves no protocol or cipher.
    Setup,
    /// Anything else.
    Other,
}

/// Errno and reason after "SSL_…() failed"; `None` if something else follows.
pub(super) fn failure(tail: &[u8]) -> Option<Failure> {
    if tail.starts_with(b" (SSL:") {
        return Some(Failure { errno: errno_at_end(tail), tls: reason(tail) });
    }
    only_errno(tail).map(|errno| Failure { errno, tls: None })
}

/// The first error that says something: OpenSSL queues them oldest first.
fn reason(tail: &[u8]) -> Option<TlsError> {
    let mut found = None;
    let mut rest = tail;
    while let Some(at) = rest.windows(6).position(|six| six == b"error:") {
        rest = rest.get(at.saturating_add(6)..)?;
        let error = code(rest).map_or(TlsError::Other, meaning);
        if error != TlsError::Other {
            return Some(error);
        }
        found = Some(error);
    }
    found
}

/// The reason in an error number of "SSL routines"; the low 12 bits in every OpenSSL since 1.0.
fn code(error: &[u8]) -> Option<u32> {
    let (digits, library) = error.split_at_checked(8)?;
    library.strip_prefix(b":SSL routines:")?;
    let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some(number & 0xfff)
}

/// SSL_R_… of openssl/sslerr.h.
fn meaning(code: u32) -> TlsError {
    /// SSL_AD_REASON_OFFSET: above it, the reason is the number of an alert that came.
    const ALERTS: u32 = 1000;
    match code {
        // HTTPS_PROXY_REQUEST, HTTP_REQUEST, PACKET_LENGTH_TOO_LONG, UNKNOWN_PROTOCOL,
        // WRONG_VERSION_NUMBER
        155 | 156 | 198 | 252 | 267 => TlsError::NotTls,
        // CERTIFICATE_VERIFY_FAILED
        134 => TlsError::Unverified,
        // NO_CIPHERS_AVAILABLE, NO_PROTOCOLS_AVAILABLE
        181 | 191 => TlsError::Setup,
        // UNEXPECTED_EOF_WHILE_READING
        294 => TlsError::Closed,
        alert => alert
            .checked_sub(ALERTS)
            .and_then(|alert| u8::try_from(alert).ok())
            .map_or(TlsError::Other, TlsError::Alert),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Errno;

    #[test]
    fn the_reason_is_the_number_that_openssl_gives() {
        for (tail, errno, tls) in [
            (
                " (SSL: error:0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40)",
                None,
                Some(TlsError::Alert(40)),
            ),
            (
                " (SSL: error:14094410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:SSL alert number 40)",
                None,
                Some(TlsError::Alert(40)),
            ),
            (
                " (SSL: error:0A00045C:SSL routines::tlsv13 alert certificate required:SSL alert number 116)",
                None,
                Some(TlsError::Alert(116)),
            ),
            (
                " (SSL: error:0A00010B:SSL routines::wrong version number)",
                None,
                Some(TlsError::NotTls),
            ),
            (
                " (SSL: error:0A000126:SSL routines::unexpected eof while reading)",
                None,
                Some(TlsError::Closed),
            ),
            (
                " (SSL: error:0308010C:digital envelope routines::unsupported error:0A000086:SSL routines::certificate verify failed)",
                None,
                Some(TlsError::Unverified),
            ),
            (
                " (SSL: error:0A000152:SSL routines::unsafe legacy renegotiation disabled)",
                None,
                Some(TlsError::Other),
            ),
            (
                " (SSL: error:0A) (104: Connection reset by peer)",
                Some(Errno::ECONNRESET),
                Some(TlsError::Other),
            ),
            (" (SSL:) (104: Connection reset by peer)", Some(Errno::ECONNRESET), None),
            (" (104: Connection reset by peer)", Some(Errno::ECONNRESET), None),
            ("", None, None),
        ] {
            assert_eq!(failure(tail.as_bytes()), Some(Failure { errno, tls }), "{tail}");
        }
        assert_eq!(failure(b" while"), None);
    }
}
