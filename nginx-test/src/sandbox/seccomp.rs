//! seccomp: socket(2) refuses a family of addresses, as systemd's `RestrictAddressFamilies=` does.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Offsets in struct seccomp_data: the call's number and the low half of its first argument.
const NUMBER: u32 = 0;
const FAMILY: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// Makes the command, from its exec on, fail with EAFNOSUPPORT where it opens a netlink socket.
pub(crate) fn refuse_netlink(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes system calls only.
    unsafe { command.pre_exec(restrict) };
}

fn restrict() -> io::Result<()> {
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
    let mut program = [
        load(NUMBER),
        unless_equal(libc::SYS_socket as u32, 3),
        load(FAMILY),
        unless_equal(libc::AF_NETLINK as u32, 1),
        answer(refuse),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it (seccomp(2)).
    let rc = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
                0,
                0,
            ),
            failed => failed,
        }
    };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Loads the word at `offset`.
fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0)
}

/// Skips `skip` instructions unless the loaded word is `value`.
fn unless_equal(value: u32, skip: u8) -> libc::sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, skip)
}

fn answer(action: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action, 0)
}

fn statement(code: u32, k: u32, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf, k }
}
