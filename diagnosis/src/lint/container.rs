//! A back end on the loopback of the container that nginx runs in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str;

use super::configuration::{Configuration, Directive};
use super::target::{self, Target};
use super::{Finding, Look, shown};

/// The `server` lines and `*_pass` lines with a loopback on which nobody listens. A container may
/// well run a back end beside nginx, or share its network with another one that does.
pub(super) fn find(configuration: &Configuration, look: &dyn Look) -> Vec<Finding> {
    let loopbacks = configuration.targets(loopback).into_iter();
    let dead = loopbacks.filter(|(_, address)| !look.listens(*address));
    dead.map(|(directive, _)| finding(directive)).collect()
}

fn loopback(argument: &[u8]) -> Option<SocketAddr> {
    let (Target::Address { host, whole } | Target::Name { host, whole }) = target::parse(argument)
    else {
        return None;
    };
    let host = str::from_utf8(host).ok()?;
    let ip = match host.eq_ignore_ascii_case("localhost") {
        true => Ipv4Addr::LOCALHOST.into(),
        false => host.parse::<IpAddr>().ok().filter(IpAddr::is_loopback)?,
    };
    let port = str::from_utf8(whole).ok()?.rsplit(':').next()?.parse();
    let tls = argument.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https:"));
    // "[::1]" and "127.0.0.1" have no port, which is then the scheme's.
    Some(SocketAddr::new(ip, port.unwrap_or(if tls { 443 } else { 80 })))
}

fn finding(directive: &Directive) -> Finding {
    let text = format!(
        "\"{}\" is the loopback of the container that nginx runs in, and nobody listens there now: \
         a back end on the host or in another container is not reached that way",
        shown(directive.argument())
    );
    Finding::notice(text, directive.place())
}
