//! Why a question has no addresses for an answer.

/// How a lookup of one family failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The name does not exist: NXDOMAIN (RFC 2308, section 2.1).
    NotFound,
    /// The name exists and has no address of this family (RFC 2308, section 2.2).
    NoData,
    /// SERVFAIL.
    ServerFailure,
    /// REFUSED.
    Refused,
    /// FORMERR: the server did not understand the question.
    FormatError,
    /// NOTIMP.
    NotImplemented,
    /// Nobody answered in time.
    TimedOut,
    /// What came is no answer to the question: garbage, a loop, addresses that cannot be meant.
    Malformed,
    /// No server was reached: nothing listens there, no route leads there, or no socket could be had.
    Unreachable,
    /// Nobody was asked: the caller gave up before, or there is no server to ask.
    Unavailable,
    /// Another response code, or a fault of ours.
    Other,
}

impl Failure {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::NotFound,
        Self::NoData,
        Self::ServerFailure,
        Self::Refused,
        Self::FormatError,
        Self::NotImplemented,
        Self::TimedOut,
        Self::Malformed,
        Self::Unreachable,
        Self::Unavailable,
        Self::Other,
    ];

    /// The word in a log.
    pub const fn token(self) -> &'static str {
        match self {
            Self::NotFound => "nxdomain",
            Self::NoData => "no_data",
            Self::ServerFailure => "servfail",
            Self::Refused => "refused",
            Self::FormatError => "formerr",
            Self::NotImplemented => "notimp",
            Self::TimedOut => "timeout",
            Self::Malformed => "invalid",
            Self::Unreachable => "unreachable",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }

    /// Whether it says something about the name: that there is nothing. The others say something
    /// about who was asked.
    pub const fn is_negative(self) -> bool {
        match self {
            Self::NotFound | Self::NoData => true,
            Self::ServerFailure
            | Self::Refused
            | Self::FormatError
            | Self::NotImplemented
            | Self::TimedOut
            | Self::Malformed
            | Self::Unreachable
            | Self::Unavailable
            | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_plain_words_and_differ() {
        let mut tokens: Vec<_> = Failure::ALL.iter().map(|failure| failure.token()).collect();
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(tokens.iter().all(|token| token.chars().all(plain)));
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), Failure::ALL.len());
    }
}
