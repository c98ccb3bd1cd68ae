//! What to do about a failed attempt, in one sentence.

use crate::Attempt;

/// One sentence, filled with the actual address, directive and value; for trusted readers only.
pub fn sentence(a: &Attempt) -> String {
    a.verdict.cause.row().meaning.to_owned()
}
