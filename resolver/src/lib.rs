//! The current addresses of a host name: when to ask, whom to ask, what to believe and what to keep.
//!
//! [`AddressSet`] is the schedule and the memory of one name, [`assign`] puts its addresses into the
//! places that a configuration has for them, [`Client`] asks. Nothing here opens a socket or reads a
//! clock: `now` is an argument, and I/O goes through the runtime that the caller hands in.
#![forbid(unsafe_code)]

mod address_set;
mod assign;
mod client;
mod failure;
mod family;
mod random;
pub mod system;

pub use address_set::{AddressSet, Dns, Limits, Progress, Reason};
pub use assign::{Assignment, assign};
pub use client::Client;
pub use failure::Failure;
pub use family::{Families, Family};
/// What a [`Client`] runs on: sockets, timers and tasks.
pub use hickory_resolver::net::runtime;

/// Milliseconds of a clock that never goes back, counted from any instant.
pub type Millis = u64;

/// The addresses of one family, as an answer gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one.
    pub addresses: Vec<std::net::IpAddr>,
    /// How long they may be used, seconds: the least of the records that led to them.
    pub ttl_s: u32,
}
