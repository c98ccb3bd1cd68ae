//! nginx's timers as futures.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nginx_sys::{ngx_add_timer, ngx_cycle, ngx_del_timer, ngx_event_t};

use super::{placeholder, runtime, setup};
use crate::ffi::{cycle, guard};

/// Ends after a time.
pub(super) struct Delay {
    until: u64,
    timer: Option<Box<Timer>>,
}

struct Timer {
    /// Its `data` is this structure.
    event: ngx_event_t,
    waker: Waker,
}

// SAFETY: hickory wants futures that could move to another thread. These are made, polled and dropped
// in the one thread of a worker: LocalPool never leaves it.
unsafe impl Send for Delay {}

impl Delay {
    pub(super) fn new(duration: Duration) -> Self {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // The clock stands still within a turn of the event loop.
        Self { until: cycle::now_ms().saturating_add(milliseconds), timer: None }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let left = self.until.saturating_sub(cycle::now_ms());
        if left == 0 {
            return Poll::Ready(());
        }
        if let Some(timer) = &mut self.timer {
            timer.waker.clone_from(context.waker());
            if timer.event.timer_set() != 0 {
                return Poll::Pending;
            }
        }
        let timer = self.timer.get_or_insert_with(|| {
            Box::new(Timer {
                // SAFETY: an all-zero event is how nginx's own events begin (ngx_memzero).
                event: unsafe { core::mem::zeroed() },
                waker: context.waker().clone(),
            })
        });
        let data: *mut Timer = &raw mut **timer;
        timer.event.data = data.cast();
        timer.event.handler = Some(fire);
        // Does not keep a worker from ending.
        timer.event.set_cancelable(1);
        // SAFETY: the box stays where it is, and its drop takes the timer back.
        unsafe {
            timer.event.log = (*ngx_cycle).log;
            ngx_add_timer(&raw mut (*data).event, usize::try_from(left).unwrap_or(usize::MAX));
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.event.timer_set() != 0 {
            // SAFETY: armed in `poll`, and not yet fired.
            unsafe { ngx_del_timer(&raw mut self.event) };
        }
    }
}

unsafe extern "C" fn fire(event: *mut ngx_event_t) {
    // SAFETY: `poll` has put the timer there, whose drop takes the event back.
    let timer = unsafe { &*(*event).data.cast::<Timer>() };
    guard::run((), || {
        timer.waker.wake_by_ref();
        runtime::run_soon();
    });
}

thread_local! {
    /// The one timer of names whose time is up; never freed, as nginx may have it armed.
    static ALARM: Cell<*mut ngx_event_t> = const { Cell::new(core::ptr::null_mut()) };
}

/// Calls [`Reresolve::ring`](crate::reresolve::Reresolve::ring) after that time, and not at an earlier
/// one that was set before.
pub(crate) fn set_alarm(milliseconds: u64) {
    let mut event = ALARM.get();
    if event.is_null() {
        // SAFETY: as in `Delay::poll`.
        let mut fresh: Box<ngx_event_t> = Box::new(unsafe { core::mem::zeroed() });
        fresh.handler = Some(ring);
        fresh.set_cancelable(1);
        event = Box::into_raw(fresh);
        ALARM.set(event);
    }
    placeholder::cancel(event);
    // SAFETY: the event stays; ngx_cycle is the worker's; this is nginx's one thread.
    unsafe {
        (*event).data = event.cast();
        (*event).log = (*ngx_cycle).log;
        ngx_add_timer(event, usize::try_from(milliseconds).unwrap_or(usize::MAX));
    }
}

/// Takes it back.
pub(super) fn stop_alarm() {
    placeholder::cancel(ALARM.get());
}

unsafe extern "C" fn ring(_event: *mut ngx_event_t) {
    guard::run((), || {
        if let Some(reresolve) = setup::running() {
            reresolve.ring();
        }
    });
}
