//! Why an nginx upstream attempt failed, told from nginx's own words and its state at that moment.
//!
//! Pure: no I/O, no clock, no unsafe. [`diagnose`] turns one log message and an [`Observation`] into
//! a [`Verdict`]; the module keeps an [`Attempt`] for each; [`field`], [`proxy_status`], [`json`] and
//! [`advice`] write them out.
#![forbid(unsafe_code)]

pub mod advice;
mod attempt;
mod cause;
mod classify;
mod codes;
mod errno;
pub mod evidence;
pub mod field;
mod hint;
pub mod json;
mod limit;
pub mod lint;
mod message;
mod observation;
mod printable;
pub mod proxy_status;
mod resolution;
mod table;
#[cfg(test)]
mod tests;
mod texts;

pub use attempt::{Attempt, Diagnosis, Headroom, Outcome, Verdict};
pub use cause::{Advice, Hole, Phase, Provoked, Row};
pub use classify::{client_closed, diagnose, from_status, unexplained};
pub use errno::Errno;
pub use evidence::Evidence;
pub use hint::Hint;
pub use limit::Limit;
pub use observation::{Family, Io, Observation, Peers, Protocol, Tls};
pub use resolution::{Addresses, Dns, Resolution, Used};
pub use table::Cause;
pub use texts::Texts;
