//! Structured fields, read by an independent parser.

use sfv::{BareItem, ListEntry, Parser};

/// The module's header, unless a test configures another name.
pub const NAME: &str = "X-Upstream-Diagnosis";

/// The contract's bound on the field's value.
pub const MAX_BYTES: usize = 1024;

/// One member of a List: its Token (or String) and its parameters in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The member's own value: the cause, or the identifier in Proxy-Status.
    pub name: String,
    /// Parameters in order.
    pub params: Vec<(String, Value)>,
}

/// The value of a parameter, by its RFC 9651 type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A Token.
    Token(String),
    /// A String, unescaped.
    String(String),
    /// An Integer.
    Integer(i64),
    /// A Boolean.
    Boolean(bool),
}

impl Member {
    /// The parameter's value, whatever its type.
    pub fn param(&self, name: &str) -> Option<&Value> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// A Token parameter; another type fails the test.
    pub fn token(&self, name: &str) -> Option<&str> {
        self.param(name).map(|value| match value {
            Value::Token(text) => text.as_str(),
            other => panic!("{name} is not a token: {other:?}"),
        })
    }

    /// A String parameter; another type fails the test.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.param(name).map(|value| match value {
            Value::String(text) => text.as_str(),
            other => panic!("{name} is not a string: {other:?}"),
        })
    }

    /// An Integer parameter; another type fails the test.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.param(name).map(|value| match value {
            Value::Integer(number) => *number,
            other => panic!("{name} is not an integer: {other:?}"),
        })
    }

    /// A Boolean parameter; absent is false, another type fails the test.
    pub fn is(&self, name: &str) -> bool {
        self.param(name).is_some_and(|value| match value {
            Value::Boolean(flag) => *flag,
            other => panic!("{name} is not a boolean: {other:?}"),
        })
    }

    /// The names of all parameters, in order.
    pub fn names(&self) -> Vec<&str> {
        self.params.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Parses the lines of one List field; fails the test when they are no valid List or too long.
pub fn parse(lines: &[&[u8]]) -> Vec<Member> {
    if lines.is_empty() {
        return Vec::new();
    }
    let value = lines.join(&b", "[..]);
    let shown = value.escape_ascii();
    assert!(value.len() <= MAX_BYTES, "{} bytes in a field: {shown}", value.len());
    let list: sfv::List = Parser::new(&value)
        .parse()
        .unwrap_or_else(|error| panic!("not an RFC 9651 List ({error}): {shown}"));
    list.into_iter().map(|entry| member(entry, &value)).collect()
}

fn member(entry: ListEntry, value: &[u8]) -> Member {
    let ListEntry::Item(item) = entry else {
        panic!("an inner list in {}", value.escape_ascii());
    };
    let name = match item.bare_item {
        BareItem::Token(token) => token.as_str().to_owned(),
        BareItem::String(text) => text.as_str().to_owned(),
        other => panic!("a member that is neither token nor string: {other:?}"),
    };
    let params = item.params.into_iter().map(|(k, v)| (k.as_str().to_owned(), bare(v))).collect();
    Member { name, params }
}

fn bare(item: BareItem) -> Value {
    match item {
        BareItem::Token(token) => Value::Token(token.as_str().to_owned()),
        BareItem::String(text) => Value::String(text.as_str().to_owned()),
        BareItem::Integer(number) => Value::Integer(number.into()),
        BareItem::Boolean(flag) => Value::Boolean(flag),
        other => panic!("a parameter of an unexpected type: {other:?}"),
    }
}
