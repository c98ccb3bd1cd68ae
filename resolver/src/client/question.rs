//! One question, put to one server after the other until one of them knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_resolver::config::{NameServerConfig, ResolverOpts};
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{NameServerPool, PoolContext};

use crate::runtime::{RuntimeProvider, Time};
use crate::system::Conf;
use crate::{Answer, Failure, Family};

use super::chain::{self, Link};

/// Questions that an alias may lead to, one after the other, beside what an answer itself follows.
const MAX_QUESTIONS: usize = 8;

/// hickory's options, where they are not what it would choose.
pub(super) fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // hickory would bind a port of its own choice: perhaps one that a server is about to listen on,
    // and one that SELinux lets no web server bind.
    options.os_port_selection = true;
    options
}

/// The servers, for one lookup: connections end with it.
pub(super) struct Servers<'a, P: RuntimeProvider> {
    pools: Vec<NameServerPool<P>>,
    /// The one that answered last is asked first.
    first: AtomicUsize,
    /// How long one may be silent until the next is asked too.
    patience: Duration,
    conf: &'a Conf,
}

impl<'a, P: RuntimeProvider> Servers<'a, P> {
    pub(super) fn new(
        conf: &'a Conf,
        timeout: Duration,
        context: &Arc<PoolContext>,
        provider: &P,
    ) -> Self {
        // A pool of one: hickory gives up at the first server that answers SERVFAIL.
        let pool = |server: &SocketAddr| {
            let config = [name_server(*server, conf.tcp)];
            NameServerPool::from_config(config, context.clone(), provider.clone())
        };
        let pools: Vec<_> = conf.servers.iter().map(pool).collect();
        let parts = u32::try_from(pools.len()).unwrap_or(u32::MAX).saturating_add(1);
        let patience = timeout.checked_div(parts).unwrap_or(timeout);
        Self { pools, first: AtomicUsize::new(0), patience, conf }
    }

    /// The addresses of `name`, at the end of whatever aliases it has.
    pub(super) async fn addresses(&self, name: &Name, family: Family) -> Result<Answer, Failure> {
        let mut name = name.clone();
        let mut least_ttl_s = u32::MAX;
        for _ in 0..MAX_QUESTIONS {
            let query = Query::query(name, record_type(family));
            match chain::follow(&self.ask(&query).await?, &query)? {
                Link::End(Answer { addresses, ttl_s }) => {
                    return Ok(Answer { addresses, ttl_s: ttl_s.min(least_ttl_s) });
                }
                Link::Alias { target, ttl_s } => {
                    name = target;
                    least_ttl_s = least_ttl_s.min(ttl_s);
                }
            }
        }
        Err(Failure::Malformed)
    }

    /// The first answer that says something about the name. A server that fails is followed by the
    /// next at once, one that is silent after a while, and its answer still counts.
    async fn ask(&self, query: &Query) -> Result<DnsResponse, Failure> {
        let mut pending = FuturesUnordered::new();
        let mut untried = self.order();
        let mut failure = None;
        loop {
            if let Some(place) = untried.next() {
                pending.push(async move { (place, self.ask_one(place, query).await) });
            } else if pending.is_empty() {
                return Err(failure.unwrap_or(Failure::Unavailable));
            }
            let answer = if untried.len() == 0 {
                pending.next().await
            } else {
                let patience = P::Timer::delay_for(self.patience);
                match select(pending.next(), patience).await {
                    Either::Left((answer, _)) => answer,
                    Either::Right(_) => None,
                }
            };
            let Some((place, result)) = answer else { continue };
            match result {
                Err(error) if !error.is_negative() => failure = Some(failure.unwrap_or(error)),
                said => {
                    self.first.store(place, Ordering::Relaxed);
                    return said;
                }
            }
        }
    }

    /// Each server once.
    fn order(&self) -> impl ExactSizeIterator<Item = usize> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.pools.len());
        (0..count).map(move |n| n.saturating_add(first).checked_rem(count).unwrap_or(0))
    }

    async fn ask_one(&self, place: usize, query: &Query) -> Result<DnsResponse, Failure> {
        let edns = self.conf.edns;
        match self.ask_once(place, query, edns).await {
            // It may know nothing of EDNS (RFC 6891, section 7).
            Err(Failure::FormatError | Failure::NotImplemented) if edns => {
                self.ask_once(place, query, false).await
            }
            result => result,
        }
    }

    async fn ask_once(
        &self,
        place: usize,
        query: &Query,
        edns: bool,
    ) -> Result<DnsResponse, Failure> {
        let pool = self.pools.get(place).ok_or(Failure::Unavailable)?;
        let mut options = DnsRequestOptions::default();
        options.use_edns = edns;
        let response = pool.lookup(query.clone(), options).first_answer().await;
        response.map_err(|error| failure(&error))
    }
}

fn name_server(server: SocketAddr, tcp: bool) -> NameServerConfig {
    let mut config = if tcp {
        NameServerConfig::tcp(server.ip())
    } else {
        NameServerConfig::udp_and_tcp(server.ip())
    };
    for connection in &mut config.connections {
        connection.port = server.port();
    }
    config
}

const fn record_type(family: Family) -> RecordType {
    match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    }
}

/// hickory's error in our words.
#[allow(clippy::wildcard_enum_match_arm, reason = "hickory's enums grow")]
fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            code(*response_code)
        }
        NetError::Dns(DnsError::ResponseCode(response_code)) => code(*response_code),
        NetError::Timeout => Failure::TimedOut,
        NetError::Proto(_) | NetError::Truncated | NetError::ForeignClassRecord { .. } => {
            Failure::Malformed
        }
        // hickory does not tell which of the two reasons it was.
        NetError::Io(_) | NetError::Busy | NetError::NoConnections => Failure::Unreachable,
        _ => Failure::Other,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "codes without a meaning for addresses")]
pub(super) const fn code(response_code: ResponseCode) -> Failure {
    match response_code {
        ResponseCode::NoError => Failure::NoData,
        ResponseCode::NXDomain => Failure::NotFound,
        ResponseCode::ServFail => Failure::ServerFailure,
        ResponseCode::Refused => Failure::Refused,
        ResponseCode::FormErr => Failure::FormatError,
        ResponseCode::NotImp => Failure::NotImplemented,
        _ => Failure::Other,
    }
}
