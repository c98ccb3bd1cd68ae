//! The configuration that has just been read: figures of it, and where to complain.

use core::ffi::CStr;

use nginx_sys::{
    NGX_LOG_ERR, NGX_LOG_NOTICE, nginx_version, ngx_core_conf_t, ngx_core_module, ngx_cycle_t,
    ngx_log_error_core, ngx_log_stderr, ngx_quiet_mode, ngx_test_config, ngx_uint_t,
};

/// The cycle that nginx initializes.
#[derive(Clone, Copy)]
pub(crate) struct Load(*mut ngx_cycle_t);

/// Who the workers will be.
pub(crate) struct Worker {
    pub(crate) name: Vec<u8>,
    pub(crate) user: u32,
    pub(crate) groups: Vec<u32>,
}

/// 1.29.7 sends HTTP/1.1 and keeps connections without being told.
pub(crate) const KEEPS_BY_DEFAULT: bool = nginx_version >= 1_029_007;

impl Load {
    /// # Safety
    /// `cycle` must be what nginx passes to `init_module`, and outlive the value.
    pub(super) unsafe fn new(cycle: *mut ngx_cycle_t) -> Self {
        Self(cycle)
    }

    fn cycle(&self) -> &ngx_cycle_t {
        // SAFETY: the contract of `new`.
        unsafe { &*self.0 }
    }

    fn core(&self) -> &ngx_core_conf_t {
        // SAFETY: the core module always has its configuration, of this type (ngx_get_conf).
        unsafe {
            let conf = *self.cycle().conf_ctx.add(ngx_core_module.index);
            &*conf.cast::<ngx_core_conf_t>()
        }
    }

    /// `worker_connections`.
    pub(crate) fn worker_connections(&self) -> u64 {
        self.cycle().connection_n as u64
    }

    /// `worker_rlimit_nofile`.
    pub(crate) fn worker_file_limit(&self) -> Option<u64> {
        u64::try_from(self.core().rlimit_nofile).ok()
    }

    /// Sockets that nginx listens on.
    pub(crate) fn listeners(&self) -> u64 {
        self.cycle().listening.nelts as u64
    }

    /// The main `error_log` writes nothing of level error.
    pub(crate) fn hides_errors(&self) -> bool {
        // nginx sorts a chain of logs by level, the most talkative first (ngx_log_insert).
        self.cycle().new_log.log_level < NGX_LOG_ERR as ngx_uint_t
    }

    /// The user of the workers; `None` when that cannot be told, or nothing is closed to it.
    pub(crate) fn worker(&self) -> Option<Worker> {
        // SAFETY: no arguments, always succeeds.
        let own = unsafe { libc::geteuid() };
        let core = self.core();
        // Only root changes the user. Others who test a configuration may not be who runs it.
        if own != 0 || core.user == 0 || core.username.is_null() {
            return None;
        }
        // SAFETY: a C string in the configuration's pool (ngx_set_user, ngx_core_module_init_conf).
        let name = unsafe { CStr::from_ptr(core.username) };
        let groups = groups(name, core.group)?;
        Some(Worker { name: name.to_bytes().to_vec(), user: core.user, groups })
    }

    /// Writes to the new error log, and to standard error as far as nginx does so now.
    pub(crate) fn log(&self, level: u32, text: &str) {
        let log = self.cycle().log;
        // SAFETY: "%*s" takes a length and a pointer to that many bytes (ngx_vslprintf).
        unsafe {
            let format = c"%*s".as_ptr();
            ngx_log_error_core(level as ngx_uint_t, log, 0, format, text.len(), text.as_ptr());
        }
        // nginx shows warnings to who tests a configuration, and nothing below.
        if level == NGX_LOG_NOTICE && self.is_test() && !self.writes_to_stderr(level) {
            // SAFETY: as above.
            unsafe { ngx_log_stderr(0, c"[notice] %*s".as_ptr(), text.len(), text.as_ptr()) };
        }
    }

    fn is_test(&self) -> bool {
        // SAFETY: set once, from the command line.
        unsafe { ngx_test_config != 0 && ngx_quiet_mode == 0 }
    }

    fn writes_to_stderr(&self, level: u32) -> bool {
        let mut log = self.cycle().log.cast_const();
        // SAFETY: the chain of logs of the cycle ends with NULL (ngx_log_insert).
        while let Some(one) = unsafe { log.as_ref() } {
            // SAFETY: NULL, or an open file of the cycle.
            let file = unsafe { one.file.as_ref() };
            let to_stderr = file.is_some_and(|file| file.fd == libc::STDERR_FILENO);
            if to_stderr && one.log_level >= level as ngx_uint_t {
                return true;
            }
            log = one.next;
        }
        false
    }
}

/// As initgroups, which a worker calls (ngx_worker_process_init); `None` when there are too many.
fn groups(user: &CStr, group: u32) -> Option<Vec<u32>> {
    const MAX: libc::c_int = 256;
    let mut groups = vec![0; MAX as usize];
    let mut count = MAX;
    // SAFETY: at most `count` groups are written.
    let rc =
        unsafe { libc::getgrouplist(user.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    groups.truncate(usize::try_from(count).ok()?);
    (rc >= 0).then_some(groups)
}

/// Whether the file has an access control list, which may allow more than its mode.
pub(crate) fn has_access_list(path: &CStr) -> bool {
    let name = c"system.posix_acl_access".as_ptr();
    // SAFETY: both are C strings; with a size of 0 only the length is asked for.
    unsafe { libc::getxattr(path.as_ptr(), name, core::ptr::null_mut(), 0) > 0 }
}
