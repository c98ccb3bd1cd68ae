//! Name servers that lie, err, or say nothing: the last good addresses stay, nobody crashes.

use std::net::Ipv4Addr;

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Host, Nginx, Port, Running};

use crate::moved::{Moved, answered, behind, resolution, until_answered};

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

/// Nobody's name moves to this machine, or to this wire, from elsewhere: that is an attack on what
/// listens there. Where it has been there already, it may.
#[test]
fn loopback_where_none_was() {
    isolated(|network| {
        for address in ["203.0.113.2", "203.0.113.3"] {
            network.address(address);
        }
        let (dns, port) = (Dns::start(), Port::reserve());
        let inside = Host::start(port.at([127, 0, 0, 3]), "inside");
        let outside = Host::start(port.at([203, 0, 113, 3]), "outside");
        let nginx = || behind(&dns, &port).hosts(&[("203.0.113.2", "app.test")]).start();
        for wrong in ["127.0.0.3", "::1", "169.254.169.254", "fe80::1", "::ffff:127.0.0.3"] {
            dns.set("app.test", Zone::addresses([wrong]));
            let nginx = nginx();
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{wrong}");
            let then = port.at([203, 0, 113, 2]).to_string();
            assert_eq!(seen.line.field("upstream_addr"), then, "{wrong}");
            // Some have no route here.
            let error = resolution(&seen, "error").as_str();
            assert!(matches!(error, Some("invalid" | "no_data")), "{wrong}: {error:?}");
        }
        // The right ones among them are used.
        dns.set("app.test", Zone::addresses(["127.0.0.3", "203.0.113.3", "0.0.0.0"]));
        let nginx = nginx();
        let seen = answered(&nginx, "outside");
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["203.0.113.3"]));
        assert_eq!(inside.connections(), 0);
        drop(outside);
    });
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

/// Hundreds of addresses, too many for one packet over UDP: a bounded part is used.
#[test]
fn many_addresses() {
    let moved = Moved::start();
    let many: Vec<_> = (0..250).map(|n| Ipv4Addr::new(127, 0, 3, n)).collect();
    let hosts: Vec<_> =
        many.iter().map(|ip| Host::start(moved.port.at(*ip), "one of many")).collect();
    moved.dns.set("app.test", Zone::addresses(&many));
    let nginx = moved.nginx().start();
    let seen = answered(&nginx, "one of many");
    assert!(moved.dns.questions().iter().any(|question| question.tcp));
    assert_eq!(*resolution(&seen, "current_left_out"), 64 - 8);
    for _ in 0..70 {
        answered(&nginx, "one of many");
    }
    drop((nginx, hosts));
}

/// The same in one packet of 4 kB, of a server that does not care how much was asked for.
#[test]
fn a_packet_larger_than_asked_for() {
    let many = (0..250).map(|n| Ipv4Addr::new(127, 0, 3, n));
    let answered = Answered::start();
    answered.is_told("4 kB", Zone::addresses(many).whole(), "invalid");
}

/// What a lookup asks for is bounded whatever the answers are.
#[test]
fn aliases() {
    let moved = Moved::start();
    let dns = &moved.dns;
    let start = || moved.nginx().set("resolve", RESOLVE).start();
    // A chain, told in one answer, and one link at a time.
    dns.set("end.test", Zone::addresses(["127.0.0.3"]).ttl(7));
    dns.set("b.test", Zone::cname("end.test"));
    dns.set("a.test", Zone::cname("b.test"));
    dns.set("app.test", Zone::cname("a.test"));
    let seen = answered(&start(), "new");
    assert_eq!(*resolution(&seen, "ttl_s"), 7);
    for (name, target) in [("app.test", "a.test"), ("a.test", "b.test"), ("b.test", "end.test")] {
        dns.set(name, Zone::cname_only(target));
    }
    answered(&start(), "new");
    // No end of it.
    for looping in [Zone::cname, Zone::cname_only] {
        for ring in [&["app.test"][..], &["app.test", "a.test"], &["app.test", "a.test", "b.test"]]
        {
            for (name, next) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                dns.set(name, looping(next));
            }
            dns.forget();
            let nginx = start();
            assert_eq!(nginx.fetch("/").reply.status, 502);
            moved.dns.wait_for_questions(2);
            assert!(dns.questions().len() < 60, "{ring:?}: {}", dns.questions().len());
        }
    }
    for n in 0..40 {
        dns.set(&format!("n{n}.test"), Zone::cname_only(&format!("n{}.test", n + 1)));
    }
    dns.set("app.test", Zone::cname_only("n0.test"));
    dns.forget();
    assert_eq!(start().fetch("/").reply.status, 502);
    assert!(dns.questions().len() < 60, "{}", dns.questions().len());
}

/// Two names in one configuration: an answer about one says nothing about the other.
#[test]
fn strangers_poison_nobody() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let new = Host::start(port.at([127, 0, 0, 3]), "new");
    let evil = Host::start(port.at([127, 0, 0, 66]), "evil");
    let other = Host::start(port.at([127, 0, 0, 4]), "other");
    for zone in [
        Zone::addresses(["127.0.0.3"]).stranger("other.test", "127.0.0.66"),
        Zone::addresses(["127.0.0.3"]).additional("other.test", "127.0.0.66"),
        Zone::addresses(["127.0.0.3"])
            .stranger("app.test.evil", "127.0.0.66")
            .stranger("test", "127.0.0.66")
            .stranger("localhost", "127.0.0.66"),
    ] {
        dns.set("app.test", zone);
        dns.set("other.test", Zone::addresses(["127.0.0.4"]));
        let nginx = two_names(&dns, &port).start();
        answered(&nginx, "new");
        let seen = nginx.fetch("/other");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "other"));
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["127.0.0.4"]));
        assert_eq!(dns.asked("other.test", Kind::A), 1);
        dns.forget();
    }
    assert_eq!(evil.connections(), 0);
    drop((new, other));
}

fn two_names(dns: &Dns, port: &Port) -> Nginx {
    behind(dns, port)
        .set("beside", "upstream other { server other.test:%port%; }")
        .set("server", "location /other { proxy_pass http://other; }")
        .hosts(&[("127.0.0.2", "app.test"), ("127.0.0.5", "other.test")])
}

/// Only records of strangers: the name has no address.
#[test]
fn only_strangers() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::no_data().stranger("evil.test", "127.0.0.3"));
    let nginx = moved.nginx().start();
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.member().token("dns")), (502, Some("unresolved")));
    assert_eq!(*resolution(&seen, "error"), "no_data");
}

#[test]
fn times_to_live_of_all_lengths() {
    for ttl in [0, 1, 30, 2_147_483_647, 2_147_483_648, 4_294_967_295] {
        for mode in ["failure", "ttl"] {
            let moved = Moved::start();
            moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(ttl));
            let nginx = moved.nginx().set("resolve", mode).start();
            let seen = until_answered(&nginx, "new");
            if mode == "failure" {
                // With the highest bit it is none (RFC 2181, section 8).
                let told = if ttl > 2_147_483_647 { 0 } else { ttl };
                assert_eq!(*resolution(&seen, "ttl_s"), told);
            }
            for _ in 0..3 {
                answered(&nginx, "new");
            }
        }
    }
}
