//! A network in memory with a clock of its own, which goes on when nobody has anything to do.

mod clock;
mod runtime;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::task::{ArcWake, waker};

pub(super) use clock::{Clock, now_ms};
pub(super) use runtime::Runtime;

use super::message::Asked;

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
    static SPAWNER: RefCell<Option<LocalSpawner>> = const { RefCell::new(None) };
    /// Sockets, timers and tasks that exist.
    static LIVE: [Cell<usize>; 3] = const { [Cell::new(0), Cell::new(0), Cell::new(0)] };
}

/// What is counted.
const SOCKETS: usize = 0;
const TIMERS: usize = 1;
const TASKS: usize = 2;

/// What a server sends.
pub(super) struct Reply {
    pub(super) after_ms: u64,
    pub(super) bytes: Vec<u8>,
    /// From another address than the one that was asked.
    pub(super) from: Option<SocketAddr>,
}

impl Reply {
    pub(super) fn at_once(bytes: Vec<u8>) -> Vec<Self> {
        vec![Self::after(0, bytes)]
    }

    pub(super) fn after(after_ms: u64, bytes: Vec<u8>) -> Self {
        Self { after_ms, bytes, from: None }
    }
}

type Server = dyn Fn(&Asked) -> Vec<Reply>;

/// All servers, as one function.
#[derive(Clone)]
pub(super) struct Network(Rc<Inner>);

struct Inner {
    server: Box<Server>,
    asked: RefCell<Vec<Asked>>,
    /// Addresses at which opening a socket fails, and how.
    broken: RefCell<Vec<(SocketAddr, io::ErrorKind)>>,
    most_sockets: Cell<usize>,
}

impl Network {
    pub(super) fn new(server: impl Fn(&Asked) -> Vec<Reply> + 'static) -> Self {
        let server = Box::new(server);
        let (asked, broken) = (RefCell::default(), RefCell::default());
        Self(Rc::new(Inner { server, asked, broken, most_sockets: Cell::new(0) }))
    }

    /// From now on no socket can be opened to `server`.
    pub(super) fn break_off(&self, server: SocketAddr, how: io::ErrorKind) {
        self.0.broken.borrow_mut().push((server, how));
    }

    pub(super) fn take_asked(&self) -> Vec<Asked> {
        self.0.asked.take()
    }

    /// The most sockets that there were at once.
    pub(super) fn most_sockets(&self) -> usize {
        self.0.most_sockets.get()
    }

    fn open(&self, server: SocketAddr) -> io::Result<Live> {
        let broken = self.0.broken.borrow();
        if let Some((_, kind)) = broken.iter().find(|(address, _)| *address == server) {
            return Err((*kind).into());
        }
        let live = Live::new(SOCKETS);
        self.0.most_sockets.set(self.0.most_sockets.get().max(count(SOCKETS)));
        Ok(live)
    }

    fn ask(&self, server: SocketAddr, tcp: bool, packet: &[u8]) -> Vec<Reply> {
        let asked = Asked::parse(server, tcp, packet);
        self.0.asked.borrow_mut().push(asked.clone());
        (self.0.server)(&asked)
    }
}

/// Runs `work` to its end, and checks that it leaves no socket, timer or task.
pub(super) fn run(network: &Network, work: impl Future<Output = ()>) {
    let mut pool = LocalPool::new();
    NETWORK.set(Some(network.clone()));
    SPAWNER.set(Some(pool.spawner()));
    {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = waker(woken.clone());
        let mut work = pin!(work);
        loop {
            if woken.0.swap(false, Ordering::Relaxed)
                && work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
            {
                break;
            }
            pool.run_until_stalled();
            let woken = woken.0.load(Ordering::Relaxed);
            assert!(woken || clock::wake_next(), "nothing will ever happen");
        }
    }
    pool.run_until_stalled();
    SPAWNER.set(None);
    NETWORK.set(None);
    let left = [SOCKETS, TIMERS, TASKS].map(count);
    assert_eq!(left, [0; 3], "sockets, timers and tasks are left");
}

/// Whether the work is to be polled again.
struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.store(true, Ordering::Relaxed);
    }
}

/// Something that is counted for as long as it exists.
struct Live(usize);

impl Live {
    fn new(kind: usize) -> Self {
        LIVE.with(|live| live[kind].set(live[kind].get() + 1));
        Self(kind)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.with(|live| live[self.0].set(live[self.0].get() - 1));
    }
}

fn count(kind: usize) -> usize {
    LIVE.with(|live| live[kind].get())
}
