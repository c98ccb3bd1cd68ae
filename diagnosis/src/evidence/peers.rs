//! The servers of an upstream when none of them could be chosen.

use crate::evidence::{Fact, Value};
use crate::{Cause, Evidence, printable};

/// Servers that are listed one by one.
pub const MAX_LISTED: usize = 32;

/// One server, as nginx keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its address, hostile in that it may be long.
    pub address: Vec<u8>,
    /// The configured `server` argument; empty when not known.
    pub server: Vec<u8>,
    /// Failures within `fail_timeout`, as far as they count.
    pub fails: u64,
    /// `max_fails`; 0 when failures do not count.
    pub max_fails: u64,
    /// Put aside for its failures, for so many seconds from now.
    pub retry_s: Option<u64>,
    /// Connections in use.
    pub conns: u64,
    /// `max_conns`; 0 when there is no limit.
    pub max_conns: u64,
    /// Marked `down`.
    pub down: bool,
    /// Marked `backup`.
    pub backup: bool,
    /// How it failed last, and how many milliseconds ago.
    pub last: Option<(Cause, u64)>,
}

/// A line for each of `peers`, of which there are `total`, and what to do about the first one that
/// explains `cause`.
pub fn find(cause: Cause, upstream: &[u8], peers: &[Peer], total: u64) -> Option<Evidence> {
    if peers.is_empty() {
        return None;
    }
    let listed = peers.iter().take(MAX_LISTED).map(line).collect::<Vec<_>>();
    let left_out = total.saturating_sub(listed.len() as u64);
    let mut facts = vec![("peers", Value::List(listed))];
    if left_out > 0 {
        facts.push(("peers_left_out", left_out.into()));
    }
    let advice = if cause == Cause::PeersAtLimit {
        at_limit(upstream, peers)
    } else {
        none_live(upstream, peers, total)
    };
    let found = Evidence::new(None, facts);
    Some(match advice {
        Some(sentence) => found.advising(sentence),
        None => found,
    })
}

fn line(peer: &Peer) -> Vec<Fact> {
    let mut line = vec![("address", Value::Text(peer.address.clone()))];
    if !peer.server.is_empty() && peer.server != peer.address {
        line.push(("server", Value::Text(peer.server.clone())));
    }
    line.extend([
        ("fails", peer.fails.into()),
        ("max_fails", peer.max_fails.into()),
        ("conns", peer.conns.into()),
        ("max_conns", peer.max_conns.into()),
        ("down", peer.down.into()),
        ("backup", peer.backup.into()),
    ]);
    if let Some(seconds) = peer.retry_s {
        line.push(("tried_again_s", seconds.into()));
    }
    if let Some((cause, ago)) = peer.last {
        line.extend([("last_cause", cause.token().into()), ("last_failed_ms_ago", ago.into())]);
    }
    line
}

fn none_live(upstream: &[u8], peers: &[Peer], total: u64) -> Option<String> {
    let upstream = text(upstream);
    if let Some((peer, seconds)) = peers.iter().find_map(|peer| Some((peer, peer.retry_s?))) {
        let (address, max_fails) = (text(&peer.address), peer.max_fails);
        let last = peer.last.map(|(cause, _)| format!("last with {}, ", cause.token()));
        let last = last.unwrap_or_default();
        return Some(format!(
            "no server of {upstream} is in use: {address} has reached max_fails={max_fails}, \
             {last}and is tried again in {seconds} s; start or repair that back end"
        ));
    }
    let all_down = peers.len() as u64 == total && peers.iter().all(|peer| peer.down);
    all_down.then(|| {
        format!(
            "no server of {upstream} is in use: all {total} are marked down, {} first; take down \
             out of the server line of one that works",
            peers.first().map_or(String::new(), |peer| text(&peer.address))
        )
    })
}

fn at_limit(upstream: &[u8], peers: &[Peer]) -> Option<String> {
    let full = peers.iter().find(|peer| peer.max_conns > 0 && peer.conns >= peer.max_conns)?;
    let (address, conns, max_conns) = (text(&full.address), full.conns, full.max_conns);
    Some(format!(
        "every server of {} is at its max_conns: {address} has {conns} connections of {max_conns}; \
         raise it, add servers, or make the back end answer faster",
        text(upstream)
    ))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&printable::plain(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hint;

    fn peer(address: &str) -> Peer {
        Peer { address: address.into(), server: address.into(), max_fails: 1, ..Peer::default() }
    }

    fn advice(cause: Cause, peers: &[Peer]) -> String {
        let found = find(cause, b"backend", peers, peers.len() as u64).unwrap();
        assert_eq!(found.hint, None::<Hint>);
        found.advice.unwrap_or_default()
    }

    #[test]
    fn the_first_that_failed_is_named_with_its_cause_and_when_it_is_tried_again() {
        let down = Peer { down: true, ..peer("10.0.0.1:80") };
        let last = Some((Cause::ConnectionRefused, 17));
        let failed = Peer { fails: 1, retry_s: Some(10), last, ..peer("10.0.0.2:80") };
        let said = advice(Cause::NoLivePeers, &[down.clone(), failed.clone()]);
        assert_eq!(
            said,
            "no server of backend is in use: 10.0.0.2:80 has reached max_fails=1, last with \
             connection_refused, and is tried again in 10 s; start or repair that back end"
        );
        let unseen = advice(Cause::NoLivePeers, &[Peer { last: None, ..failed.clone() }]);
        assert!(unseen.contains("max_fails=1, and is tried again in 10 s"), "{unseen}");
        let all_down = advice(Cause::NoLivePeers, &[down.clone(), down.clone()]);
        assert!(all_down.contains("all 2 are marked down, 10.0.0.1:80 first"), "{all_down}");
        // Tried already by this request, and not put aside: the usual sentence.
        assert_eq!(advice(Cause::NoLivePeers, &[down, peer("10.0.0.3:80")]), "");
        assert_eq!(find(Cause::NoLivePeers, b"backend", &[], 0), None);
        assert_eq!(
            line(&failed),
            [
                ("address", Value::Text(b"10.0.0.2:80".to_vec())),
                ("fails", 1.into()),
                ("max_fails", 1.into()),
                ("conns", 0.into()),
                ("max_conns", 0.into()),
                ("down", false.into()),
                ("backup", false.into()),
                ("tried_again_s", 10.into()),
                ("last_cause", "connection_refused".into()),
                ("last_failed_ms_ago", 17.into()),
            ]
        );
    }

    #[test]
    fn the_first_at_its_limit_is_named() {
        let full = Peer { conns: 2, max_conns: 2, ..peer("10.0.0.2:80") };
        let said = advice(Cause::PeersAtLimit, &[peer("10.0.0.1:80"), full]);
        assert!(said.contains("10.0.0.2:80 has 2 connections of 2; raise it"), "{said}");
    }

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let many = vec![peer("10.0.0.1:80"); 100];
        let found = find(Cause::NoLivePeers, b"backend", &many, 1000).unwrap();
        let Some((_, Value::List(listed))) = found.facts.first() else { panic!("{found:?}") };
        assert_eq!(listed.len(), MAX_LISTED);
        assert_eq!(found.facts[1], ("peers_left_out", 968.into()));
        let hostile = Peer { retry_s: Some(1), ..peer("\"\u{1b}[31m\r\n\\") };
        let said = advice(Cause::NoLivePeers, &[hostile]);
        assert!(printable::is_plain(said.as_bytes()), "{said}");
    }
}
