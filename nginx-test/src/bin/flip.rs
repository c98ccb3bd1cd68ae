//! What a host name that moves costs: failed requests, and how soon the new host answers.
//!
//! Two workers, 200 requests a second and then as fast as one client can, with and without
//! keepalive to the hosts. The old host leaves as the record changes, and loses nothing itself.
#![allow(clippy::arithmetic_side_effects, reason = "a benchmark reports a problem by panicking")]

use std::process::ExitCode;

use nginx_test::flip::{By, Flip, Flipped};
use nginx_test::{Load, env};

/// How soon the new host has to answer, in milliseconds; the name server answers at once.
const SOON_MS: f64 = 20.0;

/// `server … resolve` outside the commercial nginx.
const RESOLVE: (u32, u32, u32) = (1, 27, 3);

fn main() -> ExitCode {
    println!("a host name moves under load, {}", env::nginx().display());
    println!(
        "{:<28}{:>10}{:>8}{:>10}{:>10}{:>12}{:>10}",
        "", "requests", "failed", "for ms", "new in ms", "99 % ms", "questions"
    );
    let mut good = true;
    for (name, rate) in [("200/s", Some(200)), ("one client", None)] {
        for keepalive in [false, true] {
            let title = format!("{name}{}", if keepalive { ", keepalive" } else { "" });
            let load = |load: Load| match rate {
                Some(rate) => load.rate(rate),
                None => load.keepalive(),
            };
            let answers = if rate.is_some() { 400 } else { 5000 };
            let flip = Flip { by: By::Module("failure"), ttl: 30, keepalive, answers };
            let flipped = flip.under(load);
            print(&format!("module, {title}"), &flipped);
            good &= flipped.report.failed() == 0 && flipped.first_answer_ms() <= SOON_MS;
            // With a TTL of 30 s this would take, and fail, as long.
            if env::nginx_version() >= RESOLVE {
                let flipped = Flip { by: By::Nginx, ttl: 5, ..flip }.under(load);
                print(&format!("nginx, {title}"), &flipped);
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(title: &str, flipped: &Flipped) {
    let report = &flipped.report;
    println!(
        "{title:<28}{:>10}{:>8}{:>10.0}{:>10.1}{:>12.1}{:>10}",
        report.total(),
        report.failed(),
        report.outage().as_secs_f64() * 1000.0,
        flipped.first_answer_ms(),
        report.since(flipped.at).latency(0.99).as_secs_f64() * 1000.0,
        flipped.questions.len()
    );
}
