//! Has the directives that the lint reads pass by us while nginx reads `http { … }`.
//!
//! nginx keeps no file and line of what it has read, and most modules keep their configuration to
//! themselves. So the `set` of those directives in the command tables becomes ours for that time:
//! it writes down the words and the place and calls the one that was there.

use core::ffi::{c_char, c_void};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use diagnosis::lint::{Configuration, Place, is_recorded};
use nginx_sys::{
    NGX_CONF_BLOCK, NGX_HTTP_MODULE, ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_module_t,
    ngx_uint_t,
};

use super::reresolve::setup;
use super::{guard, pool, text};

type Set = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

thread_local! {
    /// What is being recorded. It belongs to the pool of the configuration that nginx reads, and
    /// resets this when it is dropped; nginx reads one configuration at a time.
    static ACTIVE: Cell<*const Recorder> = const { Cell::new(core::ptr::null()) };
}

/// A directive whose `set` is ours for now.
struct Replaced {
    command: *mut ngx_command_t,
    original: Set,
}

struct Recorder {
    replaced: Vec<Replaced>,
    seen: RefCell<Configuration>,
}

impl Recorder {
    fn original(&self, command: *mut ngx_command_t) -> Option<Set> {
        let replaced = self.replaced.iter().find(|replaced| replaced.command == command)?;
        Some(replaced.original)
    }

    fn restore(&self) {
        if core::ptr::eq(ACTIVE.get(), self) {
            ACTIVE.set(core::ptr::null());
        }
        for replaced in &self.replaced {
            // SAFETY: the command tables are static data of nginx and of modules that stay loaded
            // until the pool of this configuration has run its later cleanups (ngx_load_module).
            let set = unsafe { &mut (*replaced.command).set };
            // Whoever has put theirs in after us keeps it.
            if set.is_some_and(is_ours) {
                *set = Some(replaced.original);
            }
        }
    }
}

impl Drop for Recorder {
    /// The configuration was refused half-way, or is long complete.
    fn drop(&mut self) {
        if core::ptr::eq(ACTIVE.get(), self) {
            self.restore();
        }
    }
}

fn is_ours(set: Set) -> bool {
    core::ptr::fn_addr_eq(set, record as Set)
}

/// Begins to record; without memory there is no lint.
///
/// # Safety
/// `cf` must be what nginx passes to `preconfiguration`.
pub(super) unsafe fn start(cf: *mut ngx_conf_t) {
    // SAFETY: the caller's contract.
    let replaced = unsafe { replaceable((*cf).cycle) };
    let recorder = Recorder { replaced, seen: RefCell::default() };
    // SAFETY: the pool of the configuration; it is destroyed with it, also when it is refused, and
    // runs this cleanup before those of modules that it has loaded (ngx_destroy_pool).
    let Some(recorder) = (unsafe { pool::attach((*cf).pool, Box::new(recorder)) }) else { return };
    ACTIVE.set(recorder);
    for replaced in &recorder.replaced {
        // SAFETY: nginx reads the tables from this thread only, and they are not const.
        unsafe { (*replaced.command).set = Some(record) };
    }
}

/// Ends it, and hands over what was seen. Nothing is replaced any more.
pub(super) fn finish() -> Configuration {
    // SAFETY: reset when the recorder is dropped with its pool.
    let Some(recorder) = (unsafe { ACTIVE.get().as_ref() }) else {
        return Configuration::default();
    };
    recorder.restore();
    recorder.seen.take()
}

/// The directives of http modules that some rule reads.
///
/// # Safety
/// `cycle` must be the one whose configuration nginx is reading.
unsafe fn replaceable(cycle: *mut ngx_cycle_t) -> Vec<Replaced> {
    let mut found = Vec::new();
    // SAFETY: an array of modules that ends with NULL (ngx_cycle_modules).
    let mut module = unsafe { (*cycle).modules };
    // SAFETY: as above.
    while let Some(one) = unsafe { (*module).as_ref() } {
        if one.type_ == NGX_HTTP_MODULE as ngx_uint_t {
            // SAFETY: an http module of this cycle.
            unsafe { replaceable_of(one, &mut found) };
        }
        // SAFETY: not yet at the NULL.
        module = unsafe { module.add(1) };
    }
    found
}

/// # Safety
/// `module` must be a module that nginx has loaded.
unsafe fn replaceable_of(module: &ngx_module_t, found: &mut Vec<Replaced>) {
    let mut command = module.commands;
    // SAFETY: NULL, or a table that ends with a command without a name (ngx_conf_handler).
    while let Some(one) = unsafe { command.as_ref() }.filter(|one| one.name.len > 0) {
        // SAFETY: the name is a static string.
        let name = unsafe { text::bytes(one.name) };
        if let Some(original) = one.set.filter(|set| is_recorded(name) && !is_ours(*set)) {
            found.push(Replaced { command, original });
        }
        // SAFETY: not yet at the last.
        command = unsafe { command.add(1) };
    }
}

/// The `set` of a directive that is recorded.
unsafe extern "C" fn record(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: reset when the recorder is dropped with its pool.
    let recorder = unsafe { ACTIVE.get().as_ref() };
    let Some((recorder, original)) = recorder.and_then(|r| Some((r, r.original(command)?))) else {
        // A module that calls a `set` which it had kept from an earlier configuration.
        return c"is not being read now".as_ptr().cast_mut();
    };
    // SAFETY: the command that nginx has found for the directive.
    let is_block = unsafe { (*command).type_ } & NGX_CONF_BLOCK as ngx_uint_t != 0;
    // SAFETY: nginx passes what it is reading, and the name of a command is a static string.
    guard::run((), || unsafe { setup::before_directive(cf, text::bytes((*command).name)) });
    guard::run((), || {
        let mut seen = recorder.seen.borrow_mut();
        // SAFETY: nginx is handling a directive (ngx_conf_handler).
        let (words, place) = unsafe { (words(cf), place(cf, &seen)) };
        if is_block { seen.open(words, place) } else { seen.add(words, place) }
    });
    // SAFETY: the function that was in this command, with the arguments meant for it. It comes back
    // here for each directive in a block.
    let result = unsafe { original(cf, command, conf) };
    if is_block {
        guard::run((), || recorder.seen.borrow_mut().close());
    }
    result
}

/// # Safety
/// nginx must be handling a directive.
unsafe fn words(cf: *mut ngx_conf_t) -> Vec<Vec<u8>> {
    // SAFETY: the words of the directive, of which there is at least one.
    let words = unsafe { (*(*cf).args).as_slice::<nginx_sys::ngx_str_t>() };
    // SAFETY: in the pool of the configuration.
    words.iter().map(|word| unsafe { text::bytes(*word) }.to_vec()).collect()
}

/// # Safety
/// As [`words`].
unsafe fn place(cf: *mut ngx_conf_t, seen: &Configuration) -> Place {
    // SAFETY: set while a file or -g is read (ngx_conf_parse).
    let (file, line) = unsafe {
        let file = (*cf).conf_file;
        (text::bytes((*file).file.name), (*file).line)
    };
    // Most directives stand in the same file as the one before.
    let known = seen.last_file().filter(|known| **known == *file);
    Place { file: known.unwrap_or_else(|| Rc::from(file)), line: line as u64 }
}
