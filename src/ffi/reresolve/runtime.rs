//! hickory's runtime on nginx's event loop: tasks, timers and sockets of one worker.
//!
//! A task runs from nginx's posted events and from nowhere else: what wakes one only posts the event.
//! hickory dead-locks when a wake-up runs the task at once.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::{Either, select};
use futures_util::task::LocalSpawnExt;
use nginx_sys::{ngx_cycle, ngx_event_t, ngx_post_event, ngx_posted_events};
use resolver::runtime::{RuntimeProvider, Spawn, Time};

use super::socket::{TcpStream, UdpSocket};
use super::timer::{Delay, stop_alarm};
use super::{placeholder, setup};
use crate::ffi::guard;

/// A dead name server must not hold a lookup longer than this before the next one is asked.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

thread_local! {
    static TASKS: RefCell<Option<Tasks>> = const { RefCell::new(None) };
    /// Takes new tasks while the pool is at work.
    static RUNNING: RefCell<Option<LocalSpawner>> = const { RefCell::new(None) };
    /// The event that runs them; made once a worker, and never freed: nginx may have it posted.
    static EVENT: Cell<*mut ngx_event_t> = const { Cell::new(core::ptr::null_mut()) };
}

struct Tasks {
    pool: LocalPool,
    spawner: LocalSpawner,
}

/// Has `future` run to its end, or until [`stop`].
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    let spawned = TASKS.with_borrow_mut(|tasks| {
        let tasks = tasks.get_or_insert_with(|| {
            let pool = LocalPool::new();
            let spawner = pool.spawner();
            Tasks { pool, spawner }
        });
        tasks.spawner.clone()
    });
    // Fails only when the pool is gone.
    let _ = spawned.spawn_local(future);
    run_soon();
}

/// Runs what is ready when nginx next comes to its posted events.
pub(super) fn run_soon() {
    let mut event = EVENT.get();
    if event.is_null() {
        // SAFETY: an all-zero event is how nginx's own events begin (ngx_memzero).
        let mut fresh: Box<ngx_event_t> = Box::new(unsafe { core::mem::zeroed() });
        fresh.handler = Some(run);
        event = Box::into_raw(fresh);
        EVENT.set(event);
    }
    // SAFETY: the event stays; ngx_cycle is the worker's; this is nginx's one thread.
    unsafe {
        (*event).log = (*ngx_cycle).log;
        (*event).data = event.cast();
        ngx_post_event(event, &raw mut ngx_posted_events);
    }
}

unsafe extern "C" fn run(_event: *mut ngx_event_t) {
    guard::run((), || {
        // Out of its place while tasks run, since they spawn others.
        let Some(mut tasks) = TASKS.take() else { return };
        let spawner = tasks.spawner.clone();
        RUNNING.set(Some(spawner));
        let ended = guard::run(None, || {
            tasks.pool.run_until_stalled();
            Some(())
        });
        RUNNING.set(None);
        // After a panic in a task nobody knows what the others wait for.
        if ended.is_some() {
            TASKS.set(Some(tasks));
        }
        if let Some(reresolve) = setup::running() {
            reresolve.collect();
            if ended.is_none() {
                reresolve.abandon();
            }
        }
    });
}

/// Drops all tasks, and with them their sockets and timers; called when a worker exits.
pub(super) fn stop() {
    drop(TASKS.take());
    placeholder::cancel(EVENT.get());
    stop_alarm();
}

/// nginx as hickory's runtime.
#[derive(Clone, Copy)]
pub(crate) struct Nginx;

impl Spawn for Nginx {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        match RUNNING.with_borrow(Clone::clone) {
            Some(spawner) => {
                let _ = spawner.spawn_local(future);
            }
            None => spawn(future),
        }
    }
}

#[async_trait::async_trait]
impl Time for Nginx {
    async fn delay_for(duration: Duration) {
        Delay::new(duration).await;
    }

    async fn timeout<F: 'static + Future + Send>(
        duration: Duration,
        future: F,
    ) -> Result<F::Output, io::Error> {
        match select(Box::pin(future), Delay::new(duration)).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl RuntimeProvider for Nginx {
    type Handle = Self;
    type Timer = Self;
    type Udp = UdpSocket;
    type Tcp = TcpStream;

    fn create_handle(&self) -> Self {
        *self
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = Result<TcpStream, io::Error>>>> {
        Box::pin(async move {
            let timeout = timeout.unwrap_or(CONNECT_TIMEOUT);
            Self::timeout(timeout, TcpStream::connect(server)).await?
        })
    }

    /// Connected, although hickory does not ask for it: the kernel then drops what others send, and
    /// tells at once when nobody listens there.
    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = Result<UdpSocket, io::Error>>>> {
        Box::pin(async move { UdpSocket::open(local, server) })
    }
}
