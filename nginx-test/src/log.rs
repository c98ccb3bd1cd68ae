//! The access logs of the standard configuration, joined and cross-checked.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::diagnosis::Diagnosis;

/// One request as the access logs tell it.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// The line of the fields log, an object of strings.
    pub fields: Value,
    /// `$upstream_diagnosis_json`; None for `null`.
    pub diagnosis: Option<Diagnosis>,
}

impl LogLine {
    /// A member of the fields log: `status`, `request`, `upstream_addr`, `upstream_diagnosis_cause` …
    pub fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.fields))
    }

    /// The diagnosis; None fails the test.
    pub fn diagnosis(&self) -> &Diagnosis {
        self.diagnosis.as_ref().unwrap_or_else(|| panic!("no diagnosis in {}", self.fields))
    }

    /// The scalar variables must tell what the JSON tells.
    fn check(&self) {
        let scalar = |name: &str| self.fields.get(name).map(|v| v.as_str().unwrap());
        let Some(full) = scalar("upstream_diagnosis") else { return };
        let Some(diagnosis) = &self.diagnosis else {
            assert_eq!(full, "", "a field without JSON");
            return;
        };
        let members = crate::field::parse(&[full.as_bytes()]);
        let last = members.last().unwrap_or_else(|| panic!("JSON without a field: {self:?}"));
        assert_eq!(last.name, diagnosis.cause, "cause in field and JSON");
        let attempt = diagnosis.attempts.last().unwrap();
        let expected = [
            ("_cause", Some(diagnosis.cause.as_str())),
            ("_phase", Some(diagnosis.phase.as_str())),
            ("_outcome", Some(diagnosis.outcome.as_str())),
            ("_advice", Some(diagnosis.advice.as_str())),
            ("_server", attempt.text("server")),
            ("_address", attempt.text("address")),
            ("_errno", attempt.text("errno")),
            ("_limit", attempt.text("limit")),
            ("_hint", attempt.text("hint")),
            ("_dns", attempt.text("dns")),
        ];
        for (name, value) in expected {
            let found = scalar(&format!("upstream_diagnosis{name}"));
            assert_eq!(found, Some(value.unwrap_or("")), "{name} against {}", diagnosis.raw);
        }
        for name in ["fd_free", "fd_limit", "conn_free", "conn_limit"] {
            let found = scalar(&format!("upstream_diagnosis_{name}")).unwrap();
            let expected = attempt.headroom(name).map(|n| n.to_string()).unwrap_or_default();
            assert_eq!(found, expected, "{name} against {}", diagnosis.raw);
        }
        let count: usize = scalar("upstream_diagnosis_attempts").unwrap().parse().unwrap();
        assert!(count >= diagnosis.attempts.len(), "{count} attempts against {}", diagnosis.raw);
        for (member, attempt) in members.iter().rev().zip(diagnosis.attempts.iter().rev()) {
            check_member(member, attempt);
        }
    }
}

/// A member of the field and an attempt of the JSON must be the same failure.
pub(crate) fn check_member(member: &crate::Member, attempt: &crate::diagnosis::Attempt) {
    assert_eq!(member.name, attempt.cause, "cause in {member:?} and {attempt:?}");
    assert_eq!(member.token("phase"), Some(attempt.phase.as_str()), "phase of {member:?}");
    assert_eq!(member.token("errno"), attempt.text("errno"), "errno of {member:?}");
    assert_eq!(member.token("hint"), attempt.text("hint"), "hint of {member:?}");
    assert_eq!(member.token("dns"), attempt.text("dns"), "dns of {member:?}");
    for name in ["server", "address", "limit"] {
        let expected = attempt.text(name).map(printable);
        assert_eq!(member.string(name), expected.as_deref(), "{name} of {member:?}");
    }
    assert_eq!(member.integer("ms"), attempt.number("ms").map(|n| n as i64), "ms of {member:?}");
    assert_eq!(member.is("reused"), attempt.flag("reused"), "reused of {member:?}");
    for (name, key) in [
        ("fd-free", "fd_free"),
        ("fd-limit", "fd_limit"),
        ("conn-free", "conn_free"),
        ("conn-limit", "conn_limit"),
    ] {
        let expected = attempt.headroom(key).map(|n| n as i64);
        assert_eq!(member.integer(name), expected, "{name} of {member:?}");
    }
}

/// As a String of a structured field can hold it: 200 bytes, `?` for what is not printable ASCII.
fn printable(text: &str) -> String {
    let one = |byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '?' };
    text.bytes().take(200).map(one).collect()
}

/// All complete requests in the logs under `dir`, in the order of the fields log.
pub(crate) fn read(dir: &Path) -> Vec<LogLine> {
    let mut diagnoses: HashMap<String, Vec<Value>> = HashMap::new();
    for line in lines(&dir.join("diagnosis.log")).into_iter().rev() {
        diagnoses.entry(key(&line)).or_default().push(line);
    }
    let mut found = Vec::new();
    for fields in lines(&dir.join("fields.log")) {
        // nginx writes the fields log first: the other half may still be under way.
        let Some(other) = diagnoses.get_mut(&key(&fields)).and_then(Vec::pop) else { break };
        assert_eq!(fields["status"], other["status"], "two logs, one request");
        let line = LogLine { diagnosis: Diagnosis::read(&other["diagnosis"]), fields };
        line.check();
        found.push(line);
    }
    found
}

fn key(line: &Value) -> String {
    line["key"].as_str().expect("key").to_owned()
}

/// One JSON value.
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"))
}

/// Every complete line of a file, as JSON; a line that is not JSON fails the test.
pub fn lines(path: &Path) -> Vec<Value> {
    let bytes = fs::read(path).unwrap_or_default();
    let complete = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    let parse = |line: &[u8]| {
        serde_json::from_slice(line).unwrap_or_else(|e| {
            panic!("not JSON in {}: {e}: {}", path.display(), line.escape_ascii())
        })
    };
    bytes[..complete].split_inclusive(|&b| b == b'\n').map(parse).collect()
}
