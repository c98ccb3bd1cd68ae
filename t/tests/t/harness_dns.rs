//! The harness's name server says what it is told, byte by byte: read here without its own code.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::{Backend, Gate, Nginx, wait};

const A: u8 = 1;
const AAAA: u8 = 28;

/// A question as RFC 1035 section 4 has it: id 0x1234, recursion desired.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, kind, 0, 1]);
    packet
}

/// The same with an EDNS record that takes 4096 bytes (RFC 6891 section 6.1.2).
fn edns_question(name: &str, kind: u8) -> Vec<u8> {
    let mut packet = question(name, kind);
    packet[11] = 1;
    packet.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
    packet
}

struct Asker(UdpSocket);

impl Asker {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(wait::patience())).unwrap();
        Self(socket)
    }

    fn send(&self, dns: &Dns, packet: &[u8]) {
        self.0.send_to(packet, dns.address()).unwrap();
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut packet = vec![0; 65_535];
        let (count, from) = self.0.recv_from(&mut packet).unwrap();
        packet.truncate(count);
        (packet, from)
    }

    fn ask(&self, dns: &Dns, name: &str, kind: u8) -> Vec<u8> {
        self.send(dns, &question(name, kind));
        self.receive().0
    }
}

fn over_tcp(dns: &Dns, packet: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(dns.address()).unwrap();
    stream.set_read_timeout(Some(wait::patience())).unwrap();
    stream.write_all(&[&(packet.len() as u16).to_be_bytes(), packet].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn code(packet: &[u8]) -> u8 {
    packet[3] & 0x0f
}

/// Answers, authority, additional.
fn counts(packet: &[u8]) -> [u8; 3] {
    [packet[7], packet[9], packet[11]]
}

fn is_truncated(packet: &[u8]) -> bool {
    packet[2] & 2 != 0
}

#[test]
fn addresses_are_given_by_family() {
    let (dns, asker) = (Dns::start(), Asker::new());
    dns.set("App.test.", Zone::addresses(["127.0.0.2", "127.0.0.3", "::1"]).ttl(0x0102));
    let answer = asker.ask(&dns, "aPP.test", A);
    let mut expected = question("aPP.test", A);
    expected[2..4].copy_from_slice(&[0x81, 0x80]);
    expected[7] = 2;
    for last in [2, 3] {
        expected.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 2, 0, 4, 127, 0, 0, last]);
    }
    assert_eq!(answer, expected);
    let answer = asker.ask(&dns, "app.test", AAAA);
    assert_eq!(counts(&answer), [1, 0, 0]);
    assert!(answer.ends_with(&[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    let answer = over_tcp(&dns, &edns_question("app.test", A));
    assert_eq!((answer[0..2].to_vec(), counts(&answer)), (vec![0x12, 0x34], [2, 0, 1]));
    let (a, aaaa) = (dns.asked("app.test", Kind::A), dns.asked("APP.test", Kind::Aaaa));
    assert_eq!((a, aaaa, dns.questions().len()), (2, 1, 3));
    assert!(dns.questions()[2].tcp);
    dns.forget();
    assert!(dns.questions().is_empty());
}

#[test]
fn nothing_is_said_in_every_way() {
    let (dns, asker) = (Dns::start(), Asker::new());
    let cases = [
        (Zone::nxdomain().soa(7), 3, [0, 1, 0]),
        (Zone::no_data(), 0, [0, 0, 0]),
        (Zone::no_data().soa(7), 0, [0, 1, 0]),
        (Zone::servfail(), 2, [0, 0, 0]),
        (Zone::refused(), 5, [0, 0, 0]),
        (Zone::code(4), 4, [0, 0, 0]),
        (Zone::addresses(["::1"]), 0, [0, 0, 0]),
    ];
    assert_eq!(code(&asker.ask(&dns, "unknown.test", A)), 3);
    for (zone, expected, records) in cases {
        dns.set("app.test", zone);
        let answer = asker.ask(&dns, "app.test", A);
        assert_eq!((code(&answer), counts(&answer)), (expected, records));
    }
    dns.set("half.test", Zone::addresses(["::1"]).v4(Zone::servfail()));
    assert_eq!(code(&asker.ask(&dns, "half.test", A)), 2);
    assert_eq!(counts(&asker.ask(&dns, "half.test", AAAA)), [1, 0, 0]);
    // What is not an address question has no data.
    dns.set("app.test", Zone::addresses(["127.0.0.2"]));
    assert_eq!(counts(&asker.ask(&dns, "app.test", 65)), [0, 0, 0]);
    dns.set_others(Zone::refused());
    assert_eq!(code(&asker.ask(&dns, "unknown.test", A)), 5);
}

#[test]
fn aliases_are_followed_once() {
    let (dns, asker) = (Dns::start(), Asker::new());
    dns.set("a.test", Zone::cname("b.test").ttl(9));
    dns.set("b.test", Zone::cname("c.test").ttl(8));
    dns.set("c.test", Zone::addresses(["127.0.0.2"]).ttl(7));
    assert_eq!(counts(&asker.ask(&dns, "a.test", A)), [3, 0, 0]);
    assert_eq!(counts(&asker.ask(&dns, "a.test", AAAA)), [2, 0, 0]);
    dns.set("c.test", Zone::cname("a.test"));
    assert_eq!(counts(&asker.ask(&dns, "a.test", A)), [3, 0, 0]);
    dns.set("c.test", Zone::cname_only("d.test"));
    let answer = asker.ask(&dns, "a.test", A);
    assert_eq!((code(&answer), counts(&answer)), (0, [3, 0, 0]));
    dns.set("c.test", Zone::nxdomain());
    let answer = asker.ask(&dns, "a.test", A);
    assert_eq!((code(&answer), counts(&answer)), (3, [2, 0, 0]));
}

#[test]
fn long_answers_are_cut_as_the_client_says() {
    let (dns, asker) = (Dns::start(), Asker::new());
    let many = || (1..=250).map(|n| Ipv4Addr::new(127, 0, 1, n));
    dns.set("many.test", Zone::addresses(many().take(100)));
    let answer = asker.ask(&dns, "many.test", A);
    assert!(is_truncated(&answer) && counts(&answer) == [0, 0, 0]);
    asker.send(&dns, &edns_question("many.test", A));
    assert_eq!(counts(&asker.receive().0), [100, 0, 1]);
    dns.set("many.test", Zone::addresses(many()).whole());
    let answer = asker.ask(&dns, "many.test", A);
    assert!(!is_truncated(&answer) && answer.len() > 4000, "{}", answer.len());

    let tcp = Zone::addresses(["127.0.0.3"]);
    dns.set("cut.test", Zone::addresses(["127.0.0.2"]).truncated().over_tcp(tcp));
    assert!(is_truncated(&asker.ask(&dns, "cut.test", A)));
    assert!(over_tcp(&dns, &question("cut.test", A)).ends_with(&[127, 0, 0, 3]));
}

#[test]
fn lies_are_told_before_the_truth() {
    let (dns, asker) = (Dns::start(), Asker::new());
    let truth = Zone::addresses(["127.0.0.2"]);
    let lie = || Zone::addresses(["127.6.6.6"]).then(truth.clone());
    let told = |zone: Zone| {
        dns.set("app.test", zone);
        asker.send(&dns, &question("app.test", A));
        let (lie, truth) = (asker.receive(), asker.receive());
        assert!(truth.0.ends_with(&[127, 0, 0, 2]));
        assert_eq!(truth.1, dns.address());
        lie
    };
    assert_ne!(told(lie().wrong_id()).0[..2], [0x12, 0x34]);
    let (packet, _) = told(lie().wrong_question("other.test"));
    assert!(packet[12..].starts_with(b"\x05other\x04test\0\0\x01\0\x01\xc0\x0c"));
    let (_, from) = told(lie().from_another_port());
    assert!(from.ip() == dns.address().ip() && from.port() != dns.address().port());
    let (_, from) = told(lie().from_another_address());
    assert!(from.ip() != dns.address().ip() && from.port() == dns.address().port());
    assert_eq!(told(Zone::garbage(*b"garbage").then(truth.clone())).0, b"garbage");
    let (packet, _) = told(Zone::broken([0xc0]).then(truth.clone()));
    assert_eq!((counts(&packet), packet[packet.len() - 1]), ([1, 0, 0], 0xc0));
    let (packet, _) = told(lie().stranger("bank.test", "127.6.6.7"));
    assert!(packet.ends_with(&[127, 6, 6, 7]) && counts(&packet) == [2, 0, 0]);
    let (packet, _) = told(lie().additional("bank.test", "127.6.6.7"));
    assert!(packet.ends_with(&[127, 6, 6, 7]) && counts(&packet) == [1, 0, 1]);
}

#[test]
fn answers_wait_and_others_overtake_them() {
    let (dns, asker, gate) = (Dns::start(), Asker::new(), Gate::new());
    dns.set("silent.test", Zone::silent());
    dns.set("held.test", Zone::addresses(["127.0.0.2"]).held(&gate));
    let delay = Duration::from_millis(50);
    dns.set("slow.test", Zone::addresses(["127.0.0.3"]).after(delay));
    dns.set("quick.test", Zone::addresses(["127.0.0.4"]));
    let start = Instant::now();
    for name in ["silent.test", "held.test", "slow.test", "quick.test"] {
        asker.send(&dns, &question(name, A));
    }
    assert!(asker.receive().0.ends_with(&[127, 0, 0, 4]));
    assert!(asker.receive().0.ends_with(&[127, 0, 0, 3]));
    assert!(start.elapsed() >= delay);
    gate.open();
    assert!(asker.receive().0.ends_with(&[127, 0, 0, 2]));
    dns.wait_for("silent.test", Kind::A, 1);
    // A server that stops does not wait for what it still owes.
    dns.set("held.test", Zone::no_data().held(&Gate::new()));
    asker.send(&dns, &question("held.test", A));
    dns.wait_for_questions(5);
}

#[test]
fn a_stopped_server_refuses_until_it_is_started_again() {
    let dns = Dns::start();
    let asker = Asker::new();
    dns.set("app.test", Zone::addresses(["127.0.0.2"]));
    let mut talk = TcpStream::connect(dns.address()).unwrap();
    asker.0.connect(dns.address()).unwrap();
    for _ in 0..3 {
        dns.stop();
        // FIN, or RST when the server had not accepted it yet.
        assert!(matches!(talk.read(&mut [0; 1]), Ok(0) | Err(_)));
        asker.0.send(&question("app.test", A)).unwrap();
        let refused = asker.0.recv(&mut [0; 512]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let refused = TcpStream::connect(dns.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        dns.restart();
        talk = TcpStream::connect(dns.address()).unwrap();
        asker.0.send(&question("app.test", A)).unwrap();
        assert!(asker.receive().0.ends_with(&[127, 0, 0, 2]));
    }
    assert_eq!(dns.questions().len(), 3);
}

/// nginx's own resolver reads it too.
#[test]
fn nginx_understands_it() {
    let backend = Backend::ok("found");
    let port = backend.address().rsplit(':').next().unwrap().to_owned();
    let dns = Dns::start().saying(Zone::addresses(["127.0.0.1"]));
    dns.set("alias.test", Zone::cname("real.test"));
    dns.set("unknown.test", Zone::nxdomain());
    let nginx = Nginx::server(
        "resolver %resolver%; resolver_timeout 200ms;
         location ~ ^/(?<name>.*) { proxy_pass http://$name:%port%; }",
    );
    let nginx = nginx.bare().set("resolver", &dns).set("port", port).start();
    for name in ["any.test", "alias.test"] {
        assert_eq!(nginx.fetch(&format!("/{name}")).reply.text(), "found", "{name}");
    }
    dns.set("silent.test", Zone::silent());
    for (name, text) in [("unknown.test", "(3: Host not found)"), ("silent.test", "(110: ")] {
        assert_eq!(nginx.fetch(&format!("/{name}")).reply.status, 502);
        nginx.wait_for_error(text);
    }
}
