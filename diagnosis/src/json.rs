//! The JSON object of `$upstream_diagnosis_json`, escaped for a log with `escape=none`.

use std::borrow::Cow;

use crate::{Attempt, Diagnosis, Headroom, advice};

/// No string from outside is written longer than this, before escapes.
const MAX_BYTES: usize = 512;

/// One object: version, outcome, the last failed attempt in short, all attempts in full.
pub fn object(d: &Diagnosis<'_>) -> Vec<u8> {
    let mut json = Object { out: Vec::with_capacity(1024), first: true };
    json.begin();
    json.number("v", 1);
    json.word("outcome", d.outcome.token());
    if let Some(last) = d.attempts.last() {
        json.word("cause", last.verdict.cause.token());
        json.word("phase", last.verdict.phase.token());
        json.number_unless_zero("status", d.status.into());
        json.text("upstream", &last.upstream);
        json.text("advice", advice::sentence(last).as_bytes());
    }
    json.key("attempts");
    json.out.push(b'[');
    json.first = true;
    for attempt in d.attempts {
        json.separate();
        json.attempt(attempt);
    }
    json.out.push(b']');
    json.number_unless_zero("dropped", d.dropped.into());
    json.end();
    json.out
}

/// A writer of objects: keys and words are ours, texts are hostile.
struct Object {
    out: Vec<u8>,
    first: bool,
}

impl Object {
    fn attempt(&mut self, a: &Attempt) {
        let v = &a.verdict;
        self.begin();
        self.word("cause", v.cause.token());
        self.word("phase", v.phase.token());
        self.text("upstream", &a.upstream);
        self.text("server", &a.server);
        self.text("address", &a.address);
        if let Some(name) = v.errno.and_then(|errno| errno.name()) {
            self.word("errno", name);
        }
        if let Some(limit) = v.limit {
            let mut text = String::with_capacity(48);
            limit.write_to(&mut text);
            self.word("limit", &text);
        }
        if let Some(ms) = a.ms {
            self.number("ms", ms);
        }
        self.number_unless_zero("status", a.status.into());
        self.number("bytes_received", a.bytes_received);
        self.boolean("reused", a.reused);
        self.boolean("retried", a.retried);
        self.text("message", &a.message);
        if let Some(headroom) = a.headroom {
            self.headroom(headroom);
        }
        self.end();
    }

    fn headroom(&mut self, headroom: Headroom) {
        self.key("headroom");
        self.begin();
        self.number("fd_free", headroom.fd_free);
        self.number("fd_limit", headroom.fd_limit);
        self.number("conn_free", headroom.conn_free);
        self.number("conn_limit", headroom.conn_limit);
        self.end();
    }

    fn begin(&mut self) {
        self.out.push(b'{');
        self.first = true;
    }

    fn end(&mut self) {
        self.out.push(b'}');
        self.first = false;
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn word(&mut self, key: &str, word: &str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(word.as_bytes());
        self.out.push(b'"');
    }

    fn text(&mut self, key: &str, text: &[u8]) {
        if !text.is_empty() {
            self.key(key);
            // A Vec takes whatever is written to it, and a string always serializes.
            let _ = serde_json::to_writer(&mut self.out, &*readable(text));
        }
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        let _ = serde_json::to_writer(&mut self.out, &number);
    }

    fn number_unless_zero(&mut self, key: &str, number: u64) {
        if number > 0 {
            self.number(key, number);
        }
    }

    fn boolean(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }
}

/// UTF-8, with U+FFFD for what is none and for the control characters that JSON does not escape.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let escaped_by_json = |c: char| c < ' ';
    let dangerous = |c: char| c.is_control() && !escaped_by_json(c);
    if bytes.iter().all(|b| *b < 0x7f) || !text.contains(dangerous) {
        return text;
    }
    Cow::Owned(text.replace(dangerous, "\u{fffd}"))
}

#[cfg(test)]
mod tests;
