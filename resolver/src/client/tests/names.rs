//! Which names are asked for, and what is answered without a question.

use super::*;
use message::{A, AAAA, NXDOMAIN, SERVFAIL};

const CONF: &[u8] =
    b"nameserver 10.9.0.1\nsearch ns.svc.test svc.test wild.test\noptions ndots:5\n";
const HOSTS: &[u8] = b"127.0.0.1 localhost\n10.1.1.1 listed\nfd00::1 listed6 both\n10.1.1.2 both\n";
const V4: Families = Families { v4: true, v6: false };

fn system(conf: &[u8]) -> Client<Runtime> {
    Client::system(conf, HOSTS, TIMEOUT, Runtime)
}

/// A network that knows these names, and no others.
fn zone(names: &'static [(&str, &str)]) -> Network {
    Network::new(|asked| {
        let name = asked.name.to_ascii_lowercase();
        let mut own = names.iter().filter(|(owner, _)| *owner == name).peekable();
        if own.peek().is_none() {
            return Reply::at_once(asked.reply(NXDOMAIN, &[]));
        }
        let address = own.find(|(_, address)| address.contains(':') == (asked.kind == AAAA));
        Reply::at_once(match address {
            Some((_, "servfail")) => asked.reply(SERVFAIL, &[]),
            Some((_, "silent")) => return vec![],
            Some((_, address)) => asked.address(address, 30),
            None => asked.reply(0, &[]),
        })
    })
}

fn names(outcome: &Outcome) -> Vec<&str> {
    outcome.asked.iter().map(|asked| asked.name.as_str()).collect()
}

#[test]
fn hosts_come_first() {
    let net = zone(&[("listed.", "10.6.6.6")]);
    let client = system(CONF);
    for (host, v4, v6) in [
        ("listed", found(&["10.1.1.1"], 0), Some(Err(Failure::NoData))),
        ("Listed.", found(&["10.1.1.1"], 0), Some(Err(Failure::NoData))),
        ("listed6", Some(Err(Failure::NoData)), found(&["fd00::1"], 0)),
        ("both", found(&["10.1.1.2"], 0), found(&["fd00::1"], 0)),
        ("localhost", found(&["127.0.0.1"], 0), Some(Err(Failure::NoData))),
    ] {
        let outcome = look_up(&client, host, Families::BOTH, &net);
        assert_eq!((outcome.v4, outcome.v6), (v4, v6), "{host}");
        assert!(outcome.asked.is_empty());
    }
    let client = Client::system(CONF, b"", TIMEOUT, Runtime);
    let outcome = look_up(&client, "localhost", Families::BOTH, &net);
    assert_eq!((outcome.v4, outcome.v6), (found(&["127.0.0.1"], 0), found(&["::1"], 0)));
    assert!(outcome.asked.is_empty());
}

#[test]
fn short_names_are_searched_for() {
    let net = zone(&[("app.svc.test.", "10.0.0.1"), ("docker.", "10.0.0.2")]);
    for (conf, host, asked, address) in [
        (CONF, "app", &["app.ns.svc.test.", "app.svc.test."][..], Some("10.0.0.1")),
        (CONF, "App", &["App.ns.svc.test.", "App.svc.test."], Some("10.0.0.1")),
        (b"search svc.test\noptions ndots:0", "docker", &["docker."], Some("10.0.0.2")),
        (b"search svc.test", "docker.", &["docker."], Some("10.0.0.2")),
        (b"search svc.test", "docker", &["docker.svc.test.", "docker."], Some("10.0.0.2")),
        (b"search svc.test", "a.b", &["a.b.", "a.b.svc.test."], None),
        (b"", "docker", &["docker."], Some("10.0.0.2")),
    ] {
        let outcome = look_up(&system(conf), host, V4, &net);
        assert_eq!(names(&outcome), asked, "{host}");
        let wanted = address.map_or(Some(Err(Failure::NotFound)), |address| found(&[address], 30));
        assert_eq!(outcome.v4, wanted, "{host}");
    }
}

#[test]
fn both_families_are_of_the_same_name() {
    // The one that is meant has no IPv6 address, another has.
    let net = zone(&[("app.ns.svc.test.", "10.0.0.1"), ("app.wild.test.", "fd00::6")]);
    let outcome = look_up(&system(CONF), "app", Families::BOTH, &net);
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    assert_eq!(outcome.v6, Some(Err(Failure::NoData)));
    assert_eq!(names(&outcome), ["app.ns.svc.test."; 2]);
    let kinds: Vec<u16> = outcome.asked.iter().map(|asked| asked.kind).collect();
    assert_eq!(kinds, [A, AAAA]);
}

#[test]
fn a_family_does_not_wait_for_the_other() {
    let net = Network::new(|asked| match asked.kind {
        A => vec![Reply::after(3, asked.address("10.0.0.1", 30))],
        _ => vec![],
    });
    let outcome = look_up(&system(CONF), "app", Families::BOTH, &net);
    assert_eq!((outcome.v4, outcome.v4_ms), (found(&["10.0.0.1"], 30), 3));
    assert_eq!((outcome.v6, outcome.v6_ms), (Some(Err(Failure::TimedOut)), 503));
    // One that has none does not hurry it.
    let net = Network::new(|asked| match asked.kind {
        A => Reply::at_once(asked.reply(0, &[])),
        _ => vec![Reply::after(1500, asked.address("fd00::1", 30))],
    });
    let outcome = look_up(&system(b""), "app", Families::BOTH, &net);
    assert_eq!((outcome.v4, outcome.v4_ms), (Some(Err(Failure::NoData)), 1500));
    assert_eq!((outcome.v6, outcome.v6_ms), (found(&["fd00::1"], 30), 1500));
}

#[test]
fn a_failure_says_more_than_a_name_that_does_not_exist() {
    for (zone, wanted, asked) in [
        (zone(&[("app.ns.svc.test.", "servfail")]), Failure::ServerFailure, 4),
        (zone(&[("app.svc.test.", "fd00::1"), ("app.", "fd00::1")]), Failure::NoData, 4),
        (zone(&[]), Failure::NotFound, 4),
        // Each repeated, until the time is over.
        (zone(&[("app.ns.svc.test.", "silent")]), Failure::TimedOut, 3),
    ] {
        let outcome = look_up(&system(CONF), "app", V4, &zone);
        assert_eq!(outcome.v4, Some(Err(wanted)));
        assert_eq!(outcome.asked.len(), asked, "{wanted:?}");
    }
}

#[test]
fn a_name_that_fails_for_once_is_not_mistaken_for_another() {
    let client = system(CONF);
    let fine = zone(&[("app.ns.svc.test.", "10.0.0.1"), ("app.wild.test.", "10.6.6.6")]);
    let broken = zone(&[("app.ns.svc.test.", "servfail"), ("app.wild.test.", "10.6.6.6")]);
    // At first nobody knows better than the system's own lookup, which goes on.
    assert_eq!(look_up(&client, "app", V4, &broken).v4, found(&["10.6.6.6"], 30));
    assert_eq!(look_up(&client, "app", V4, &fine).v4, found(&["10.0.0.1"], 30));
    let outcome = look_up(&client, "app", V4, &broken);
    assert_eq!(outcome.v4, Some(Err(Failure::ServerFailure)));
    assert_eq!(names(&outcome), ["app.ns.svc.test."]);
}

#[test]
fn what_is_no_name_is_not_asked_for() {
    let net = zone(&[]);
    let long = "a".repeat(64);
    for host in ["", ".", "a..b", &long, &"abcdefg.".repeat(32)] {
        let outcome = look_up(&system(CONF), host, Families::BOTH, &net);
        assert_eq!(outcome.v4, Some(Err(Failure::Malformed)), "{host}");
        assert_eq!(outcome.v6, Some(Err(Failure::Malformed)), "{host}");
        assert!(outcome.asked.is_empty());
    }
    let outcome = look_up(&system(CONF), "app", Families::NONE, &net);
    assert_eq!((outcome.asked.len(), outcome.took_ms), (0, 0));
}

#[test]
fn options_of_resolv_conf() {
    let net = zone(&[("app.", "10.0.0.1"), ("app.", "fd00::1")]);
    let outcome = look_up(&system(b"options no-aaaa use-vc"), "app", Families::BOTH, &net);
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    assert_eq!(outcome.v6, Some(Err(Failure::NoData)));
    assert!(
        outcome.asked.iter().all(|asked| asked.tcp && asked.server.to_string() == "127.0.0.1:53")
    );
    let outcome = look_up(&system(b"options edns0"), "app", V4, &net);
    assert_eq!(outcome.asked[0].edns, Some(1232));
}
