//! Hostile bytes → what a field, a sentence or JSON may hold.

use std::borrow::Cow;

/// No address, server or upstream is written longer than this in a field or a sentence.
pub(crate) const MAX_BYTES: usize = 200;

/// The first [`MAX_BYTES`], with `?` for whatever is not printable ASCII.
pub(crate) fn ascii(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    if is_plain(bytes) || bytes.iter().copied().all(is_printable) {
        Cow::Borrowed(bytes)
    } else {
        Cow::Owned(bytes.iter().map(|b| if is_printable(*b) { *b } else { b'?' }).collect())
    }
}

/// The same for a sentence, which is then good for JSON as it stands: no quotes either.
pub(crate) fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    if is_plain(bytes) {
        Cow::Borrowed(bytes)
    } else {
        Cow::Owned(bytes.iter().map(|b| if is_plain_byte(*b) { *b } else { b'?' }).collect())
    }
}

/// A whole sentence of evidence, as [`plain`] without the cut of a name.
pub(crate) fn sentence(sentence: &str) -> Cow<'_, [u8]> {
    const MAX_BYTES: usize = 400;
    let bytes = sentence.as_bytes().get(..MAX_BYTES).unwrap_or(sentence.as_bytes());
    if is_plain(bytes) {
        Cow::Borrowed(bytes)
    } else {
        Cow::Owned(bytes.iter().map(|b| if is_plain(&[*b]) { *b } else { b'?' }).collect())
    }
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Whether nothing in it needs an escape, in a String of RFC 9651 as in one of JSON. Every string
/// goes through here, so it takes sixteen bytes at a time, for which there are instructions.
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    match bytes.last_chunk() {
        Some(last) => bytes.as_chunks().0.iter().all(is_plain_chunk) && is_plain_chunk(last),
        None => bytes.iter().all(|byte| is_plain_byte(*byte)),
    }
}

#[inline]
fn is_plain_chunk(bytes: &[u8; 16]) -> bool {
    bytes.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte))
}

const fn is_plain_byte(byte: u8) -> bool {
    is_printable(byte) & (byte != b'"') & (byte != b'\\')
}

/// What was written is ASCII or comes from a `str`.
pub(crate) fn into_string(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap_or_default()
}

pub(crate) fn decimal(out: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        // Most of what is written: no milliseconds, no bytes.
        Ok(digit @ 0..=9) => out.push(b'0' | digit),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_printable_and_short() {
        for (bytes, expected) in [
            (&b"10.0.0.7:3000"[..], &b"10.0.0.7:3000"[..]),
            (b"a\r\nb\0c\x7f", b"a??b?c?"),
            ("ö\"\\".as_bytes(), b"??\"\\"),
            (b"", b""),
        ] {
            assert_eq!(*ascii(bytes), *expected);
        }
        assert_eq!(ascii(&[b'a'; 8192]).len(), MAX_BYTES);
        assert_eq!(ascii(&[0xff; 8192]).len(), MAX_BYTES);
    }

    #[test]
    fn only_quotes_and_what_cannot_be_seen_need_an_escape() {
        for byte in 0..=u8::MAX {
            let plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            for (length, at) in (1..35).flat_map(|length| (0..length).map(move |at| (length, at))) {
                let mut text = vec![b'a'; length];
                text[at] = byte;
                assert_eq!(is_plain(&text), plain, "{byte:#x} at {at} of {length}");
            }
        }
    }
}
