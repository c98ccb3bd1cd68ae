//! The response header: who gets which field.

use diagnosis::{Diagnosis, Outcome};

use crate::conf::{DEFAULT_HEADER, LocConf};
use crate::ffi::{Names, Request};
use crate::record::Record;
use crate::{observe, outcome, trust};

/// The header filter: notes what the response tells about its upstream, then writes the header of
/// a main request.
pub(crate) fn response_header(request: Request<'_>) {
    let conf = request.loc_conf();
    if !conf.is_enabled() {
        return;
    }
    observe::reconcile(request);
    watch_upgraded(request);
    if request.is_main() {
        main_header(request, conf);
    }
}

/// nginx logs the end of an idle websocket at info level only: have the end itself reported.
fn watch_upgraded(request: Request<'_>) {
    let Some(upstream) = request.upstream().filter(|upstream| upstream.is_upgraded()) else {
        return;
    };
    if let Some(record) = request.record_or_create() {
        upstream.watch_end(request, record);
    }
}

fn main_header(request: Request<'_>, conf: &LocConf) {
    let names = hidden_names(conf);
    let inner = request.upstream().is_some() && request.has_response_header(&names);
    let record = request.record().filter(|record| !record.borrow().is_empty());
    if !inner && record.is_none() {
        return;
    }
    // Not while the record is borrowed: a variable of ours may be among the trusted ones.
    let trusted =
        conf.trust().map_or_else(|| trust::is_local(request), |trust| trust.admits(request));
    if !trusted && inner {
        request.hide_response_headers(&names);
    }
    if let Some(record) = record {
        failed_header(request, conf, &record.borrow(), trusted);
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
fn failed_header(request: Request<'_>, conf: &LocConf, record: &Record, trusted: bool) {
    let Some(diagnosis) = diagnosis(request, record) else { return };
    // Others learn of a failure only from a response that nginx made because of it.
    if !trusted && diagnosis.outcome != Outcome::Failed {
        return;
    }
    if let Some(name) = conf.header() {
        let value = if trusted {
            let names = hidden_names(conf);
            let inner = match request.upstream() {
                Some(_) => request.response_headers(&names),
                None => Vec::new(),
            };
            // Ours is appended to them; one field line says it all.
            request.hide_response_headers(&names);
            diagnosis::field::full(&inner, &diagnosis)
        } else {
            diagnosis::field::tokens(&diagnosis)
        };
        request.add_response_header(name.as_bytes(), value.as_bytes());
    }
    let member = conf
        .proxy_status()
        .and_then(|identifier| diagnosis::proxy_status::member(identifier, &diagnosis, trusted));
    if let Some(member) = member {
        request.add_response_header(b"Proxy-Status", member.as_bytes());
    }
}

/// The record of the main request `main`, ready to be written; `None` when nothing failed.
pub(crate) fn diagnosis<'a>(main: Request<'_>, record: &'a Record) -> Option<Diagnosis<'a>> {
    Some(Diagnosis {
        outcome: outcome::outcome(main, record)?,
        status: main.status(),
        attempts: record.attempts(),
        dropped: record.dropped(),
    })
}
