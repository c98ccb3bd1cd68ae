//! Which servers are looked up again: those of `upstream` blocks and those of a `proxy_pass` alone,
//! as the blocks say; and never what has no name, or what nginx resolves itself.

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::{Backend, Nginx, Place, env, wait};

use crate::moves::{Moves, reached, reached_at, until_reached};

/// Each with a path and a name of its own, and one with the same name at another port.
#[test]
fn servers_of_a_proxy_pass() {
    let (moves, more) = (Moves::new(), nginx_test::Port::reserve());
    let (old, _new) = (moves.host(2), moves.host(3));
    let other = moves.host(4);
    let elsewhere = |number| nginx_test::Host::start(more.at([127, 0, 0, number]), "elsewhere");
    let (then, _now) = (elsewhere(2), elsewhere(3));
    let nginx = moves
        .http(
            "upstream_diagnosis_resolve failure min=1ms;
             server { listen %listen%;
                 location / { proxy_pass http://app.test:%port%; }
                 location /other { proxy_pass http://other.test:%port%/; }
                 location /more { proxy_pass http://App.Test:%more%; }
                 location /uri/ { proxy_pass http://app.test:%port%/below/; }
             }",
        )
        .set("more", &more)
        .start();
    reached_at(&nginx, "/uri/x", 2);
    reached_at(&nginx, "/other", 4);
    assert_eq!(nginx.fetch("/more").reply.text(), "elsewhere");
    moves.to("app.test", &[3]);
    old.kill();
    let seen = reached(&nginx, 3);
    let member = seen.reply.member();
    assert_eq!(member.string("server"), Some(moves.server("app.test").as_str()));
    assert_eq!(member.string("upstream"), Some("app.test"));
    assert_eq!(member.token("dns"), Some("stale"));
    let tried = format!("{}, {}", moves.address(2), moves.address(3));
    assert_eq!(seen.line.field("upstream_addr"), tried);
    reached(&nginx, 3);
    assert!(reached_at(&nginx, "/uri/x", 3).line.diagnosis.is_none());
    reached_at(&nginx, "/other", 4);
    assert_eq!(moves.dns.asked("other.test", Kind::A), 0);
    // The other port has moved with its name, without a failure of its own.
    then.kill();
    let seen = nginx.fetch("/more");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "elsewhere"));
    assert_eq!(seen.line.field("upstream_addr"), more.at([127, 0, 0, 3]).to_string());
    drop(other);
}

/// A failure of a server that a `proxy_pass` made has the words of one of a block.
#[test]
fn a_failure_after_the_move() {
    let moves = Moves::new();
    let (old, new) = (moves.host(2), moves.host(3));
    let nginx = moves
        .http(
            "upstream_diagnosis_resolve failure min=1ms;
             server { listen %listen%; location / { proxy_pass http://app.test:%port%; } }",
        )
        .start();
    moves.to("app.test", &[3]);
    old.kill();
    reached(&nginx, 3);
    new.kill();
    let seen = nginx.fetch("/");
    let member = seen.reply.member();
    assert_eq!(member.name, "connection_refused", "{}", seen.reply);
    assert_eq!(member.string("server"), Some(moves.server("app.test").as_str()));
    assert_eq!(member.string("address"), Some(moves.address(3).as_str()));
    assert_eq!(member.token("dns"), Some("fresh"));
    assert_eq!(seen.line.field("upstream_addr"), moves.address(3));
}

/// In `http`, in the block, in both, after it, and off in it.
#[test]
fn inheritance() {
    const ON: &str = "upstream_diagnosis_resolve failure min=1ms;";
    const OFF: &str = "upstream_diagnosis_resolve off;";
    const BLOCK: &str = "server app.test:%port%; keepalive 2;";
    for (before, inside_before, inside_after, after, moved) in [
        (ON, "", "", "", true),
        ("", ON, "", "", true),
        ("", "", ON, "", true),
        ("", "", "", ON, true),
        (OFF, ON, "", "", true),
        (OFF, "", ON, "", true),
        (ON, OFF, "", "", false),
        ("", "", OFF, ON, false),
        (OFF, "", "", "", false),
        ("", "", "", "", false),
    ] {
        let moves = Moves::new();
        let (old, _new) = (moves.host(2), moves.host(3));
        let nginx = moves
            .http(
                "%before% upstream backend { %inside% } %after%
                 server { listen %listen%; location / {
                     proxy_pass http://backend; proxy_http_version 1.1;
                     proxy_set_header Connection ''; } }",
            )
            .set("before", before)
            .set("inside", format!("{inside_before} {BLOCK} {inside_after}"))
            .set("after", after)
            .start();
        reached(&nginx, 2);
        moves.to("app.test", &[3]);
        old.kill();
        let seen = nginx.fetch("/");
        let expected = if moved { 200 } else { 502 };
        let shown = (before, inside_before, inside_after, after);
        // The kept connection may be found closed only when it is used.
        assert_eq!(seen.reply.status, expected, "{shown:?} {}", seen.reply);
        assert_eq!(moves.dns.asked("app.test", Kind::A), usize::from(moved), "{shown:?}");
        let verdict = seen.reply.members().last().unwrap().token("dns").map(str::to_owned);
        assert_eq!(verdict.as_deref(), moved.then_some("stale"), "{shown:?}");
    }
}

/// What has no name stays where it is, beside a name that moves.
#[test]
fn addresses_and_sockets_stay() {
    for block in ["", "zone backend 256k;", "least_conn; keepalive 4;", "hash $uri consistent;"] {
        let moves = Moves::new();
        let (old, _new, _literal) = (moves.host(2), moves.host(3), moves.host(6));
        let socket = Backend::at(Place::Unix).script([
            nginx_test::Step::ReadRequest,
            nginx_test::Step::Write(nginx_test::backend::http::ok("9")),
            nginx_test::Step::Again,
        ]);
        let servers = "server app.test:%port%; server 127.0.0.6:%port%; server %socket%;";
        let nginx = moves.upstream(&format!("{block} {servers}")).set("socket", &socket).start();
        moves.to("app.test", &[3]);
        old.kill();
        let mut found = std::collections::BTreeMap::new();
        wait::until("answers of all three", || {
            let seen = nginx.fetch(&format!("/{}", found.values().sum::<usize>()));
            assert_eq!(seen.reply.status, 200, "{block} {}", seen.reply);
            *found.entry(seen.reply.text()).or_insert(0_usize) += 1;
            ["3", "6", "9"].iter().all(|host| found.contains_key(*host)).then_some(())
        });
        assert!(!found.contains_key("2"), "{block} {found:?}");
    }
}

/// The record of a failure names the server that failed, also when one with a name failed before it.
#[test]
fn a_failure_of_a_server_without_a_name() {
    for (second, cause) in [
        ("unix:/nowhere/socket", "unix_socket_missing"),
        ("127.0.0.9:%port%", "connection_refused"),
    ] {
        let moves = Moves::new();
        moves.to("app.test", &[]);
        let servers = format!("server app.test:%port%; server {second};");
        let nginx = moves.upstream(&servers).start();
        // Both orders come by.
        for _ in 0..4 {
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502, "{}", seen.reply);
            for member in
                seen.reply.members().iter().filter(|m| m.token("phase") == Some("connect"))
            {
                let address = member.string("address").unwrap();
                let named = address == moves.address(2);
                let server = if named { moves.server("app.test") } else { address.to_owned() };
                let server = server.strip_suffix(":/").unwrap_or(&server);
                assert_eq!(member.string("server"), Some(server), "{}", seen.reply);
                let expected = if named { "connection_refused" } else { cause };
                assert_eq!(member.name, expected, "{}", seen.reply);
                let dns =
                    ["unresolved", "unknown"].contains(&member.token("dns").unwrap_or_default());
                assert_eq!(dns, named, "{}", seen.reply);
            }
        }
    }
}

/// Servers that nginx resolves itself, beside one that it does not.
#[test]
fn servers_with_nginx_own_resolve() {
    if env::nginx_version() < (1, 27, 3) {
        return;
    }
    let moves = Moves::new();
    let own = Dns::start();
    own.set("own.test", Zone::addresses(["127.0.0.6"]).ttl(1));
    let (old, _new, sixth) = (moves.host(2), moves.host(3), moves.host(6));
    let nginx: Nginx = moves.upstream(
        "zone backend 256k; resolver %own% valid=1s ipv6=off;
         server app.test:%port%; server own.test:%port% resolve;",
    );
    let nginx = nginx.set("own", &own).start();
    until_reached(&nginx, "/", 6);
    until_reached(&nginx, "/", 2);
    moves.to("app.test", &[3]);
    old.kill();
    until_reached(&nginx, "/", 3);
    until_reached(&nginx, "/", 6);
    let _seventh = moves.host(7);
    own.set("own.test", Zone::addresses(["127.0.0.7"]).ttl(1));
    until_reached(&nginx, "/", 7);
    sixth.kill();
    for _ in 0..6 {
        let text = nginx.fetch("/").reply.text();
        assert!(["3", "7"].contains(&text.as_str()), "{text}");
    }
    assert_eq!(moves.dns.asked("own.test", Kind::A), 0, "that name is nginx's own");
    assert!(own.asked("own.test", Kind::A) > 1);
}
