//! Bytes that nobody chose: whatever comes in, what goes out is valid.

use std::rc::Rc;

use serde_json::Value;

use crate::{
    Addresses, Attempt, Cause, Diagnosis, Dns, Family, Headroom, Io, Observation, Outcome, Peers,
    Protocol, Resolution, Texts, Tls, Used, advice, diagnose, field, json, proxy_status,
    unexplained,
};

const ROUNDS: usize = 3_000;

/// Marsaglia's xorshift64: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next().checked_rem(limit.try_into().unwrap()).unwrap()).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn io(&mut self) -> Io {
        Io { timed_out: self.flag(), eof: self.flag(), error: self.flag() }
    }

    /// Pieces of nginx's words, of structured fields and of JSON, and any byte at all.
    fn bytes(&mut self) -> Vec<u8> {
        const PIECES: &[&[u8]] = &[
            b"connect() failed",
            b"connect() to ",
            b" (111: Connection refused)",
            b" (",
            b": ",
            b")",
            b"upstream sent ",
            b"upstream timed out",
            b"invalid header: \"",
            b"duplicate header line: \"Content-Length: ",
            b"SSL_do_handshake() failed",
            b" (SSL: error:",
            b"0A00010B:SSL routines:",
            b"error:",
            b"recv() failed",
            b"pwrite() \"",
            b"open() \"",
            b"\" failed (28: x)",
            b"too large http2 frame: ",
            b" worker_connections are not enough",
            b"bind(",
            b"99999999999999999999",
            b"\", evil;phase=x",
            b"a;b=1, (c \"d\");e, :AA==:, ?1, @1, %\"f%c3%bc\"",
            b"\\\"",
            b"\r\n",
            b"\xc3\xbc\xf0\x9f\x92\xa9",
        ];
        let mut out = Vec::new();
        for _ in 0..self.below(12) {
            match self.below(4) {
                0 => out.push(self.next().to_le_bytes()[0]),
                1 => out.extend(std::iter::repeat_n(self.next().to_le_bytes()[0], self.below(400))),
                _ => out.extend_from_slice(self.pick(PIECES)),
            }
        }
        out
    }

    fn observation(&mut self) -> Observation {
        const PROTOCOLS: &[&[u8]] =
            &[b"proxy", b"fastcgi", b"uwsgi", b"scgi", b"grpc", b"memcached", b"?"];
        let number = self.next();
        Observation {
            protocol: Protocol::from_module(self.pick(PROTOCOLS)),
            family: self.pick(&[Family::None, Family::Inet, Family::Inet6, Family::Unix]),
            resolver_timeout_ms: if self.flag() { 300 } else { 0 },
            resolver_state: self.pick(&[None, None, None, Some(0), Some(3), Some(110)]),
            connection: self.flag(),
            tls: self.pick(&[Tls::Plain, Tls::Handshaking, Tls::Established]),
            tls_wanted: self.flag(),
            verify_result: self.pick(&[0, 10, 18, 62, i64::MIN]),
            certificate_requested: self.flag(),
            request_sent: self.flag(),
            request_body_sent: self.flag(),
            header_sent: self.flag(),
            connected: self.flag(),
            header_read: self.flag(),
            connect_ms: None,
            header_ms: None,
            reused: self.flag(),
            upgraded: self.flag(),
            read: self.io(),
            write: self.io(),
            bytes_received: self.pick(&[0, number]),
            bytes_sent: number,
            buffer_full: self.flag(),
            status: self.pick(&[0, 200, 502, u16::MAX]),
            peers: self
                .pick(&[None, Some(Peers { total: 1, down: 2, failed: 3, at_limit: u32::MAX })]),
            connect_timeout_ms: self.pick(&[0, 500, 60_000, number]),
            send_timeout_ms: number,
            read_timeout_ms: number,
            buffer_size: self.pick(&[0, 4096, number]),
            worker_connections: number,
            file_limit: self.pick(&[0, u64::MAX, number]),
        }
    }

    fn attempt(&mut self) -> Attempt {
        let o = self.observation();
        let (text, address) = (self.bytes(), self.bytes());
        let mut verdict = diagnose(&text, &address, &o).unwrap_or_else(|| unexplained(o.status));
        if self.below(4) == 0 {
            verdict.cause = self.pick(Cause::ALL);
        }
        let number = self.next();
        let headroom =
            Headroom { fd_free: number, fd_limit: u64::MAX, conn_free: 0, conn_limit: 1 };
        Attempt {
            verdict,
            protocol: o.protocol,
            family: o.family,
            texts: Texts::of([&self.bytes(), &self.bytes(), &address, &text]),
            ms: self.pick(&[None, Some(number)]),
            status: o.status,
            bytes_received: o.bytes_received,
            reused: o.reused,
            retried: self.flag(),
            headroom: self.pick(&[None, Some(headroom)]),
            evidence: None,
            resolution: self.flag().then(|| Rc::new(self.resolution())),
        }
    }

    fn resolution(&mut self) -> Resolution {
        const VERDICTS: &[Dns] =
            &[Dns::Literal, Dns::Fresh, Dns::Stale, Dns::Unresolved, Dns::Unknown];
        let number = self.next();
        let sent = Used::ThisRequest(([10, 0, 0, 9], 80).into());
        let mut addresses = || {
            let all: Vec<_> = (0..self.below(70)).map(|_| self.next().to_le_bytes()).collect();
            Addresses::from(
                &*all.iter().map(|b| [b[0], b[1], b[2], b[3]].into()).collect::<Vec<_>>(),
            )
        };
        Resolution {
            configured: addresses(),
            current: addresses(),
            dns: self.pick(VERDICTS),
            name: self.bytes(),
            age_ms: self.pick(&[None, Some(number)]),
            ttl_s: self.pick(&[None, Some(u32::MAX)]),
            error: self.pick(&[None, Some("timeout")]),
            waited_ms: self.pick(&[None, Some(number)]),
            used: self.pick(&[None, Some(Used::Nothing), Some(Used::LaterRequests), Some(sent)]),
        }
    }
}

fn list(field: &str) -> sfv::List {
    let list = sfv::Parser::new(field).parse::<sfv::List>();
    list.unwrap_or_else(|error| panic!("{error}: {field}"))
}

#[test]
fn whatever_comes_in_what_goes_out_is_valid() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        let attempts: Vec<_> = (0..=random.below(4)).map(|_| random.attempt()).collect();
        let outcome = random.pick(&[Outcome::Failed, Outcome::Recovered, Outcome::Truncated]);
        let dropped = random.pick(&[0, 0, 7]);
        let d = Diagnosis { outcome, status: 502, attempts: &attempts, dropped };
        let lines: Vec<_> = (0..random.below(3)).map(|_| random.bytes()).collect();
        let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();

        for field in
            [field::full(&lines, d.attempts, d.dropped), field::tokens(d.attempts, d.dropped)]
        {
            let field = String::from_utf8(field).unwrap();
            assert!(field.len() <= field::MAX_BYTES && !list(&field).is_empty(), "{field}");
            assert!(field.bytes().all(|b| (b' '..=b'~').contains(&b)), "{field}");
            assert!(ours_is_last(&field, &attempts), "{field}");
        }
        let identifier = String::from_utf8_lossy(attempts[0].server()).into_owned();
        if let Some(member) = proxy_status::member(&identifier, &d, random.flag()) {
            assert_eq!(list(&member).len(), 1, "{member}");
        }
        let object = json::object(&d);
        let value: Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(value["attempts"].as_array().map(Vec::len), Some(attempts.len()));
        assert!(!object.iter().any(u8::is_ascii_control));
        let sentence = advice::sentence(&attempts[0]);
        assert!(!sentence.is_empty() && sentence.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
}

/// The newest member is about the newest attempt, whatever an upstream sent.
fn ours_is_last(field: &str, attempts: &[Attempt]) -> bool {
    let list = list(field);
    let Some(sfv::ListEntry::Item(member)) = list.last() else { return false };
    let token = member.bare_item.as_token().map(|token| token.as_str());
    token == attempts.last().map(|attempt| attempt.verdict.cause.token())
}
