//! What became of the requests of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// One request.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it should have been sent.
    pub due: Instant,
    /// When it was.
    pub began: Instant,
    /// When its answer was read to the end.
    pub ended: Instant,
    /// The answer's status; 0 when there was no answer, or half of one.
    pub status: u16,
    /// The answer's body: who has answered.
    pub body: String,
}

/// All requests that have ended, in the order in which they were due.
#[derive(Debug, Clone, Default)]
pub struct Report(Vec<Sample>);

impl Report {
    pub(super) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|sample| sample.due);
    }

    /// Each request.
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// How many there were.
    pub fn total(&self) -> usize {
        self.0.len()
    }

    /// How many did not end with status 200.
    pub fn failed(&self) -> usize {
        self.0.iter().filter(|sample| sample.status != 200).count()
    }

    /// How often each status came.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        count(self.0.iter().map(|sample| sample.status))
    }

    /// How often each body came with status 200.
    pub fn answered_by(&self) -> BTreeMap<&str, usize> {
        let served = self.0.iter().filter(|sample| sample.status == 200);
        count(served.map(|sample| sample.body.as_str()))
    }

    /// Those that were sent at that time or later.
    pub fn since(&self, time: Instant) -> Self {
        Self(self.0.iter().filter(|sample| sample.began >= time).cloned().collect())
    }

    /// How long after `time` the first answer with that body was there; None when there was none.
    pub fn first_from(&self, body: &str, time: Instant) -> Option<Duration> {
        let from = self.0.iter().filter(|sample| sample.status == 200 && sample.body == body);
        from.map(|sample| sample.ended).min().map(|ended| ended.saturating_duration_since(time))
    }

    /// How long the failures lasted: from the first end of a failed request to the last.
    pub fn outage(&self) -> Duration {
        let failed = || self.0.iter().filter(|sample| sample.status != 200);
        let ends = failed().map(|sample| sample.ended);
        let first = ends.clone().min();
        first.zip(ends.max()).map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// The latency that this share of the requests (0 to 1) did not exceed; 1 is the slowest.
    /// Zero without any request.
    pub fn latency(&self, share: f64) -> Duration {
        let mut all: Vec<Duration> =
            self.0.iter().map(|sample| sample.ended - sample.due).collect();
        all.sort_unstable();
        let rank = (share * all.len() as f64).ceil() as usize;
        all.get(rank.clamp(1, all.len().max(1)) - 1).copied().unwrap_or_default()
    }
}

fn count<T: Ord>(values: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [median, most, all] = [0.5, 0.99, 1.0].map(|share| self.latency(share));
        write!(
            f,
            "{} requests, {} failed, statuses {:?}, answered by {:?}, \
             latency {median:?} median, {most:?} 99 %, {all:?} slowest",
            self.total(),
            self.failed(),
            self.statuses(),
            self.answered_by()
        )
    }
}
