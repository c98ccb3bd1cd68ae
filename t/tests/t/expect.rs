//! What most tests assert about a failed attempt.

use nginx_test::diagnosis::Attempt;
use nginx_test::{Member, Seen};

/// The contract's parameters, in its order.
pub(crate) const PARAMETERS: [&str; 16] = [
    "phase",
    "upstream",
    "server",
    "address",
    "errno",
    "ms",
    "status",
    "reused",
    "retried",
    "limit",
    "hint",
    "dns",
    "fd-free",
    "fd-limit",
    "conn-free",
    "conn-limit",
];

/// What one failed attempt has to say; what is not set must be absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failure<'a> {
    pub(crate) cause: &'a str,
    pub(crate) phase: &'a str,
    pub(crate) upstream: &'a str,
    pub(crate) server: &'a str,
    pub(crate) address: &'a str,
    pub(crate) errno: &'a str,
    pub(crate) limit: &'a str,
    /// The upstream's own status; 0 is absent.
    pub(crate) status: u64,
    pub(crate) reused: bool,
    pub(crate) retried: bool,
    /// Text that nginx's message contains.
    pub(crate) message: &'a str,
}

impl<'a> Failure<'a> {
    /// A failure of an upstream block called `backend` whose only server is this address.
    pub(crate) fn of(address: &'a str, cause: &'a str, phase: &'a str) -> Self {
        Self { cause, phase, upstream: "backend", server: address, address, ..Self::default() }
    }

    /// Holds a member of the header against this.
    pub(crate) fn is(&self, member: &Member) {
        assert_eq!(member.name, self.cause, "cause of {member:?}");
        assert_eq!(member.token("phase"), Some(self.phase), "phase of {member:?}");
        assert_eq!(member.string("upstream"), some(self.upstream), "upstream of {member:?}");
        assert_eq!(member.string("server"), some(self.server), "server of {member:?}");
        assert_eq!(member.string("address"), some(self.address), "address of {member:?}");
        assert_eq!(member.token("errno"), some(self.errno), "errno of {member:?}");
        assert_eq!(member.string("limit"), some(self.limit), "limit of {member:?}");
        let status = (self.status > 0).then_some(self.status as i64);
        assert_eq!(member.integer("status"), status, "status of {member:?}");
        assert_eq!(member.is("reused"), self.reused, "reused of {member:?}");
        assert_eq!(member.is("retried"), self.retried, "retried of {member:?}");
        self.in_order(member);
    }

    /// Holds an attempt of the JSON against this.
    pub(crate) fn is_in_json(&self, attempt: &Attempt) {
        assert_eq!(attempt.cause, self.cause, "cause of {attempt:?}");
        assert_eq!(attempt.phase, self.phase, "phase of {attempt:?}");
        assert_eq!(attempt.text("server"), some(self.server), "server of {attempt:?}");
        assert_eq!(attempt.text("address"), some(self.address), "address of {attempt:?}");
        assert_eq!(attempt.text("errno"), some(self.errno), "errno of {attempt:?}");
        assert_eq!(attempt.text("limit"), some(self.limit), "limit of {attempt:?}");
        let status = (self.status > 0).then_some(self.status);
        assert_eq!(attempt.number("status"), status, "status of {attempt:?}");
        assert_eq!(attempt.flag("reused"), self.reused, "reused of {attempt:?}");
        assert_eq!(attempt.flag("retried"), self.retried, "retried of {attempt:?}");
        let message = attempt.text("message").unwrap_or("");
        assert!(message.contains(self.message), "message of {attempt:?}");
        assert!(!message.contains(", client:"), "context in the message of {attempt:?}");
    }

    /// The contract's order of parameters, and nothing that does not belong.
    fn in_order(&self, member: &Member) {
        let names = member.names();
        let expected: Vec<&str> =
            PARAMETERS.into_iter().filter(|name| names.contains(name)).collect();
        assert_eq!(names, expected, "order of {member:?}");
        for name in ["fd-free", "fd-limit", "conn-free", "conn-limit"] {
            assert!(names.contains(&name), "no {name} in {member:?}");
        }
    }
}

/// The request ended like this: the client's status, the outcome, and these failures in the header
/// and in the log.
pub(crate) fn ended(seen: &Seen, status: u16, outcome: &str, failures: &[Failure]) {
    assert_eq!(seen.reply.status, status, "status of {}", seen.reply);
    let members = seen.reply.members();
    assert_eq!(members.len(), failures.len(), "members in {}", seen.reply);
    for (failure, member) in failures.iter().zip(&members) {
        failure.is(member);
    }
    logged(seen, status, outcome, failures);
}

/// The same for the log alone, when the header went out before the failure.
pub(crate) fn logged(seen: &Seen, status: u16, outcome: &str, failures: &[Failure]) {
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.outcome, outcome, "outcome of {}", diagnosis.raw);
    assert_eq!(diagnosis.status, u64::from(status), "status of {}", diagnosis.raw);
    let upstream = failures.last().map_or("", |failure| failure.upstream);
    assert_eq!(diagnosis.raw["upstream"].as_str(), some(upstream), "in {}", diagnosis.raw);
    assert_eq!(diagnosis.attempts.len(), failures.len(), "attempts in {}", diagnosis.raw);
    for (failure, attempt) in failures.iter().zip(&diagnosis.attempts) {
        failure.is_in_json(attempt);
    }
}

/// Nothing failed, and nothing says otherwise.
pub(crate) fn nothing(seen: &Seen) {
    assert!(seen.reply.header("X-Upstream-Diagnosis").is_none(), "{}", seen.reply);
    assert!(seen.line.diagnosis.is_none(), "{:?}", seen.line);
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
