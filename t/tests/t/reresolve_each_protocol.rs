//! A name moves in every protocol that nginx speaks to upstreams.

use nginx_test::Step;

use crate::expect::nothing;
use crate::moves::Moves;
use crate::protocol::{PROTOCOLS, Protocol, end};

/// The host that answers with "hello".
fn host(moves: &Moves, protocol: &Protocol, number: u8) -> nginx_test::Backend {
    let answer = Step::Write((protocol.good)());
    moves.backend(number, [(protocol.request)(), answer, end(protocol)])
}

#[test]
fn every_protocol() {
    for protocol in &PROTOCOLS {
        for (pass, upstream) in [("backend", "backend"), ("app.test:%port%", "app.test")] {
            let moves = Moves::new();
            let old = host(&moves, protocol, 2);
            let new = host(&moves, protocol, 3);
            let nginx = moves
                .http(
                    "upstream_diagnosis_resolve failure min=1ms;
                     upstream backend { server app.test:%port%; }
                     server { listen %listen%; location / {
                         set $memcached_key key; %protocol%_pass %pass%;
                     } }",
                )
                .set("protocol", protocol.name)
                .set("pass", pass)
                .start();
            let name = protocol.name;
            let seen = nginx.fetch("/");
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"), "{name}");
            nothing(&seen);
            moves.to("app.test", &[3]);
            drop(old);
            let seen = nginx.fetch("/");
            let answer = (seen.reply.status, seen.reply.text());
            assert_eq!(answer, (200, "hello".to_owned()), "{name} {}", seen.reply);
            let member = seen.reply.member();
            assert_eq!(member.name, "connection_refused", "{name}");
            assert_eq!(member.string("upstream"), Some(upstream), "{name}");
            assert_eq!(member.string("server"), Some(moves.server("app.test").as_str()), "{name}");
            assert_eq!(member.token("dns"), Some("stale"), "{name}");
            let tried = format!("{}, {}", moves.address(2), moves.address(3));
            assert_eq!(seen.line.field("upstream_addr"), tried, "{name}");
            let seen = nginx.fetch("/");
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"), "{name}");
            nothing(&seen);
            assert_eq!(new.connections(), 2, "{name}");
        }
    }
}

/// gRPC and FastCGI keep connections, and those of one address are not another's.
#[test]
fn kept_connections() {
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.name != "grpc") {
        let moves = Moves::new();
        let script = [(protocol.request)(), Step::Write((protocol.good)()), Step::Again];
        let old = moves.backend(2, script.clone());
        let new = moves.backend(3, script);
        let more = if protocol.name == "fastcgi" { "fastcgi_keep_conn on;" } else { "" };
        let nginx = moves
            .http(
                "upstream_diagnosis_resolve ttl min=20ms max=20ms;
                 upstream backend { server app.test:%port%; keepalive 4; }
                 server { listen %listen%; location / {
                     set $memcached_key key; %protocol%_pass backend; %more%
                 } }",
            )
            .set("protocol", protocol.name)
            .set("more", more)
            .start();
        let ask = || {
            let seen = nginx.fetch("/");
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
            nothing(&seen);
            seen.line.field("upstream_addr").to_owned()
        };
        let kept = ["fastcgi", "memcached"].contains(&protocol.name);
        for _ in 0..3 {
            assert_eq!(ask(), moves.address(2), "{}", protocol.name);
        }
        assert_eq!(old.connections(), if kept { 1 } else { 3 }, "{}", protocol.name);
        moves.to("app.test", &[3]);
        nginx_test::wait::until("the name to have moved", || {
            (ask() == moves.address(3)).then_some(())
        });
        let so_far = old.connections();
        for _ in 0..3 {
            assert_eq!(ask(), moves.address(3), "{}", protocol.name);
        }
        assert_eq!(new.connections(), if kept { 1 } else { 4 }, "{}", protocol.name);
        assert_eq!(old.connections(), so_far, "{}", protocol.name);
    }
}
