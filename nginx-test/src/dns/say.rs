//! One answer in the making: what is said to a question of one type, and how.

use std::net::IpAddr;
use std::time::Duration;

use super::packet::{Message, Query, Record, encoded};
use super::{Kind, Shared};
use crate::backend::Gate;

/// What is said to a question of one type.
#[derive(Debug, Clone, Default)]
pub(super) struct Say {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) alias: Option<String>,
    /// The alias's own records are part of the answer, as they are from a recursive server.
    pub(super) followed: bool,
    pub(super) code: u8,
    pub(super) ttl: u32,
    pub(super) soa: Option<u32>,
    pub(super) strangers: Vec<(String, IpAddr)>,
    pub(super) additional: Vec<(String, IpAddr)>,
    pub(super) form: Form,
    pub(super) size: Size,
    pub(super) wrong_id: bool,
    pub(super) wrong_question: Option<String>,
    pub(super) origin: Origin,
    pub(super) pause: Pause,
    pub(super) over_tcp: Option<Box<Say>>,
    pub(super) then: Option<Box<Say>>,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Form {
    #[default]
    Message,
    Silence,
    /// These bytes and nothing else.
    Garbage(Vec<u8>),
    /// A right header and question, and these bytes instead of a record.
    Broken(Vec<u8>),
}

/// Whether an answer over UDP is cut down to "ask again over TCP".
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Size {
    #[default]
    AsTheClientTakes,
    Truncated,
    Whole,
}

/// Where an answer over UDP comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Origin {
    #[default]
    Server,
    AnotherPort,
    AnotherAddress,
}

/// When an answer goes out.
#[derive(Debug, Clone, Default)]
pub(super) enum Pause {
    #[default]
    None,
    For(Duration),
    Until(Gate),
}

impl Say {
    /// What this server says to that question.
    pub(super) fn to(query: &Query, shared: &Shared, tcp: bool) -> Self {
        let zone = shared.zone(&query.name);
        let say = zone.to(query.kind);
        say.over_tcp.as_deref().filter(|_| tcp).unwrap_or(say).clone()
    }

    /// The bytes of the answer, without the length that TCP puts before it.
    pub(super) fn bytes(&self, shared: &Shared, query: &Query, tcp: bool) -> Option<Vec<u8>> {
        let message = match &self.form {
            Form::Silence => return None,
            Form::Garbage(bytes) => return Some(bytes.clone()),
            Form::Broken(bytes) => return Some(self.message(shared, query).broken(bytes)),
            Form::Message => self.message(shared, query),
        };
        let whole = message.bytes();
        let fits = match self.size {
            Size::AsTheClientTakes => tcp || whole.len() <= query.limit,
            Size::Truncated => tcp,
            Size::Whole => true,
        };
        Some(if fits { whole } else { message.truncated() })
    }

    fn message(&self, shared: &Shared, query: &Query) -> Message {
        let mut message = Message::to(query);
        if self.wrong_id {
            message.id[1] ^= 0x55;
        }
        let mut name = query.name.clone();
        if let Some(other) = &self.wrong_question {
            let kind = query.question[query.question.len() - 4..].to_vec();
            message.question = [encoded(other), kind].concat();
            name.clone_from(other);
        }
        self.answer(&mut message, &name, shared, query.kind);
        for (other, address) in &self.strangers {
            message.answers.push(Record::address(other, *address, self.ttl));
        }
        for (other, address) in &self.additional {
            message.additional.push(Record::address(other, *address, self.ttl));
        }
        message
    }

    /// The records of the name, and of the names that its aliases lead to.
    fn answer(&self, message: &mut Message, name: &str, shared: &Shared, kind: Kind) {
        let mut say = self.clone();
        let mut names = vec![name.to_owned()];
        while let (Some(target), true) = (say.alias.clone(), say.followed) {
            message.answers.push(Record::cname(&names[names.len() - 1], &target, say.ttl));
            if names.contains(&target) {
                return;
            }
            say = shared.zone(&target).to(kind).clone();
            names.push(target);
        }
        let name = &names[names.len() - 1];
        message.code = say.code;
        if let Some(target) = &say.alias {
            message.answers.push(Record::cname(name, target, say.ttl));
        }
        if !matches!(kind, Kind::Other(_)) {
            let records = say.addresses.iter().map(|ip| Record::address(name, *ip, say.ttl));
            message.answers.extend(records);
        }
        message.authority.extend(say.soa.map(|seconds| Record::soa(name, seconds)));
    }
}
