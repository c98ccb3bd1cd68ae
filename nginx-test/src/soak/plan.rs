//! What a flip is, and what DNS says of it.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::World;
use crate::Zone;

/// One flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Another host takes over, at an address that was never used.
    Move(News),
    /// Another host takes over, where the one before the last was.
    Back,
    /// The host is gone, and there is no other.
    Fail(NoNews),
}

/// How DNS says where the new host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Address,
    /// With a TTL of 0.
    Brief,
    /// Between two addresses where nobody is.
    Crowd,
    /// By another name.
    Alias,
    /// In an answer that only fits TCP.
    OverTcp,
    /// Questions about IPv6 fail.
    HalfBroken,
    /// A few milliseconds after the question.
    Later,
}

/// How DNS says nothing new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoNews {
    Same,
    NotFound,
    NoData,
    ServerFailure,
    Refused,
}

/// In turn; its length has no common divisor with that of the paths.
const PLANS: [Plan; 25] = [
    Plan::Move(News::Address),
    Plan::Move(News::Address),
    Plan::Fail(NoNews::Same),
    Plan::Move(News::Brief),
    Plan::Move(News::Crowd),
    Plan::Back,
    Plan::Move(News::Address),
    Plan::Fail(NoNews::NotFound),
    Plan::Move(News::Address),
    Plan::Move(News::Alias),
    Plan::Back,
    Plan::Move(News::Address),
    Plan::Move(News::OverTcp),
    Plan::Fail(NoNews::ServerFailure),
    Plan::Back,
    Plan::Move(News::Address),
    Plan::Fail(NoNews::Refused),
    Plan::Fail(NoNews::Same),
    Plan::Move(News::HalfBroken),
    Plan::Move(News::Address),
    Plan::Move(News::Later),
    Plan::Back,
    Plan::Fail(NoNews::NoData),
    Plan::Move(News::Crowd),
    Plan::Move(News::Address),
];

impl Plan {
    pub(super) fn of(number: usize) -> Self {
        PLANS[number % PLANS.len()]
    }

    /// How DNS tells of it.
    pub(super) fn news(self) -> News {
        match self {
            Self::Move(news) => news,
            Self::Back | Self::Fail(_) => News::Address,
        }
    }
}

impl News {
    /// Has the name server say it.
    pub(super) fn publish(self, world: &World, name: &str, at: Ipv4Addr) {
        let address = Zone::addresses([at]);
        let zone = match self {
            Self::Address => address,
            Self::Brief => address.ttl(0),
            Self::Crowd => {
                let [a, b, c, d] = at.octets();
                Zone::addresses([
                    Ipv4Addr::new(a, b ^ 128, c, d),
                    at,
                    Ipv4Addr::new(a, b ^ 64, c, d),
                ])
            }
            Self::Alias => {
                let alias = format!("alias.{name}");
                world.dns.set(&alias, address);
                Zone::cname(&alias)
            }
            Self::OverTcp => address.truncated(),
            Self::HalfBroken => address.v6(Zone::servfail()),
            Self::Later => address.after(Duration::from_millis(3)),
        };
        world.dns.set(name, zone);
    }
}

impl NoNews {
    pub(super) fn publish(self, world: &World, name: &str, at: Ipv4Addr) {
        let zone = match self {
            Self::Same => Zone::addresses([at]),
            Self::NotFound => Zone::nxdomain(),
            Self::NoData => Zone::no_data(),
            Self::ServerFailure => Zone::servfail(),
            Self::Refused => Zone::refused(),
        };
        world.dns.set(name, zone);
    }
}
