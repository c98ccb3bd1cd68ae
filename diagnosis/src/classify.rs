//! Message and state to verdict: an ordered list of rules, first match wins.

use crate::message;
use crate::{Cause, Errno, Limit, Observation, Phase, Tls, Verdict};

/// What nginx's words and its state at that moment mean; `None` when it is no upstream failure.
///
/// `text` is nginx's message without time, level and pid in front and without ` while …` behind;
/// `address` is what was tried (`u->peer.name`), empty if nothing was.
pub fn diagnose(text: &[u8], address: &[u8], o: &Observation) -> Option<Verdict> {
    let _ = address;
    if let Some(rest) = text.strip_prefix(b"connect() failed") {
        let errno = message::errno(rest).map(Errno);
        return Some(Verdict { errno, ..verdict(Cause::ConnectionRefused) });
    }
    if text.starts_with(b"upstream timed out") {
        return Some(timed_out(o));
    }
    if text.starts_with(b"upstream prematurely closed connection") {
        return Some(if o.header_read {
            Verdict { pending: true, ..verdict(Cause::BodyTruncated) }
        } else {
            verdict(Cause::ClosedBeforeHeader)
        });
    }
    None
}

/// The upstream answered with an error status of its own.
pub fn from_status(status: u16) -> Verdict {
    let _ = status;
    verdict(Cause::UpstreamStatus)
}

/// The client left first (499).
pub fn client_closed() -> Verdict {
    verdict(Cause::ClientClosed)
}

/// nginx's state says that the attempt failed, and no message explains it.
pub fn unexplained(status: u16) -> Verdict {
    let _ = status;
    verdict(Cause::Other)
}

fn timed_out(o: &Observation) -> Verdict {
    if o.request_sent {
        let limit = Some(Limit::read_timeout(o.protocol, o.read_timeout_ms));
        return Verdict { limit, ..verdict(Cause::HeaderTimeout) };
    }
    let limit = Some(Limit::connect_timeout(o.protocol, o.connect_timeout_ms));
    if o.tls == Tls::Plain {
        Verdict { limit, ..verdict(Cause::ConnectionTimeout) }
    } else {
        Verdict { limit, phase: Phase::Handshake, ..verdict(Cause::TlsHandshakeTimeout) }
    }
}

fn verdict(cause: Cause) -> Verdict {
    let phase = cause.phase();
    Verdict { cause, phase, errno: None, limit: None, alert: None, pending: false }
}
