use super::*;

fn listener(address: &str) -> Listener {
    Listener {
        address: address.parse().unwrap(),
        ipv6_only: None,
        one_interface: false,
        queue: Some(Queue { waiting: 0, limit: 128 }),
    }
}

fn v6(address: &str, only: Option<bool>) -> Listener {
    Listener { ipv6_only: only, ..listener(address) }
}

fn queued(waiting: u32, limit: u32) -> Listener {
    Listener { queue: Some(Queue { waiting, limit }), ..listener("127.0.0.1:3000") }
}

fn look(cause: Cause, to: &str, listeners: &[Listener]) -> Evidence {
    let seen = Seen { listeners: listeners.to_vec(), from: "sock_diag", beside: None };
    find(cause, target(to.as_bytes()).unwrap(), &seen)
}

fn refused(to: &str, listeners: &[Listener]) -> Option<Hint> {
    look(Cause::ConnectionRefused, to, listeners).hint
}

#[test]
fn nobody_listens() {
    for to in ["127.0.0.1:3000", "[::1]:3000"] {
        let found = look(Cause::ConnectionRefused, to, &[]);
        assert_eq!(found.hint, Some(Hint::NoListener));
        assert!(found.advice.unwrap().starts_with(&format!("nothing listens on {to}; start ")));
        let facts = [("listeners_from", "sock_diag".into()), ("listeners_on_port", 0.into())];
        assert_eq!(found.facts, facts);
    }
    for cause in [Cause::ConnectionTimeout, Cause::ResetBeforeHeader, Cause::ClosedBeforeHeader] {
        assert_eq!(look(cause, "127.0.0.1:3000", &[]).hint, Some(Hint::NoListener));
    }
}

#[test]
fn the_server_beside_it_listens() {
    let beside = Some("127.0.0.1:3001".parse().unwrap());
    let seen = Seen { listeners: Vec::new(), from: "sock_diag", beside };
    let found = find(Cause::ConnectionRefused, target(b"127.0.0.1:3000").unwrap(), &seen);
    assert_eq!(found.hint, Some(Hint::ListenerOtherPort));
    let advice = "nothing listens on 127.0.0.1:3000, but 127.0.0.1:3001 of the same upstream has";
    assert!(found.advice.unwrap().starts_with(advice));
    let fact = ("listener_beside", super::super::Value::Text(b"127.0.0.1:3001".to_vec()));
    assert!(found.facts.contains(&fact));
}

#[test]
fn somebody_listens_elsewhere() {
    const OTHER: Option<Hint> = Some(Hint::ListenerOtherAddress);
    for (to, other) in [
        ("127.0.0.1:3000", listener("10.0.0.5:3000")),
        ("127.0.0.1:3000", v6("[::1]:3000", Some(false))),
        ("127.0.0.1:3000", v6("[::]:3000", Some(true))),
        ("127.0.0.1:3000", v6("[::ffff:10.0.0.5]:3000", Some(false))),
        ("[::1]:3000", listener("0.0.0.0:3000")),
        ("[::1]:3000", v6("[fd00::1]:3000", Some(true))),
    ] {
        assert_eq!(refused(to, &[other]), OTHER, "{to} {other:?}");
    }
    let advice = |to: &str, other| look(Cause::ConnectionRefused, to, &[other]).advice.unwrap();
    assert_eq!(
        advice("127.0.0.1:3000", listener("10.0.0.5:3000")),
        "127.0.0.1:3000 refused, a listener is on 10.0.0.5:3000; change the server line to \
         10.0.0.5:3000, or let the back end listen on 127.0.0.1:3000"
    );
    let only = advice("127.0.0.1:3000", v6("[::]:3000", Some(true)));
    assert!(only.contains("on [::]:3000 for IPv6 only; change the server line to [::1]:3000"));
    let only = advice("[::1]:3000", listener("0.0.0.0:3000"));
    assert!(
        only.contains("on 0.0.0.0:3000 for IPv4 only; change the server line to 127.0.0.1:3000")
    );
}

#[test]
fn somebody_listens_there_by_now() {
    for (to, there) in [
        ("127.0.0.1:3000", listener("127.0.0.1:3000")),
        ("127.0.0.1:3000", listener("0.0.0.0:3000")),
        ("0.0.0.0:3000", listener("127.0.0.1:3000")),
        ("[::ffff:127.0.0.1]:3000", listener("127.0.0.1:3000")),
        ("127.0.0.1:3000", v6("[::]:3000", Some(false))),
        ("127.0.0.1:3000", v6("[::ffff:127.0.0.1]:3000", Some(false))),
        ("[::1]:3000", v6("[::]:3000", Some(true))),
        ("[::]:3000", v6("[::1]:3000", None)),
    ] {
        let elsewhere = listener("10.0.0.5:3000");
        assert_eq!(refused(to, &[elsewhere, there]), Some(Hint::ListenerPresent), "{to} {there:?}");
    }
}

#[test]
fn what_is_not_known_is_not_said() {
    // /proc/net/tcp6 does not tell IPV6_V6ONLY.
    assert_eq!(refused("127.0.0.1:3000", &[v6("[::]:3000", None)]), None);
    let bound = Listener { one_interface: true, ..listener("127.0.0.1:3000") };
    assert_eq!(refused("127.0.0.1:3000", &[bound]), None);
    // Nor does /proc/net/tcp tell how long the queue may be.
    let unknown = Listener { queue: None, ..listener("127.0.0.1:3000") };
    let found = look(Cause::ConnectionTimeout, "127.0.0.1:3000", &[unknown]);
    assert_eq!((found.hint, found.advice), (None, None));
}

#[test]
fn queues() {
    let full = |cause, listeners: &[Listener]| look(cause, "127.0.0.1:3000", listeners);
    let timeout = Cause::ConnectionTimeout;
    for (waiting, limit) in [(129, 128), (128, 128), (1, 0)] {
        for cause in [timeout, Cause::ConnectionReset, Cause::ResetBeforeHeader] {
            let found = full(cause, &[queued(waiting, limit)]);
            assert_eq!(found.hint, Some(Hint::AcceptQueueFull));
            let numbers = format!("({waiting} waiting, limit {limit})");
            assert!(found.advice.unwrap().contains(&numbers));
            assert!(found.facts.contains(&("accept_queue", u64::from(waiting).into())));
            assert!(found.facts.contains(&("accept_queue_limit", u64::from(limit).into())));
        }
    }
    for (waiting, limit) in [(0, 0), (127, 128)] {
        let found = full(timeout, &[queued(waiting, limit)]);
        assert_eq!(found.hint, Some(Hint::ListenerPresent));
        assert_eq!(full(Cause::ResetBeforeHeader, &[queued(waiting, limit)]).hint, None);
    }
    // A wildcard's queue has no part in it where the very address has a listener.
    let wildcard = Listener { address: "0.0.0.0:3000".parse().unwrap(), ..queued(129, 128) };
    assert_eq!(full(timeout, &[wildcard]).hint, Some(Hint::AcceptQueueFull));
    assert_eq!(full(timeout, &[wildcard, queued(0, 128)]).hint, Some(Hint::ListenerPresent));
    // Of several workers' queues, the kernel chose one: any may be it.
    let workers = [queued(0, 128), queued(9, 8), queued(100, 128)];
    assert_eq!(full(timeout, &workers).hint, Some(Hint::AcceptQueueFull));
}

#[test]
fn only_so_many_are_named() {
    let found = look(Cause::ConnectionRefused, "127.0.0.1:3000", &[listener("10.0.0.5:3000"); 600]);
    assert_eq!(found.facts[1], ("listeners_on_port", 600.into()));
    let (_, super::super::Value::List(named)) = &found.facts[2] else { panic!("{found:?}") };
    assert_eq!(named.len(), MAX_NAMED);
}

#[test]
fn addresses_without_a_port_are_no_targets() {
    for text in ["", "unix:/run/app.sock", "backend", "127.0.0.1", "\u{ff}:1", "1.2.3.4:99999"] {
        assert_eq!(target(text.as_bytes()), None, "{text}");
    }
    assert_eq!(target(b"\xff\xfe:3000"), None);
}

#[test]
fn counters_that_rose() {
    let before = Overflows { overflows: 7, drops: 9 };
    let now = Overflows { overflows: 10, drops: 9 };
    assert_eq!(now.facts(None).len(), 2);
    let facts = now.facts(Some((before, 1500)));
    assert_eq!(facts[2], ("listen_overflows_rose", 3.into()));
    assert_eq!(facts[3], ("listen_drops_rose", 0.into()));
    assert_eq!(facts[4], ("listen_rose_since_ms", 1500.into()));
    assert_eq!(before.facts(Some((now, 1)))[2], ("listen_overflows_rose", 0.into()));
}
