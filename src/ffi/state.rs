//! One entry of `r->upstream_states`.

use nginx_sys::{ngx_http_upstream_state_t, ngx_msec_t};

use super::text;

/// `(ngx_msec_t) -1`: nginx has not reached that point.
pub(super) const UNSET: ngx_msec_t = ngx_msec_t::MAX;

/// What nginx keeps of one attempt for `$upstream_status` and its like.
#[repr(transparent)]
pub(crate) struct State(pub(super) ngx_http_upstream_state_t);

impl State {
    /// Not an attempt but the mark of an internal redirect (ngx_http_upstream_init_request pushes
    /// a zeroed entry). An attempt starts with unset times (ngx_http_upstream_connect).
    pub(crate) fn is_separator(&self) -> bool {
        self.0.peer.is_null() && self.0.header_time == 0
    }

    /// The whole response header was read and understood.
    pub(crate) fn has_header(&self) -> bool {
        self.0.header_time != UNSET
    }

    /// Milliseconds until the connection stood, with TLS where it is spoken.
    pub(crate) fn connect_ms(&self) -> Option<u64> {
        (self.0.connect_time != UNSET).then_some(self.0.connect_time as u64)
    }

    /// Milliseconds until the whole response header was read.
    pub(crate) fn header_ms(&self) -> Option<u64> {
        (self.0.header_time != UNSET).then_some(self.0.header_time as u64)
    }

    /// The upstream's status, or the one that nginx gave the failed attempt; 0 before either.
    pub(crate) fn status(&self) -> u16 {
        u16::try_from(self.0.status).unwrap_or(0)
    }

    /// nginx is done with the attempt (ngx_http_upstream_finalize_request).
    pub(crate) fn has_ended(&self) -> bool {
        self.0.response_time != UNSET
    }

    /// Milliseconds from the attempt's start to the end of the response header, or else to the
    /// attempt's end.
    pub(crate) fn ms(&self) -> Option<u64> {
        let times = [self.0.header_time, self.0.response_time];
        times.into_iter().find(|time| *time != UNSET).map(|time| time as u64)
    }

    /// Bytes that came from the upstream.
    pub(crate) fn bytes_received(&self) -> u64 {
        u64::try_from(self.0.bytes_received).unwrap_or(0)
    }

    /// The address as in `$upstream_addr`.
    pub(crate) fn address(&self) -> &[u8] {
        // SAFETY: nginx keeps the peer's name for $upstream_addr, which it prints in the log phase
        // (ngx_http_upstream_addr_variable), so it lives as long as the request.
        unsafe { text::bytes_at(self.0.peer) }
    }
}
