//! Where re-resolution meets nginx: between the balancer, which chooses a configured server, and
//! keepalive, which looks for a connection to its address.

mod hook;
mod pick;
mod placeholder;
mod runtime;
pub(super) mod setup;
mod socket;
mod timer;
mod tries;

pub(crate) use hook::UpstreamRef;
pub(crate) use pick::{PickRef, UpstreamId};
pub(crate) use runtime::{Nginx, spawn};
pub(crate) use setup::{remap, running};
pub(crate) use socket::none_was_left;
pub(crate) use timer::set_alarm;
