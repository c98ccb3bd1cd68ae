//! `ngx_http_request_t`.

use core::marker::PhantomData;
use std::cell::RefCell;

use nginx_sys::{
    NGX_HTTP_VERSION_9, ngx_http_log_handler_pt, ngx_http_request_t, ngx_int_t, ngx_list_t,
    ngx_pool_t, ngx_str_t,
};

use super::headers::Names;
use super::state::State;
use super::upstream::Upstream;
use super::{headers, pool, tables, text};
use crate::conf::{LocConf, MainConf};
use crate::record::Record;

/// The type of `u->finalize_request`.
pub(crate) type Finalizer = unsafe extern "C" fn(*mut ngx_http_request_t, ngx_int_t);
/// The type of `r->log_handler`.
pub(crate) type LogHandler = ngx_http_log_handler_pt;

/// Which request or subrequest something belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestId(*mut ngx_http_request_t);

/// A live request or subrequest.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(super) raw: *mut ngx_http_request_t,
    callback: PhantomData<&'r ()>,
}

impl<'r> Request<'r> {
    /// # Safety
    /// `raw` must be a request that nginx passed to the callback that runs now, or its main one.
    pub(super) unsafe fn new(raw: *mut ngx_http_request_t) -> Self {
        Self { raw, callback: PhantomData }
    }

    pub(super) fn get(&self) -> &'r ngx_http_request_t {
        // SAFETY: new's contract; nginx does not run while our callback does.
        unsafe { &*self.raw }
    }

    /// Identity of this request.
    pub(crate) fn id(self) -> RequestId {
        RequestId(self.raw)
    }

    /// The request of an id that is in the record of `self`, the main request.
    pub(crate) fn member(self, id: RequestId) -> Self {
        // SAFETY: ids are only kept in the record of their main request, and subrequests are
        // allocated from the pool of the main one (ngx_http_subrequest), as the record is.
        unsafe { Self::new(id.0) }
    }

    /// The subrequest of `self`, the main request, that was at work when the client left; or else
    /// the main request itself.
    pub(crate) fn at_work(self) -> Self {
        // SAFETY: nginx keeps the active (sub)request in c->data until it has freed the main one
        // (ngx_http_subrequest, ngx_http_free_request).
        unsafe {
            let active = (*self.get().connection).data.cast::<ngx_http_request_t>();
            if !active.is_null() && core::ptr::eq((*active).main, self.raw) {
                Self::new(active)
            } else {
                self
            }
        }
    }

    /// Whether messages about this main request pass by us.
    pub(super) fn is_watched(self) -> bool {
        let ours = super::entry::LOG_HANDLER;
        self.get().log_handler.is_some_and(|handler| core::ptr::fn_addr_eq(handler, ours))
    }

    /// The main request of this one.
    pub(crate) fn main(self) -> Self {
        // SAFETY: nginx keeps r->main valid as long as r (ngx_http_subrequest).
        unsafe { Self::new(self.get().main) }
    }

    /// Whether this is the main request.
    pub(crate) fn is_main(self) -> bool {
        core::ptr::eq(self.raw, self.get().main)
    }

    /// A subrequest whose response nobody waits for: it is not among those of its parent.
    ///
    /// `r->background` says the same, but bindgen misplaces the bit fields of a request where a
    /// smaller field comes before them (nginx 1.31).
    pub(crate) fn is_background(self) -> bool {
        // SAFETY: a subrequest's parent lives as long as it; NULL for the main request.
        let Some(parent) = (unsafe { self.get().parent.as_ref() }) else { return false };
        // SAFETY: ngx_http_subrequest appends each that is awaited to this list, which ends with
        // NULL, and takes it out only when it is finalized (ngx_http_finalize_request).
        let mut awaited = unsafe {
            core::iter::successors(parent.postponed.as_ref(), |entry| entry.next.as_ref())
        };
        !awaited.any(|entry| core::ptr::eq(entry.request, self.raw))
    }

    /// The configuration of the location that handles the request now.
    pub(crate) fn loc_conf(self) -> &'r LocConf {
        // SAFETY: nginx sets loc_conf[ctx_index] to what our create_loc_conf returned.
        unsafe { &*(*self.get().loc_conf.add(tables::ctx_index())).cast::<LocConf>() }
    }

    /// The configuration of the `http` block.
    pub(crate) fn main_conf(self) -> &'r MainConf {
        // SAFETY: as in loc_conf.
        unsafe { &*(*self.get().main_conf.add(tables::ctx_index())).cast::<MainConf>() }
    }

    /// The upstream of this request, once a proxying module has made one.
    pub(crate) fn upstream(self) -> Option<Upstream<'r>> {
        // SAFETY: r->upstream is NULL or allocated from the request's pool.
        unsafe { Upstream::new(self.get().upstream) }
    }

    /// `r->upstream_states`: attempts, and the marks of redirects between them.
    pub(crate) fn states(self) -> &'r [State] {
        // SAFETY: r->upstream_states is NULL or an array of ngx_http_upstream_state_t
        // (ngx_http_upstream_init_request), of which State is a transparent wrapper.
        unsafe { self.get().upstream_states.as_ref().map_or(&[], |states| states.as_slice()) }
    }

    /// `$status`.
    pub(crate) fn status(self) -> u16 {
        match self.error_status() {
            0 => self.response_status(),
            error => error,
        }
    }

    /// The status of the error page that nginx is making; 0 if it makes none.
    pub(crate) fn error_status(self) -> u16 {
        u16::try_from(self.get().err_status).unwrap_or(0)
    }

    /// The status of the response header; 9 when there is none (ngx_http_variable_status).
    pub(crate) fn response_status(self) -> u16 {
        match self.get() {
            r if r.http_version == NGX_HTTP_VERSION_9 as usize => 9,
            r => u16::try_from(r.headers_out.status).unwrap_or(0),
        }
    }

    /// A stale cache entry was served because the upstream failed.
    #[cfg(ngx_feature = "http_cache")]
    pub(crate) fn served_stale(self) -> bool {
        // SAFETY: as in upstream().
        let upstream = unsafe { self.get().upstream.as_ref() };
        upstream.is_some_and(|upstream| upstream.cache_status() == nginx_sys::NGX_HTTP_CACHE_STALE)
    }

    /// Without a cache nothing stale can be served.
    #[cfg(not(ngx_feature = "http_cache"))]
    pub(crate) fn served_stale(self) -> bool {
        false
    }

    /// The main request's record, if anything has failed.
    pub(crate) fn record(self) -> Option<&'r RefCell<Record>> {
        // SAFETY: the main request's pool outlives the callback.
        unsafe { pool::find::<RefCell<Record>>(self.main_pool()) }
    }

    /// The main request's record, made when it is needed; `None` when out of memory.
    pub(crate) fn record_or_create(self) -> Option<&'r RefCell<Record>> {
        self.record().or_else(|| {
            // SAFETY: as in record.
            unsafe { pool::attach(self.main_pool(), Box::<RefCell<Record>>::default()) }
        })
    }

    fn main_pool(&self) -> *mut ngx_pool_t {
        self.main().get().pool
    }

    /// Whether the client's address, after realip, is a loopback or unix one.
    pub(crate) fn is_from_this_machine(self) -> bool {
        // SAFETY: a request has a connection and that an address (ngx_http_init_connection) of the
        // size that belongs to its family.
        unsafe {
            let address = (*self.get().connection).sockaddr;
            match i32::from((*address).sa_family) {
                libc::AF_UNIX => true,
                libc::AF_INET => {
                    let bytes =
                        (*address.cast::<libc::sockaddr_in>()).sin_addr.s_addr.to_ne_bytes();
                    bytes[0] == 127
                }
                libc::AF_INET6 => {
                    let bytes = (*address.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr;
                    let address = std::net::Ipv6Addr::from(bytes).to_canonical();
                    address.is_loopback()
                }
                _ => false,
            }
        }
    }

    /// Whether a response header has a name as long as one of these.
    pub(crate) fn has_response_header_of_length(self, lengths: [usize; 2]) -> bool {
        let has_length = |line: &nginx_sys::ngx_table_elt_t| lengths.contains(&line.key.len);
        // SAFETY: new's contract.
        unsafe { headers::any(self.header_lines(), has_length) }
    }

    /// Whether a response header with one of these names is going to be sent.
    pub(crate) fn has_response_header(self, names: &Names<'_>) -> bool {
        // SAFETY: new's contract.
        unsafe { headers::any(self.header_lines(), |line| headers::is_named(line, names)) }
    }

    /// Keeps the response headers with one of these names from being sent and returns their values,
    /// in order.
    pub(crate) fn take_response_headers(self, names: &Names<'_>) -> Vec<&'r [u8]> {
        let mut values = Vec::new();
        let visit = |line: &mut nginx_sys::ngx_table_elt_t| {
            if headers::is_named(line, names) {
                // SAFETY: a header line's value points to its bytes in the request's memory.
                values.push(unsafe { text::bytes(line.value) });
                headers::hide(line);
            }
        };
        // SAFETY: new's contract; `visit` leaves the list as it is.
        unsafe { headers::for_each(self.header_lines(), visit) };
        values
    }

    /// Keeps the response headers with one of these names from being sent.
    pub(crate) fn hide_response_headers(self, names: &Names<'_>) {
        // SAFETY: new's contract.
        unsafe { headers::hide_all(self.header_lines(), names) };
    }

    /// Keeps the response headers with this name that `keep` does not like from being sent.
    pub(crate) fn retain_response_headers(self, name: &str, keep: impl Fn(&[u8]) -> bool) {
        let names = [name.as_bytes(), &[]];
        let visit = |line: &mut nginx_sys::ngx_table_elt_t| {
            // SAFETY: a header line's value points to its bytes in the request's memory.
            if headers::is_named(line, &names) && !keep(unsafe { text::bytes(line.value) }) {
                headers::hide(line);
            }
        };
        // SAFETY: new's contract; the closure leaves the list as it is.
        unsafe { headers::for_each(self.header_lines(), visit) };
    }

    /// The list of response headers, which nginx initializes with the request.
    fn header_lines(&self) -> *mut ngx_list_t {
        // SAFETY: new's contract.
        unsafe { &raw mut (*self.raw).headers_out.headers }
    }

    /// Adds a response header; without memory it is left out.
    pub(crate) fn add_response_header(
        self,
        record: &'r RefCell<Record>,
        name: &'r str,
        value: Vec<u8>,
    ) {
        let value = text::kept(record, value);
        let name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
        // SAFETY: called from the header filter, before the header is sent. The name is static or
        // in the configuration, which lives as long as its requests; the value is in the record.
        let _ = unsafe { headers::push(self.raw, name, value) };
    }

    /// Makes nginx read our variables again if something has failed since they were read: what an
    /// `add_header` or a `map` saw is outdated.
    ///
    /// Only between evaluations: nginx asks a value for its length before it copies it.
    pub(crate) fn refresh_variables(self) {
        if let Some(record) = self.record() {
            self.refresh_changed(record);
        }
    }

    #[cold]
    fn refresh_changed(self, record: &RefCell<Record>) {
        if !record.borrow_mut().take_changed() {
            return;
        }
        for index in self.main_conf().variables.borrow().iter() {
            // SAFETY: r->variables has an entry for every indexed variable of the configuration
            // (ngx_http_alloc_request), and the indices come from there; subrequests share it.
            let value = unsafe { &mut *self.get().variables.add(*index) };
            value.set_valid(0);
            value.set_not_found(0);
        }
    }

    /// Puts `handler` into `r->log_handler`.
    pub(super) fn set_log_handler(self, handler: LogHandler) {
        // SAFETY: new's contract; no reference to the structure is held here.
        unsafe { (*self.raw).log_handler = handler };
    }

    /// Makes the test suite's panic, if this location asks for one at `point`.
    #[cfg(feature = "test-panic")]
    pub(super) fn maybe_panic(self, point: super::Point) {
        #[allow(clippy::panic, reason = "the purpose of this function")]
        if self.loc_conf().panics_at(point) {
            panic!("provoked by upstream_diagnosis_test_panic");
        }
    }
}
