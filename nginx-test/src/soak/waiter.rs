//! Requests that wait for an answer which is late, or never comes, and clients that leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{NOWHERE, Tally, World};
use crate::Zone;

const NAME: &str = "waiting.test";

/// One client that waits, and one that does not.
pub(super) struct Waiter<'a> {
    world: &'a World,
    tally: Tally,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self { world, tally: Tally::default() }
    }

    pub(super) fn wait_until(mut self, over: &AtomicBool) -> Tally {
        let late = Duration::from_millis(3);
        let nothing_new = || Zone::addresses([NOWHERE]);
        let zones = [
            Zone::silent(),
            nothing_new().after(late),
            Zone::servfail().after(late),
            Zone::nxdomain(),
        ];
        for zone in zones.iter().cycle() {
            self.world.dns.set(NAME, zone.clone());
            self.turn();
            if over.load(Ordering::SeqCst) {
                break;
            }
        }
        self.tally
    }

    fn turn(&mut self) {
        let (mut waits, mut leaves) = (self.world.client(), self.world.client());
        waits.start("/waiting");
        leaves.start("/waiting");
        drop(leaves);
        let reply = waits.read("GET");
        assert_eq!(reply.status, 502, "nobody is there: {reply}");
        self.tally.requests += 2;
        self.tally.failed += 1;
        self.tally.left += 1;
    }
}
