//! The byte strings of an attempt, in one allocation.

use crate::printable;

/// Enough for any output; a name of 8 kB is only kept as far as this.
const MAX_BYTES: usize = 1024;

/// Upstream, server, address and nginx's message; all hostile, an empty one is absent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    /// Where each but the last ends.
    ends: [usize; 3],
    plain: bool,
}

impl Texts {
    /// The four texts; `server` is appended by its writer, which may have to put it together.
    pub fn new(
        upstream: &[u8],
        server: impl FnOnce(&mut Vec<u8>),
        address: &[u8],
        message: &[u8],
    ) -> Self {
        let [upstream, address, message] = [upstream, address, message].map(cut);
        let known = [upstream, address, address, message].map(<[u8]>::len).iter().sum();
        let mut bytes: Vec<u8> = Vec::with_capacity(known);
        bytes.extend_from_slice(upstream);
        let upstream_end = bytes.len();
        server(&mut bytes);
        bytes.truncate(upstream_end.saturating_add(MAX_BYTES));
        let server_end = bytes.len();
        bytes.extend_from_slice(address);
        let address_end = bytes.len();
        bytes.extend_from_slice(message);
        let plain = printable::is_plain(&bytes);
        Self { bytes, ends: [upstream_end, server_end, address_end], plain }
    }

    /// Nothing in any of them needs an escape, in a String of RFC 9651 as in one of JSON.
    pub(crate) const fn are_plain(&self) -> bool {
        self.plain
    }

    pub(crate) fn upstream(&self) -> &[u8] {
        self.between(0, self.ends[0])
    }

    pub(crate) fn server(&self) -> &[u8] {
        self.between(self.ends[0], self.ends[1])
    }

    pub(crate) fn address(&self) -> &[u8] {
        self.between(self.ends[1], self.ends[2])
    }

    pub(crate) fn message(&self) -> &[u8] {
        self.between(self.ends[2], self.bytes.len())
    }

    fn between(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }
}

fn cut(text: &[u8]) -> &[u8] {
    text.get(..MAX_BYTES).unwrap_or(text)
}

#[cfg(test)]
impl Texts {
    /// All four, for tests.
    pub(crate) fn of(texts: [&[u8]; 4]) -> Self {
        let [upstream, server, address, message] = texts;
        Self::new(upstream, |out| out.extend_from_slice(server), address, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_comes_back_as_far_as_it_is_kept() {
        let long = [b'a'; 8192];
        for texts in
            [[&b"u"[..], b"s", b"a", b"m"], [b"", b"s", b"", b"m"], [&long[..]; 4], [&[][..]; 4]]
        {
            let kept = Texts::of(texts);
            let back = [kept.upstream(), kept.server(), kept.address(), kept.message()];
            assert_eq!(back, texts.map(cut));
            assert!(kept.are_plain());
        }
        assert!(!Texts::of([b"u", b"s", b"a", b"say \"m\""]).are_plain());
    }
}
