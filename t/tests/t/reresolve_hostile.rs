//! Name servers that lie, err, or say nothing: the last good addresses stay, nobody crashes.

use std::net::Ipv4Addr;

use nginx_test::Running;
use nginx_test::dns::Zone;

use crate::moved::{Moved, answered, resolution, until_answered};

/// A name that DNS has answered once, and that it then answers in another way. The old address
/// comes from DNS, not from the configuration.
struct Answered {
    moved: Moved,
    nginx: Running,
}

impl Answered {
    fn start() -> Self {
        let moved = Moved::start();
        let nginx = moved.nginx().set("resolve", RESOLVE).start();
        answered(&nginx, "new");
        Self { moved, nginx }
    }

    /// The host goes, DNS says this, and the next request has to do with what there is.
    fn is_told(&self, what: &str, zone: Zone, error: &str) {
        let Self { moved, nginx } = self;
        moved.dns.set("app.test", zone);
        moved.new.kill();
        moved.dns.forget();
        // Until the shortest interval is over, nobody asks.
        let seen = nginx_test::wait::until("a question", || {
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{what}");
            (!moved.dns.questions().is_empty()).then_some(seen)
        });
        assert_eq!(seen.line.field("upstream_addr"), moved.now().to_string(), "{what}");
        assert_eq!(*resolution(&seen, "error"), error, "{what}");
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["127.0.0.3"]), "{what}");
        // The last good address still counts.
        moved.new.revive();
        until_answered(nginx, "new");
        moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
    }
}

const RESOLVE: &str = "failure min=10ms wait=20s timeout=300ms";

/// What is no answer to the question that was asked.
fn no_answers() -> Vec<(&'static str, Zone, &'static str)> {
    let lie = || Zone::addresses(["127.0.0.66", "::66"]);
    vec![
        ("wrong id", lie().wrong_id(), "timeout"),
        ("from another port", lie().from_another_port(), "timeout"),
        ("from another address", lie().from_another_address(), "timeout"),
        ("silence", Zone::silent(), "timeout"),
    ]
}

/// Answers that say nothing, each in its own way.
fn negative() -> Vec<(&'static str, Zone, &'static str)> {
    vec![
        ("NXDOMAIN", Zone::nxdomain().soa(1), "nxdomain"),
        ("no data", Zone::no_data(), "no_data"),
        ("SERVFAIL", Zone::servfail(), "servfail"),
        ("REFUSED", Zone::refused(), "refused"),
        ("FORMERR", Zone::code(1), "formerr"),
        ("NOTIMP", Zone::code(4), "notimp"),
        ("an unknown code", Zone::code(11), "other"),
    ]
}

/// Addresses that cannot be meant.
fn impossible() -> Vec<(&'static str, Zone, &'static str)> {
    let v4 = |address| Zone::addresses([address]);
    vec![
        ("no address", v4("0.0.0.0"), "invalid"),
        ("multicast", v4("224.0.0.1"), "invalid"),
        ("broadcast", v4("255.255.255.255"), "invalid"),
        ("no IPv6 address", Zone::addresses(["::"]), "invalid"),
        ("IPv6 multicast", Zone::addresses(["ff02::1"]), "invalid"),
    ]
}

#[test]
fn no_answer_to_the_question() {
    let answered = Answered::start();
    for (what, zone, error) in no_answers() {
        answered.is_told(what, zone, error);
    }
}

#[test]
fn answers_that_say_nothing() {
    let answered = Answered::start();
    for (what, zone, error) in negative() {
        answered.is_told(what, zone, error);
    }
}

#[test]
fn addresses_that_cannot_be_meant() {
    let answered = Answered::start();
    for (what, zone, error) in impossible() {
        answered.is_told(what, zone, error);
    }
}

/// Bytes that are no message, or that break off.
#[test]
fn garbage() {
    let answered = Answered::start();
    for (what, zone) in [
        ("nothing", Zone::garbage([])),
        ("one byte", Zone::garbage([0])),
        ("zeroes", Zone::garbage([0; 512])),
        ("ones", Zone::garbage([0xff; 4096])),
        ("a record that is none", Zone::broken([0xff; 40])),
        (
            "a record that ends early",
            Zone::broken(b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x7f".to_vec()),
        ),
        ("a name that points to itself", Zone::broken(b"\xc0\x1a\xc0\x1a".to_vec())),
        (
            "an address of five bytes",
            Zone::broken(b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x05\x7f\0\0\x42\0".to_vec()),
        ),
        ("another question", Zone::addresses(["127.0.0.66"]).wrong_question("evil.test")),
    ] {
        let Answered { moved, nginx } = &answered;
        moved.dns.set("app.test", zone);
        moved.new.kill();
        moved.dns.forget();
        nginx_test::wait::until("a question", || {
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{what}");
            let address = seen.line.field("upstream_addr");
            assert_eq!(address, moved.now().to_string(), "{what}");
            (!moved.dns.questions().is_empty()).then_some(())
        });
        moved.new.revive();
        until_answered(nginx, "new");
    }
}

/// The right answer comes after the wrong one, which changes nothing.
#[test]
fn a_lie_before_the_answer() {
    for lie in [
        Zone::addresses(["127.0.0.66"]).wrong_id(),
        Zone::addresses(["127.0.0.66"]).from_another_port(),
        Zone::addresses(["127.0.0.66"]).from_another_address(),
    ] {
        let moved = Moved::start();
        moved.dns.set("app.test", lie.then(Zone::addresses(["127.0.0.3"])));
        let nginx = moved.nginx().set("resolve", "failure wait=20s timeout=20s").start();
        let seen = answered(&nginx, "new");
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["127.0.0.3"]));
    }
}

#[test]
fn truncated() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).truncated());
    let nginx = moved.nginx().start();
    answered(&nginx, "new");
    assert!(moved.dns.questions().iter().any(|question| question.tcp));
    // Over TCP it is the same: no end of it, and no answer.
    let moved = Moved::start();
    let cut = Zone::addresses(["127.0.0.3"]).truncated();
    moved.dns.set("app.test", cut.over_tcp(Zone::silent()));
    let nginx = moved.nginx().set("resolve", RESOLVE).start();
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.member().token("dns")), (502, Some("unresolved")));
    assert!(moved.dns.questions().len() < 50, "{}", moved.dns.questions().len());
}

/// The same in one packet of 4 kB, of a server that does not care how much was asked for.
#[test]
fn a_packet_larger_than_asked_for() {
    let many = (0..250).map(|n| Ipv4Addr::new(127, 0, 3, n));
    let answered = Answered::start();
    answered.is_told("4 kB", Zone::addresses(many).whole(), "invalid");
}
