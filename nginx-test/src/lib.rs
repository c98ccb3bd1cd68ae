//! Test harness: a real nginx, real back ends that fail on purpose, and readers that believe nothing.
//!
//! Everything here panics when something is not as it should be: a panic is a failed test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a harness reports a problem by panicking"
)]

pub mod backend;
pub mod callgrind;
pub mod client;
pub mod conf;
pub mod curl;
pub mod diagnosis;
pub mod dns;
pub mod env;
pub mod field;
pub mod flip;
pub mod load;
pub mod log;
pub mod nginx;
pub mod port;
pub mod process;
pub mod reply;
pub mod running;
pub mod sandbox;
pub mod soak;
pub mod stream;
pub mod valgrind;
pub mod wait;

pub use backend::{Backend, Gate, Host, Place, Step};
pub use client::Client;
pub use diagnosis::Diagnosis;
pub use dns::{Dns, Zone};
pub use field::Member;
pub use load::{Load, Report};
pub use log::LogLine;
pub use nginx::{Checked, Nginx};
pub use port::Port;
pub use reply::Reply;
pub use running::{Running, Seen};
