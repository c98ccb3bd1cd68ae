//! IPv4 and IPv6, which are asked for and kept separately.

use std::net::IpAddr;

/// What kind of address a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A records (RFC 1035, section 3.4.1).
    V4,
    /// AAAA records (RFC 3596).
    V6,
}

impl Family {
    /// Both, in the order in which they are asked.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Which of them to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// A records.
    pub v4: bool,
    /// AAAA records.
    pub v6: bool,
}

impl Families {
    /// Both.
    pub const BOTH: Self = Self { v4: true, v6: true };
    /// None of them.
    pub const NONE: Self = Self { v4: false, v6: false };

    /// Whether `family` is one of them.
    pub const fn has(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        !self.v4 && !self.v6
    }

    /// Each that is in.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.has(*family))
    }

    /// The same without `family`.
    #[must_use]
    pub const fn without(self, family: Family) -> Self {
        match family {
            Family::V4 => Self { v4: false, v6: self.v6 },
            Family::V6 => Self { v4: self.v4, v6: false },
        }
    }
}
