//! Reading the kernel's small text files: lines of words.

/// The words of the line that begins with the word `name`, without it.
pub(super) fn row<'t>(text: &'t [u8], name: &str) -> Option<impl Iterator<Item = &'t [u8]> + 't> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let mut words = words(line);
        (words.next() == Some(name.as_bytes())).then_some(words)
    })
}

/// What is between blanks.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The number after the word `key`.
pub(super) fn after<'t>(mut words: impl Iterator<Item = &'t [u8]>, key: &str) -> Option<u64> {
    words.find(|word| *word == key.as_bytes())?;
    number(words.next()?)
}

/// A decimal number that fits.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(word).ok()?.parse().ok()).flatten()
}

/// The first number of a text, which is all there is to many files.
pub(super) fn first(text: &[u8]) -> Option<u64> {
    number(words(text).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_words_and_numbers() {
        let text = b"a 1\nTCP: inuse 6 tw 14\noom_kill 3\noom_kill_x 9";
        assert_eq!(after(row(text, "TCP:").unwrap(), "tw"), Some(14));
        assert_eq!(after(row(text, "TCP:").unwrap(), "mem"), None);
        assert_eq!(number(row(text, "oom_kill").unwrap().next().unwrap()), Some(3));
        assert!(row(text, "TCP").is_none() && row(b"", "").is_none());
        assert_eq!((first(b"12\n"), first(b""), first(b"\n \t")), (Some(12), None, None));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for word in [&b""[..], b"-1", b"+1", b"1x", b"\xff", b"99999999999999999999999", b"0x1"] {
            assert_eq!(number(word), None, "{word:?}");
        }
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
    }
}
