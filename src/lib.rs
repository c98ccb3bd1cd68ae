//! `ngx_http_upstream_diagnosis_module`: says why an nginx upstream failed, at the moment of the
//! failure, in a response header and in the log.
//!
//! The way of a failure through this crate:
//!
//! 1. [`observe`] — nginx logs why an attempt failed; our log handler reads those words and
//!    nginx's state at that instant, and asks the `diagnosis` crate for the cause.
//! 2. [`record`] — the attempt is kept on the main request, across redirects and subrequests.
//!    [`evidence`] adds what the kernel tells.
//! 3. [`emit`] — the header filter writes the field for those who may read it.
//! 4. [`variables`] — the log reads the record.
//!
//! And before any request, when nginx has read its configuration, [`lint`] says what is wrong in it.
//!
//! Everything that touches nginx's memory is under [`ffi`], the only place with `unsafe`.
#![deny(unsafe_code)]

mod conf;
mod directives;
mod emit;
mod evidence;
mod ffi;
mod headroom;
mod lint;
mod observe;
mod outcome;
mod record;
mod reresolve;
mod trust;
mod variables;
