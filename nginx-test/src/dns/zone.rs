//! What a server says about one name.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use super::say::{Form, Origin, Pause, Say, Size};
use super::{Kind, plain};
use crate::backend::Gate;

/// The answers about one name: for each type, what is said and how.
///
/// The first call says what; those after it change both types, unless they say otherwise.
#[derive(Debug, Clone)]
pub struct Zone {
    v4: Say,
    v6: Say,
}

impl Zone {
    /// These addresses, IPv4 and IPv6, with a TTL of 30 s; a family without any has no data.
    pub fn addresses<T: Display>(addresses: impl IntoIterator<Item = T>) -> Self {
        let parse = |text: T| text.to_string().parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        let addresses: Vec<IpAddr> = addresses.into_iter().map(parse).collect();
        let (v4, v6) = addresses.into_iter().partition(IpAddr::is_ipv4);
        let say = |addresses| Say { addresses, ttl: 30, ..Say::default() };
        Self { v4: say(v4), v6: say(v6) }
    }

    /// Another name, whose records are part of the answer as far as the server knows them. Two
    /// names that point to each other are a loop.
    pub fn cname(target: &str) -> Self {
        let alias = Some(plain(target));
        Self::both(Say { alias, followed: true, ttl: 30, ..Say::default() })
    }

    /// Another name, without its records.
    pub fn cname_only(target: &str) -> Self {
        Self::cname(target).with(|say| say.followed = false)
    }

    /// The name exists, without an address.
    pub fn no_data() -> Self {
        Self::code(0)
    }

    /// The name does not exist: code 3.
    pub fn nxdomain() -> Self {
        Self::code(3)
    }

    /// Server failure: code 2.
    pub fn servfail() -> Self {
        Self::code(2)
    }

    /// The server will not say: code 5.
    pub fn refused() -> Self {
        Self::code(5)
    }

    /// A response code and no record: 1 is a format error, 4 "not implemented".
    pub fn code(code: u8) -> Self {
        Self::both(Say { code, ..Say::default() })
    }

    /// Nothing at all is said.
    pub fn silent() -> Self {
        Self::both(Say { form: Form::Silence, ..Say::default() })
    }

    /// Exactly these bytes, whatever was asked.
    pub fn garbage(bytes: impl Into<Vec<u8>>) -> Self {
        Self::both(Say { form: Form::Garbage(bytes.into()), ..Say::default() })
    }

    /// The header and the question are right and promise one record; these bytes come instead.
    pub fn broken(bytes: impl Into<Vec<u8>>) -> Self {
        Self::both(Say { form: Form::Broken(bytes.into()), ..Say::default() })
    }

    /// To A questions, what that other zone says.
    pub fn v4(self, zone: Self) -> Self {
        Self { v4: zone.v4, ..self }
    }

    /// To AAAA questions, what that other zone says.
    pub fn v6(self, zone: Self) -> Self {
        Self { v6: zone.v6, ..self }
    }

    /// Over TCP, what that other zone says.
    pub fn over_tcp(mut self, zone: Self) -> Self {
        self.v4.over_tcp = Some(Box::new(zone.v4));
        self.v6.over_tcp = Some(Box::new(zone.v6));
        self
    }

    /// A second answer after this one: the right one after one that is wrong, or the reverse.
    pub fn then(mut self, zone: Self) -> Self {
        self.v4.then = Some(Box::new(zone.v4));
        self.v6.then = Some(Box::new(zone.v6));
        self
    }

    /// The TTL of every record, in seconds.
    pub fn ttl(self, seconds: u32) -> Self {
        self.with(|say| say.ttl = seconds)
    }

    /// An SOA record says how long, in seconds, the answer holds when it is negative (RFC 2308).
    pub fn soa(self, seconds: u32) -> Self {
        self.with(|say| say.soa = Some(seconds))
    }

    /// A record of another name among the answers, which nobody asked for.
    pub fn stranger(self, name: &str, address: &str) -> Self {
        let record = (plain(name), parse(address));
        self.with(|say| say.strangers.push(record.clone()))
    }

    /// A record of another name in the additional section.
    pub fn additional(self, name: &str, address: &str) -> Self {
        let record = (plain(name), parse(address));
        self.with(|say| say.additional.push(record.clone()))
    }

    /// Over UDP the answer is cut off, and only TCP has the whole.
    pub fn truncated(self) -> Self {
        self.with(|say| say.size = Size::Truncated)
    }

    /// Over UDP the answer is whole, however little the client said that it takes.
    pub fn whole(self) -> Self {
        self.with(|say| say.size = Size::Whole)
    }

    /// The answer has another id than the question.
    pub fn wrong_id(self) -> Self {
        self.with(|say| say.wrong_id = true)
    }

    /// Question and answer are about that other name.
    pub fn wrong_question(self, name: &str) -> Self {
        self.with(|say| say.wrong_question = Some(plain(name)))
    }

    /// Over UDP, from another port of the server's address.
    pub fn from_another_port(self) -> Self {
        self.with(|say| say.origin = Origin::AnotherPort)
    }

    /// Over UDP, from the server's port at another address (127.9.9.9).
    pub fn from_another_address(self) -> Self {
        self.with(|say| say.origin = Origin::AnotherAddress)
    }

    /// The answer comes that much later.
    pub fn after(self, delay: Duration) -> Self {
        self.with(|say| say.pause = Pause::For(delay))
    }

    /// The answer comes when the gate opens. What is said was settled when the question came.
    pub fn held(self, gate: &Gate) -> Self {
        self.with(|say| say.pause = Pause::Until(gate.clone()))
    }

    fn both(say: Say) -> Self {
        Self { v4: say.clone(), v6: say }
    }

    fn with(mut self, change: impl Fn(&mut Say)) -> Self {
        change(&mut self.v4);
        change(&mut self.v6);
        self
    }

    pub(super) fn to(&self, kind: Kind) -> &Say {
        match kind {
            Kind::A | Kind::Other(_) => &self.v4,
            Kind::Aaaa => &self.v6,
        }
    }
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap_or_else(|e| panic!("{address}: {e}"))
}
