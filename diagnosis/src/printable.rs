//! Hostile bytes → what a field or a sentence may hold: printable ASCII, and not too much of it.

use std::borrow::Cow;

/// No address, server or upstream is written longer than this.
pub(crate) const MAX_BYTES: usize = 200;

/// The first [`MAX_BYTES`], with `?` for whatever is not printable ASCII.
pub(crate) fn ascii(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.get(..MAX_BYTES).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().copied().all(is_printable) => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|b| char::from(shown(*b))).collect()),
    }
}

const fn shown(byte: u8) -> u8 {
    if is_printable(byte) { byte } else { b'?' }
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_printable_and_short() {
        for (bytes, expected) in [
            (&b"10.0.0.7:3000"[..], "10.0.0.7:3000"),
            (b"a\r\nb\0c\x7f", "a??b?c?"),
            ("ö\"\\".as_bytes(), "??\"\\"),
            (b"", ""),
        ] {
            assert_eq!(ascii(bytes), expected);
        }
        assert_eq!(ascii(&[b'a'; 8192]).len(), MAX_BYTES);
        assert_eq!(ascii(&[0xff; 8192]).len(), MAX_BYTES);
    }
}
