//! From the name that was asked for along its aliases to addresses, through one answer.
//!
//! Only records whose owner is on that way count, and only those of the answer section: whatever
//! else a server sends is about names that nobody asked for (RFC 2181, section 5.4.1).

use std::net::IpAddr;

use hickory_resolver::proto::op::{DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record};

use crate::{Answer, Failure};

use super::question;

/// Records of one answer that are looked at. 64 addresses are kept of a name.
const MAX_RECORDS: usize = 256;
/// Aliases that are followed in one answer.
const MAX_ALIASES: usize = 16;

/// Where an answer ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// At addresses.
    End(Answer),
    /// At a name that it says nothing about.
    Alias {
        /// The name to ask for next.
        target: Name,
        /// The least time to live on the way there, seconds.
        ttl_s: u32,
    },
}

/// Reads the answer to `query`.
pub(super) fn follow(response: &DnsResponse, query: &Query) -> Result<Link, Failure> {
    // hickory compares the question over UDP, but not over TCP.
    if response.queries.as_slice() != [query.clone()] {
        return Err(Failure::Malformed);
    }
    // With aliases, an NXDOMAIN is about the last of them (RFC 2308, section 2.1).
    if response.response_code != ResponseCode::NoError {
        return Err(question::code(response.response_code));
    }
    let records = response.answers.get(..MAX_RECORDS).unwrap_or(&response.answers);
    let mut name = query.name();
    let mut ttl_s = u32::MAX;
    for _ in 0..=MAX_ALIASES {
        let owned = || records.iter().filter(|record| record.name == *name);
        if let Some(answer) = addresses(owned(), query, ttl_s) {
            return Ok(Link::End(answer));
        }
        let Some((target, alias_ttl_s)) = owned().find_map(alias) else {
            return end(response, query, name, ttl_s);
        };
        name = target;
        ttl_s = ttl_s.min(alias_ttl_s);
    }
    Err(Failure::Malformed)
}

/// The way ends at `name`, without an address.
fn end(response: &DnsResponse, query: &Query, name: &Name, ttl_s: u32) -> Result<Link, Failure> {
    // The server has been there itself and found nothing of this type (RFC 2308, section 2.2).
    if name == query.name() || response.soa().is_some() {
        return Err(Failure::NoData);
    }
    Ok(Link::Alias { target: name.clone(), ttl_s })
}

fn addresses<'a>(
    records: impl Iterator<Item = &'a Record>,
    query: &Query,
    mut ttl_s: u32,
) -> Option<Answer> {
    let mut addresses = Vec::new();
    for record in records.filter(|record| record.record_type() == query.query_type()) {
        if let Some(address) = address(&record.data) {
            addresses.push(address);
            ttl_s = ttl_s.min(lifetime(record));
        }
    }
    (!addresses.is_empty()).then_some(Answer { addresses, ttl_s })
}

#[allow(clippy::wildcard_enum_match_arm, reason = "there are dozens of types of records")]
const fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

fn alias(record: &Record) -> Option<(&Name, u32)> {
    if let RData::CNAME(CNAME(target)) = &record.data {
        return Some((target, lifetime(record)));
    }
    None
}

/// A time to live with the highest bit set is none (RFC 2181, section 8).
fn lifetime(record: &Record) -> u32 {
    i32::try_from(record.ttl).map_or(0, i32::unsigned_abs)
}
