//! One request's way through its servers, begun again when their names have moved.

use core::ffi::c_void;

use nginx_sys::{ngx_http_upstream_rr_peer_data_t, ngx_http_upstream_srv_conf_t};

use super::round_robin;

/// Lets a request that has come to the backup servers begin with the primary ones again: round robin
/// never goes back to them, and least_conn neither. Balancers that do not know backup servers, or
/// keep other things in `u->peer.data`, are left alone.
///
/// # Safety
/// `data` must be what the balancer of `upstream` keeps of a request, and no lock of its servers may
/// be held.
pub(in crate::ffi) unsafe fn begin_again(
    upstream: *mut ngx_http_upstream_srv_conf_t,
    data: *mut c_void,
) {
    // SAFETY: the caller's contract.
    let Some(primary) = (unsafe { round_robin(upstream) }) else { return };
    // SAFETY: whatever a balancer keeps, it begins with these words in readable pool memory; they are
    // only believed when they point to the backup servers of this upstream.
    unsafe {
        let way = data.cast::<ngx_http_upstream_rr_peer_data_t>();
        let backup = (*primary).next;
        if way.is_null() || backup.is_null() || (*way).peers != backup {
            return;
        }
        (*way).peers = primary;
        // One bit for each server (ngx_http_upstream_init_round_robin_peer).
        let words = (*primary).number.div_ceil(usize::BITS as usize);
        core::slice::from_raw_parts_mut((*way).tried, words).fill(0);
    }
}
