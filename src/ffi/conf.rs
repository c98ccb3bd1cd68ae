//! `ngx_conf_t`, and what the directives make of their arguments.

use core::ffi::{c_char, c_void};
use core::marker::PhantomData;

use nginx_sys::{
    NGX_DONE, NGX_ERROR, NGX_LOG_EMERG, NGX_LOG_WARN, NGX_OK, ngx_array_create, ngx_array_push,
    ngx_array_t, ngx_cidr_match, ngx_cidr_t, ngx_command_t, ngx_conf_full_name, ngx_conf_log_error,
    ngx_conf_t, ngx_cycle_t, ngx_http_compile_complex_value, ngx_http_compile_complex_value_t,
    ngx_http_complex_value, ngx_http_complex_value_t, ngx_int_t, ngx_log_t, ngx_palloc,
    ngx_parse_time, ngx_ptocidr, ngx_str_t, ngx_uint_t,
};

use super::request::Request;
use super::{guard, log, text};

/// `NGX_CONF_ERROR`: the reason is in the log.
const CONF_ERROR: *mut c_char = usize::MAX as *mut c_char;

/// Why a directive is refused.
pub(crate) enum SetError {
    /// nginx adds the directive's name, file and line.
    Duplicate,
    /// Already logged, with file and line.
    Logged,
}

/// A directive of ours.
pub(crate) trait Directive {
    /// Where it is kept: what our create callback makes for each block that it may stand in.
    type Block;

    /// Reads the arguments of `conf` into `block`.
    fn set(conf: &Conf<'_>, block: &mut Self::Block) -> Result<(), SetError>;
}

/// The `set` of an `ngx_command_t` for a [`Directive`].
pub(super) unsafe extern "C" fn set<D: Directive>(
    cf: *mut ngx_conf_t,
    _command: *mut ngx_command_t,
    block: *mut c_void,
) -> *mut c_char {
    guard::run(CONF_ERROR, || {
        let conf = Conf { raw: cf, callback: PhantomData };
        // SAFETY: nginx passes the block's configuration, made by the create callback for this kind
        // of block (ngx_conf_handler with the command's offset), and nobody else uses it meanwhile.
        let block = unsafe { &mut *block.cast::<D::Block>() };
        match D::set(&conf, block) {
            Ok(()) => core::ptr::null_mut(),
            Err(SetError::Duplicate) => c"is duplicate".as_ptr().cast_mut(),
            Err(SetError::Logged) => CONF_ERROR,
        }
    })
}

/// The directive that nginx is reading.
pub(crate) struct Conf<'c> {
    raw: *mut ngx_conf_t,
    callback: PhantomData<&'c ()>,
}

impl<'c> Conf<'c> {
    fn words(&self) -> &'c [ngx_str_t] {
        // SAFETY: nginx keeps the words of the directive in cf->args while it is handled.
        unsafe { (*(*self.raw).args).as_slice() }
    }

    /// The only argument; nginx has checked the number.
    pub(crate) fn argument(&self) -> &'c [u8] {
        self.arguments().first().copied().unwrap_or_default()
    }

    /// All arguments.
    pub(crate) fn arguments(&self) -> Vec<&'c [u8]> {
        // SAFETY: as in words; the strings are in the configuration's pool.
        self.words().iter().skip(1).map(|word| unsafe { text::bytes(*word) }).collect()
    }

    /// Refuses an argument in nginx's words.
    pub(crate) fn invalid_value(&self, value: &[u8]) -> SetError {
        // SAFETY: "%*s" takes a length and a pointer to that many bytes (ngx_vslprintf).
        unsafe {
            ngx_conf_log_error(
                NGX_LOG_EMERG as ngx_uint_t,
                self.raw,
                0,
                c"invalid value \"%*s\"".as_ptr(),
                value.len(),
                value.as_ptr(),
            );
        }
        SetError::Logged
    }

    /// Refuses an argument as ngx_conf_set_flag_slot does.
    pub(crate) fn not_a_flag(&self, value: &[u8]) -> SetError {
        // SAFETY: the first word is the directive's name.
        let name = self.words().first().map_or(&[][..], |name| unsafe { text::bytes(*name) });
        // SAFETY: as in invalid_value.
        unsafe {
            ngx_conf_log_error(
                NGX_LOG_EMERG as ngx_uint_t,
                self.raw,
                0,
                c"invalid value \"%*s\" in \"%*s\" directive, it must be \"on\" or \"off\""
                    .as_ptr(),
                value.len(),
                value.as_ptr(),
                name.len(),
                name.as_ptr(),
            );
        }
        SetError::Logged
    }

    /// Refuses the directive with a reason of its own.
    pub(crate) fn refuse(&self, reason: &str) -> SetError {
        // SAFETY: as in invalid_value.
        unsafe {
            ngx_conf_log_error(
                NGX_LOG_EMERG as ngx_uint_t,
                self.raw,
                0,
                c"%*s".as_ptr(),
                reason.len(),
                reason.as_ptr(),
            );
        }
        SetError::Logged
    }

    /// A time in nginx's notation ("1s", "500ms") as milliseconds; `None` for anything else.
    pub(crate) fn milliseconds(value: &[u8]) -> Option<u64> {
        let mut text = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
        // SAFETY: only reads the bytes of the string.
        u64::try_from(unsafe { ngx_parse_time(&raw mut text, 0) }).ok()
    }

    /// The path of a configuration file, relative ones from nginx's configuration directory.
    pub(crate) fn full_path(&self, path: &[u8]) -> Option<std::rc::Rc<str>> {
        // SAFETY: the pool of the configuration, with room for the NUL that nginx wants to find.
        let copied = unsafe { super::pool::copy((*self.raw).pool, &[path, b"\0"].concat()) }?;
        let mut name = ngx_str_t { len: path.len(), data: copied.data };
        // SAFETY: the cycle that is being read; on NGX_OK `name` is in its pool.
        unsafe {
            if ngx_conf_full_name((*self.raw).cycle, &raw mut name, 1) != NGX_OK as ngx_int_t {
                return None;
            }
            std::str::from_utf8(text::bytes(name)).ok().map(Into::into)
        }
    }

    /// Compiles a value with variables.
    pub(crate) fn compile(&self, value: &[u8]) -> Result<ComplexValue, SetError> {
        // SAFETY: the configuration's pool lives as long as the cycle.
        let compiled =
            unsafe { ngx_palloc((*self.raw).pool, size_of::<ngx_http_complex_value_t>()) }
                .cast::<ngx_http_complex_value_t>();
        if compiled.is_null() {
            return Err(SetError::Logged);
        }
        let mut source = ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() };
        // SAFETY: an all-zero request is how nginx's own callers begin (ngx_memzero).
        let mut order: ngx_http_compile_complex_value_t = unsafe { core::mem::zeroed() };
        order.cf = self.raw;
        order.value = &raw mut source;
        order.complex_value = compiled;
        // SAFETY: all that the function reads is set above; it copies what it keeps.
        match unsafe { ngx_http_compile_complex_value(&raw mut order) } {
            0 => Ok(ComplexValue(compiled)),
            _ => Err(SetError::Logged),
        }
    }
}

/// A value with variables, evaluated for each request.
pub(crate) struct ComplexValue(*mut ngx_http_complex_value_t);

impl ComplexValue {
    /// The value for `request`; `None` when out of memory.
    pub(crate) fn evaluate<'r>(&self, request: Request<'r>) -> Option<&'r [u8]> {
        let mut value = ngx_str_t { len: 0, data: core::ptr::null_mut() };
        // SAFETY: compiled in the configuration of this request, which lives as long as it.
        let rc = unsafe { ngx_http_complex_value(request.raw, self.0, &raw mut value) };
        // SAFETY: the value is in the request's pool or in a variable of the request.
        (rc == NGX_OK as ngx_int_t).then(|| unsafe { text::bytes(value) })
    }
}

/// Addresses as in `allow` and `set_real_ip_from`.
pub(crate) struct CidrList(*mut ngx_array_t);

impl CidrList {
    /// An empty list in the configuration's memory.
    pub(crate) fn new(conf: &Conf<'_>) -> Result<Self, SetError> {
        // SAFETY: the configuration's pool lives as long as the cycle.
        let array = unsafe { ngx_array_create((*conf.raw).pool, 2, size_of::<ngx_cidr_t>()) };
        if array.is_null() { Err(SetError::Logged) } else { Ok(Self(array)) }
    }

    /// Adds an address, a CIDR or `unix:`.
    pub(crate) fn push(&mut self, conf: &Conf<'_>, argument: &[u8]) -> Result<(), SetError> {
        // SAFETY: ngx_cidr_t is plain data, for which all-zero is valid.
        let mut cidr: ngx_cidr_t = unsafe { core::mem::zeroed() };
        if argument == b"unix:" {
            cidr.family = libc::AF_UNIX as ngx_uint_t;
        } else {
            let mut source = ngx_str_t { len: argument.len(), data: argument.as_ptr().cast_mut() };
            // SAFETY: both point to live data; the text is only read.
            let rc = unsafe { ngx_ptocidr(&raw mut source, &raw mut cidr) };
            if rc == NGX_ERROR as ngx_int_t {
                return Err(conf.invalid_value(argument));
            }
            if rc == NGX_DONE as ngx_int_t {
                low_bits(conf, argument);
            }
        }
        // SAFETY: the array was made for this element type in `new`.
        let place = unsafe { ngx_array_push(self.0) }.cast::<ngx_cidr_t>();
        if place.is_null() {
            return Err(SetError::Logged);
        }
        // SAFETY: ngx_array_push returned room for one element.
        unsafe { place.write(cidr) };
        Ok(())
    }

    /// Whether the client's address, after realip, is in the list.
    pub(crate) fn contain_client(&self, request: Request<'_>) -> bool {
        // SAFETY: a request has a connection and that an address (ngx_http_init_connection); the
        // list is in the configuration of the request.
        unsafe {
            ngx_cidr_match((*request.get().connection).sockaddr, self.0) == NGX_OK as ngx_int_t
        }
    }
}

/// The warning of `allow` and `set_real_ip_from`.
fn low_bits(conf: &Conf<'_>, argument: &[u8]) {
    // SAFETY: "%*s" takes a length and a pointer to that many bytes (ngx_vslprintf).
    unsafe {
        ngx_conf_log_error(
            NGX_LOG_WARN as ngx_uint_t,
            conf.raw,
            0,
            c"low address bits of %*s are meaningless".as_ptr(),
            argument.len(),
            argument.as_ptr(),
        );
    }
}

/// The heads of the `error_log` chains that locations write to.
#[derive(Default)]
pub(crate) struct LogHeads(Vec<*mut ngx_log_t>);

impl LogHeads {
    pub(super) fn add(&mut self, head: *mut ngx_log_t) {
        if !head.is_null() && !self.0.contains(&head) {
            self.0.push(head);
        }
    }

    /// Has messages of level error formatted in all of them.
    ///
    /// # Safety
    /// `cycle` must be the cycle that is being initialized, whose logs these are.
    pub(super) unsafe fn raise(&self, cycle: *mut ngx_cycle_t) {
        for head in &self.0 {
            // SAFETY: the caller's contract. Without memory the log stays as it is.
            let _ = unsafe { log::raise(cycle, *head) };
        }
    }
}
