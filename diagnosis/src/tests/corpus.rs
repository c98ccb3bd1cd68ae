//! One file per real failure (and per message that is none): facts in, verdict and field out.
//!
//! A bug report becomes a file. `text`, `address` and names are Latin-1: one character, one byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::{
    Addresses, Attempt, Cause, Diagnosis, Dns, Family, Io, Observation, Outcome, Peers, Protocol,
    Provoked, Resolution, Texts, Tls, Used, Verdict, advice, diagnose, field, from_status, json,
    proxy_status, unexplained,
};

struct Case {
    name: String,
    facts: Value,
}

impl Case {
    fn bytes(&self, key: &str) -> Vec<u8> {
        let text = self.facts[key].as_str().unwrap_or_default();
        text.chars().map(|c| u8::try_from(u32::from(c)).expect(&self.name)).collect()
    }

    fn verdict(&self) -> Option<Verdict> {
        let status = |key: &str| Some(u16::try_from(self.facts[key].as_u64()?).expect(&self.name));
        if let Some(status) = status("from_status") {
            return Some(from_status(status));
        }
        if let Some(status) = status("unexplained") {
            return Some(unexplained(status));
        }
        diagnose(&self.bytes("text"), &self.bytes("address"), &self.observation())
    }

    fn observation(&self) -> Observation {
        let mut o = Observation {
            connect_timeout_ms: 60_000,
            send_timeout_ms: 60_000,
            read_timeout_ms: 60_000,
            buffer_size: 4096,
            worker_connections: 512,
            file_limit: 1024,
            ..Observation::default()
        };
        for (key, value) in self.facts["observation"].as_object().unwrap_or(&Map::new()) {
            set(&mut o, key, value);
        }
        o
    }

    fn attempt(&self, verdict: Verdict) -> Attempt {
        let o = self.observation();
        Attempt {
            verdict,
            protocol: o.protocol,
            family: o.family,
            texts: Texts::of([b"backend", b"", &self.bytes("address"), &self.bytes("text")]),
            ms: Some(1),
            status: o.status,
            bytes_received: o.bytes_received,
            reused: o.reused,
            retried: false,
            headroom: None,
            evidence: None,
            resolution: self.facts.get("resolution").map(|r| Rc::new(resolution(r))),
        }
    }
}

fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let case = |path: std::path::PathBuf| Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        facts: serde_json::from_slice(&fs::read(&path).unwrap()).expect("a corpus file is JSON"),
    };
    files.map(case).collect()
}

/// A key that is no field of [`Observation`] is a mistake in the file.
fn set(o: &mut Observation, key: &str, value: &Value) {
    let flag = || value.as_bool().unwrap();
    let number = || value.as_u64().unwrap();
    match key {
        "protocol" => o.protocol = Protocol::from_module(value.as_str().unwrap().as_bytes()),
        "family" => o.family = family(value.as_str().unwrap()),
        "resolver_state" => o.resolver_state = Some(number().try_into().unwrap()),
        "resolver_timeout_ms" => o.resolver_timeout_ms = number(),
        "connection" => o.connection = flag(),
        "tls" => o.tls = tls(value.as_str().unwrap()),
        "tls_wanted" => o.tls_wanted = flag(),
        "verify_result" => o.verify_result = value.as_i64().unwrap(),
        "certificate_requested" => o.certificate_requested = flag(),
        "request_sent" => o.request_sent = flag(),
        "request_body_sent" => o.request_body_sent = flag(),
        "header_sent" => o.header_sent = flag(),
        "connected" => o.connected = flag(),
        "header_read" => o.header_read = flag(),
        "reused" => o.reused = flag(),
        "upgraded" => o.upgraded = flag(),
        "read" => o.read = io(value),
        "write" => o.write = io(value),
        "bytes_received" => o.bytes_received = number(),
        "bytes_sent" => o.bytes_sent = number(),
        "buffer_full" => o.buffer_full = flag(),
        "status" => o.status = number().try_into().unwrap(),
        "peers" => o.peers = Some(peers(value)),
        "connect_timeout_ms" => o.connect_timeout_ms = number(),
        "send_timeout_ms" => o.send_timeout_ms = number(),
        "read_timeout_ms" => o.read_timeout_ms = number(),
        "buffer_size" => o.buffer_size = number(),
        "worker_connections" => o.worker_connections = number(),
        "file_limit" => o.file_limit = number(),
        _ => panic!("no observation is called {key}"),
    }
}

fn family(name: &str) -> Family {
    match name {
        "inet" => Family::Inet,
        "inet6" => Family::Inet6,
        "unix" => Family::Unix,
        _ => panic!("no family is called {name}"),
    }
}

fn tls(name: &str) -> Tls {
    match name {
        "handshaking" => Tls::Handshaking,
        "established" => Tls::Established,
        _ => panic!("no state of TLS is called {name}"),
    }
}

fn io(flags: &Value) -> Io {
    let has = |flag: &str| flags.as_array().unwrap().iter().any(|value| value == flag);
    Io { timed_out: has("timed_out"), eof: has("eof"), error: has("error") }
}

fn peers(counts: &Value) -> Peers {
    let count = |key: &str| counts[key].as_u64().unwrap_or(0).try_into().unwrap();
    Peers {
        total: count("total"),
        down: count("down"),
        failed: count("failed"),
        at_limit: count("at_limit"),
    }
}

fn resolution(facts: &Value) -> Resolution {
    let verdicts = [Dns::Literal, Dns::Fresh, Dns::Stale, Dns::Unresolved, Dns::Unknown];
    let dns = verdicts.into_iter().find(|dns| facts["dns"] == dns.token()).unwrap();
    let addresses = |key: &str| {
        let texts = facts[key].as_array().into_iter().flatten();
        Addresses::from(&*texts.map(|ip| ip.as_str().unwrap().parse().unwrap()).collect::<Vec<_>>())
    };
    Resolution {
        dns,
        name: facts["name"].as_str().unwrap_or_default().as_bytes().to_vec(),
        configured: addresses("configured"),
        current: addresses("current"),
        error: facts.get("error").map(|_| "servfail"),
        used: facts
            .get("sent_to")
            .map(|to| Used::ThisRequest(to.as_str().unwrap().parse().unwrap())),
        ..Resolution::default()
    }
}

/// A verdict as the files write it.
fn written(verdict: &Verdict) -> Value {
    let mut out = json!({ "cause": verdict.cause.token(), "phase": verdict.phase.token() });
    if let Some(name) = verdict.errno.and_then(|errno| errno.name()) {
        out["errno"] = name.into();
    }
    if let Some(limit) = verdict.limit {
        out["limit"] = limit.to_string().into();
    }
    if let Some(alert) = verdict.alert {
        out["alert"] = alert.into();
    }
    if verdict.pending {
        out["pending"] = true.into();
    }
    out
}

#[test]
fn every_case_gets_its_verdict_and_field() {
    for case in cases() {
        let verdict = case.verdict();
        let expected = &case.facts["verdict"];
        assert_eq!(&verdict.as_ref().map_or(Value::Null, written), expected, "{}", case.name);
        let named = verdict.map_or("none", |verdict| verdict.cause.token());
        assert_eq!(case.name.split('-').next(), Some(named), "{} is misnamed", case.name);
        let Some(verdict) = verdict else { continue };

        let attempts = [case.attempt(verdict)];
        let d =
            Diagnosis { outcome: Outcome::Failed, status: 502, attempts: &attempts, dropped: 0 };
        let field = String::from_utf8(field::full(&[], d.attempts, d.dropped)).unwrap();
        assert_eq!(case.facts["field"], *field, "{}", case.name);
        check_field(&field, verdict, &case.name);
        check_json(&json::object(&d), verdict, &case.name);
        if let Some(sentence) = case.facts.get("advice") {
            assert_eq!(*sentence, advice::sentence(&attempts[0]), "{}", case.name);
        }
        if let Some(member) = proxy_status::member("edge", &d, true) {
            let list = sfv::Parser::new(&member).parse::<sfv::List>().expect(&case.name);
            assert_eq!(list.len(), 1, "{}", case.name);
        }
    }
}

fn check_field(field: &str, verdict: Verdict, name: &str) {
    let list = sfv::Parser::new(field).parse::<sfv::List>().expect(name);
    let [sfv::ListEntry::Item(member)] = list.as_slice() else { panic!("{name}: {field}") };
    let token = member.bare_item.as_token().expect(name);
    assert_eq!(token.as_str(), verdict.cause.token(), "{name}");
    let phase = member.params.get("phase").and_then(|phase| phase.as_token()).expect(name);
    assert_eq!(phase.as_str(), verdict.phase.token(), "{name}");
}

fn check_json(object: &[u8], verdict: Verdict, name: &str) {
    let value: Value = serde_json::from_slice(object).expect(name);
    assert_eq!(value["cause"], verdict.cause.token(), "{name}");
    assert_eq!(value["attempts"][0]["phase"], verdict.phase.token(), "{name}");
    assert!(value["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{name}");
}

#[test]
fn every_cause_is_tested_somewhere() {
    let known: BTreeSet<String> =
        cases().iter().filter_map(|case| Some(case.name.split('-').next()?.to_owned())).collect();
    for cause in Cause::ALL.iter().copied() {
        assert!(known.contains(cause.token()), "no corpus case for {}", cause.token());
        match cause.row().provoked {
            Provoked::Test(test) => assert!(test.contains("::"), "{test}"),
            Provoked::Corpus(why) => assert!(!why.is_empty(), "{}", cause.token()),
        }
    }
}
