//! The clock: it stands still until somebody waits for it alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{Either, select};

use super::Live;
use crate::runtime::Time;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    static WAITING: RefCell<BTreeMap<(u64, u64), Waker>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Milliseconds of the clock.
pub(in super::super) fn now_ms() -> u64 {
    NOW_MS.get()
}

/// Goes on to the next time that somebody waits for.
pub(super) fn wake_next() -> bool {
    let due = WAITING.with_borrow_mut(BTreeMap::pop_first);
    let Some(((at_ms, _), waker)) = due else { return false };
    NOW_MS.set(NOW_MS.get().max(at_ms));
    waker.wake();
    true
}

/// A moment to wait for.
pub(super) struct Delay {
    key: (u64, u64),
    _live: Live,
}

impl Delay {
    pub(super) fn until(at_ms: u64) -> Self {
        NEXT.set(NEXT.get() + 1);
        Self { key: (at_ms, NEXT.get()), _live: Live::new(super::TIMERS) }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now_ms() >= self.key.0 {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|timers| timers.insert(self.key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|timers| timers.remove(&self.key));
    }
}

pub(in super::super) struct Clock;

#[async_trait::async_trait]
impl Time for Clock {
    async fn delay_for(duration: Duration) {
        Delay::until(now_ms() + u64::try_from(duration.as_millis()).unwrap()).await;
    }

    async fn timeout<F: 'static + Future + Send>(
        duration: Duration,
        future: F,
    ) -> Result<F::Output, io::Error> {
        match select(Box::pin(future), Self::delay_for(duration)).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
