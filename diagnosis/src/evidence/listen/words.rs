//! What to do about a port that nobody, or somebody else, listens on.

use std::net::{IpAddr, SocketAddr};

use super::{Listener, Queue, reachable};
use crate::Cause;

#[allow(clippy::wildcard_enum_match_arm, reason = "the others had a connection")]
pub(super) fn none(cause: Cause, target: SocketAddr) -> String {
    match cause {
        Cause::ConnectionRefused => format!(
            "nothing listens on {target}; start the back end or correct the server line (no other \
             address of this machine has a listener on port {} either)",
            target.port()
        ),
        Cause::ConnectionTimeout => format!(
            "nothing listens on {target}, and something drops connections to it that the system \
             would refuse; start the back end or correct the server line, then look at the firewall"
        ),
        _ => format!(
            "nothing listens on {target} any more; look into the log of the back end for why it \
             stopped, and start it"
        ),
    }
}

pub(super) fn beside(target: SocketAddr, beside: SocketAddr) -> String {
    format!(
        "nothing listens on {target}, but {beside} of the same upstream has a listener; start the \
         back end of port {} too, or correct the server line",
        target.port()
    )
}

pub(super) fn elsewhere(cause: Cause, target: SocketAddr, other: &Listener) -> String {
    let failed = if cause == Cause::ConnectionRefused { "refused" } else { "did not answer" };
    let reach = reachable(other.address);
    let family = match (target.ip(), other.address.ip()) {
        (IpAddr::V4(_), IpAddr::V6(ip)) if ip.is_unspecified() => " for IPv6 only",
        (IpAddr::V6(_), IpAddr::V4(ip)) if ip.is_unspecified() => " for IPv4 only",
        _ => "",
    };
    format!(
        "{target} {failed}, a listener is on {}{family}; change the server line to {reach}, or let \
         the back end listen on {target}",
        other.address
    )
}

pub(super) fn present(target: SocketAddr) -> String {
    format!(
        "a socket listens on {target} now; if it goes on refusing, look for a rule of the firewall \
         that rejects it, if not the back end was just starting"
    )
}

pub(super) fn full(target: SocketAddr, queue: Queue) -> String {
    let Queue { waiting, limit } = queue;
    format!(
        "the accept queue of {target} is full ({waiting} waiting, limit {limit}); see why the back \
         end does not accept, give it more workers, or raise its backlog and net.core.somaxconn"
    )
}

pub(super) fn room(target: SocketAddr, queue: Queue) -> String {
    let Queue { waiting, limit } = queue;
    format!(
        "a socket listens on {target} and its accept queue has room now ({waiting} waiting, limit \
         {limit}); look for a rule of the firewall that drops the connection"
    )
}
