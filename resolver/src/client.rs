//! Asking: the hosts file, then each name that is meant, of each server.

mod chain;
mod question;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{PoolContext, TlsConfig};

use crate::runtime::{RuntimeProvider, Time};
use crate::system::{Conf, Hosts};
use crate::{Answer, Failure, Families, Family};
use question::Servers;

/// Names of which it is remembered what they stood for.
const MAX_KNOWN: usize = 4096;
/// Parts of a lookup's time. When one family has addresses, the other has one part more to come.
const PARTS: u32 = 4;
/// The name that is this machine without being asked for (RFC 6761, section 6.3).
const LOCALHOST: &str = "localhost";

/// Asks for names, on the runtime that it is given.
///
/// Between lookups it has no socket, no task and no timer.
pub struct Client<P> {
    provider: P,
    conf: Conf,
    hosts: Hosts,
    timeout: Duration,
    context: Arc<PoolContext>,
    /// Which of its candidates a host was, the last time that one of them had an address.
    known: Mutex<HashMap<Box<str>, usize>>,
}

impl<P: RuntimeProvider> Client<P> {
    /// One that asks as the system does: by the text of its resolv.conf and of its hosts file.
    /// No lookup takes longer than `timeout`.
    pub fn system(resolv_conf: &[u8], hosts: &[u8], timeout: Duration, provider: P) -> Self {
        Self::new(Conf::parse(resolv_conf), Hosts::new(hosts), timeout, provider)
    }

    /// One that asks these servers, for names as they are. No lookup takes longer than `timeout`.
    pub fn servers(servers: &[SocketAddr], timeout: Duration, provider: P) -> Self {
        Self::new(Conf::of_servers(servers), Hosts::default(), timeout, provider)
    }

    fn new(conf: Conf, hosts: Hosts, timeout: Duration, provider: P) -> Self {
        let mut options = question::options();
        options.timeout = timeout;
        // Without a feature that nobody turns on there is nothing in it.
        let context = Arc::new(PoolContext::new(options, TlsConfig {}));
        Self { provider, conf, hosts, timeout, context, known: Mutex::default() }
    }

    /// What it was made with.
    pub const fn conf(&self) -> &Conf {
        &self.conf
    }

    /// Looks `host` up, which may be a short name, in upper case, or have a dot at its end.
    /// `answered` gets the result of each of the `families` as soon as it is certain, once for each.
    ///
    /// Dropping the future ends everything that it has begun.
    pub async fn lookup(
        &self,
        host: &str,
        families: Families,
        mut answered: impl FnMut(Family, Result<Answer, Failure>),
    ) {
        let mut left = families;
        let mut report = |family: Family, result| {
            left = left.without(family);
            answered(family, result);
        };
        {
            let work = pin!(self.search(host, families, &mut report));
            select(work, P::Timer::delay_for(self.timeout)).await;
        }
        for family in left.iter() {
            answered(family, Err(Failure::TimedOut));
        }
    }

    async fn search(
        &self,
        host: &str,
        families: Families,
        report: &mut impl FnMut(Family, Result<Answer, Failure>),
    ) {
        let mut asked = families;
        for family in families.iter() {
            if let Some(result) = self.without_asking(host, family) {
                asked = asked.without(family);
                report(family, result);
            }
        }
        if asked.is_empty() {
            return;
        }
        let candidates = self.conf.candidates(host);
        let servers = Servers::new(&self.conf, self.timeout, &self.context, &self.provider);
        let known = self.known(host);
        let mut failures = Failures::default();
        for (place, name) in candidates.iter().enumerate() {
            let mut report = |family, result: Result<Answer, Failure>| {
                if candidates.len() > 1 && result.is_ok() {
                    self.remember(host, place);
                }
                report(family, result);
            };
            let rest = self.timeout.checked_div(PARTS).unwrap_or(self.timeout);
            if ask_both(&servers, name, asked, rest, &mut failures, &mut report).await {
                return;
            }
            // Another name's address is worse than none if this is the one that is meant.
            if failures.nobody_there || (failures.unsure && known == Some(place)) {
                break;
            }
        }
        for family in asked.iter() {
            report(family, Err(failures.of(family)));
        }
    }

    /// What needs no question.
    fn without_asking(&self, host: &str, family: Family) -> Option<Result<Answer, Failure>> {
        let answer = |addresses| Answer { addresses, ttl_s: 0 };
        if let Some(listed) = self.hosts.lookup(host, family) {
            return Some(listed.map(answer));
        }
        if host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case(LOCALHOST) {
            let address: IpAddr = match family {
                Family::V4 => Ipv4Addr::LOCALHOST.into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            };
            return Some(Ok(answer(vec![address])));
        }
        (family == Family::V6 && self.conf.no_aaaa).then_some(Err(Failure::NoData))
    }

    fn known(&self, host: &str) -> Option<usize> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied()
    }

    fn remember(&self, host: &str, place: usize) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = known.get_mut(host) {
            *before = place;
        } else if known.len() < MAX_KNOWN {
            known.insert(host.into(), place);
        }
    }
}

/// Asks for all `families` of one name at once. If one has addresses, the name is the one that is
/// meant: each result is reported as it comes, those that don't come within `rest` are left out, and
/// nothing else need be tried.
async fn ask_both<P: RuntimeProvider>(
    servers: &Servers<'_, P>,
    name: &Name,
    families: Families,
    rest: Duration,
    failures: &mut Failures,
    report: &mut impl FnMut(Family, Result<Answer, Failure>),
) -> bool {
    let ask = |family| async move { (family, servers.addresses(name, family).await) };
    let mut questions: FuturesUnordered<_> = families.iter().map(ask).collect();
    let mut found = None;
    let mut held = Vec::new();
    while let Some((family, result)) = match &mut found {
        None => questions.next().await,
        Some(over) => match select(questions.next(), over).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => None,
        },
    } {
        match result {
            Err(failure) if found.is_none() => held.push((family, failure)),
            result => {
                found.get_or_insert_with(|| P::Timer::delay_for(rest));
                report(family, result);
                for (family, failure) in held.drain(..) {
                    report(family, Err(failure));
                }
            }
        }
    }
    failures.unsure = held.iter().any(|(_, failure)| !failure.is_negative());
    for (family, failure) in held {
        failures.note(family, failure);
    }
    found.is_some()
}

/// Why none of the names so far had an address.
#[derive(Default)]
struct Failures {
    v4: Option<Failure>,
    v6: Option<Failure>,
    /// The last name may exist all the same.
    unsure: bool,
    /// It is not about the name: the next would fail alike.
    nobody_there: bool,
}

impl Failures {
    fn note(&mut self, family: Family, failure: Failure) {
        self.nobody_there |=
            matches!(failure, Failure::TimedOut | Failure::Unreachable | Failure::Unavailable);
        let noted = match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        };
        // That a name does not exist is said only if no name could be it (as in res_search(3)).
        let weight = |failure: Failure| (!failure.is_negative(), failure == Failure::NoData);
        if noted.is_none_or(|noted| weight(failure) > weight(noted)) {
            *noted = Some(failure);
        }
    }

    /// Of no candidate at all: it is no name.
    fn of(&self, family: Family) -> Failure {
        let noted = match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        };
        noted.unwrap_or(Failure::Malformed)
    }
}
