//! When a server's name has moved: asking DNS, and giving its slots their new addresses.
//!
//! 1. A connection to a named server fails (`ffi/reresolve/pick.rs`), or an answer's time is up:
//!    [`Reresolve::ask_after_failure`], [`Reresolve::ring`].
//! 2. The name is asked for, in the worker's own event loop: [`Reresolve::ask`].
//! 3. The answers are collected: [`Reresolve::collect`]. The servers of the name get its addresses
//!    ([`Slots::remap`]), and the requests that wait go on.
//!
//! What a name's answers mean, how long they count and when to ask again is decided in the
//! `resolver` crate.

mod lookup;
mod names;
mod settings;
mod slots;
mod sources;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use resolver::{Answer, Failure, Families, Family, Progress, Reason};

use crate::ffi::{self, PickRef, cycle, system};
use names::Names;
use sources::Sources;

pub(crate) use lookup::Lookup;
pub(crate) use names::{Collector, NameId};
pub(crate) use settings::{Mode, Servers, Settings};
pub(crate) use slots::{Found, Slot, Slots};

/// Names that one worker asks for at a time; the others wait for their turn.
const MAX_IN_FLIGHT: usize = 64;
/// A name takes two connections and descriptors, and six while a name server is silent, as each
/// question is asked three times. All of them together leave most of the worker's to its requests.
const CONNECTIONS_PER_NAME: u64 = 32;

/// What has come back.
enum Event {
    Answer(NameId, Family, Result<Answer, Failure>),
    /// The lookup is over.
    End,
}

/// Re-resolution in one worker.
pub(crate) struct Reresolve {
    names: RefCell<Names>,
    sources: Sources,
    events: Rc<RefCell<Vec<Event>>>,
    in_flight: Cell<usize>,
    backlog: RefCell<VecDeque<(NameId, Families)>>,
    waiting: RefCell<Vec<PickRef>>,
}

impl Reresolve {
    /// For the names that were collected. `seed` makes workers ask at different times.
    pub(crate) fn new(names: Collector, servers: Servers, seed: u64) -> Self {
        Self {
            names: RefCell::new(names.finish(seed, cycle::now_ms())),
            sources: Sources::new(servers),
            events: Rc::default(),
            in_flight: Cell::new(0),
            backlog: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    /// One of the name's addresses could not be connected to.
    pub(crate) fn ask_after_failure(&self, id: NameId) {
        self.ask(id, Reason::Failure);
    }

    /// Asks for the names whose time is up, and sets the alarm for the next one.
    pub(crate) fn ring(&self) {
        let now = cycle::now_ms();
        let ids = self.names.borrow().ids();
        for id in ids {
            let names = self.names.borrow();
            let due = names
                .name(id)
                .is_some_and(|name| name.settings.mode == Mode::Ttl && name.set.due(now));
            drop(names);
            if due {
                self.ask(id, Reason::Due);
            }
        }
        self.set_alarm();
    }

    /// Has [`Reresolve::ring`] called when the next name is due. In `failure` mode none ever is.
    pub(crate) fn set_alarm(&self) {
        let names = self.names.borrow();
        let timed = names.all().filter(|(_, name)| name.settings.mode == Mode::Ttl);
        let next =
            timed.filter(|(_, name)| !name.set.in_flight()).map(|(_, name)| name.set.due_at());
        if let Some(at) = next.min() {
            ffi::set_alarm(at.saturating_sub(cycle::now_ms()).max(1));
        }
    }

    fn ask(&self, id: NameId, reason: Reason) {
        let asked = self
            .names
            .borrow_mut()
            .name_mut(id)
            .and_then(|name| name.set.ask(cycle::now_ms(), reason));
        let Some(families) = asked else { return };
        if self.in_flight.get() >= most_in_flight() {
            self.backlog.borrow_mut().push_back((id, families));
        } else {
            self.start(id, families);
        }
    }

    fn start(&self, id: NameId, families: Families) {
        let names = self.names.borrow();
        let Some(name) = names.name(id) else { return };
        let client = self.sources.client(name.settings.timeout_ms);
        let (host, events) = (Rc::clone(&name.host), Rc::clone(&self.events));
        self.in_flight.set(self.in_flight.get().saturating_add(1));
        ffi::spawn(async move {
            let answered = |family, result| {
                events.borrow_mut().push(Event::Answer(id, family, result));
            };
            client.lookup(&host, families, answered).await;
            events.borrow_mut().push(Event::End);
        });
    }

    /// Takes in what has come back since the last time.
    pub(crate) fn collect(&self) {
        let events = self.events.take();
        if events.is_empty() {
            return;
        }
        for event in events {
            match event {
                Event::Answer(id, family, result) => self.answered(id, family, result),
                Event::End => self.in_flight.set(self.in_flight.get().saturating_sub(1)),
            }
        }
        while self.in_flight.get() < most_in_flight() {
            let next = self.backlog.borrow_mut().pop_front();
            let Some((id, families)) = next else { break };
            self.start(id, families);
        }
        self.set_alarm();
    }

    fn answered(&self, id: NameId, family: Family, result: Result<Answer, Failure>) {
        let result = match result {
            Ok(answer) => self.routable(id, answer),
            Err(Failure::Unreachable) if ffi::none_was_left() => Err(Failure::Unavailable),
            failed => failed,
        };
        let progress = self
            .names
            .borrow_mut()
            .name_mut(id)
            .map(|name| name.set.answered(cycle::now_ms(), family, result));
        self.progressed(id, progress);
    }

    fn progressed(&self, id: NameId, progress: Option<Progress>) {
        let (changed, done) = match progress {
            None | Some(Progress::Ignored) => return,
            Some(Progress::Waiting { changed }) => (changed, false),
            Some(Progress::Done { changed }) => (changed, true),
        };
        if changed {
            ffi::remap(id, &self.answered_addresses(id));
        }
        let waiting = self.waiting.borrow().clone();
        for pick in waiting.into_iter().filter(|pick| pick.names().contains(&id)) {
            // Another of its names may still bring what this one has not.
            let over = done && !pick.names().into_iter().any(|name| self.is_asking(name));
            if over || pick.has_untried() || changed && pick.is_put_aside() {
                pick.wake();
            }
        }
    }

    /// Without the addresses to which this machine has no route: nginx's own lookup at start leaves
    /// them out too (AI_ADDRCONFIG).
    fn routable(&self, id: NameId, mut answer: Answer) -> Result<Answer, Failure> {
        let names = self.names.borrow();
        let is_configured =
            |ip: &IpAddr| names.name(id).is_some_and(|name| name.configured.contains(ip));
        answer.addresses.retain(|ip| is_configured(ip) || system::has_route_to(*ip));
        if answer.addresses.is_empty() { Err(Failure::NoData) } else { Ok(answer) }
    }

    /// Gives up whatever is in flight: its tasks are gone.
    pub(crate) fn abandon(&self) {
        self.backlog.borrow_mut().clear();
        self.in_flight.set(0);
        let ids = self.names.borrow().ids();
        for id in ids {
            let progress =
                self.names.borrow_mut().name_mut(id).map(|name| name.set.cancel(cycle::now_ms()));
            self.progressed(id, progress);
        }
    }

    /// Whether answers for the name are outstanding.
    pub(crate) fn is_asking(&self, id: NameId) -> bool {
        self.names.borrow().name(id).is_some_and(|name| name.set.in_flight())
    }

    /// What DNS has said last; nothing before it has.
    pub(crate) fn answered_addresses(&self, id: NameId) -> Vec<IpAddr> {
        let names = self.names.borrow();
        let name = names.name(id).filter(|name| name.set.has_answer());
        name.map_or_else(Vec::new, |name| name.set.addresses().to_vec())
    }

    pub(crate) fn add_waiting(&self, pick: PickRef) {
        self.waiting.borrow_mut().push(pick);
    }

    pub(crate) fn remove_waiting(&self, pick: PickRef) {
        self.waiting.borrow_mut().retain(|other| *other != pick);
    }
}

fn most_in_flight() -> usize {
    let share = cycle::connections().limit.checked_div(CONNECTIONS_PER_NAME).unwrap_or(0);
    usize::try_from(share).unwrap_or(MAX_IN_FLIGHT).clamp(2, MAX_IN_FLIGHT)
}
