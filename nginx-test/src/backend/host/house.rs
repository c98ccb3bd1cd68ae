//! The thread of a host: all its connections, until it is told to leave.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::guest::Guest;
use super::{IGNORE, Shared, depart};
use crate::backend::listen::close_listener;
use crate::wait;

/// The listening socket and the connections; one thread has them all.
pub(super) struct House {
    shared: Arc<Shared>,
    listener: TcpListener,
    guests: Vec<Guest>,
}

impl House {
    pub(super) fn new(listener: TcpListener, shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), listener, guests: Vec::new() }
    }

    /// Until told to leave; the socket comes back to whoever told.
    pub(super) fn serve(mut self, woken: &UnixStream) -> TcpListener {
        self.listener.set_nonblocking(true).expect("non-blocking");
        while !self.wait(woken) {
            self.accept();
            self.attend(false);
        }
        let mut how = [0];
        let told = (&*woken).read(&mut how);
        // The host is dropped: nobody is interested in what becomes of the connections.
        if !matches!(told, Ok(1)) {
            return self.listener;
        }
        let listener = self.listener.as_raw_fd();
        let mut spare = None;
        if how == [IGNORE] {
            depart::ignore(listener);
        } else if !depart::refuse(listener, &mut spare) {
            self.accept();
            close_listener(listener);
        }
        (&*woken).write_all(&how).expect("say that the port is left");
        self.see_off();
        self.listener
    }

    /// Waits for something to do; true when the host is to leave.
    fn wait(&self, woken: &UnixStream) -> bool {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut all = vec![watch(woken.as_raw_fd()), watch(self.listener.as_raw_fd())];
        all.extend(self.guests.iter().map(|guest| watch(guest.stream.as_raw_fd())));
        let held = self.guests.iter().any(|guest| guest.asked.is_some());
        // A gate cannot be polled: look again soon.
        let limit = if held { 2 } else { -1 };
        // SAFETY: `all` is an array of that many pollfds (poll(2)).
        unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, limit) };
        all[0].revents != 0
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("non-blocking");
            let _ = stream.set_nodelay(true);
            self.shared.connections.fetch_add(1, Ordering::SeqCst);
            self.guests.push(Guest::new(stream));
        }
    }

    fn attend(&mut self, leaving: bool) {
        self.guests.retain_mut(|guest| guest.stays(&self.shared, leaving));
    }

    /// Until everybody has gone, also who was on the way in. A connection without a request so far
    /// waits for its first one.
    fn see_off(&mut self) {
        let mut quiet = 0;
        wait::until("the connections to a host that leaves to end", || {
            self.accept();
            self.attend(true);
            quiet = if self.guests.is_empty() { quiet + 1 } else { 0 };
            (quiet == 2).then_some(())
        });
    }
}
