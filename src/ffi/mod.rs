//! Typed views of nginx: the only place with `unsafe`, one block per reason.
//!
//! A view borrows nginx's memory for the length of one callback; nginx runs one callback at a time
//! in one thread. Nothing in here decides anything: it reads, writes and converts.
#![allow(unsafe_code, reason = "the fence around nginx's C interface")]

mod address;
mod conf;
pub(crate) mod cycle;
mod entry;
mod guard;
mod headers;
pub(crate) mod load;
mod log;
pub(crate) mod netlink;
mod peers;
mod pool;
mod recorder;
mod request;
mod reresolve;
mod server;
mod setup;
mod state;
pub(crate) mod system;
mod tables;
mod text;
mod upstream;

pub(crate) use conf::{CidrList, ComplexValue, Conf, Directive, LogHeads, SetError};
#[cfg(feature = "test-panic")]
pub(crate) use guard::Point;
pub(crate) use headers::Names;
pub(crate) use nginx_sys::{NGX_LOG_NOTICE as LOG_NOTICE, NGX_LOG_WARN as LOG_WARN};
pub(crate) use peers::{PeerId, PeerMark};
pub(crate) use request::{Finalizer, LogHandler, Request, RequestId};
pub(crate) use reresolve::{
    Nginx, PickRef, UpstreamId, UpstreamRef, none_was_left, remap, running, set_alarm, spawn,
};
pub(crate) use state::State;
pub(crate) use upstream::Upstream;
