//! Lists of sockets, asked of the kernel (sock_diag(7)).

use std::cell::Cell;

use diagnosis::evidence::netlink::Progress;

use crate::ffi::netlink::Netlink;

/// Longer than any datagram of an answer: the kernel fills as much as was last asked for, or a page
/// or two (netlink_dump).
const ANSWER_BYTES: usize = 16 << 10;
/// More than two thousand sockets.
const MAX_ANSWERS: usize = 20;

/// Asks `question` and has `read` go through the answer. `None` when there was no whole one;
/// `missing` is set where the kernel has no such list and would look for its module each time.
pub(super) fn walk(
    kernel: &Netlink,
    question: &[u8],
    missing: &Cell<bool>,
    mut read: impl FnMut(&[u8]) -> Progress,
) -> Option<()> {
    kernel.ask(question)?;
    let mut answer = vec![0; ANSWER_BYTES];
    for _ in 0..MAX_ANSWERS {
        match read(kernel.receive(&mut answer)?) {
            Progress::More => {}
            Progress::Done => return Some(()),
            Progress::Missing => {
                missing.set(true);
                return None;
            }
            Progress::Failed => return None,
        }
    }
    None
}
