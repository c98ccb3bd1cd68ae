//! usage: soak [FLIPS]
//!
//! Two host names that move 100,000 times, and what the workers' memory becomes. Fails when a request
//! fails that should not, when something is not given back, and when memory grows in the second half.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "a long test reports a problem by panicking"
)]

use std::process::ExitCode;
use std::time::Instant;

use nginx_test::env;
use nginx_test::soak::{Round, Soak, Tally, growth};

const FLIPS: usize = 100_000;
const ROUNDS: usize = 20;

/// How much a worker's anonymous memory may grow from the middle to the end, KiB: the heap still finds
/// its shape, but 16 bytes that each flip left behind would be 400.
const MAX_GROWTH: u64 = 64;

fn main() -> ExitCode {
    let flips = std::env::args().nth(1).filter(|argument| !argument.is_empty());
    let flips: usize = flips.map_or(FLIPS, |flips| flips.parse().expect("a number of flips"));
    println!("host names that move {flips} times, {}", env::nginx().display());
    println!(
        "{:>8}{:>10}{:>10}{:>8}{:>6}{:>8}{:>11}{:>9}  {:<16}{:<16}{:<12}connections",
        "flips",
        "requests",
        "recovered",
        "failed",
        "late",
        "left",
        "questions",
        "flips/s",
        "anonymous KiB",
        "resident KiB",
        "descriptors"
    );
    let mut soak = Soak::start();
    let (mut all, mut rounds) = (Tally::default(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let round = soak.round(flips.div_ceil(ROUNDS));
        all.add(&round.tally);
        print(&all, &round, round.tally.flips as f64 / begin.elapsed().as_secs_f64());
        rounds.push(round);
    }
    drop(soak);
    let growth = growth(&rounds);
    println!("memory grew by {growth} KiB in the second half; allowed are {MAX_GROWTH}");
    if growth <= MAX_GROWTH && all.are_few_late() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was asked so far, and the workers now.
fn print(all: &Tally, round: &Round, speed: f64) {
    let Tally { flips, requests, recovered, failed, late, left, questions } = all;
    print!("{flips:>8}{requests:>10}{recovered:>10}{failed:>8}{late:>6}{left:>8}{questions:>11}");
    println!(
        "{speed:>9.0}  {:<16}{:<16}{:<12}{}",
        round.of_each(|worker| worker.anonymous),
        round.of_each(|worker| worker.resident),
        round.of_each(|worker| worker.descriptors),
        round.of_each(|worker| worker.connections)
    );
}
