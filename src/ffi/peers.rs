//! The state of an upstream's servers, when none could be chosen.

use diagnosis::Peers;
use nginx_sys::{ngx_http_upstream_rr_peers_t, ngx_http_upstream_srv_conf_t};

#[cfg(ngx_feature = "http_upstream_zone")]
use nginx_sys::{ngx_rwlock_rlock, ngx_rwlock_unlock, ngx_slab_pool_t};

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
    let mut list = peers.cast_const();
    // SAFETY: peers are linked to the backup ones, and each to its next, ending with NULL
    // (ngx_http_upstream_init_round_robin); in a zone the lock above keeps them.
    while let Some(group) = unsafe { list.as_ref() } {
        let mut peer = group.peer.cast_const();
        // SAFETY: as above.
        while let Some(server) = unsafe { peer.as_ref() } {
            let place = match () {
                () if server.down != 0 => &mut counts.down,
                () if is_failed(server) => &mut counts.failed,
                () if server.max_conns != 0 && server.conns >= server.max_conns => {
                    &mut counts.at_limit
                }
                () => &mut 0,
            };
            *place = place.saturating_add(1);
            counts.total = counts.total.saturating_add(1);
            peer = server.next;
        }
        list = group.next;
    }
    Some(counts)
}

/// The rule of ngx_http_upstream_get_peer.
fn is_failed(server: &nginx_sys::ngx_http_upstream_rr_peer_t) -> bool {
    // SAFETY: nginx sets ngx_cached_time before it runs any module code (ngx_time_init).
    let now = unsafe { (*nginx_sys::ngx_cached_time).sec };
    server.max_fails != 0
        && server.fails >= server.max_fails
        && now.saturating_sub(server.checked) <= server.fail_timeout
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
}
