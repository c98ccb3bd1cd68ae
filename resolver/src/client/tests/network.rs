//! A network in memory with a clock of its own, which goes on when nobody has anything to do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::future::{Either, select};
use futures_util::task::{ArcWake, LocalSpawnExt, waker};

use super::message::Asked;
use crate::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn, Time};

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    static TIMERS: RefCell<BTreeMap<(u64, u64), Waker>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
    static SPAWNER: RefCell<Option<LocalSpawner>> = const { RefCell::new(None) };
    /// Sockets, timers and tasks that exist.
    static LIVE: [Cell<usize>; 3] = const { [Cell::new(0), Cell::new(0), Cell::new(0)] };
}

/// Milliseconds of the clock.
pub(super) fn now_ms() -> u64 {
    NOW_MS.get()
}

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
        let live = Live::new(0);
        self.0.most_sockets.set(self.0.most_sockets.get().max(count(0)));
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
            assert!(woken || wake_next(), "nothing will ever happen");
        }
    }
    pool.run_until_stalled();
    SPAWNER.set(None);
    NETWORK.set(None);
    assert_eq!([count(0), count(1), count(2)], [0; 3], "sockets, timers and tasks are left");
}

/// Whether the work is to be polled again.
struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.store(true, Ordering::Relaxed);
    }
}

/// Goes on to the next time that somebody waits for.
fn wake_next() -> bool {
    let due = TIMERS.with_borrow_mut(BTreeMap::pop_first);
    let Some(((at_ms, _), waker)) = due else { return false };
    NOW_MS.set(NOW_MS.get().max(at_ms));
    waker.wake();
    true
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

/// A moment to wait for.
struct Delay {
    key: (u64, u64),
    _live: Live,
}

impl Delay {
    fn until(at_ms: u64) -> Self {
        NEXT.set(NEXT.get() + 1);
        Self { key: (at_ms, NEXT.get()), _live: Live::new(1) }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now_ms() >= self.key.0 {
            return Poll::Ready(());
        }
        TIMERS.with_borrow_mut(|timers| timers.insert(self.key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        TIMERS.with_borrow_mut(|timers| timers.remove(&self.key));
    }
}

#[derive(Clone, Debug)]
pub(super) struct Runtime;

pub(super) struct Clock;

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

impl Spawn for Runtime {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let live = Live::new(2);
        let task = async move {
            future.await;
            drop(live);
        };
        SPAWNER.with_borrow(|spawner| spawner.as_ref().unwrap().spawn_local(task).unwrap());
    }
}

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for Runtime {
    type Handle = Self;
    type Timer = Clock;
    type Udp = Socket;
    type Tcp = Socket;

    fn create_handle(&self) -> Self {
        Self
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _: Option<SocketAddr>,
        _: Option<Duration>,
    ) -> Opening<Socket> {
        Box::pin(ready(Socket::open(server)))
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<Socket> {
        assert_eq!(local.port(), 0, "the kernel chooses the port");
        Box::pin(ready(Socket::open(server)))
    }
}

/// A socket of either kind.
pub(super) struct Socket {
    server: SocketAddr,
    /// Datagrams to read, in the order of their times; or one after the other as a stream.
    inbox: Mutex<VecDeque<(Delay, Vec<u8>, SocketAddr)>>,
    /// What was written of the next question over TCP.
    written: Vec<u8>,
    _live: Live,
}

impl Socket {
    fn open(server: SocketAddr) -> io::Result<Self> {
        let live = NETWORK.with_borrow(|network| network.as_ref().unwrap().open(server))?;
        Ok(Self { server, inbox: Mutex::default(), written: vec![], _live: live })
    }

    fn ask(&self, tcp: bool, packet: &[u8]) {
        let network = NETWORK.with_borrow(|network| network.clone().unwrap());
        let mut inbox = self.inbox.lock().unwrap();
        for Reply { after_ms, mut bytes, from } in network.ask(self.server, tcp, packet) {
            if tcp && !bytes.is_empty() {
                let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                bytes.splice(0..0, length);
            }
            let delay = Delay::until(now_ms() + after_ms);
            inbox.push_back((delay, bytes, from.unwrap_or(self.server)));
        }
    }
}

impl DnsUdpSocket for Socket {
    type Time = Clock;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut inbox = self.inbox.lock().unwrap();
        // Nothing more comes on this socket, as every answer is made when it is asked for.
        let Some((delay, _, _)) = inbox.front_mut() else { return Poll::Pending };
        if Pin::new(delay).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let (_, bytes, from) = inbox.pop_front().unwrap();
        // As recvfrom(2), which throws away what has no room.
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        Poll::Ready(Ok((length, from)))
    }

    fn poll_send_to(
        &self,
        _: &mut Context<'_>,
        bytes: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        assert_eq!(target, self.server);
        self.ask(false, bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

impl DnsTcpStream for Socket {
    type Time = Clock;
}

impl futures_io::AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox.lock().unwrap();
        let Some((delay, bytes, _)) = inbox.front_mut() else { return Poll::Pending };
        if Pin::new(delay).poll(cx).is_pending() {
            return Poll::Pending;
        }
        // A reply without bytes is the end of the stream.
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        bytes.drain(..length);
        if bytes.is_empty() && length > 0 {
            inbox.pop_front();
        }
        Poll::Ready(Ok(length))
    }
}

impl futures_io::AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend(bytes);
        if let Some((length, packet)) = self.written.split_first_chunk::<2>()
            && packet.len() >= usize::from(u16::from_be_bytes(*length))
        {
            let packet = packet.to_vec();
            self.written.clear();
            self.ask(true, &packet);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
