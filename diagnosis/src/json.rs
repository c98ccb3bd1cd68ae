//! The JSON object of `$upstream_diagnosis_json`, escaped for a log with `escape=none`.

use std::borrow::Cow;

use crate::evidence::{Evidence, Fact, Value};
use crate::{
    Addresses, Attempt, Diagnosis, Headroom, Resolution, Used, Verdict, advice, printable,
};

/// No string from outside is written longer than this, before escapes.
const MAX_BYTES: usize = 512;

/// A hostile text as the object shows it, for a variable of its own: UTF-8, cut, without the control
/// characters that JSON lets through.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    readable(bytes.get(..MAX_BYTES).unwrap_or(bytes))
}

/// One object: version, outcome, the last failed attempt in short, all attempts in full.
pub fn object(d: &Diagnosis<'_>) -> Vec<u8> {
    let mut json = Json { out: Vec::with_capacity(1024) };
    json.raw(r#"{"v":1,"outcome":""#);
    json.raw(d.outcome.token());
    if let Some(last) = d.attempts.last() {
        json.verdict(r#"","cause":""#, &last.verdict);
        if d.status > 0 {
            json.number(r#","status":"#, d.status.into());
        }
        json.text(r#","upstream":""#, last.upstream(), last);
        json.raw(r#","advice":""#);
        advice::pieces(last, |piece| json.out.extend_from_slice(piece));
    }
    json.raw(r#"","attempts":["#);
    for (index, attempt) in d.attempts.iter().enumerate() {
        if index > 0 {
            json.raw(",");
        }
        json.attempt(attempt);
    }
    if d.dropped > 0 {
        json.number(r#"],"dropped":"#, d.dropped.into());
        json.raw("}");
    } else {
        json.raw("]}");
    }
    json.out
}

/// Keys come with the punctuation around them, words are ours, texts are hostile.
struct Json {
    out: Vec<u8>,
}

impl Json {
    fn attempt(&mut self, a: &Attempt) {
        let v = &a.verdict;
        self.verdict(r#"{"cause":""#, v);
        self.text(r#","upstream":""#, a.upstream(), a);
        self.text(r#","server":""#, a.server(), a);
        self.text(r#","address":""#, a.address(), a);
        if let Some(name) = v.errno.and_then(|errno| errno.name()) {
            self.word(r#","errno":""#, name);
        }
        if let Some(limit) = v.limit {
            self.raw(r#","limit":""#);
            limit.write_to(&mut self.out);
            self.raw(r#"""#);
        }
        if let Some(ms) = a.ms {
            self.number(r#","ms":"#, ms);
        }
        if a.status > 0 {
            self.number(r#","status":"#, a.status.into());
        }
        self.number(r#","bytes_received":"#, a.bytes_received);
        self.raw(if a.reused { r#","reused":true"# } else { r#","reused":false"# });
        self.raw(if a.retried { r#","retried":true"# } else { r#","retried":false"# });
        if let Some(hint) = a.hint() {
            self.word(r#","hint":""#, hint.token());
        }
        if let Some(resolution) = &a.resolution {
            self.resolution(resolution);
        }
        if let Some((evidence, age)) = &a.evidence {
            self.evidence(evidence, *age);
        }
        self.text(r#","message":""#, a.message(), a);
        if let Some(headroom) = a.headroom {
            self.headroom(headroom);
            self.raw("}}");
        } else {
            self.raw("}");
        }
    }

    /// The figures in an object, with their age.
    fn evidence(&mut self, evidence: &Evidence, age: u64) {
        self.number(r#","evidence":{"age_ms":"#, age);
        self.out.extend_from_slice(evidence.json(figures));
        self.raw("}");
    }

    /// The verdict in a word, and the rest in an object, where there is a name.
    #[cold]
    fn resolution(&mut self, r: &Resolution) {
        self.word(r#","dns":""#, r.dns.token());
        if r.name.is_empty() {
            return;
        }
        self.raw(r#","resolution":{"name":"#);
        self.quoted(&r.name);
        self.addresses(r#","configured":["#, r#","configured_left_out":"#, &r.configured);
        self.addresses(r#","current":["#, r#","current_left_out":"#, &r.current);
        for (key, number) in [
            (r#","age_ms":"#, r.age_ms),
            (r#","ttl_s":"#, r.ttl_s.map(u64::from)),
            (r#","waited_ms":"#, r.waited_ms),
        ] {
            if let Some(number) = number {
                self.number(key, number);
            }
        }
        if let Some(error) = r.error {
            self.word(r#","error":""#, error);
        }
        if let Some(used) = r.used {
            self.word(r#","used":""#, used.token());
        }
        if let Some(Used::ThisRequest(address)) = r.used {
            self.word(r#","sent_to":""#, &address.to_string());
        }
        self.raw("}");
    }

    fn addresses(&mut self, key: &str, left_out: &str, addresses: &Addresses) {
        for (index, address) in addresses.shown().iter().enumerate() {
            self.raw(if index == 0 { key } else { "," });
            self.word("\"", &address.to_string());
        }
        if !addresses.shown().is_empty() {
            self.raw("]");
        }
        if addresses.left_out() > 0 {
            self.number(left_out, addresses.left_out());
        }
    }

    fn fact(&mut self, (key, value): &Fact) {
        self.raw("\"");
        self.raw(key);
        self.raw("\":");
        match value {
            Value::Number(number) => printable::decimal(&mut self.out, *number),
            Value::Flag(flag) => self.raw(if *flag { "true" } else { "false" }),
            Value::Word(word) => self.quoted(word.as_bytes()),
            Value::Text(text) => self.quoted(text),
            Value::List(items) => self.list(items),
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        self.raw("\"");
        self.escaped(text.get(..MAX_BYTES).unwrap_or(text));
        self.raw("\"");
    }

    fn list(&mut self, items: &[Vec<Fact>]) {
        self.raw("[");
        for (index, item) in items.iter().enumerate() {
            self.raw(if index > 0 { ",{" } else { "{" });
            for (index, fact) in item.iter().enumerate() {
                self.raw(if index > 0 { "," } else { "" });
                self.fact(fact);
            }
            self.raw("}");
        }
        self.raw("]");
    }

    /// All but the closing brace.
    fn headroom(&mut self, headroom: Headroom) {
        self.number(r#","headroom":{"fd_free":"#, headroom.fd_free);
        self.number(r#","fd_limit":"#, headroom.fd_limit);
        self.number(r#","conn_free":"#, headroom.conn_free);
        self.number(r#","conn_limit":"#, headroom.conn_limit);
    }

    // Inlined, as a copy of known length is a few moves instead of a call; "always" where the compiler
    // would rather not.
    #[inline]
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn verdict(&mut self, key: &str, v: &Verdict) {
        self.raw(key);
        self.raw(v.cause.token());
        self.word(r#"","phase":""#, v.phase.token());
    }

    /// `key` ends with the opening quote.
    #[inline]
    fn word(&mut self, key: &str, word: &str) {
        self.raw(key);
        self.raw(word);
        self.out.push(b'"');
    }

    #[inline]
    fn number(&mut self, key: &str, number: u64) {
        self.raw(key);
        printable::decimal(&mut self.out, number);
    }

    /// `text` is one of `a`'s; `key` ends with the opening quote.
    #[inline(always)]
    fn text(&mut self, key: &str, text: &[u8], a: &Attempt) {
        if !text.is_empty() {
            self.raw(key);
            let text = text.get(..MAX_BYTES).unwrap_or(text);
            if a.texts.are_plain() {
                self.out.extend_from_slice(text);
            } else {
                self.escaped(text);
            }
            self.out.push(b'"');
        }
    }

    /// The inside of a string.
    #[cold]
    fn escaped(&mut self, text: &[u8]) {
        if printable::is_plain(text) {
            self.out.extend_from_slice(text);
        } else if let Ok(quoted) = serde_json::to_string(&*readable(text)) {
            let inside = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            self.raw(inside.unwrap_or_default());
        }
    }
}

/// Each with a comma before it.
fn figures(facts: &[Fact]) -> Vec<u8> {
    let mut json = Json { out: Vec::with_capacity(256) };
    for fact in facts {
        json.raw(",");
        json.fact(fact);
    }
    json.out
}

/// UTF-8, with U+FFFD for what is none and for the control characters that JSON lets through.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    let escaped_by_json = |c: char| c < ' ';
    let dangerous = |c: char| c.is_control() && !escaped_by_json(c);
    let text = String::from_utf8_lossy(bytes);
    if text.contains(dangerous) { Cow::Owned(text.replace(dangerous, "\u{fffd}")) } else { text }
}

#[cfg(test)]
mod tests;
