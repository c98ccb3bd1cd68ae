//! The vocabulary of a verdict: phases, and what the project knows about a cause.

/// Where in an attempt's life it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the name.
    Resolve,
    /// Choosing a peer.
    Select,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Sending the request.
    Send,
    /// Waiting for, or reading, the response header.
    Header,
    /// Reading the response body.
    Body,
    /// On this machine, before or beside the upstream.
    Local,
    /// The client.
    Client,
}

impl Phase {
    /// As written in the header and in JSON.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Select => "select",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Send => "send",
            Self::Header => "header",
            Self::Body => "body",
            Self::Local => "local",
            Self::Client => "client",
        }
    }
}

/// How a cause is known to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provoked {
    /// A test against a real nginx, `topic::name`.
    Test(&'static str),
    /// Only the corpus has it, and this is why.
    Corpus(&'static str),
}

/// What the project knows about one cause.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// As written in the header and in JSON.
    pub token: &'static str,
    /// The phase it usually comes in.
    pub phase: Phase,
    /// RFC 9209 proxy error type.
    pub error_type: Option<&'static str>,
    /// RFC 9209 `rcode` of a DNS error.
    pub rcode: Option<&'static str>,
    /// What happened, in one line.
    pub meaning: &'static str,
    /// Why it usually happens.
    pub reason: &'static str,
    /// What to do, with holes that [`crate::advice`] fills.
    pub advice: Advice,
    /// Steps of the 502 checklist that it answers.
    pub step: &'static [u8],
    /// How it is tested.
    pub provoked: Provoked,
}

/// A sentence with holes.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// What comes before the first hole.
    pub first: &'static str,
    /// Each hole, and the words after it.
    pub rest: &'static [(Hole, &'static str)],
}

/// What an attempt puts into its advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// The address; without one the server, the upstream.
    Peer,
    /// The upstream's name; without one the server, the address.
    Upstream,
    /// The first word of the protocol's directives, as in `proxy_pass`.
    Prefix,
    /// The directive that set the limit, and its value.
    Limit,
    /// The directive alone.
    Directive,
    /// The system's error by name.
    Errno,
    /// The upstream's own status.
    Status,
    /// The TLS alert, number and name.
    Alert,
    /// The HTTP/2 error code, number and name.
    Code,
}

impl Hole {
    /// What stands for it where no attempt fills it, as in the documentation.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::Peer => "ADDRESS",
            Self::Upstream => "UPSTREAM",
            Self::Prefix => "proxy",
            Self::Limit => "DIRECTIVE=VALUE",
            Self::Directive => "DIRECTIVE",
            Self::Errno => "ERRNO",
            Self::Status => "STATUS",
            Self::Alert => "NUMBER",
            Self::Code => "error CODE",
        }
    }
}
