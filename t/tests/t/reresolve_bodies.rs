//! The body of a request that waited for DNS arrives whole, and no request is sent twice.

use nginx_test::backend::http;
use nginx_test::dns::{Dns, Zone};
use nginx_test::{Backend, Gate, Nginx, Place, Port, Running, Seen, Step};

use crate::moved::{behind, resolution};

/// A new host that records what it is sent, behind a DNS that answers when told to.
struct Recorded {
    dns: Dns,
    port: Port,
    gate: Gate,
    new: Backend,
}

impl Recorded {
    fn start() -> Self {
        let (dns, port, gate) = (Dns::start(), Port::reserve(), Gate::new());
        dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
        let place = Place::At(port.at([127, 0, 0, 3]));
        let steps = [Step::ReadRequest, Step::Write(http::ok("new")), Step::Again];
        let new = Backend::at(place).script(steps);
        Self { dns, port, gate, new }
    }

    fn nginx(&self, location: &str) -> Nginx {
        let nginx = behind(&self.dns, &self.port).set("location", location);
        nginx.set("resolve", "failure wait=20s timeout=20s")
    }

    /// What came after the header on the only connection.
    fn body(&self) -> Vec<u8> {
        assert_eq!(self.new.connections(), 1);
        let all = self.new.received(0);
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a header");
        all[end + 4..].to_vec()
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| b"0123456789abcdefghijklmnopqrstuvwxyz\n"[at % 37]).collect()
}

fn read(nginx: &Running, client: &mut nginx_test::Client) -> Seen {
    let seen = Seen { reply: client.read("POST"), line: nginx.logged() };
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{}", seen.reply);
    assert!(resolution(&seen, "waited_ms").is_u64());
    seen
}

fn head(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")
}

/// In memory, in a file, and with both; all at once.
#[test]
fn buffered() {
    for (size, buffer) in [(0, "8k"), (1, "8k"), (5000, "8k"), (100_000, "8k"), (3_000_000, "1m")] {
        let recorded = Recorded::start();
        let conf = format!("client_max_body_size 0; client_body_buffer_size {buffer};");
        let nginx = recorded.nginx(&conf).start();
        let mut client = nginx.connect();
        let body = bytes(size);
        client.send(head(size)).send(&body);
        recorded.dns.wait_for_questions(2);
        recorded.gate.open();
        read(&nginx, &mut client);
        assert!(recorded.body() == body, "{size} bytes");
    }
}

/// Some of the body comes before the wait, some during it, some after.
#[test]
fn as_it_comes() {
    for version in ["1.0", "1.1"] {
        let recorded = Recorded::start();
        let conf = format!("proxy_request_buffering off; proxy_http_version {version};");
        let nginx = recorded.nginx(&conf).start();
        let mut client = nginx.connect();
        let body = bytes(300_000);
        client.send(head(body.len())).send(&body[..1000]);
        recorded.dns.wait_for_questions(2);
        client.send(&body[1000..150_000]);
        recorded.gate.open();
        recorded.new.wait_for_connections(1);
        client.send(&body[150_000..]);
        read(&nginx, &mut client);
        assert!(recorded.body() == body);
    }
}

#[test]
fn chunks_as_they_come() {
    let recorded = Recorded::start();
    let conf = "proxy_request_buffering off; proxy_http_version 1.1;";
    let nginx = recorded.nginx(conf).start();
    let mut client = nginx.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none,\r\n");
    recorded.dns.wait_for_questions(2);
    client.send("4\r\ntwo,\r\n");
    recorded.gate.open();
    recorded.new.wait_for_connections(1);
    client.send("5\r\nthree\r\n0\r\n\r\n");
    read(&nginx, &mut client);
    let text = String::from_utf8(recorded.body()).unwrap();
    let mut told = String::new();
    let mut lines = text.split("\r\n");
    while let Some(size) = lines.next().filter(|size| *size != "0") {
        let chunk = lines.next().unwrap();
        assert_eq!(usize::from_str_radix(size, 16).unwrap(), chunk.len());
        told.push_str(chunk);
    }
    assert_eq!(told, "one,two,three");
}

/// The old host has got the request, or some of it: nobody else does.
#[test]
fn what_was_sent_is_not_sent_again() {
    for old in [
        vec![Step::ReadRequest, Step::Close],
        vec![Step::ReadRequest, Step::Reset],
        vec![Step::ReadHead, Step::Close],
        vec![Step::ReadRequest, Step::Write(b"HTTP/1.1 200 OK\r\nX".to_vec()), Step::Close],
        vec![Step::ReadRequest, Step::Hold],
    ] {
        let recorded = Recorded::start();
        recorded.gate.open();
        let then = recorded.port.at([127, 0, 0, 2]);
        let _old = Backend::at(Place::At(then)).script(old.clone());
        let nginx = recorded.nginx("proxy_read_timeout 200ms;").start();
        for method in ["GET", "POST"] {
            let seen = nginx.fetch_with(method, "/", &[], b"");
            assert!([502, 504].contains(&seen.reply.status), "{old:?}: {}", seen.reply);
            assert_eq!(seen.line.field("upstream_addr"), then.to_string(), "{old:?}");
            assert!(!seen.diagnosis().attempt().flag("retried"));
        }
        assert_eq!(recorded.new.connections(), 0, "{old:?}");
    }
}
