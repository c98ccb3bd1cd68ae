//! Names that move again and again leave nothing behind. `make soak` is the long version.

use nginx_test::env;
use nginx_test::soak::{Round, Soak, Tally, growth};

#[test]
fn names_that_move_leave_nothing_behind() {
    let flips = if env::valgrind() { 40 } else { 400 };
    let mut soak = Soak::start();
    // Each round also sees that every request is logged, and every connection and descriptor given back.
    let rounds: Vec<Round> = (0..6).map(|_| soak.round(flips)).collect();
    let mut all = Tally::default();
    rounds.iter().for_each(|round| all.add(&round.tally));
    assert!(all.are_few_late(), "{all:?}");
    assert!(all.recovered * 2 > all.flips, "{all:?}");
    // What a process under valgrind has is valgrind's.
    assert!(env::valgrind() || growth(&rounds) <= 128, "{rounds:#?}");
}
