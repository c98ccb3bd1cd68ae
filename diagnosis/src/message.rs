//! nginx's own texts.

/// The `(N: ` that nginx appends for an errno.
pub(crate) fn errno(text: &[u8]) -> Option<i32> {
    let digits = text.strip_prefix(b" (")?;
    let end = digits.iter().position(|b| *b == b':')?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}
