//! What went wrong in one main request, its redirects and its subrequests.

use std::ops::Range;
use std::rc::Rc;

use diagnosis::{Attempt, Resolution};
use smallvec::SmallVec;

use crate::ffi::{Finalizer, RequestId};
use crate::reresolve::Lookup;

/// Attempts kept per request. More only happen with many servers or many subrequests; the header
/// shows far fewer, so the oldest are counted only.
const MAX_ATTEMPTS: usize = 32;

/// Which try of which request an attempt was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// The (sub)request.
    pub(crate) owner: RequestId,
    /// Index into that request's `upstream_states`.
    pub(crate) index: usize,
}

/// Whose a failed attempt was, and when.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// The request was a background one (mirror, cache update): nobody waits for its response.
    pub(crate) background: bool,
    /// The upstream's header had been sent on.
    pub(crate) after_header: bool,
    /// What DNS may have more to say about.
    pub(crate) lookup: Option<Lookup>,
}

/// Everything known about the failures of one main request. One failure is the rule, and needs no
/// further allocation.
#[derive(Default)]
pub(crate) struct Record {
    /// The newest ones.
    attempts: SmallVec<[Attempt; 1]>,
    /// One for each attempt, also for those that gave way.
    entries: SmallVec<[Entry; 1]>,
    /// Body-phase failures that nginx has logged and not yet acted on.
    pending: Vec<(Entry, Attempt)>,
    finalizers: Vec<(RequestId, Finalizer)>,
    /// What nginx was given to send or to log; it reads it until the request is destroyed.
    texts: SmallVec<[Vec<u8>; 2]>,
    dropped: u32,
    /// Something was added since [`Record::take_changed`].
    changed: bool,
    /// Tries in locations where the module is off: whose, from which index, and up to which.
    unwatched: Vec<(RequestId, Range<usize>)>,
    /// Trailers of the upstream must be looked through for the header's name.
    pub(crate) hides_trailers: bool,
}

impl Record {
    /// The failed attempts, oldest first.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Failed attempts that were counted only.
    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Whether nothing has failed.
    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether this try is already known, confirmed or not.
    pub(crate) fn knows(&self, key: Key) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
            || self.pending.iter().any(|(entry, _)| entry.key == key)
            || self
                .unwatched
                .iter()
                .any(|(of, tries)| *of == key.owner && tries.contains(&key.index))
    }

    /// What `owner` tries from `index` on happens in a location where the module is off.
    pub(crate) fn look_away(&mut self, owner: RequestId, index: usize) {
        self.unwatched.push((owner, index..usize::MAX));
    }

    /// What `owner` tries from `index` on is of interest again.
    pub(crate) fn look_again(&mut self, owner: RequestId, index: usize) {
        for (_, tries) in self.unwatched.iter_mut().filter(|(of, _)| *of == owner) {
            tries.end = tries.end.min(index);
        }
    }

    /// Adds a failure. One that is `pending` counts only once [`Record::settle`] confirms it.
    pub(crate) fn push(&mut self, entry: Entry, attempt: Attempt) {
        if attempt.verdict.pending {
            self.pending.push((entry, attempt));
            return;
        }
        if self.attempts.len() >= MAX_ATTEMPTS {
            self.attempts.remove(0);
            self.dropped = self.dropped.saturating_add(1);
        }
        self.attempts.push(attempt);
        self.entries.push(entry);
        self.changed = true;
    }

    /// nginx has ended the upstream of `owner`: its pending failures were real, or were noise.
    pub(crate) fn settle(&mut self, owner: RequestId, failed: bool) {
        let pending = std::mem::take(&mut self.pending);
        let (ended, waiting): (Vec<_>, Vec<_>) =
            pending.into_iter().partition(|(entry, _)| entry.key.owner == owner);
        self.pending = waiting;
        for (entry, mut attempt) in ended.into_iter().filter(|_| failed) {
            attempt.verdict.pending = false;
            self.push(entry, attempt);
        }
    }

    /// Whether something was added since the last call.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// nginx went on to another attempt after this one.
    pub(crate) fn retried(&mut self, key: Key) {
        // From the newest, as the oldest may have given way.
        for (entry, attempt) in self.entries.iter().rev().zip(self.attempts.iter_mut().rev()) {
            if entry.key == key && !attempt.retried {
                attempt.retried = true;
                self.changed = true;
            }
        }
    }

    /// Brings up to date what DNS says of the attempts, until it has said it: `look` also tells
    /// whether it has.
    pub(crate) fn resolve(&mut self, mut look: impl FnMut(&Lookup) -> (Resolution, bool)) {
        // From the newest, as the oldest may have given way.
        let kept = self.entries.iter_mut().rev().zip(self.attempts.iter_mut().rev());
        let pending = self.pending.iter_mut().map(|(entry, attempt)| (entry, attempt));
        for (entry, attempt) in kept.chain(pending) {
            let Some(lookup) = &entry.lookup else { continue };
            let (resolution, is_final) = look(lookup);
            if attempt.resolution.as_deref() != Some(&resolution) {
                attempt.resolution = Some(Rc::new(resolution));
                self.changed = true;
            }
            if is_final {
                entry.lookup = None;
            }
        }
    }

    /// The last failed attempt that somebody waited for, or else the last one of all.
    pub(crate) fn decisive(&self) -> Option<(&Attempt, Entry)> {
        if let ([attempt], [entry]) = (self.attempts.as_slice(), self.entries.as_slice()) {
            return Some((attempt, *entry));
        }
        let all = || self.attempts.iter().rev().zip(self.entries.iter().rev().copied());
        all().find(|(_, entry)| !entry.background).or_else(|| all().next())
    }

    /// Keeps `text`, where its bytes are, as long as the request lives.
    pub(crate) fn keep_text(&mut self, text: Vec<u8>) {
        self.texts.push(text);
    }

    /// Keeps what `u->finalize_request` of `owner` was before it was watched.
    pub(crate) fn keep_finalizer(&mut self, owner: RequestId, original: Finalizer) {
        self.finalizers.retain(|(of, _)| *of != owner);
        self.finalizers.push((owner, original));
    }

    /// Takes it back.
    pub(crate) fn take_finalizer(&mut self, owner: RequestId) -> Option<Finalizer> {
        let at = self.finalizers.iter().position(|(of, _)| *of == owner)?;
        Some(self.finalizers.swap_remove(at).1)
    }
}
