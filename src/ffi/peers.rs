//! An upstream's servers: which one an address belongs to, and why none could be chosen.

mod again;

use diagnosis::Peers;
use diagnosis::evidence::peers::{MAX_LISTED, Peer};
use nginx_sys::{
    ngx_http_upstream_rr_peer_t, ngx_http_upstream_rr_peers_t, ngx_http_upstream_srv_conf_t,
};

use super::text;
pub(super) use again::begin_again;

/// Addresses and `server` arguments are copied up to here.
const MAX_TEXT: usize = 256;

#[cfg(ngx_feature = "http_upstream_zone")]
use nginx_sys::{ngx_rwlock_rlock, ngx_rwlock_unlock, ngx_rwlock_wlock, ngx_slab_pool_t};

/// Counts the servers of `upstream` by why they cannot be used now.
///
/// `None` when the balancer is not known to keep its servers as round robin does.
///
/// # Safety
/// `upstream` must be a configured upstream of the running cycle, and no lock of its servers may
/// be held.
pub(super) unsafe fn count(upstream: *mut ngx_http_upstream_srv_conf_t) -> Option<Peers> {
    // SAFETY: the caller's contract.
    let peers = unsafe { round_robin(upstream) }?;
    // SAFETY: round_robin has made sure what this is.
    let _lock = unsafe { Lock::read(peers) };
    let mut counts = Peers::default();
    // SAFETY: locked above.
    for (peer, _) in unsafe { all(peers) } {
        let place = match () {
            () if peer.down != 0 => &mut counts.down,
            () if retry_in(peer).is_some() => &mut counts.failed,
            () if peer.max_conns != 0 && peer.conns >= peer.max_conns => &mut counts.at_limit,
            () => &mut 0,
        };
        *place = place.saturating_add(1);
        counts.total = counts.total.saturating_add(1);
    }
    Some(counts)
}

/// Calls `write` with the `server` argument of the peer whose address text is `address`, best the
/// very bytes that nginx chose; with nothing when two servers have that address.
///
/// `Err` gives `write` back where [`count`] is `None`.
///
/// # Safety
/// As [`count`].
pub(super) unsafe fn with_server<F: FnOnce(&[u8])>(
    upstream: *mut ngx_http_upstream_srv_conf_t,
    address: &[u8],
    write: F,
) -> Result<(), F> {
    // SAFETY: the caller's contract.
    let Some(peers) = (unsafe { round_robin(upstream) }) else { return Err(write) };
    // SAFETY: round_robin has made sure what this is.
    let _lock = unsafe { Lock::read(peers) };
    let mut found: &[u8] = &[];
    let mut others = false;
    // SAFETY: locked above.
    for (peer, _) in unsafe { all(peers) } {
        // SAFETY: a peer's texts live as long as it.
        let (name, server) = unsafe { (text::bytes(peer.name), text::bytes(peer.server)) };
        if core::ptr::eq(name, address) {
            found = server;
            others = false;
            break;
        }
        if name == address {
            others |= !found.is_empty() && found != server;
            found = server;
        }
    }
    write(if others { &[] } else { found });
    Ok(())
}

/// The first servers one by one, and how many there are.
///
/// `None` where [`count`] is.
///
/// # Safety
/// As [`count`].
pub(super) unsafe fn list(upstream: *mut ngx_http_upstream_srv_conf_t) -> Option<(Vec<Peer>, u64)> {
    // SAFETY: the caller's contract.
    let peers = unsafe { round_robin(upstream) }?;
    let mut listed = Vec::with_capacity(MAX_LISTED);
    let mut total = 0_u64;
    // SAFETY: round_robin has made sure what this is.
    let _lock = unsafe { Lock::read(peers) };
    // SAFETY: locked above.
    for (peer, backup) in unsafe { all(peers) } {
        if listed.len() < MAX_LISTED {
            // SAFETY: locked above.
            listed.push(unsafe { describe(peer, backup) });
        }
        total = total.saturating_add(1);
    }
    Some((listed, total))
}

/// One server of a balancer: where round robin keeps what it knows of it. It stays there as long as
/// the configuration, for servers without nginx's own `resolve`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PeerId(*mut ngx_http_upstream_rr_peer_t);

/// Where a server's name or address is kept, by which a balancer's choice is known again. With a
/// zone, nginx gives the choice another name since 1.27.3 (ngx_http_upstream_connect).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct PeerMark(usize);

impl PeerMark {
    /// Of what may be no server at all: to be compared only.
    pub(super) fn of<T>(place: *const T) -> Self {
        Self(place.addr())
    }
}

/// What re-resolution has to know of a server.
pub(super) struct Found<'p> {
    pub(super) peer: PeerId,
    /// Of its name and its address.
    pub(super) marks: [PeerMark; 2],
    pub(super) backup: bool,
    /// The argument of `server`.
    pub(super) server: &'p [u8],
    pub(super) address: Option<std::net::SocketAddr>,
}

/// All servers that nginx does not resolve itself; none where [`count`] is `None`.
///
/// # Safety
/// As [`count`].
pub(super) unsafe fn find<'p>(upstream: *mut ngx_http_upstream_srv_conf_t) -> Vec<Found<'p>> {
    // SAFETY: the caller's contract.
    let Some(peers) = (unsafe { round_robin(upstream) }) else { return Vec::new() };
    // SAFETY: round_robin has made sure what this is.
    let _lock = unsafe { Lock::read(peers) };
    // SAFETY: locked above.
    let all = unsafe { all(peers) }.filter(|(peer, _)| !is_resolved(peer));
    all.map(|(peer, backup)| Found {
        peer: PeerId(core::ptr::from_ref(peer).cast_mut()),
        marks: [PeerMark::of(&raw const peer.name), PeerMark::of(peer.sockaddr)],
        backup,
        // SAFETY: a peer's texts and address live as long as it.
        server: unsafe { text::bytes(peer.server) },
        // SAFETY: as above.
        address: unsafe { super::address::read(peer.sockaddr) },
    })
    .collect()
}

/// Whether the server comes and goes with what nginx's own `resolve` finds.
#[cfg(all(ngx_feature = "http_upstream_zone", nginx1_27_3))]
fn is_resolved(peer: &ngx_http_upstream_rr_peer_t) -> bool {
    !peer.host.is_null()
}

#[cfg(not(all(ngx_feature = "http_upstream_zone", nginx1_27_3)))]
fn is_resolved(_: &ngx_http_upstream_rr_peer_t) -> bool {
    false
}

/// Counts a connection to `peer` that its balancer does not know of; false when it has
/// `max_conns` of them.
///
/// # Safety
/// `peer` must be one of [`find`] in this `upstream`, and no lock of its servers may be held.
pub(super) unsafe fn enter(upstream: *mut ngx_http_upstream_srv_conf_t, peer: PeerId) -> bool {
    // SAFETY: the caller's contract.
    let counted = unsafe {
        with(upstream, peer, |peer| {
            let room = peer.max_conns == 0 || peer.conns < peer.max_conns;
            peer.conns = peer.conns.saturating_add(usize::from(room));
            room
        })
    };
    counted.unwrap_or(false)
}

/// Ends what [`enter`] began, as ngx_http_upstream_free_round_robin_peer does; except that a server is
/// live at once when this did not fail: what failed just before was another of its addresses.
///
/// # Safety
/// As [`enter`].
pub(super) unsafe fn leave(
    upstream: *mut ngx_http_upstream_srv_conf_t,
    peer: PeerId,
    failed: bool,
) {
    let leave = |peer: &mut ngx_http_upstream_rr_peer_t| {
        peer.conns = peer.conns.saturating_sub(1);
        if failed {
            peer.fails = peer.fails.saturating_add(1);
            peer.accessed = now();
            peer.checked = now();
        } else {
            peer.fails = 0;
        }
    };
    // SAFETY: the caller's contract.
    unsafe { with(upstream, peer, leave) };
}

/// Forgets the failures of `peer`: they were another address's.
///
/// # Safety
/// As [`enter`].
pub(super) unsafe fn forget_failures(upstream: *mut ngx_http_upstream_srv_conf_t, peer: PeerId) {
    let forget = |peer: &mut ngx_http_upstream_rr_peer_t| {
        peer.fails = 0;
        peer.accessed = 0;
        peer.checked = 0;
        peer.effective_weight = peer.weight;
    };
    // SAFETY: the caller's contract.
    unsafe { with(upstream, peer, forget) };
}

/// # Safety
/// As [`enter`].
unsafe fn with<T>(
    upstream: *mut ngx_http_upstream_srv_conf_t,
    peer: PeerId,
    f: impl FnOnce(&mut ngx_http_upstream_rr_peer_t) -> T,
) -> Option<T> {
    // SAFETY: the caller's contract.
    let peers = unsafe { round_robin(upstream) }?;
    // SAFETY: round_robin has made sure what this is.
    let _lock = unsafe { Lock::write(peers) };
    // SAFETY: the caller's contract; locked, and nginx holds no reference in this thread.
    Some(f(unsafe { &mut *peer.0 }))
}

/// # Safety
/// `peer` must be one of [`all`].
unsafe fn describe(peer: &ngx_http_upstream_rr_peer_t, backup: bool) -> Peer {
    // SAFETY: a peer's texts live as long as it.
    let (address, server) = unsafe { (text::bytes(peer.name), text::bytes(peer.server)) };
    let copy = |text: &[u8]| text.iter().copied().take(MAX_TEXT).collect();
    Peer {
        address: copy(address),
        server: copy(server),
        fails: peer.fails as u64,
        max_fails: peer.max_fails as u64,
        retry_s: retry_in(peer),
        conns: peer.conns as u64,
        max_conns: peer.max_conns as u64,
        down: peer.down != 0,
        backup,
        last: None,
    }
}

/// All peers, the backup ones last and marked so.
///
/// # Safety
/// `peers` must be round robin's; shared ones must be locked while the iterator is in use.
unsafe fn all<'p>(
    peers: *mut ngx_http_upstream_rr_peers_t,
) -> impl Iterator<Item = (&'p ngx_http_upstream_rr_peer_t, bool)> {
    // SAFETY: peers are linked to the backup ones, and each to its next, ending with NULL
    // (ngx_http_upstream_init_round_robin); the lock keeps them so.
    let groups =
        core::iter::successors(unsafe { peers.as_ref() }, |group| unsafe { group.next.as_ref() });
    groups.enumerate().flat_map(|(number, group)| {
        // SAFETY: as above.
        core::iter::successors(unsafe { group.peer.as_ref() }, |peer| unsafe { peer.next.as_ref() })
            .map(move |peer| (peer, number > 0))
    })
}

/// In how many seconds a peer that was put aside for its failures is tried again; `None` for one
/// that was not. The rule of ngx_http_upstream_get_peer.
fn retry_in(peer: &ngx_http_upstream_rr_peer_t) -> Option<u64> {
    let aside = now().saturating_sub(peer.checked);
    let failed = peer.max_fails != 0 && peer.fails >= peer.max_fails && aside <= peer.fail_timeout;
    let left = peer.fail_timeout.saturating_sub(aside).saturating_add(1);
    failed.then(|| u64::try_from(left).unwrap_or(0))
}

/// Seconds, as nginx's cached time has them.
fn now() -> nginx_sys::time_t {
    // SAFETY: nginx sets ngx_cached_time before it runs any module code (ngx_time_init).
    unsafe { (*nginx_sys::ngx_cached_time).sec }
}

/// `uscf->peer.data`, when it is surely what round robin put there: third-party balancers may
/// keep anything in that place.
///
/// # Safety
/// As [`count`].
unsafe fn round_robin(
    upstream: *mut ngx_http_upstream_srv_conf_t,
) -> Option<*mut ngx_http_upstream_rr_peers_t> {
    // SAFETY: the caller's contract.
    let data = unsafe { (*upstream).peer.data }.cast::<ngx_http_upstream_rr_peers_t>();
    if data.is_null() {
        return None;
    }
    // SAFETY: pool memory; whatever it holds, these words are readable, and they are only compared.
    let name = unsafe { (*data).name };
    // SAFETY: the caller's contract.
    let host = unsafe { &raw mut (*upstream).host };
    // ngx_http_upstream_init_round_robin: peers->name = &us->host.
    if name == host {
        return Some(data);
    }
    #[cfg(ngx_feature = "http_upstream_zone")]
    {
        // SAFETY: as above; the zone belongs to the same configuration.
        let (shared, zone) = unsafe { ((*data).shpool, (*upstream).shm_zone.as_ref()) };
        // ngx_http_upstream_init_zone: peers->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr.
        if zone.is_some_and(|zone| shared == zone.shm.addr.cast::<ngx_slab_pool_t>()) {
            return Some(data);
        }
    }
    None
}

/// ngx_http_upstream_rr_peers_rlock.
#[cfg(ngx_feature = "http_upstream_zone")]
struct Lock(*mut ngx_http_upstream_rr_peers_t);

#[cfg(ngx_feature = "http_upstream_zone")]
impl Lock {
    /// # Safety
    /// `peers` must be round robin's, not locked by this process.
    unsafe fn read(peers: *mut ngx_http_upstream_rr_peers_t) -> Option<Self> {
        // SAFETY: the caller's contract; only shared peers have a lock in use.
        unsafe {
            if (*peers).shpool.is_null() {
                return None;
            }
            ngx_rwlock_rlock(&raw mut (*peers).rwlock);
        }
        Some(Self(peers))
    }

    /// ngx_http_upstream_rr_peers_wlock.
    ///
    /// # Safety
    /// As [`Lock::read`].
    unsafe fn write(peers: *mut ngx_http_upstream_rr_peers_t) -> Option<Self> {
        // SAFETY: as in `read`.
        unsafe {
            if (*peers).shpool.is_null() {
                return None;
            }
            ngx_rwlock_wlock(&raw mut (*peers).rwlock);
        }
        Some(Self(peers))
    }
}

#[cfg(ngx_feature = "http_upstream_zone")]
impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: read has taken this lock.
        unsafe { ngx_rwlock_unlock(&raw mut (*self.0).rwlock) };
    }
}

#[cfg(not(ngx_feature = "http_upstream_zone"))]
struct Lock;

#[cfg(not(ngx_feature = "http_upstream_zone"))]
impl Lock {
    /// # Safety
    /// None: without zones there is nothing to lock.
    unsafe fn read(_: *mut ngx_http_upstream_rr_peers_t) -> Option<Self> {
        None
    }

    /// # Safety
    /// As [`Lock::read`].
    unsafe fn write(_: *mut ngx_http_upstream_rr_peers_t) -> Option<Self> {
        None
    }
}
