//! nginx's words and state at the moment of a failure → an attempt on the request's record.
//!
//! Most failures have an error-log line; [`message`] sees it. The silent ones (a status that made
//! nginx try the next server, an upstream's own 5xx, a client that left) are read off
//! `r->upstream_states` by [`reconcile`] and [`complete`].

use diagnosis::{Attempt, Cause, Protocol, Texts, Verdict};

use crate::evidence::{self, Scene};
use crate::ffi::{self, Request, State, Upstream};
use crate::headroom;
use crate::record::{Entry, Key};
use crate::reresolve::Lookup;

/// Status with which nginx notes that the client closed the connection.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What ngx_http_upstream_finalize_request is told when nothing failed,
const OK: isize = 0;
/// when the request was terminated for another reason (NGX_DONE, ngx_http_upstream_cleanup),
const TORN_DOWN: isize = -4;
/// when the client was too slow to read,
const REQUEST_TIME_OUT: isize = 408;
/// when it left,
const CLIENT_CLOSED: isize = 499;
/// and when the upstream was too slow.
const GATEWAY_TIME_OUT: isize = 504;

/// Notes what nginx has just logged for `request`, when it says how an upstream attempt failed.
///
/// `words` is nginx's own message without the context that follows it.
pub(crate) fn message(request: Request<'_>, words: &[u8]) {
    let Some(upstream) = request.upstream() else { return };
    let headroom = headroom::now();
    let observation = upstream.observation(headroom);
    let address = upstream.address();
    let Some(verdict) = diagnosis::diagnose(words, address, &observation) else { return };
    let (index, began) = current_try(request, upstream);
    let key = Key { owner: request.id(), index };
    // The attempts before this one may have failed without a message.
    if index > 0 {
        reconcile_before(request, index);
    }
    if knows(request, index) {
        return;
    }
    let tried = address_of(verdict, address);
    let mut attempt = attempt(verdict, observation.protocol, Some(upstream), tried, words);
    attempt.ms = began.then(|| upstream.elapsed_ms());
    attempt.status = observation.status;
    attempt.bytes_received = observation.bytes_received;
    attempt.reused = observation.reused;
    attempt.headroom = headroom;
    if request.loc_conf().takes_evidence() {
        evidence::history::note(&attempt);
        let scene = Scene { attempt: &attempt, observation: &observation, upstream };
        attempt.evidence = evidence::look(&scene);
    }
    keep(request, key, observation.header_sent, upstream.dns_lookup(), attempt);
    if verdict.pending
        && let Some(record) = request.record()
    {
        upstream.watch_end(request, record);
    }
}

/// Adds an attempt to the record of the main request.
fn keep(
    request: Request<'_>,
    key: Key,
    after_header: bool,
    lookup: Option<Lookup>,
    attempt: Attempt,
) {
    if lookup.is_some() {
        request.main_conf().looks_up.set(true);
    }
    if let Some(record) = request.record_or_create() {
        let entry = Entry { key, background: request.is_background(), after_header, lookup };
        record.borrow_mut().push(entry, attempt);
    }
}

/// nginx ends the upstream of `request` with `rc`: confirms or forgets what was pending.
pub(crate) fn ended(request: Request<'_>, rc: isize) {
    let Some(record) = request.record() else { return };
    let upgraded = request.upstream().is_some_and(Upstream::is_upgraded);
    let failed = match rc {
        // ngx_http_upstream_process_upgraded ends well whatever happened to either side; what it
        // logs at level error is about the upstream, though.
        OK => upgraded,
        TORN_DOWN | REQUEST_TIME_OUT | CLIENT_CLOSED => false,
        _ => true,
    };
    if rc == GATEWAY_TIME_OUT && request.upstream().is_some_and(Upstream::upgraded_timed_out) {
        upgraded_timeout(request);
    }
    record.borrow_mut().settle(request.id(), failed);
}

/// An idle websocket that nginx closed: logged at info level only, so state has to tell.
fn upgraded_timeout(request: Request<'_>) {
    message(request, b"upstream timed out (110: Connection timed out)");
}

/// Finds the failures that nginx did not log, and marks the attempts that were followed by
/// another one.
///
/// Cold, as everything that only a failure needs: so the callbacks stay small on the good path.
#[cold]
pub(crate) fn reconcile(request: Request<'_>) {
    match request.states() {
        [_] if knows(request, 0) => {}
        _ if went_well(request) => {}
        tries => reconcile_before(request, tries.len()),
    }
}

/// As far as nginx's states tell, one attempt was enough, as for nearly every request: nothing to
/// [`reconcile`].
#[inline]
pub(crate) fn went_well(request: Request<'_>) -> bool {
    match request.states() {
        [] => true,
        [only] => only.status() < 500,
        [..] => false,
    }
}

#[inline]
fn knows(request: Request<'_>, index: usize) -> bool {
    let key = Key { owner: request.id(), index };
    request.record().is_some_and(|record| record.borrow().knows(key))
}

/// [`reconcile`] for the states before `end`: what comes after may be under way.
fn reconcile_before(request: Request<'_>, end: usize) {
    let states = request.states();
    for (index, state) in states.iter().enumerate().take(end) {
        if state.is_separator() {
            continue;
        }
        let moved_on = states.get(index.saturating_add(1)).is_some_and(|next| !next.is_separator());
        let key = Key { owner: request.id(), index };
        if let Some(record) = request.record() {
            let mut record = record.borrow_mut();
            if record.knows(key) {
                if moved_on {
                    record.retried(key);
                }
                continue;
            }
        }
        if let Some(verdict) = silent_failure(request, state, moved_on) {
            note_silent(request, key, state, verdict, moved_on);
        }
    }
}

/// The verdict on an attempt that has no message, from its state alone.
fn silent_failure(request: Request<'_>, state: &State, moved_on: bool) -> Option<Verdict> {
    let status = state.status();
    if !state.has_header() {
        // Set by ngx_http_upstream_next when it gives an attempt up.
        let given_up = state.has_ended() && matches!(status, 502 | 504);
        return given_up.then(|| diagnosis::unexplained(status));
    }
    if !moved_on && status < 500 {
        return None;
    }
    // What nginx gives up after the header (gRPC) has its status overwritten; where a stale answer
    // was served, the other one is the cached status.
    let upstream = request.upstream().filter(|upstream| upstream.is_at(state));
    let own = upstream.is_none_or(|upstream| upstream.status() == status);
    let own = own || request.served_stale();
    Some(if own { diagnosis::from_status(status) } else { diagnosis::unexplained(status) })
}

fn note_silent(request: Request<'_>, key: Key, state: &State, verdict: Verdict, retried: bool) {
    // What came before the last redirect was another upstream's, which is gone.
    let since = request.states().iter().skip(key.index);
    let upstream = request.upstream().filter(|_| !since.clone().any(State::is_separator));
    let protocol = upstream.map_or_else(Protocol::default, Upstream::protocol);
    let own = verdict.cause == Cause::UpstreamStatus;
    let attempt = Attempt {
        ms: state.ms(),
        status: if own { state.status() } else { 0 },
        bytes_received: state.bytes_received(),
        retried,
        headroom: headroom::now(),
        ..attempt(verdict, protocol, upstream, state.address(), &[])
    };
    if request.loc_conf().takes_evidence() {
        evidence::history::note(&attempt);
    }
    keep(request, key, false, None, attempt);
}

/// `request` comes to a location where the module is off, after one where it was on.
pub(crate) fn look_away(request: Request<'_>) {
    if let Some(record) = request.record_or_create() {
        record.borrow_mut().look_away(request.id(), request.states().len());
    }
}

/// `request` comes to a location where the module is on, after it has tried an upstream.
/// `watched`: the module was on somewhere before.
pub(crate) fn look_again(request: Request<'_>, watched: bool) {
    let tries = request.states().len();
    let record = if watched { request.record() } else { request.record_or_create() };
    let Some(record) = record else { return };
    let mut record = record.borrow_mut();
    if !watched {
        record.look_away(request.id(), 0);
    }
    record.look_again(request.id(), tries);
}

/// Adds what DNS has said since about the attempts of a main request.
#[inline]
pub(crate) fn resolve(main: Request<'_>) {
    if main.main_conf().looks_up.get() {
        resolve_record(main);
    }
}

#[cold]
fn resolve_record(main: Request<'_>) {
    let Some((record, reresolve)) = main.record().zip(ffi::running()) else { return };
    record.borrow_mut().resolve(|lookup| reresolve.resolution(lookup));
}

/// Whether a main request ended without anything to [`complete`] or to tell.
#[inline]
pub(crate) fn ended_well(main: Request<'_>) -> bool {
    went_well(main) && main.record().is_none() && main.status() != CLIENT_CLOSED_REQUEST
}

/// Brings the record of a main request up to date before somebody reads it.
pub(crate) fn complete(main: Request<'_>) {
    // First, as the attempt that the client did not wait for must not be taken for a failed one.
    if client_left(main) {
        client_closed(main.at_work());
    }
    reconcile(main);
    resolve(main);
}

/// Whether the client left first. An upstream may send that status too.
pub(crate) fn client_left(main: Request<'_>) -> bool {
    let own = |upstream: Upstream<'_>| upstream.status() == CLIENT_CLOSED_REQUEST;
    main.status() == CLIENT_CLOSED_REQUEST && !main.upstream().is_some_and(own)
}

/// The client left while an attempt, or the lookup before it, was under way.
#[cold]
fn client_closed(request: Request<'_>) {
    let Some(upstream) = request.upstream() else { return };
    let (index, began) = current_try(request, upstream);
    let key = Key { owner: request.id(), index };
    if knows(request, index) {
        return;
    }
    let state = request.states().last().filter(|_| began);
    let attempt = Attempt {
        ms: state.and_then(|state| state.ms()),
        bytes_received: state.map_or(0, |state| state.bytes_received()),
        headroom: headroom::now(),
        ..attempt(
            diagnosis::client_closed(),
            upstream.protocol(),
            Some(upstream),
            state.map_or(&[][..], |state| state.address()),
            &[],
        )
    };
    keep(request, key, false, None, attempt);
}

/// Index of the try that `upstream` is at, and whether it has begun (a peer was asked for).
fn current_try(request: Request<'_>, upstream: Upstream<'_>) -> (usize, bool) {
    let tries = request.states().len();
    if upstream.has_begun() { (tries.saturating_sub(1), true) } else { (tries, false) }
}

/// Before a peer is chosen, `u->peer.name` holds the upstream's name or nothing.
fn address_of(verdict: Verdict, address: &[u8]) -> &[u8] {
    match verdict.phase {
        diagnosis::Phase::Resolve | diagnosis::Phase::Select => &[],
        diagnosis::Phase::Connect
        | diagnosis::Phase::Handshake
        | diagnosis::Phase::Send
        | diagnosis::Phase::Header
        | diagnosis::Phase::Body
        | diagnosis::Phase::Local
        | diagnosis::Phase::Client => address,
    }
}

/// What is the same for every kind of failure.
fn attempt(
    verdict: Verdict,
    protocol: Protocol,
    upstream: Option<Upstream<'_>>,
    address: &[u8],
    message: &[u8],
) -> Attempt {
    let name = upstream.map_or(&[][..], Upstream::name);
    let write_server = |out: &mut Vec<u8>| {
        if let Some(upstream) = upstream {
            upstream.write_server(address, out);
        }
    };
    Attempt {
        verdict,
        protocol,
        family: Upstream::family(address),
        texts: Texts::new(name, write_server, address, message),
        ms: None,
        status: 0,
        bytes_received: 0,
        reused: false,
        retried: false,
        headroom: None,
        evidence: None,
        resolution: None,
    }
}
