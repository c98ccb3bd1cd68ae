//! A host that has moved, which is what tests of re-resolution begin with.

use std::fmt::Display;
use std::net::SocketAddr;

use nginx_test::dns::{Dns, Kind, Question, Zone};
use nginx_test::{Host, Nginx, Port, Running, Seen, env, wait};

/// `app.test` is 127.0.0.2 when nginx starts, where nobody listens. DNS says 127.0.0.3, and `new`
/// serves there.
pub(crate) struct Moved {
    pub(crate) dns: Dns,
    pub(crate) port: Port,
    pub(crate) new: Host,
}

impl Moved {
    pub(crate) fn start() -> Self {
        let (dns, port) = (Dns::start(), Port::reserve());
        let new = Host::start(port.at([127, 0, 0, 3]), "new");
        dns.set("app.test", Zone::addresses(["127.0.0.3"]));
        Self { dns, port, new }
    }

    /// Put more into `%resolve%` (the arguments of the directive), `%block%`, `%server%`,
    /// `%location%` and `%beside%` (the upstream block).
    pub(crate) fn nginx(&self) -> Nginx {
        behind(&self.dns, &self.port)
    }

    pub(crate) fn then(&self) -> SocketAddr {
        self.port.at([127, 0, 0, 2])
    }

    pub(crate) fn now(&self) -> SocketAddr {
        self.port.at([127, 0, 0, 3])
    }

    /// The value of `$upstream_addr` when both were tried.
    pub(crate) fn both(&self) -> String {
        format!("{}, {}", self.then(), self.now())
    }

    /// A question of each family was asked, that many times.
    pub(crate) fn asked(&self, times: usize) {
        self.wait_until_asked(times);
        let asked = [Kind::A, Kind::Aaaa].map(|kind| rounds(&self.dns, "app.test", kind));
        assert!(asked == [times; 2] || is_more(asked, times), "{:?}", self.dns.questions());
    }

    /// Waits until so many requests have failed at the old address, and wait for DNS since.
    pub(crate) fn wait_until_failed(&self, nginx: &Running, count: usize) {
        let at = format!("upstream: \"http://{}/", self.then());
        wait::until(&format!("{count} requests to fail"), || {
            (nginx.error_log().matches(&at).count() >= count).then_some(())
        });
    }

    /// Waits until a question of each family was asked, that many times.
    pub(crate) fn wait_until_asked(&self, rounds: usize) {
        for kind in [Kind::A, Kind::Aaaa] {
            self.dns.wait_for("app.test", kind, rounds);
        }
    }
}

/// How often a name and type were asked for. A question that waits for its answer is repeated a
/// third of a second later, and the next one is not asked before three quarters of one.
pub(crate) fn rounds(dns: &Dns, name: &str, kind: Kind) -> usize {
    let questions = dns.questions();
    let of_kind = |asked: &&Question| asked.name == name && asked.kind == kind;
    let times: Vec<_> = questions.iter().filter(of_kind).map(|asked| asked.at).collect();
    // Where nothing is in time, a repetition cannot be told from the next question.
    if env::valgrind() {
        return times.len();
    }
    let repeated = times
        .windows(2)
        .filter(|two| (300..700).contains(&two[1].saturating_duration_since(two[0]).as_millis()));
    times.len() - repeated.count()
}

/// Under valgrind nothing is in time.
fn is_more(asked: [usize; 2], times: usize) -> bool {
    env::valgrind() && asked.into_iter().all(|asked| asked >= times)
}

/// The same without a host or an answer.
pub(crate) fn behind(dns: &dyn Display, port: &Port) -> Nginx {
    Nginx::http(
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve %resolve%; %beside%
         upstream backend { server app.test:%port%; %block% }
         server { listen %listen%; lingering_close off; %server%
             location / { proxy_pass http://backend; %location% } }",
    )
    .set("dns", dns)
    .set("port", port)
    .set("resolve", "failure")
    .set("beside", "")
    .set("block", "")
    .set("server", "")
    .set("location", "")
    .hosts(&[("127.0.0.2", "app.test")])
}

/// One request, which the host of that name must have answered.
pub(crate) fn answered(nginx: &Running, host: &str) -> Seen {
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, host), "{}", seen.reply);
    seen
}

/// Sends requests until the host of that name answers one.
pub(crate) fn until_answered(nginx: &Running, host: &str) -> Seen {
    wait::until(&format!("an answer of {host}"), || {
        let seen = nginx.fetch("/");
        (seen.reply.status == 200 && seen.reply.text() == host).then_some(seen)
    })
}

/// A member of the attempt's `resolution`; null without one.
pub(crate) fn resolution<'a>(seen: &'a Seen, member: &str) -> &'a serde_json::Value {
    &seen.diagnosis().raw["attempts"][0]["resolution"][member]
}
