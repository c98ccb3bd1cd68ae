//! Sockets to name servers, polled by nginx.

use core::mem::ManuallyDrop;
use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::io::{AsyncRead, AsyncWrite};
use nginx_sys::{
    NGX_OK, ngx_close_connection, ngx_connection_t, ngx_cycle, ngx_event_t, ngx_get_connection,
    ngx_handle_read_event, ngx_handle_write_event, ngx_int_t,
};
use resolver::runtime::{DnsTcpStream, DnsUdpSocket};

use super::runtime::{self, Nginx};
use crate::ffi::address::Storage;
use crate::ffi::guard;

const OK: ngx_int_t = NGX_OK as ngx_int_t;

/// A descriptor with one of the worker's connections around it.
struct Polled {
    connection: *mut ngx_connection_t,
    wakers: Box<Wakers>,
}

/// Who waits for it.
#[derive(Default)]
struct Wakers {
    read: RefCell<Option<Waker>>,
    write: RefCell<Option<Waker>>,
}

// SAFETY: hickory wants sockets that could move to another thread. These are made, polled and dropped in
// the one thread of a worker: LocalPool never leaves it.
unsafe impl Send for Polled {}
// SAFETY: as above.
unsafe impl Sync for Polled {}

impl Polled {
    /// Takes the descriptor over.
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: plain members of the worker's cycle.
        let (free, log) = unsafe { ((*ngx_cycle).free_connection_n, (*ngx_cycle).log) };
        // Else nginx would say at level alert that there are none.
        if free == 0 {
            return Err(io::Error::other("no worker connection is free"));
        }
        let wakers = Box::<Wakers>::default();
        // SAFETY: an open descriptor, in the worker's event loop.
        let connection = unsafe { ngx_get_connection(descriptor.as_raw_fd(), log) };
        // SAFETY: NULL, or the worker's until it is closed.
        let Some(c) = (unsafe { connection.as_mut() }) else {
            return Err(io::Error::other("no worker connection is free"));
        };
        // From here on the connection's.
        let _ = descriptor.into_raw_fd();
        c.data = core::ptr::from_ref(wakers.as_ref()).cast_mut().cast();
        // SAFETY: a connection's events are allocated with it.
        let (read, write) = unsafe { (&mut *c.read, &mut *c.write) };
        for event in [read, write] {
            event.log = log;
            // Neither counts among the sockets that nginx looks for when a worker ends, nor is closed
            // by worker_shutdown_timeout (ngx_worker_process_exit, ngx_shutdown_timer_handler).
            event.set_resolver(1);
        }
        // SAFETY: as above.
        unsafe {
            (*c.read).handler = Some(readable);
            (*c.write).handler = Some(writable);
        }
        Ok(Self { connection, wakers })
    }

    /// Calls `io` until it does not block; registers for when it can go on.
    fn poll<T>(
        &self,
        context: &Context<'_>,
        reads: bool,
        mut io: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match io() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return match self.wait(context, reads) {
                        Ok(()) => Poll::Pending,
                        Err(error) => Poll::Ready(Err(error)),
                    };
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn wait(&self, context: &Context<'_>, reads: bool) -> io::Result<()> {
        let waker = if reads { &self.wakers.read } else { &self.wakers.write };
        waker.replace(Some(context.waker().clone()));
        // SAFETY: the connection is open until this is dropped.
        let rc = unsafe {
            if reads {
                (*(*self.connection).read).set_ready(0);
                ngx_handle_read_event((*self.connection).read, 0)
            } else {
                (*(*self.connection).write).set_ready(0);
                ngx_handle_write_event((*self.connection).write, 0)
            }
        };
        if rc == OK { Ok(()) } else { Err(io::Error::other("the socket cannot be polled")) }
    }

    fn descriptor(&self) -> libc::c_int {
        // SAFETY: as in `wait`.
        unsafe { (*self.connection).fd }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // SAFETY: made by `new`, closed once, and nobody has it afterwards.
        unsafe { ngx_close_connection(self.connection) };
    }
}

unsafe extern "C" fn readable(event: *mut ngx_event_t) {
    // SAFETY: an event of `Polled`, whose drop closes the connection.
    unsafe { wake(event, |wakers| wakers.read.take()) };
}

unsafe extern "C" fn writable(event: *mut ngx_event_t) {
    // SAFETY: as above.
    unsafe { wake(event, |wakers| wakers.write.take()) };
}

/// # Safety
/// `event` must be one of a live [`Polled`].
unsafe fn wake(event: *mut ngx_event_t, take: impl Fn(&Wakers) -> Option<Waker>) {
    // SAFETY: the data of an event is its connection, whose data are the wakers.
    let wakers = unsafe { &*(*(*event).data.cast::<ngx_connection_t>()).data.cast::<Wakers>() };
    guard::run((), || {
        if let Some(waker) = take(wakers) {
            waker.wake();
        }
        runtime::run_soon();
    });
}

thread_local! {
    /// The last socket could not be had.
    static NONE_LEFT: Cell<bool> = const { Cell::new(false) };
}

/// Whether there was no descriptor, or no connection, for the last question. hickory says the same
/// then as when nobody listens.
pub(crate) fn none_was_left() -> bool {
    NONE_LEFT.get()
}

fn noted<T>(opened: io::Result<T>) -> io::Result<T> {
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    NONE_LEFT.set(opened.as_ref().is_err_and(|error| {
        // Of this file, or of the system.
        error.raw_os_error().is_none_or(|errno| lacks.contains(&errno))
    }));
    opened
}

/// A UDP socket, connected to one server.
pub(crate) struct UdpSocket {
    polled: Polled,
    /// The same descriptor, which the connection closes.
    inner: ManuallyDrop<std::net::UdpSocket>,
    server: SocketAddr,
}

impl UdpSocket {
    pub(super) fn open(local: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        noted(Self::try_open(local, server))
    }

    fn try_open(local: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        socket.connect(server)?;
        let polled = Polled::new(socket.into())?;
        // SAFETY: the connection's descriptor, which is open as long as `polled`.
        let inner = unsafe { std::net::UdpSocket::from_raw_fd(polled.descriptor()) };
        Ok(Self { polled, inner: ManuallyDrop::new(inner), server })
    }
}

impl DnsUdpSocket for UdpSocket {
    type Time = Nginx;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let received = self.polled.poll(context, true, || self.inner.recv(room));
        received.map_ok(|length| (length, self.server))
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        _server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.polled.poll(context, false, || self.inner.send(bytes))
    }
}

/// A TCP connection to a server.
pub(crate) struct TcpStream {
    polled: Polled,
    /// The same descriptor, which the connection closes.
    inner: ManuallyDrop<std::net::TcpStream>,
}

impl TcpStream {
    pub(super) async fn connect(server: SocketAddr) -> io::Result<Self> {
        let polled = noted(connecting(server).and_then(Polled::new))?;
        // SAFETY: as in `UdpSocket::open`.
        let inner = unsafe { std::net::TcpStream::from_raw_fd(polled.descriptor()) };
        let stream = Self { polled, inner: ManuallyDrop::new(inner) };
        // Connected once it has a peer; failed once it has an error.
        std::future::poll_fn(|context| {
            stream.polled.poll(context, false, || match stream.inner.take_error()? {
                Some(error) => Err(error),
                None => match stream.inner.peer_addr() {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    other => other,
                },
            })
        })
        .await?;
        Ok(stream)
    }
}

/// A socket on its way to `server`.
fn connecting(server: SocketAddr) -> io::Result<OwnedFd> {
    let family = if server.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (storage, length) = Storage::new(server);
    // SAFETY: a fresh descriptor is owned from here on; the address has the length that is given.
    unsafe {
        let raw = libc::socket(family, kind, 0);
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        let descriptor = OwnedFd::from_raw_fd(raw);
        if libc::connect(raw, storage.as_ptr().cast(), length) == 0 {
            return Ok(descriptor);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::EINPROGRESS) { Ok(descriptor) } else { Err(error) }
    }
}

impl DnsTcpStream for TcpStream {
    type Time = Nginx;
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.polled.poll(context, true, || (&*self.inner).read(room))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.polled.poll(context, false, || (&*self.inner).write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
