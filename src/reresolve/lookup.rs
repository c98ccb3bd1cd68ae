//! What DNS says of a failed attempt, for the record.

use std::net::IpAddr;

use diagnosis::{Addresses, Dns, Resolution, Used};

use super::{NameId, Reresolve};
use crate::ffi::{UpstreamId, cycle};

/// A failed attempt of which DNS may have more to say.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    /// The name of the server; `None` for one that was configured by its address.
    pub(crate) name: Option<NameId>,
    pub(crate) tried: Option<IpAddr>,
    /// Where the request's own way through the addresses is to be found.
    pub(crate) upstream: UpstreamId,
}

impl Reresolve {
    /// What is known by now, and whether no more is to be expected.
    pub(crate) fn resolution(&self, lookup: &Lookup) -> (Resolution, bool) {
        let Some(id) = lookup.name else {
            return (Resolution { dns: Dns::Literal, ..Resolution::default() }, true);
        };
        let names = self.names.borrow();
        let Some(name) = names.name(id) else { return (Resolution::default(), true) };
        let now = cycle::now_ms();
        let dns = lookup.tried.map_or(Dns::Unknown, |ip| verdict(name.set.verdict(now, ip)));
        let is_final = !name.set.in_flight();
        let (waited_ms, used) = lookup.upstream.way();
        let used = match (used, dns) {
            (Some(address), Dns::Stale | Dns::Fresh) => Some(Used::ThisRequest(address)),
            (_, Dns::Stale) => Some(Used::LaterRequests),
            (_, Dns::Fresh | Dns::Unresolved) if is_final => Some(Used::Nothing),
            (_, _) => None,
        };
        let answered = name.set.has_answer();
        let resolution = Resolution {
            dns,
            name: name.host.as_bytes().to_vec(),
            configured: Addresses::from(name.configured.as_slice()),
            current: Addresses::from(if answered { name.set.addresses() } else { &[] }),
            age_ms: name.set.age_ms(now),
            ttl_s: name.set.ttl_s(),
            error: name.set.last_failure().map(resolver::Failure::token),
            waited_ms,
            used,
        };
        (resolution, is_final)
    }
}

fn verdict(dns: resolver::Dns) -> Dns {
    match dns {
        resolver::Dns::Fresh => Dns::Fresh,
        resolver::Dns::Stale => Dns::Stale,
        resolver::Dns::Unresolved => Dns::Unresolved,
        resolver::Dns::Unknown => Dns::Unknown,
    }
}
