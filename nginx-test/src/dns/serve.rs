//! The sockets of a name server and its threads.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::packet::Query;
use super::say::{Origin, Pause, Say};
use super::{Question, Shared};
use crate::backend::listen::close_listener;

/// How soon a thread sees that the server stops.
const TICK: Duration = Duration::from_millis(20);

/// A server that runs. Dropping it ends its threads.
#[derive(Debug)]
pub(super) struct Serving {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads have in common from one start to the next stop.
#[derive(Debug)]
struct Desk {
    shared: Arc<Shared>,
    udp: UdpSocket,
    tcp: TcpListener,
    stopping: AtomicBool,
    /// Connections, to be closed at the end, and threads, to be waited for.
    open: Mutex<Vec<Arc<TcpStream>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Who gets an answer.
#[derive(Debug, Clone)]
enum Asker {
    Udp(SocketAddr),
    Tcp(Arc<TcpStream>),
}

impl Serving {
    pub(super) fn start(address: SocketAddr, shared: &Arc<Shared>) -> io::Result<Self> {
        let (udp, tcp) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
        // A packet with a wrong checksum is there for poll(2) and not for recv(2), and a client
        // may be gone before it is accepted: do not wait for what does not come.
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let desk = Arc::new(Desk {
            shared: Arc::clone(shared),
            udp,
            tcp,
            stopping: AtomicBool::new(false),
            open: Mutex::default(),
            threads: Mutex::default(),
        });
        let for_thread = Arc::clone(&desk);
        Ok(Self { desk, thread: Some(thread::spawn(move || for_thread.serve())) })
    }
}

impl Desk {
    fn serve(self: &Arc<Self>) {
        let socket = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut packet = [0; 65_535];
        while !self.is_stopping() {
            let mut ready = [socket(self.udp.as_raw_fd()), socket(self.tcp.as_raw_fd())];
            // SAFETY: `ready` is an array of that many pollfds (poll(2)).
            unsafe { libc::poll(ready.as_mut_ptr(), 2, TICK.as_millis() as i32) };
            if ready[0].revents != 0
                && let Ok((count, from)) = self.udp.recv_from(&mut packet)
            {
                self.asked(&packet[..count], from, &Asker::Udp(from));
            }
            if ready[1].revents != 0
                && let Ok((stream, from)) = self.tcp.accept()
            {
                self.talk(Arc::new(stream), from);
            }
        }
    }

    /// One question after the other on a connection of its own; each has its length before it.
    fn talk(self: &Arc<Self>, stream: Arc<TcpStream>, from: SocketAddr) {
        self.open.lock().unwrap().push(Arc::clone(&stream));
        let desk = Arc::clone(self);
        self.spawn(move || {
            let mut length = [0; 2];
            while (&*stream).read_exact(&mut length).is_ok() {
                let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
                if (&*stream).read_exact(&mut packet).is_err() {
                    break;
                }
                desk.asked(&packet, from, &Asker::Tcp(Arc::clone(&stream)));
            }
            desk.open.lock().unwrap().retain(|open| !Arc::ptr_eq(open, &stream));
        });
    }

    fn asked(self: &Arc<Self>, packet: &[u8], from: SocketAddr, asker: &Asker) {
        let Some(query) = Query::read(packet) else { return };
        let tcp = matches!(asker, Asker::Tcp(_));
        // Before it is counted, so that who waits for the question may change the zone.
        let say = Say::to(&query, &self.shared, tcp);
        let (name, kind, at) = (query.name.clone(), query.kind, Instant::now());
        let answers = self.answers(&say, &query, tcp);
        self.shared.questions.lock().unwrap().push(Question { name, kind, tcp, from, at });
        for (pause, origin, bytes) in answers {
            let (desk, asker) = (Arc::clone(self), asker.clone());
            match pause {
                Pause::None => desk.send(&asker, origin, &bytes),
                Pause::For(delay) => self.spawn(move || {
                    if desk.wait(at + delay) {
                        desk.send(&asker, origin, &bytes);
                    }
                }),
                Pause::Until(gate) => self.spawn(move || {
                    while !desk.is_stopping() {
                        if gate.wait_at_most(TICK) {
                            return desk.send(&asker, origin, &bytes);
                        }
                    }
                }),
            }
        }
    }

    /// All that is said to one question, in order.
    fn answers(&self, say: &Say, query: &Query, tcp: bool) -> Vec<(Pause, Origin, Vec<u8>)> {
        let mut answers = Vec::new();
        let mut next = Some(say);
        while let Some(say) = next {
            if let Some(bytes) = say.bytes(&self.shared, query, tcp) {
                answers.push((say.pause.clone(), say.origin, bytes));
            }
            next = say.then.as_deref();
        }
        answers
    }

    /// An asker that is gone misses its answer.
    fn send(&self, asker: &Asker, origin: Origin, bytes: &[u8]) {
        match asker {
            Asker::Tcp(stream) => {
                let length = (bytes.len() as u16).to_be_bytes();
                // One write, so that answers from different threads do not mix.
                let _ = (&**stream).write_all(&[&length, bytes].concat());
            }
            Asker::Udp(to) => {
                let here = self.udp.local_addr().unwrap();
                let from = match origin {
                    Origin::Server => {
                        let _ = self.udp.send_to(bytes, to);
                        return;
                    }
                    Origin::AnotherPort => SocketAddr::new(here.ip(), 0),
                    Origin::AnotherAddress => (Ipv4Addr::new(127, 9, 9, 9), here.port()).into(),
                };
                let _ = UdpSocket::bind(from).and_then(|socket| socket.send_to(bytes, to));
            }
        }
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        let mut threads = self.threads.lock().unwrap();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread::spawn(work));
    }

    /// False when the server stops first.
    fn wait(&self, until: Instant) -> bool {
        while !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(TICK));
        }
        false
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.desk.stopping.store(true, Ordering::SeqCst);
        let mut ended = vec![self.thread.take().map_or(Ok(()), JoinHandle::join)];
        // A child that another test just forks has copies of the sockets: what they refuse is said
        // to the sockets. One that is connected gets nothing from others.
        let _ = self.desk.udp.connect((Ipv4Addr::LOCALHOST, 9));
        close_listener(self.desk.tcp.as_raw_fd());
        for stream in self.desk.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let threads = std::mem::take(&mut *self.desk.threads.lock().unwrap());
        ended.extend(threads.into_iter().map(JoinHandle::join));
        assert!(thread::panicking() || ended.iter().all(Result::is_ok), "the name server panicked");
    }
}
