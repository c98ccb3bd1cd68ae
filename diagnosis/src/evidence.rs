//! What was seen besides nginx's own words and state when an attempt failed.
//!
//! Each source has a file of its own below: what it can find, how the kernel's text or bytes are
//! read, which hint follows, and the sentence of advice that uses it.

use std::cell::OnceCell;

use crate::{Hint, printable};

pub mod connection;
pub mod container;
pub mod exhaustion;
pub mod history;
mod kernel;
pub mod listen;
pub mod memory;
pub mod netlink;
pub mod peers;
pub mod private_tmp;
pub mod security;
pub mod sizes;
pub mod socket_path;
pub mod unix_listen;

/// What one look has found. Taken once per address, cause and second, and shared by the attempts
/// that fail meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The finding in one word; `None` when only figures were found.
    pub hint: Option<Hint>,
    /// The figures, for JSON, in order.
    pub facts: Vec<Fact>,
    advice: Option<String>,
    /// The figures as JSON, once they have been written.
    json: OnceCell<Vec<u8>>,
}

/// One figure: its key in JSON, and its value.
pub type Fact = (&'static str, Value);

/// The value of a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A count, a size, milliseconds.
    Number(u64),
    /// A yes or no.
    Flag(bool),
    /// A hostile text: a path, the name of a program.
    Text(Vec<u8>),
    /// One of our own words.
    Word(&'static str),
    /// Several of the same kind.
    List(Vec<Vec<Fact>>),
}

impl Evidence {
    /// A finding with its figures.
    pub fn new(hint: impl Into<Option<Hint>>, facts: Vec<Fact>) -> Self {
        Self { hint: hint.into(), facts, ..Self::default() }
    }

    /// The same, with a sentence that says what to do about it.
    #[must_use]
    pub fn advising(self, sentence: String) -> Self {
        let sentence = printable::into_string(printable::sentence(&sentence).into_owned());
        Self { advice: Some(sentence), ..self }
    }

    /// What to do, where the finding says more than the cause alone. Nothing in it needs an escape
    /// ([`printable::is_plain`]).
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The figures as JSON: written by the first of the attempts that share them.
    pub(crate) fn json(&self, write: impl FnOnce(&[Fact]) -> Vec<u8>) -> &[u8] {
        self.json.get_or_init(|| write(&self.facts))
    }

    /// Both findings: the figures of the two, and the hint of the first that has one with the
    /// advice that belongs to it.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        let known: Vec<_> = self.facts.iter().map(|(key, _)| *key).collect();
        other.facts.retain(|(key, _)| !known.contains(key));
        self.facts.append(&mut other.facts);
        if self.hint.is_none() && other.hint.is_some() {
            core::mem::swap(&mut self.hint, &mut other.hint);
            core::mem::swap(&mut self.advice, &mut other.advice);
        }
        let advice = if other.hint.is_none() { other.advice } else { None };
        Self { advice: self.advice.or(advice), json: OnceCell::new(), ..self }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hint: Option<Hint>, key: &'static str, advice: &str) -> Evidence {
        let advice = (!advice.is_empty()).then(|| advice.to_owned());
        let facts = vec![(key, 1.into()), ("both", key.into())];
        Evidence { advice, ..Evidence::new(hint, facts) }
    }

    #[test]
    fn a_sentence_needs_no_escape() {
        let plain = "10.0.0.7:80 is it; see its log".to_owned();
        assert_eq!(found(None, "a", "").advising(plain.clone()).advice(), Some(&*plain));
        let hostile = "\u{1b}[31m\"\\\r\n\u{fc}".to_owned();
        assert_eq!(found(None, "a", "").advising(hostile).advice(), Some("?[31m??????"));
        let long = "x".repeat(10_000);
        assert!(found(None, "a", "").advising(long).advice().unwrap().len() < 1000);
    }

    #[test]
    fn the_first_hint_brings_its_advice_and_no_figure_is_told_twice() {
        let (queue, time) = (Some(Hint::AcceptQueueFull), Some(Hint::TimeoutReached));
        for (first, second, hint, advice) in [
            (found(queue, "a", "x"), found(time, "b", "y"), queue, Some("x")),
            (found(queue, "a", ""), found(time, "b", "y"), queue, None),
            (found(queue, "a", ""), found(None, "b", "y"), queue, Some("y")),
            (found(None, "a", "x"), found(time, "b", "y"), time, Some("y")),
            (found(None, "a", "x"), found(time, "b", ""), time, Some("x")),
            (found(None, "a", ""), found(None, "b", ""), None, None),
        ] {
            let both = first.and(second);
            assert_eq!((both.hint, both.advice.as_deref()), (hint, advice));
            assert_eq!(both.facts, [("a", 1.into()), ("both", "a".into()), ("b", 1.into())]);
        }
    }
}
