//! The response header: who gets which field.

use std::cell::RefCell;

use diagnosis::{Diagnosis, Outcome, field, proxy_status};

use crate::conf::{DEFAULT_HEADER, LocConf};
use crate::ffi::{Names, Request, Upstream};
use crate::record::Record;
use crate::{observe, outcome, trust};

/// RFC 9209.
const PROXY_STATUS: &str = "Proxy-Status";

/// The header filter: notes what the response tells about its upstream, then writes the header of
/// a main request.
pub(crate) fn response_header(request: Request<'_>) {
    let conf = request.loc_conf();
    if conf.is_enabled() && !is_ordinary(request, conf) {
        observe::reconcile(request);
        watch_upgraded(request);
        if request.is_main() {
            main_header(request, conf);
        }
    }
}

/// nginx logs the end of an idle websocket at info level only: have the end itself reported.
fn watch_upgraded(request: Request<'_>) {
    if let Some(upstream) = request.upstream().filter(|upstream| upstream.is_upgraded()) {
        watch_end(request, upstream);
    }
}

#[cold]
fn watch_end<'r>(request: Request<'r>, upstream: Upstream<'r>) -> Option<&'r RefCell<Record>> {
    let record = request.record_or_create()?;
    upstream.watch_end(request, record);
    Some(record)
}

/// Nearly every response: nothing failed, and the upstream has sent no field like ours. A quick
/// look, of which a "no" means nothing yet.
fn is_ordinary(request: Request<'_>, conf: &LocConf) -> bool {
    let lengths = hidden_names(conf).map(<[u8]>::len);
    observe::went_well(request)
        && request.record().is_none()
        && request.upstream().is_none_or(|upstream| {
            !upstream.is_upgraded()
                && !upstream.passes_trailers()
                && !request.has_response_header_of_length(lengths)
        })
}

#[cold]
fn main_header<'r>(request: Request<'r>, conf: &'r LocConf) {
    let record = request.record().filter(|record| !record.borrow().is_empty());
    if record.is_none() && !has_theirs(request, conf) {
        return;
    }
    // Not while the record is borrowed: a variable of ours may be among the trusted ones.
    let trusted =
        conf.trust().map_or_else(|| trust::is_local(request), |trust| trust.admits(request));
    if !trusted {
        hide_theirs(request, conf);
    }
    if let Some(record) = record {
        observe::resolve(request);
        failed_header(request, conf, record, trusted);
        request.refresh_variables();
    }
}

/// Whether the upstream has sent, or may yet send, a diagnosis of its own.
fn has_theirs(request: Request<'_>, conf: &LocConf) -> bool {
    request.upstream().is_some_and(|upstream| {
        upstream.passes_trailers() || request.has_response_header(&hidden_names(conf))
    })
}

fn hide_theirs(request: Request<'_>, conf: &LocConf) {
    request.hide_response_headers(&hidden_names(conf));
    hide_trailers_later(request, request.upstream().filter(|upstream| upstream.passes_trailers()));
}

/// nginx knows the trailers only when the response ends.
fn hide_trailers_later<'r>(request: Request<'r>, upstream: Option<Upstream<'r>>) {
    if let Some(record) = upstream.and_then(|upstream| watch_end(request, upstream)) {
        record.borrow_mut().hides_trailers = true;
    }
}

/// The response of `request` ends: its trailers are complete.
pub(crate) fn trailers(request: Request<'_>) {
    let hides = request.record().is_some_and(|record| record.borrow().hides_trailers);
    if let Some(upstream) = request.upstream().filter(|_| hides && request.is_main()) {
        upstream.hide_trailers(&hidden_names(request.loc_conf()));
    }
}

/// The names under which an upstream could send a diagnosis of its own.
fn hidden_names(conf: &LocConf) -> Names<'_> {
    match conf.renamed_header() {
        None => [DEFAULT_HEADER.as_bytes(), &[]],
        Some(name) => [name.as_bytes(), DEFAULT_HEADER.as_bytes()],
    }
}

/// Writes the fields for a request of which something failed.
fn failed_header<'r>(
    request: Request<'r>,
    conf: &'r LocConf,
    record: &'r RefCell<Record>,
    trusted: bool,
) {
    let Some(fields) = fields(request, conf, &record.borrow(), trusted) else { return };
    if let Some((name, value)) = fields.diagnosis {
        request.add_response_header(record, name, value);
    }
    if let Some(member) = fields.proxy_status {
        // Field lines are joined: one that is no List would take ours with it.
        request.retain_response_headers(PROXY_STATUS, field::is_list);
        request.add_response_header(record, PROXY_STATUS, member.into_bytes());
    }
}

/// What is added to a response header.
struct Fields<'r> {
    diagnosis: Option<(&'r str, Vec<u8>)>,
    proxy_status: Option<String>,
}

fn fields<'r>(
    request: Request<'r>,
    conf: &'r LocConf,
    record: &Record,
    trusted: bool,
) -> Option<Fields<'r>> {
    // Others learn of a failure only from a response that nginx made because of it.
    if !trusted && diagnosis(request, record)?.outcome != Outcome::Failed {
        return None;
    }
    let value = || {
        if trusted {
            full(request, conf, record)
        } else {
            field::tokens(record.attempts(), record.dropped())
        }
    };
    let member =
        |identifier| proxy_status::member(identifier, &diagnosis(request, record)?, trusted);
    Some(Fields {
        diagnosis: conf.header().map(|name| (name, value())),
        proxy_status: conf.proxy_status().and_then(member),
    })
}

/// The whole field, after what the upstream sent under the same name: one field line says it all.
fn full(request: Request<'_>, conf: &LocConf, record: &Record) -> Vec<u8> {
    let lines = request.take_response_headers(&hidden_names(conf));
    let inner = if request.upstream().is_some() { &lines[..] } else { &[] };
    field::full(inner, record.attempts(), record.dropped())
}

/// The record of the main request `main`, ready to be written; `None` when nothing failed.
#[inline]
pub(crate) fn diagnosis<'a>(main: Request<'_>, record: &'a Record) -> Option<Diagnosis<'a>> {
    let status = main.status();
    Some(Diagnosis {
        outcome: outcome::outcome(main, status, record)?,
        status,
        attempts: record.attempts(),
        dropped: record.dropped(),
    })
}
