//! The `X-Upstream-Diagnosis` field: an RFC 9651 List.
//!
//! Keys and tokens are ours and constant. Strings are hostile: reduced to printable ASCII, cut,
//! quoted. What an upstream sent in a field of the same name is parsed and written anew.

use sfv::{List, ListSerializer, Parser};

use crate::{Attempt, printable};

/// The longest field that is ever written.
pub const MAX_BYTES: usize = 1024;

/// Marks the first member of a field that lost older ones.
const TRUNCATED: &str = ";truncated";

/// All that is known, for a trusted client: printable ASCII. `dropped` older attempts are only
/// counted. `inner` are the lines of the same name that the upstream sent, hostile; one that is no
/// List is dropped. Ours come after them: theirs are older.
pub fn full(inner: &[&[u8]], attempts: &[Attempt], dropped: u32) -> Vec<u8> {
    if let ([], [attempt], 0) = (inner, attempts, dropped) {
        return longest_that_fits(attempt, 0);
    }
    let theirs = inner.iter().flat_map(|line| members(line));
    let ours = attempts.iter().map(|attempt| longest_that_fits(attempt, TRUNCATED.len()));
    join(theirs.chain(ours).collect(), dropped > 0)
}

/// Whether a field line that another server sent is a List as it stands.
pub fn is_list(line: &[u8]) -> bool {
    Parser::new(line).parse::<List>().is_ok()
}

/// Bare cause tokens, for anybody.
pub fn tokens(attempts: &[Attempt], dropped: u32) -> Vec<u8> {
    let causes = attempts.iter().map(|attempt| attempt.verdict.cause.token().into());
    join(causes.collect(), dropped > 0)
}

/// As many of the newest members as fit.
fn join(members: Vec<Vec<u8>>, lost: bool) -> Vec<u8> {
    const SEPARATOR: &str = ", ";
    let mut room = MAX_BYTES.saturating_sub(TRUNCATED.len());
    let fits = |member: &&Vec<u8>| {
        let left = room.checked_sub(member.len());
        room = left.unwrap_or(0).saturating_sub(SEPARATOR.len());
        left.is_some()
    };
    let kept = members.iter().rev().take_while(fits).count();
    let lost = lost || kept < members.len();
    let mut out = Vec::with_capacity(MAX_BYTES);
    for (index, member) in members.iter().rev().take(kept).rev().enumerate() {
        if index > 0 {
            out.extend_from_slice(SEPARATOR.as_bytes());
        }
        out.extend_from_slice(member);
        if index == 0 && lost {
            out.extend_from_slice(TRUNCATED.as_bytes());
        }
    }
    out
}

/// The members of a line that another server sent, in canonical form.
fn members(line: &[u8]) -> Vec<Vec<u8>> {
    let Ok(list) = Parser::new(line).parse::<List>() else { return Vec::new() };
    let written = |entry| {
        let mut serializer = ListSerializer::new();
        serializer.members([entry]);
        serializer.finish().map(String::into_bytes)
    };
    list.iter().filter_map(written).collect()
}

/// A member of at most [`MAX_BYTES`] less `reserve`.
fn longest_that_fits(a: &Attempt, reserve: usize) -> Vec<u8> {
    let room = MAX_BYTES.saturating_sub(reserve);
    let whole = member(a, usize::MAX);
    if whole.len() <= room { whole } else { shortened(a, room) }
}

/// Where escapes make a member longer than `room`, it does without its longest strings.
#[cold]
fn shortened(a: &Attempt, room: usize) -> Vec<u8> {
    let mut shorter_than = usize::MAX;
    loop {
        let lengths = [a.upstream(), a.server(), a.address()].map(cut_length);
        let shown = lengths.into_iter().filter(|length| *length < shorter_than);
        shorter_than = shown.max().unwrap_or(0);
        let member = member(a, shorter_than);
        if member.len() <= room || shorter_than == 0 {
            return member;
        }
    }
}

fn cut_length(text: &[u8]) -> usize {
    text.len().min(printable::MAX_BYTES)
}

fn member(a: &Attempt, shorter_than: usize) -> Vec<u8> {
    let v = &a.verdict;
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(v.cause.token().as_bytes());
    out.extend_from_slice(b";phase=");
    out.extend_from_slice(v.phase.token().as_bytes());
    let is_shown = |text: &[u8]| !text.is_empty() && cut_length(text) < shorter_than;
    if is_shown(a.upstream()) {
        out.extend_from_slice(b";upstream=\"");
        quoted(&mut out, a.upstream(), a.texts.are_plain());
    }
    if is_shown(a.server()) {
        out.extend_from_slice(b";server=\"");
        quoted(&mut out, a.server(), a.texts.are_plain());
    }
    if is_shown(a.address()) {
        out.extend_from_slice(b";address=\"");
        quoted(&mut out, a.address(), a.texts.are_plain());
    }
    if let Some(name) = v.errno.and_then(|errno| errno.name()) {
        out.extend_from_slice(b";errno=");
        out.extend_from_slice(name.as_bytes());
    }
    if let Some(ms) = a.ms {
        integer(&mut out, b";ms=", ms);
    }
    if a.status > 0 {
        integer(&mut out, b";status=", a.status.into());
    }
    if a.reused {
        out.extend_from_slice(b";reused");
    }
    if a.retried {
        out.extend_from_slice(b";retried");
    }
    if let Some(limit) = v.limit {
        out.extend_from_slice(b";limit=\"");
        limit.write_to(&mut out);
        out.push(b'"');
    }
    if let Some(hint) = a.hint() {
        out.extend_from_slice(b";hint=");
        out.extend_from_slice(hint.token().as_bytes());
    }
    if let Some(resolution) = &a.resolution {
        out.extend_from_slice(b";dns=");
        out.extend_from_slice(resolution.dns.token().as_bytes());
    }
    if let Some(headroom) = a.headroom {
        integer(&mut out, b";fd-free=", headroom.fd_free);
        integer(&mut out, b";fd-limit=", headroom.fd_limit);
        integer(&mut out, b";conn-free=", headroom.conn_free);
        integer(&mut out, b";conn-limit=", headroom.conn_limit);
    }
    out
}

/// RFC 9651, section 4.1.6.
/// The text and the closing quote. `plain`: it is known to need no escape.
#[inline]
pub(crate) fn quoted(out: &mut Vec<u8>, text: &[u8], plain: bool) {
    let text = text.get(..printable::MAX_BYTES).unwrap_or(text);
    if plain {
        out.extend_from_slice(text);
    } else {
        escaped(out, text);
    }
    out.push(b'"');
}

#[cold]
fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in printable::ascii(text).iter().copied() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// RFC 9651, section 4.1.4: at most 15 digits, so an unlimited RLIMIT_NOFILE is cut.
#[inline]
fn integer(out: &mut Vec<u8>, key: &[u8], value: u64) {
    const MAX: u64 = 999_999_999_999_999;
    out.extend_from_slice(key);
    printable::decimal(out, value.min(MAX));
}

#[cfg(test)]
mod tests;
