//! Several servers, what is wrong with them, and how long that takes.

use std::io::ErrorKind;

use super::*;
use crate::runtime::Time;
use message::{FORMERR, NXDOMAIN, REFUSED, SERVFAIL};

const V4: Families = Families { v4: true, v6: false };

fn addresses(count: u8) -> Vec<SocketAddr> {
    (1..=count).map(|n| SocketAddr::from(([10, 9, 0, n], 53))).collect()
}

/// A lookup with so many servers, of which each answers so.
fn with_servers(count: u8, answer: impl Fn(&Asked, u8) -> Vec<Reply> + 'static) -> Outcome {
    let net = Network::new(move |asked| {
        let IpAddr::V4(address) = asked.server.ip() else { panic!("{}", asked.server) };
        answer(asked, address.octets()[3])
    });
    let client = Client::servers(&addresses(count), TIMEOUT, Runtime);
    look_up(&client, "app.test", V4, &net)
}

fn good(asked: &Asked) -> Vec<Reply> {
    Reply::at_once(asked.address("10.0.0.1", 30))
}

#[test]
fn a_silent_server_is_asked_three_times() {
    let outcome = with_servers(1, |_, _| vec![]);
    assert_eq!(outcome.v4, Some(Err(Failure::TimedOut)));
    assert_eq!((outcome.asked.len(), outcome.took_ms), (3, 2000));
    // The answer to a repeated question is as good.
    let outcome = answered_so({
        let count = std::cell::Cell::new(0);
        move |asked| {
            count.set(count.get() + 1);
            if count.get() == 1 { vec![] } else { good(asked) }
        }
    });
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    assert_eq!((outcome.asked.len(), outcome.took_ms), (2, 333));
}

#[test]
fn a_server_that_fails_is_followed_by_the_next_at_once() {
    for flags in [SERVFAIL, REFUSED, FORMERR] {
        let outcome = with_servers(3, move |asked, server| match server {
            3 => good(asked),
            _ => Reply::at_once(asked.reply(flags, &[])),
        });
        assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
        assert_eq!((outcome.asked.len(), outcome.took_ms), (3, 0));
    }
    let outcome = with_servers(2, |asked, server| {
        Reply::at_once(asked.reply(if server == 1 { REFUSED } else { SERVFAIL }, &[]))
    });
    assert_eq!(outcome.v4, Some(Err(Failure::Refused)));
}

#[test]
fn what_a_server_says_about_the_name_is_final() {
    let outcome = with_servers(2, |asked, _| Reply::at_once(asked.reply(NXDOMAIN, &[])));
    assert_eq!(outcome.v4, Some(Err(Failure::NotFound)));
    assert_eq!(outcome.asked.len(), 1);
}

#[test]
fn a_silent_server_is_helped_out_by_the_next() {
    let outcome = with_servers(2, |asked, server| if server == 2 { good(asked) } else { vec![] });
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    assert_eq!(outcome.took_ms, 666);
    // A slow one's answer still counts.
    let outcome = with_servers(2, |asked, server| match server {
        1 => vec![Reply::after(900, asked.address("10.0.0.1", 30))],
        _ => vec![],
    });
    assert_eq!((outcome.v4, outcome.took_ms), (found(&["10.0.0.1"], 30), 900));
    let outcome = with_servers(3, |_, _| vec![]);
    assert_eq!((outcome.v4, outcome.took_ms), (Some(Err(Failure::TimedOut)), 2000));
    assert_eq!(outcome.asked.len(), 9);
}

#[test]
fn a_silent_server_costs_a_search_its_time_once() {
    let net = Network::new(|asked| match asked.server.to_string().as_str() {
        "10.9.0.2:53" if asked.name == "app." => good(asked),
        "10.9.0.2:53" => Reply::at_once(asked.reply(NXDOMAIN, &[])),
        _ => vec![],
    });
    let conf = b"nameserver 10.9.0.1\nnameserver 10.9.0.2\nsearch a b c d e\n";
    let outcome = look_up(&Client::system(conf, b"", TIMEOUT, Runtime), "app", V4, &net);
    assert_eq!((outcome.v4, outcome.took_ms), (found(&["10.0.0.1"], 30), 666));
}

#[test]
fn sockets_that_cannot_be_had() {
    for (kind, wanted) in [
        (ErrorKind::ConnectionRefused, Failure::Unreachable),
        (ErrorKind::NetworkUnreachable, Failure::Unreachable),
        (ErrorKind::OutOfMemory, Failure::Unreachable),
        (ErrorKind::PermissionDenied, Failure::Unreachable),
        (ErrorKind::TimedOut, Failure::TimedOut),
    ] {
        let net = Network::new(good);
        net.break_off(addresses(1)[0], kind);
        let client = Client::servers(&addresses(1), TIMEOUT, Runtime);
        let outcome = look_up(&client, "app.test", V4, &net);
        assert_eq!(outcome.v4, Some(Err(wanted)), "{kind:?}");
        assert_eq!(outcome.took_ms, 0);
        let client = Client::servers(&addresses(2), TIMEOUT, Runtime);
        let outcome = look_up(&client, "app.test", V4, &net);
        assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    }
    let outcome = look_up(&Client::servers(&[], TIMEOUT, Runtime), "a", V4, &Network::new(good));
    assert_eq!(outcome.v4, Some(Err(Failure::Unavailable)));
}

#[test]
fn a_server_that_knows_no_edns_is_asked_without() {
    let net = Network::new(|asked| match asked.edns {
        Some(_) => Reply::at_once(asked.reply(FORMERR, &[])),
        None => good(asked),
    });
    let conf = b"nameserver 10.9.0.1\noptions edns0";
    let outcome = look_up(&Client::system(conf, b"", TIMEOUT, Runtime), "app.test", V4, &net);
    assert_eq!(outcome.v4, found(&["10.0.0.1"], 30));
    assert_eq!(outcome.asked.len(), 2);
}

#[test]
fn one_question_a_family_and_a_socket_for_each() {
    let net = Network::new(|asked| {
        let address = if asked.kind == message::A { "10.0.0.1" } else { "fd00::1" };
        vec![Reply::after(5, asked.address(address, 30))]
    });
    let outcome = look_up(&client(), "app.test", Families::BOTH, &net);
    assert_eq!((outcome.v4, outcome.v6), (found(&["10.0.0.1"], 30), found(&["fd00::1"], 30)));
    assert_eq!((outcome.asked.len(), outcome.took_ms, net.most_sockets()), (2, 5, 2));
}

#[test]
fn a_lookup_that_is_given_up_leaves_nothing() {
    for after_ms in [0, 1, 400, 700] {
        let net = Network::new(|_| vec![]);
        let client = Client::servers(&addresses(3), TIMEOUT, Runtime);
        let result = |_, _| panic!("it was given up");
        network::run(&net, async {
            let lookup = std::pin::pin!(client.lookup("app.test", Families::BOTH, result));
            let patience = network::Clock::delay_for(Duration::from_millis(after_ms));
            futures_util::future::select(lookup, patience).await;
        });
        assert_eq!(net.take_asked().is_empty(), after_ms == 0);
    }
}
