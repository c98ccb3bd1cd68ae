//! What the client runs on: sockets of the network in memory.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::LocalSpawnExt;

use super::clock::{Clock, Delay, now_ms};
use super::{Live, NETWORK, Reply, SPAWNER, TASKS};
use crate::runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, Spawn};

#[derive(Clone, Debug)]
pub(in super::super) struct Runtime;

impl Spawn for Runtime {
    fn spawn_bg(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let live = Live::new(TASKS);
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
pub(in super::super) struct Socket {
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
