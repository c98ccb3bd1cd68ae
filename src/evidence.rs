//! What can be seen besides nginx's own words and state, at the moment of a failure.
//!
//! A source is a file below: it gathers what the kernel tells, and a file of the same name in
//! `diagnosis::evidence` makes a finding of it. Several may know something about a cause: their
//! figures are added up, and the first hint is the attempt's. A look is taken at most once per
//! address, cause and second, so that a storm of failures causes no storm of system calls; nothing
//! here waits.

pub(crate) mod container;
mod exhaustion;
pub(crate) mod history;
pub(crate) mod listen;
mod memory;
mod peers;
mod proc;
mod security;
mod sock_diag;
mod unix;
mod unix_listen;

use std::cell::RefCell;
use std::rc::Rc;

use diagnosis::evidence::{connection, sizes};
use diagnosis::{Attempt, Cause, Evidence, Observation};

use crate::ffi::{Upstream, cycle};

/// How long a finding is good for, milliseconds.
const FRESH_MS: u64 = 1000;
/// Findings that are kept, and so the looks that a second may have: where more addresses fail than
/// that, the others go without.
const MAX_KEPT: usize = 64;

/// What the sources may look at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) observation: &'a Observation,
    pub(crate) upstream: Upstream<'a>,
}

/// The first look, when a worker starts, which later ones are held against.
pub(crate) fn prepare() {
    memory::prepare();
    listen::prepare();
    unix_listen::prepare();
}

/// The evidence on an attempt that has just failed, and its age in milliseconds.
pub(crate) fn look(scene: &Scene<'_>) -> Option<(Rc<Evidence>, u64)> {
    match (looked(scene), own(scene)) {
        (looked, None) => looked,
        (None, Some(own)) => Some((Rc::new(own), 0)),
        (Some((looked, age)), Some(own)) => Some((Rc::new(Evidence::clone(&looked).and(own)), age)),
    }
}

/// What the attempt itself shows: figures of its own, which cost nothing.
fn own(scene: &Scene<'_>) -> Option<Evidence> {
    let (attempt, observation) = (scene.attempt, scene.observation);
    sizes::find(attempt, observation).or_else(|| {
        connection::find(attempt, observation.bytes_sent, || scene.upstream.connection_use())
    })
}

/// What a look around shows, or has shown less than a second ago.
fn looked(scene: &Scene<'_>) -> Option<(Rc<Evidence>, u64)> {
    let sources = sources(scene.attempt.verdict.cause);
    if sources.is_empty() {
        return None;
    }
    let now = cycle::now_ms();
    KEPT.with_borrow_mut(|kept| kept.find_or_take(scene, now, sources))
}

/// Takes a look: system calls, a few hundred microseconds at most.
type Source = fn(&Scene<'_>) -> Option<Evidence>;

/// Who may know something about a cause, the most telling hint first.
#[allow(clippy::wildcard_enum_match_arm, reason = "most causes have no evidence but themselves")]
fn sources(cause: Cause) -> &'static [Source] {
    match cause {
        Cause::EphemeralPortsExhausted => &[exhaustion::ports],
        Cause::FdExhausted => &[exhaustion::files],
        Cause::WorkerConnectionsExhausted => &[exhaustion::connections],
        Cause::NoLivePeers | Cause::PeersAtLimit => &[peers::look],
        Cause::ConnectionTimeout => &[listen::look, exhaustion::conntrack],
        Cause::ConnectionRefused => &[refused, history::look],
        Cause::ConnectionReset => &[listen::look],
        Cause::ResetBeforeHeader | Cause::ClosedBeforeHeader => {
            &[memory::look, history::look, listen::look]
        }
        Cause::KeepaliveStale => &[memory::look],
        Cause::ConnectionDenied => &[security::tcp],
        Cause::UnixSocketMissing => &[unix::missing],
        Cause::UnixSocketRefused => &[unix::refused],
        Cause::UnixSocketDenied => &[unix::denied],
        Cause::ListenQueueFull => &[unix::full],
        _ => &[],
    }
}

/// Who listens, and whether it is a container's loopback where nobody does.
fn refused(scene: &Scene<'_>) -> Option<Evidence> {
    listen::look(scene).map(|found| container::explain(scene, found))
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
}

/// The findings of the last second.
struct Kept(Vec<Found>);

struct Found {
    cause: Cause,
    /// The address; the upstream where none was chosen.
    place: Box<[u8]>,
    at_ms: u64,
    evidence: Option<Rc<Evidence>>,
}

impl Kept {
    fn find_or_take(
        &mut self,
        scene: &Scene<'_>,
        now: u64,
        sources: &[Source],
    ) -> Option<(Rc<Evidence>, u64)> {
        let cause = scene.attempt.verdict.cause;
        let place = match scene.attempt.address() {
            [] => scene.attempt.upstream(),
            address => address,
        };
        let same = |found: &&Found| found.cause == cause && *found.place == *place;
        let age = |found: &Found| now.wrapping_sub(found.at_ms);
        if let Some(found) = self.0.iter().find(same).filter(|found| age(found) < FRESH_MS) {
            return Some((Rc::clone(found.evidence.as_ref()?), age(found)));
        }
        self.0.retain(|found| age(found) < FRESH_MS);
        if self.0.len() >= MAX_KEPT {
            return None;
        }
        let findings = sources.iter().filter_map(|source| source(scene));
        let evidence = findings.reduce(Evidence::and).map(Rc::new);
        let place = place.into();
        self.0.push(Found { cause, place, at_ms: now, evidence: evidence.clone() });
        Some((evidence?, 0))
    }
}
