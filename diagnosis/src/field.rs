//! The `X-Upstream-Diagnosis` field: an RFC 9651 List.
//!
//! Keys and tokens are ours and constant. Strings are hostile: reduced to printable ASCII, cut,
//! quoted. What an upstream sent in a field of the same name is parsed and written anew.

use sfv::{List, ListSerializer, Parser};

use crate::{Attempt, Diagnosis, printable};

/// The longest field that is ever written.
pub const MAX_BYTES: usize = 1024;

/// Marks the first member of a field that lost older ones.
const TRUNCATED: &str = ";truncated";

/// All that is known, for a trusted client. `inner` are the lines of the same name that the
/// upstream sent, hostile; one that is no List is dropped. Ours come after them: theirs are older.
pub fn full(inner: &[&[u8]], d: &Diagnosis<'_>) -> String {
    if let ([], [attempt], 0) = (inner, d.attempts, d.dropped) {
        return longest_that_fits(attempt, 0);
    }
    let theirs = inner.iter().flat_map(|line| members(line));
    let ours = d.attempts.iter().map(|attempt| longest_that_fits(attempt, TRUNCATED.len()));
    join(theirs.chain(ours).collect(), d.dropped > 0)
}

/// Bare cause tokens, for anybody.
pub fn tokens(d: &Diagnosis<'_>) -> String {
    let causes = d.attempts.iter().map(|attempt| attempt.verdict.cause.token().to_owned());
    join(causes.collect(), d.dropped > 0)
}

/// As many of the newest members as fit.
fn join(members: Vec<String>, lost: bool) -> String {
    const SEPARATOR: &str = ", ";
    let mut room = MAX_BYTES.saturating_sub(TRUNCATED.len());
    let fits = |member: &&String| {
        let left = room.checked_sub(member.len());
        room = left.unwrap_or(0).saturating_sub(SEPARATOR.len());
        left.is_some()
    };
    let kept = members.iter().rev().take_while(fits).count();
    let lost = lost || kept < members.len();
    let mut out = String::with_capacity(MAX_BYTES);
    for (index, member) in members.iter().rev().take(kept).rev().enumerate() {
        if index > 0 {
            out.push_str(SEPARATOR);
        }
        out.push_str(member);
        if index == 0 && lost {
            out.push_str(TRUNCATED);
        }
    }
    out
}

/// The members of a line that another server sent, in canonical form.
fn members(line: &[u8]) -> Vec<String> {
    let Ok(list) = Parser::new(line).parse::<List>() else { return Vec::new() };
    let written = |entry| {
        let mut serializer = ListSerializer::new();
        serializer.members([entry]);
        serializer.finish()
    };
    list.iter().filter_map(written).collect()
}

/// A member of at most [`MAX_BYTES`] less `reserve`; where escapes make it longer, it does without
/// its longest strings.
fn longest_that_fits(a: &Attempt, reserve: usize) -> String {
    let room = MAX_BYTES.saturating_sub(reserve);
    let mut shorter_than = usize::MAX;
    loop {
        let member = member(a, shorter_than);
        if member.len() <= room || shorter_than == 0 {
            return member;
        }
        let lengths = [&a.upstream, &a.server, &a.address].map(|text| cut_length(text));
        let shown = lengths.into_iter().filter(|length| *length < shorter_than);
        shorter_than = shown.max().unwrap_or(0);
    }
}

fn cut_length(text: &[u8]) -> usize {
    text.len().min(printable::MAX_BYTES)
}

fn member(a: &Attempt, shorter_than: usize) -> String {
    let v = &a.verdict;
    let mut out = String::with_capacity(512);
    out.push_str(v.cause.token());
    out.push_str(";phase=");
    out.push_str(v.phase.token());
    for (key, text) in
        [(";upstream=", &a.upstream), (";server=", &a.server), (";address=", &a.address)]
    {
        if !text.is_empty() && cut_length(text) < shorter_than {
            out.push_str(key);
            quoted(&mut out, text);
        }
    }
    if let Some(name) = v.errno.and_then(|errno| errno.name()) {
        out.push_str(";errno=");
        out.push_str(name);
    }
    integer(&mut out, ";ms=", a.ms);
    integer(&mut out, ";status=", (a.status > 0).then_some(a.status.into()));
    if a.reused {
        out.push_str(";reused");
    }
    if a.retried {
        out.push_str(";retried");
    }
    if let Some(limit) = v.limit {
        out.push_str(";limit=\"");
        limit.write_to(&mut out);
        out.push('"');
    }
    if let Some(headroom) = a.headroom {
        integer(&mut out, ";fd-free=", Some(headroom.fd_free));
        integer(&mut out, ";fd-limit=", Some(headroom.fd_limit));
        integer(&mut out, ";conn-free=", Some(headroom.conn_free));
        integer(&mut out, ";conn-limit=", Some(headroom.conn_limit));
    }
    out
}

/// RFC 9651, section 4.1.6.
pub(crate) fn quoted(out: &mut String, text: &[u8]) {
    let text = printable::ascii(text);
    out.push('"');
    if text.bytes().any(|b| matches!(b, b'"' | b'\\')) {
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
    } else {
        out.push_str(&text);
    }
    out.push('"');
}

/// RFC 9651, section 4.1.4: at most 15 digits, so an unlimited RLIMIT_NOFILE is cut.
fn integer(out: &mut String, key: &str, value: Option<u64>) {
    const MAX: u64 = 999_999_999_999_999;
    let Some(value) = value else { return };
    out.push_str(key);
    crate::limit::decimal(out, value.min(MAX));
}

#[cfg(test)]
mod tests;
