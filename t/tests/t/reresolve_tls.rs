//! TLS to a name that moves: certificates are checked by name, and sessions belong to an address.

use nginx_test::backend::tls::{Config, TLS12, TLS13};
use nginx_test::backend::{Authority, http};
use nginx_test::{Backend, Nginx, Place, Running, Step, wait};

use crate::expect::nothing;
use crate::moves::{Moves, reached};

/// A host that answers with its number and closes.
fn serve(moves: &Moves, number: u8, config: &Config) -> Backend {
    let place = Place::At(moves.port.at([127, 0, 0, number]));
    let answer = Step::Write(http::ok(&number.to_string()));
    let script = [Step::Tls, Step::ReadRequest, answer, Step::Close];
    // Until its exec, a child that another test forks has a copy of an old socket.
    wait::until("the port to be free", || {
        std::net::TcpListener::bind(moves.port.at([127, 0, 0, number])).ok().map(drop)
    });
    Backend::at(place).tls(config.clone()).script(script)
}

fn verifying(moves: &Moves, resolve: &str, block: &str, authority: &Authority) -> Running {
    let nginx: Nginx = moves.http(
        "upstream_diagnosis_resolve %resolve%;
         upstream backend { %block% }
         server { listen %listen%; location / {
             proxy_pass https://backend; proxy_ssl_name app.test; proxy_ssl_verify on;
             proxy_ssl_trusted_certificate %dir%/ca.pem; proxy_ssl_server_name on;
             proxy_ssl_protocols TLSv1.2 TLSv1.3;
         } }",
    );
    let nginx = nginx.set("resolve", resolve).set("block", block);
    nginx.file("ca.pem", &authority.pem()).start()
}

const FAILURE: &str = "failure min=1ms";
const SERVER: &str = "server app.test:%port%;";

#[test]
fn the_right_certificate_at_the_new_address() {
    let (moves, authority) = (Moves::new(), Authority::new());
    let config = authority.issue("app.test").server();
    let old = serve(&moves, 2, &config);
    let _new = serve(&moves, 3, &config);
    let nginx = verifying(&moves, FAILURE, SERVER, &authority);
    nothing(&reached(&nginx, 2));
    moves.to("app.test", &[3]);
    drop(old);
    let seen = reached(&nginx, 3);
    assert_eq!(seen.reply.causes(), ["connection_refused"], "{}", seen.reply);
    nothing(&reached(&nginx, 3));
}

/// The name's new host says that it is somebody else: nobody is told anything.
#[test]
fn a_wrong_certificate_at_the_new_address() {
    let (moves, authority) = (Moves::new(), Authority::new());
    let old = serve(&moves, 2, &authority.issue("app.test").server());
    let new = serve(&moves, 3, &authority.issue("stranger.test").server());
    let nginx = verifying(&moves, FAILURE, SERVER, &authority);
    reached(&nginx, 2);
    moves.to("app.test", &[3]);
    drop(old);
    for first in [true, false] {
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 502, "{}", seen.reply);
        let members = seen.reply.members();
        assert_eq!(members.len(), if first { 2 } else { 1 }, "{}", seen.reply);
        let last = members.last().unwrap();
        assert_eq!(last.name, "tls_certificate_name_mismatch");
        assert_eq!(last.string("address"), Some(moves.address(3).as_str()));
        assert_eq!(last.string("server"), Some(moves.server("app.test").as_str()));
        assert_eq!(last.token("dns"), Some("fresh"));
        assert_eq!(seen.diagnosis().outcome, "failed");
        if first {
            assert_eq!(members[0].name, "connection_refused");
            assert_eq!(members[0].token("dns"), Some("stale"));
        }
    }
    assert!((0..new.connections()).all(|n| new.received(n).is_empty()), "a request was sent");
}

/// A stranger has taken over the old address: it cannot prove that it is the name's host.
#[test]
fn a_wrong_certificate_at_the_old_address() {
    let (moves, authority) = (Moves::new(), Authority::new());
    let old = serve(&moves, 2, &authority.issue("app.test").server());
    let _new = serve(&moves, 3, &authority.issue("app.test").server());
    let nginx = verifying(&moves, FAILURE, SERVER, &authority);
    reached(&nginx, 2);
    moves.to("app.test", &[3]);
    drop(old);
    let _stranger = serve(&moves, 2, &authority.issue("stranger.test").server());
    let seen = reached(&nginx, 3);
    let member = seen.reply.member();
    assert_eq!(member.name, "tls_certificate_name_mismatch");
    assert_eq!(member.string("address"), Some(moves.address(2).as_str()));
    assert_eq!(member.token("dns"), Some("stale"));
    nothing(&reached(&nginx, 3));
}

/// All hosts know each other's sessions, so that one that was offered in the wrong place would be
/// taken up there.
#[test]
fn sessions_stay_with_their_address() {
    for version in [&TLS12, &TLS13] {
        for block in ["", "zone backend 256k;", "ip_hash;"] {
            let (moves, authority) = (Moves::new(), Authority::new());
            let config = authority.issue("app.test").versions(&[version]).server();
            let (old, new) = (serve(&moves, 2, &config), serve(&moves, 3, &config));
            let block = format!("{block} {SERVER}");
            let nginx = verifying(&moves, "ttl min=20ms max=20ms", &block, &authority);
            let ask = |host, count| (0..count).for_each(|_| nothing(&reached(&nginx, host)));
            ask(2, 3);
            assert_eq!((old.resumed(), new.resumed()), (2, 0), "{block}");
            moves.to("app.test", &[3]);
            until_there(&nginx, &new, 0);
            ask(3, 3);
            // All but the first.
            assert_eq!(new.resumed(), new.connections() - 1, "{block}");
            let (then, kept) = (old.connections(), old.resumed());
            assert_eq!(kept, then - 1, "{block}");
            moves.to("app.test", &[2]);
            until_there(&nginx, &old, then);
            ask(2, 3);
            assert_eq!(old.resumed() - kept, old.connections() - then - 1, "{block}");
        }
    }
}

fn until_there(nginx: &Running, host: &Backend, connections: usize) {
    wait::until("a connection to the name's new host", || {
        assert_eq!(nginx.fetch("/").reply.status, 200);
        (host.connections() > connections).then_some(())
    });
}

/// With several servers a request may be sent to a fresh address of one while the balancer still
/// holds another: neither's session is the other's.
#[test]
fn sessions_stay_with_their_server() {
    let (moves, authority) = (Moves::new(), Authority::new());
    let config = authority.issue("app.test").versions(&[&TLS12]).server();
    let (app, other) = (serve(&moves, 2, &config), serve(&moves, 4, &config));
    let servers = "server app.test:%port% max_fails=0; server other.test:%port% max_fails=0;";
    let nginx = verifying(&moves, FAILURE, servers, &authority);
    for _ in 0..4 {
        assert_eq!(nginx.fetch("/").reply.status, 200);
    }
    assert_eq!((app.resumed(), other.resumed()), (1, 1));
    // One of them moves, the other only leaves.
    moves.to("app.test", &[3]);
    let new = serve(&moves, 3, &config);
    drop((app, other));
    for _ in 0..4 {
        reached(&nginx, 3);
    }
    // The first came while the balancer held the other server, and was not kept; the second was.
    assert_eq!((new.connections(), new.resumed()), (4, 2));
}

/// A session of the first address may not come back as that of the second after a reload.
#[test]
fn sessions_and_a_reload() {
    let (moves, authority) = (Moves::new(), Authority::new());
    let config = authority.issue("app.test").versions(&[&TLS12]).server();
    let old = serve(&moves, 2, &config);
    let new = serve(&moves, 3, &config);
    let block = format!("zone backend 256k; {SERVER}");
    let nginx = verifying(&moves, FAILURE, &block, &authority);
    reached(&nginx, 2);
    moves.to("app.test", &[3]);
    drop(old);
    reached(&nginx, 3);
    let resumed = new.resumed();
    nginx.reload();
    // The new workers begin with the configured address, and know no session of it.
    reached(&nginx, 3);
    assert_eq!(new.resumed(), resumed);
    reached(&nginx, 3);
    assert_eq!(new.resumed(), resumed + 1);
}
