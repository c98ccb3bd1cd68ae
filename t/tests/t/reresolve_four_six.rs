//! Names that move between IPv4 and IPv6.

use std::net::Ipv6Addr;

use nginx_test::dns::{Kind, Zone};
use nginx_test::{Host, Running, wait};

use crate::expect::nothing;
use crate::moves::{Moves, reached, until_reached};

/// The host at ::1 answers "6".
fn six(moves: &Moves) -> Host {
    Host::start(moves.port.at(Ipv6Addr::LOCALHOST), "6")
}

fn six_address(moves: &Moves) -> String {
    format!("[::1]:{}", moves.port)
}

fn there(nginx: &Running, host: u8, address: &str) {
    let seen = reached(nginx, host);
    nothing(&seen);
    assert_eq!(seen.line.field("upstream_addr"), address);
}

#[test]
fn from_ipv4_to_ipv6_and_back() {
    for block in ["", "keepalive 4;", "zone backend 256k;", "least_conn; keepalive 4;"] {
        let moves = Moves::new();
        let (four, six) = (moves.host(2), six(&moves));
        let nginx = moves.upstream(&format!("server app.test:%port%; {block}")).start();
        there(&nginx, 2, &moves.address(2));
        moves.dns.set("app.test", Zone::addresses(["::1"]));
        four.kill();
        let seen = reached(&nginx, 6);
        let tried = format!("{}, {}", moves.address(2), six_address(&moves));
        assert_eq!(seen.line.field("upstream_addr"), tried, "{block}");
        assert_eq!(seen.reply.member().token("dns"), Some("stale"), "{block}");
        let current = &seen.diagnosis().attempt().raw["resolution"]["current"];
        assert_eq!(current.to_string(), r#"["::1"]"#, "{block}");
        for _ in 0..3 {
            there(&nginx, 6, &six_address(&moves));
        }
        assert_eq!(six.connections(), if block.contains("keepalive") { 1 } else { 4 }, "{block}");
        four.revive();
        moves.to("app.test", &[2]);
        six.kill();
        let seen = reached(&nginx, 2);
        if !block.contains("keepalive") {
            let member = seen.reply.member();
            assert_eq!(member.string("address"), Some(six_address(&moves).as_str()), "{block}");
            assert_eq!(member.string("server"), Some(moves.server("app.test").as_str()));
        }
        there(&nginx, 2, &moves.address(2));
    }
}

/// nginx starts with an IPv6 address.
#[test]
fn from_ipv6_to_ipv4() {
    let moves = Moves::new();
    let (four, six) = (moves.host(2), six(&moves));
    let nginx = moves.upstream("server app.test:%port%;").hosts(&[("::1", "app.test")]).start();
    there(&nginx, 6, &six_address(&moves));
    six.kill();
    let seen = reached(&nginx, 2);
    let tried = format!("{}, {}", six_address(&moves), moves.address(2));
    assert_eq!(seen.line.field("upstream_addr"), tried);
    there(&nginx, 2, &moves.address(2));
    drop(four);
}

/// Both at once share the requests.
#[test]
fn both_families() {
    let moves = Moves::new();
    let (old, _new, _six) = (moves.host(2), moves.host(3), six(&moves));
    let nginx = moves.upstream("server app.test:%port%;").start();
    moves.dns.set("app.test", Zone::addresses(["127.0.0.3", "::1"]));
    old.kill();
    until_reached(&nginx, "/", 6);
    let answers: Vec<String> = (0..10).map(|_| nginx.fetch("/").reply.text()).collect();
    assert_eq!(answers.iter().filter(|text| *text == "6").count(), 5, "{answers:?}");
    assert_eq!(answers.iter().filter(|text| *text == "3").count(), 5, "{answers:?}");
}

/// A family that is off is neither asked for nor used.
#[test]
fn a_family_that_is_off() {
    for (off, kind, used) in [("ipv6=off", Kind::Aaaa, "3"), ("ipv4=off", Kind::A, "6")] {
        let moves = Moves::new();
        let (old, _new, _six) = (moves.host(2), moves.host(3), six(&moves));
        let nginx = moves
            .http(
                "upstream_diagnosis_resolve failure min=1ms %off%;
                 upstream backend { server app.test:%port%; }
                 server { listen %listen%; location / { proxy_pass http://backend; } }",
            )
            .set("off", off)
            .start();
        moves.dns.set("app.test", Zone::addresses(["127.0.0.3", "::1"]));
        old.kill();
        wait::until("the name to have moved", || {
            let seen = nginx.fetch("/");
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, used), "{off}");
            seen.line.diagnosis.is_none().then_some(())
        });
        for _ in 0..4 {
            assert_eq!(nginx.fetch("/").reply.text(), used, "{off}");
        }
        assert_eq!(moves.dns.asked("app.test", kind), 0, "{off}");
    }
}
