//! The tables by which nginx finds the module, its callbacks and its directives.

use core::ffi::{CStr, c_char, c_void};

use nginx_sys::{
    NGX_CONF_1MORE, NGX_CONF_FLAG, NGX_CONF_TAKE1, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET,
    NGX_HTTP_MAIN_CONF, NGX_HTTP_MODULE, NGX_HTTP_SRV_CONF, NGX_HTTP_SRV_CONF_OFFSET,
    NGX_HTTP_UPS_CONF, ngx_command_t, ngx_http_module_t, ngx_module_t, ngx_uint_t,
};

use super::reresolve::setup as resolve;
use super::{conf, setup, text};
use crate::directives;

/// `http`, `server` and `location`.
const EVERYWHERE: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

/// A directive of all blocks.
const fn directive<D: conf::Directive>(name: &'static CStr, arguments: u32) -> ngx_command_t {
    command::<D>(name, EVERYWHERE | arguments, NGX_HTTP_LOC_CONF_OFFSET)
}

/// A directive of the `http` block only.
const fn of_http<D: conf::Directive>(name: &'static CStr, arguments: u32) -> ngx_command_t {
    command::<D>(name, NGX_HTTP_MAIN_CONF | arguments, NGX_HTTP_LOC_CONF_OFFSET)
}

/// A directive of re-resolution, in the `http` block and perhaps in `upstream` blocks.
const fn of_resolve<D: conf::Directive>(name: &'static CStr, contexts: u32) -> ngx_command_t {
    command::<D>(name, NGX_HTTP_MAIN_CONF | contexts | NGX_CONF_1MORE, NGX_HTTP_SRV_CONF_OFFSET)
}

const fn command<D: conf::Directive>(
    name: &'static CStr,
    type_: u32,
    conf: usize,
) -> ngx_command_t {
    ngx_command_t {
        // nginx compares it with strcmp (ngx_conf_handler): the NUL must follow.
        name: text::fixed(name.to_bytes()),
        type_: type_ as ngx_uint_t,
        set: Some(conf::set::<D>),
        conf,
        offset: 0,
        post: core::ptr::null_mut(),
    }
}

const NUMBER_OF_COMMANDS: usize = if cfg!(feature = "test-panic") { 8 } else { 7 };

static mut COMMANDS: [ngx_command_t; NUMBER_OF_COMMANDS] = [
    directive::<directives::Enable>(c"upstream_diagnosis", NGX_CONF_FLAG),
    directive::<directives::Header>(c"upstream_diagnosis_header", NGX_CONF_TAKE1),
    directive::<directives::TrustList>(c"upstream_diagnosis_trust", NGX_CONF_1MORE),
    directive::<directives::ProxyStatus>(c"upstream_diagnosis_proxy_status", NGX_CONF_TAKE1),
    directive::<directives::TakeEvidence>(c"upstream_diagnosis_evidence", NGX_CONF_FLAG),
    of_http::<directives::Lint>(c"upstream_diagnosis_lint", NGX_CONF_FLAG),
    #[cfg(feature = "test-panic")]
    directive::<directives::TestPanic>(c"upstream_diagnosis_test_panic", NGX_CONF_TAKE1),
    ngx_command_t::empty(),
];

static mut HTTP: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(setup::preconfiguration),
    postconfiguration: Some(setup::postconfiguration),
    create_main_conf: Some(setup::create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(setup::create_loc_conf),
    merge_loc_conf: Some(setup::merge_loc_conf),
};

/// nginx writes the module's index and name into it (ngx_load_module).
#[allow(non_upper_case_globals, reason = "nginx's naming of modules")]
#[unsafe(no_mangle)]
pub(super) static mut ngx_http_upstream_diagnosis_module: ngx_module_t = ngx_module_t {
    ctx: &raw mut HTTP as *mut c_void,
    commands: &raw mut COMMANDS as *mut ngx_command_t,
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(setup::init_module),
    init_process: Some(setup::init_process),
    exit_process: Some(setup::exit_process),
    ..ngx_module_t::default()
};

static mut RESOLVE_COMMANDS: [ngx_command_t; 3] = [
    of_resolve::<directives::Resolve>(c"upstream_diagnosis_resolve", NGX_HTTP_UPS_CONF),
    of_resolve::<directives::Resolver>(c"upstream_diagnosis_resolver", 0),
    ngx_command_t::empty(),
];

static mut RESOLVE_HTTP: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: None,
    create_main_conf: Some(resolve::create_main_conf),
    init_main_conf: Some(resolve::init_main_conf),
    create_srv_conf: Some(resolve::create_srv_conf),
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

/// As above, for re-resolution: it has another place among the modules.
#[allow(non_upper_case_globals, reason = "nginx's naming of modules")]
#[unsafe(no_mangle)]
static mut ngx_http_upstream_diagnosis_resolve_module: ngx_module_t = ngx_module_t {
    ctx: &raw mut RESOLVE_HTTP as *mut c_void,
    commands: &raw mut RESOLVE_COMMANDS as *mut ngx_command_t,
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_process: Some(resolve::init_process),
    exit_process: Some(resolve::exit_process),
    ..ngx_module_t::default()
};

/// Where nginx keeps re-resolution's configuration.
#[inline]
pub(super) fn resolve_ctx_index() -> usize {
    // SAFETY: as in `ctx_index`.
    unsafe { ngx_http_upstream_diagnosis_resolve_module.ctx_index }
}

/// Where nginx keeps this module's configuration among those of all http modules.
pub(super) fn ctx_index() -> usize {
    // SAFETY: nginx writes it once, while it reads the configuration (ngx_count_modules).
    unsafe { ngx_http_upstream_diagnosis_module.ctx_index }
}

/// A table of pointers that nginx only reads.
#[repr(transparent)]
struct Table<T, const N: usize>([*const T; N]);

// SAFETY: immutable, and what it points to is static.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

// The three symbols that ngx_load_module looks up.

#[allow(non_upper_case_globals, reason = "nginx looks this name up")]
#[unsafe(no_mangle)]
static ngx_modules: Table<ngx_module_t, 3> = Table([
    &raw const ngx_http_upstream_diagnosis_resolve_module,
    &raw const ngx_http_upstream_diagnosis_module,
    core::ptr::null(),
]);

#[allow(non_upper_case_globals, reason = "nginx looks this name up")]
#[unsafe(no_mangle)]
static ngx_module_names: Table<c_char, 3> = Table([
    c"ngx_http_upstream_diagnosis_resolve_module".as_ptr(),
    c"ngx_http_upstream_diagnosis_module".as_ptr(),
    core::ptr::null(),
]);

/// Re-resolution comes before keepalive, which wraps what it finds (since 1.29.7 when the configuration
/// is complete). What is not named here goes to the end of the list, where a header filter belongs: the
/// last one runs first.
#[allow(non_upper_case_globals, reason = "nginx looks this name up")]
#[unsafe(no_mangle)]
static ngx_module_order: Table<c_char, 3> = Table([
    c"ngx_http_upstream_diagnosis_resolve_module".as_ptr(),
    c"ngx_http_upstream_keepalive_module".as_ptr(),
    core::ptr::null(),
]);
