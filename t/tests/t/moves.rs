//! Hosts behind names that move, as the tests of re-resolution need them.

use std::time::Duration;

use nginx_test::dns::{Dns, Zone};
use nginx_test::{Backend, Host, Nginx, Port, Running, Seen, Step, wait};

/// A name server, and a port that all hosts share. Of the names, nginx finds `app.test` at
/// 127.0.0.2, `other.test` at 127.0.0.4 and `many.test` at 127.0.0.2, 127.0.0.4 and 127.0.0.5 when
/// it starts; DNS says the same.
pub(crate) struct Moves {
    pub(crate) dns: Dns,
    pub(crate) port: Port,
}

const APP: (&str, &[u8]) = ("app.test", &[2]);
const OTHER: (&str, &[u8]) = ("other.test", &[4]);
const MANY: (&str, &[u8]) = ("many.test", &[2, 4, 5]);

impl Moves {
    pub(crate) fn new() -> Self {
        let moves = Self { dns: Dns::start(), port: Port::reserve() };
        for (name, hosts) in [APP, OTHER, MANY] {
            moves.to(name, hosts);
        }
        moves
    }

    /// The host 127.0.0.`number` serves, and answers with that number.
    pub(crate) fn host(&self, number: u8) -> Host {
        Host::start(self.port.at([127, 0, 0, number]), &number.to_string())
    }

    /// What the host plays that is no [`Host`].
    pub(crate) fn backend(&self, number: u8, steps: impl Into<Vec<Step>>) -> Backend {
        let place = nginx_test::Place::At(self.port.at([127, 0, 0, number]));
        Backend::at(place).script(steps)
    }

    /// From now on, DNS says that the name is at these hosts.
    pub(crate) fn to(&self, name: &str, hosts: &[u8]) {
        let addresses = hosts.iter().map(|number| format!("127.0.0.{number}"));
        self.dns.set(name, Zone::addresses(addresses));
    }

    /// Waits until a name may be asked for again: with `min=1ms` that is so at once, but for the
    /// millisecond that the last answer came in.
    pub(crate) fn pause(&self) {
        let least = Duration::from_millis(5);
        let pause = || {
            let last = self.dns.questions().last().map(|question| question.at);
            last.is_none_or(|last| last.elapsed() > least).then_some(())
        };
        wait::until("some milliseconds without a question", pause);
    }

    /// The address of a host, as nginx writes it.
    pub(crate) fn address(&self, number: u8) -> String {
        self.port.at([127, 0, 0, number]).to_string()
    }

    /// The argument of `server` for a name.
    pub(crate) fn server(&self, name: &str) -> String {
        format!("{name}:{}", self.port)
    }

    /// nginx with this in its `http` block, which asks the name server at any failure.
    pub(crate) fn http(&self, http: &str) -> Nginx {
        let entries = [APP, OTHER, MANY].into_iter().flat_map(|(name, hosts)| {
            hosts.iter().map(move |number| (format!("127.0.0.{number}"), name))
        });
        let entries: Vec<(String, &str)> = entries.collect();
        let entries: Vec<(&str, &str)> =
            entries.iter().map(|(address, name)| (address.as_str(), *name)).collect();
        Nginx::http(&format!("upstream_diagnosis_resolver %dns%; {http}"))
            .set("dns", &self.dns)
            .set("port", &self.port)
            .hosts(&entries)
    }

    /// With these directives in its one `upstream` block, before a location `/`. Names are asked for
    /// after failures. Clients say their own address in X-Forwarded-For, if they like.
    pub(crate) fn upstream(&self, block: &str) -> Nginx {
        self.upstream_with(block, "")
    }

    /// The same, with more in the location.
    pub(crate) fn upstream_with(&self, block: &str, more: &str) -> Nginx {
        self.resolving("failure min=1ms", block).set("more", more)
    }

    /// The same, but all names are asked for all the time.
    pub(crate) fn watching(&self, block: &str) -> Nginx {
        self.resolving("ttl min=20ms max=20ms", block).set("more", "")
    }

    fn resolving(&self, resolve: &str, block: &str) -> Nginx {
        self.http(
            "upstream_diagnosis_resolve %resolve%;
             set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;
             upstream backend { %block% }
             server { listen %listen%; location / {
                 proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';
                 %more%
             } }",
        )
        .set("resolve", resolve)
        .set("block", block)
    }
}

/// One request, which must have been answered by that host.
pub(crate) fn reached(nginx: &Running, host: u8) -> Seen {
    reached_at(nginx, "/", host)
}

/// The same for another path.
pub(crate) fn reached_at(nginx: &Running, path: &str, host: u8) -> Seen {
    let seen = nginx.fetch(path);
    let answer = (seen.reply.status, seen.reply.text());
    assert_eq!(answer, (200, host.to_string()), "{} {}", seen.reply, seen.line.fields);
    seen
}

/// Requests until that host answers one; all of them must be answered by somebody.
pub(crate) fn until_reached(nginx: &Running, path: &str, host: u8) {
    wait::until(&format!("an answer of host {host}"), || {
        let seen = nginx.fetch(path);
        assert_eq!(seen.reply.status, 200, "{} {}", seen.reply, seen.line.fields);
        (seen.reply.text() == host.to_string()).then_some(())
    });
}

/// Waits until the host has read that many requests.
pub(crate) fn wait_for_requests(host: &Host, count: usize) {
    wait::until(&format!("{count} requests at {host}"), || {
        (host.requests() >= count).then_some(())
    });
}
