//! What can be seen besides nginx's own words and state, at the moment of a failure.
//!
//! A source is a file below: it gathers what the kernel tells, and a file of the same name in
//! `diagnosis::evidence` makes a finding of it. A look is taken at most once per address, cause and
//! second, so that a storm of failures causes no storm of system calls; nothing here waits.

use std::cell::RefCell;
use std::rc::Rc;

use diagnosis::evidence::sizes;
use diagnosis::{Attempt, Cause, Evidence, Observation};

use crate::ffi::{Upstream, cycle};

/// How long a finding is good for, milliseconds.
const FRESH_MS: u64 = 1000;
/// Findings that are kept; the oldest gives way.
const MAX_KEPT: usize = 64;

/// What the sources may look at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) observation: &'a Observation,
    pub(crate) upstream: Upstream<'a>,
}

/// The evidence on an attempt that has just failed, and its age in milliseconds.
pub(crate) fn look(scene: &Scene<'_>) -> Option<(Rc<Evidence>, u64)> {
    if let Some(found) = sizes::find(scene.attempt, scene.observation.buffer_size) {
        return Some((Rc::new(found), 0));
    }
    let source = source(scene.attempt.verdict.cause)?;
    let now = cycle::now_ms();
    KEPT.with_borrow_mut(|kept| kept.find_or_take(scene, now, source))
}

/// Takes a look: system calls, a few hundred microseconds at most.
type Source = fn(&Scene<'_>) -> Option<Evidence>;

/// Who may know something about a cause.
#[allow(clippy::wildcard_enum_match_arm, reason = "most causes have no evidence but themselves")]
fn source(cause: Cause) -> Option<Source> {
    match cause {
        _ => None,
    }
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept(Vec::new())) };
}

/// The findings of the last second.
struct Kept(Vec<Found>);

struct Found {
    cause: Cause,
    address: Box<[u8]>,
    at_ms: u64,
    evidence: Option<Rc<Evidence>>,
}

impl Kept {
    fn find_or_take(
        &mut self,
        scene: &Scene<'_>,
        now: u64,
        source: Source,
    ) -> Option<(Rc<Evidence>, u64)> {
        let cause = scene.attempt.verdict.cause;
        let address = scene.attempt.address();
        let same = |found: &&Found| found.cause == cause && *found.address == *address;
        let age = |found: &Found| now.wrapping_sub(found.at_ms);
        if let Some(found) = self.0.iter().find(same).filter(|found| age(found) < FRESH_MS) {
            return Some((Rc::clone(found.evidence.as_ref()?), age(found)));
        }
        let evidence = source(scene).map(Rc::new);
        self.0.retain(|found| !same(&found));
        if self.0.len() >= MAX_KEPT {
            self.0.remove(0);
        }
        let address = address.into();
        self.0.push(Found { cause, address, at_ms: now, evidence: evidence.clone() });
        Some((evidence?, 0))
    }
}
