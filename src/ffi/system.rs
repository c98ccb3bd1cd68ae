//! What the kernel tells of this process's file descriptors and sockets.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use diagnosis::evidence::connection::Tcp;

thread_local! {
    /// `/proc/self/fd`, kept open where `stat` does not count for us (before Linux 6.2), so that
    /// counting needs no descriptor when there are none left. -1: not needed, or not to be had.
    static DIRECTORY: Cell<libc::c_int> = const { Cell::new(-1) };
}

const FD_DIRECTORY: &core::ffi::CStr = c"/proc/self/fd";

/// The soft `RLIMIT_NOFILE`, which `worker_rlimit_nofile` sets; `None` when unlimited.
pub(crate) fn open_file_limit() -> Option<u64> {
    file_limits()?.0
}

/// The soft and the hard `RLIMIT_NOFILE`; `None` for one that is unlimited.
pub(crate) fn file_limits() -> Option<(Option<u64>, Option<u64>)> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: getrlimit fills the structure when it returns 0.
    let limit = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) != 0 {
            return None;
        }
        limit.assume_init()
    };
    let finite = |value: libc::rlim_t| (value != libc::RLIM_INFINITY).then_some(value);
    Some((finite(limit.rlim_cur), finite(limit.rlim_max)))
}

/// How many descriptors this process has open, without opening one.
pub(crate) fn open_files() -> Option<u64> {
    counted_by_stat().or_else(counted_by_reading)
}

/// Since Linux 6.2 the size of `/proc/self/fd` is the number of open descriptors.
fn counted_by_stat() -> Option<u64> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: stat fills the structure when it returns 0; the path is a C string.
    let status = unsafe {
        if libc::stat(FD_DIRECTORY.as_ptr(), status.as_mut_ptr()) != 0 {
            return None;
        }
        status.assume_init()
    };
    u64::try_from(status.st_size).ok().filter(|size| *size > 0)
}

/// Whether this machine has a route to `ip`: what AI_ADDRCONFIG is for, but of this very address. True
/// also when that cannot be found out.
pub(crate) fn has_route_to(ip: IpAddr) -> bool {
    let unspecified: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a UDP socket looks the route up and sends nothing.
    let connected = UdpSocket::bind((unspecified, 0)).and_then(|socket| socket.connect((ip, 9)));
    let missing = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL];
    connected.err().and_then(|error| error.raw_os_error()).is_none_or(|e| !missing.contains(&e))
}

/// Opens the directory for older kernels; called when a worker starts.
pub(crate) fn prepare() {
    if counted_by_stat().is_none() && DIRECTORY.get() < 0 {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the path is a C string; the flags need no mode.
        DIRECTORY.set(unsafe { libc::open(FD_DIRECTORY.as_ptr(), flags) });
    }
}

/// Closes what [`prepare`] opened; called when a worker exits.
pub(crate) fn release() {
    let directory = DIRECTORY.replace(-1);
    if directory >= 0 {
        // SAFETY: prepare opened it and nobody else knows it.
        unsafe { libc::close(directory) };
    }
}

/// Effective user and group, and the other groups.
pub(crate) fn user() -> (u32, u32, Vec<u32>) {
    /// More groups than a system's user has.
    const MAX_GROUPS: u8 = 64;
    let mut groups = vec![0; MAX_GROUPS.into()];
    // SAFETY: getgroups writes no more than it is told; nothing is written when it returns -1.
    let count = unsafe { libc::getgroups(MAX_GROUPS.into(), groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    // SAFETY: both always succeed.
    unsafe { (libc::geteuid(), libc::getegid(), groups) }
}

/// What access(2) may be asked.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// To enter a directory.
    Search,
    /// To write, or to connect to a socket.
    Write,
}

/// Whether the kernel lets this worker; a worker's real user is its effective one
/// (ngx_worker_process_init).
pub(crate) fn may(access: Access, path: &core::ffi::CStr) -> bool {
    let mode = match access {
        Access::Search => libc::X_OK,
        Access::Write => libc::W_OK,
    };
    // SAFETY: the path is a C string.
    unsafe { libc::access(path.as_ptr(), mode) == 0 }
}

/// Counts the entries of the directory that [`prepare`] opened.
fn counted_by_reading() -> Option<u64> {
    let directory = DIRECTORY.get();
    // SAFETY: a seek on our own descriptor; -1 is refused with EBADF.
    if directory < 0 || unsafe { libc::lseek(directory, 0, libc::SEEK_SET) } != 0 {
        return None;
    }
    let mut buffer = [0_u8; 4096];
    let mut entries = 0_u64;
    loop {
        // SAFETY: the buffer is ours and its length is passed; getdents64 writes no further.
        let read = unsafe {
            libc::syscall(libc::SYS_getdents64, directory, buffer.as_mut_ptr(), buffer.len())
        };
        let read = usize::try_from(read).ok()?;
        if read == 0 {
            // "." and ".." are not descriptors.
            return entries.checked_sub(2);
        }
        entries = entries.saturating_add(entry_count(buffer.get(..read)?));
    }
}

/// Number of `struct linux_dirent64` in `block`: their length is a native u16 at offset 16.
fn entry_count(mut block: &[u8]) -> u64 {
    let mut count = 0_u64;
    while let Some(&[low, high]) = block.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(rest) = block.get(length..).filter(|_| length > 0) else { break };
        count = count.saturating_add(1);
        block = rest;
    }
    count
}

/// How long this thread has been on a processor.
pub(crate) fn processor_time() -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_gettime fills the structure when it returns 0.
    let time = unsafe {
        if libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) != 0 {
            return None;
        }
        time.assume_init()
    };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// What the kernel knows of a TCP connection; `None` for another kind of socket.
pub(crate) fn tcp_info(socket: libc::c_int) -> Option<Tcp> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the kernel writes no more than `length` bytes; an older one writes fewer, and the rest
    // stays zero, which is valid for this plain structure.
    let info = unsafe {
        let place = info.as_mut_ptr().cast();
        if libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut length) != 0
        {
            return None;
        }
        info.assume_init()
    };
    Some(Tcp {
        rtt_us: info.tcpi_rtt.into(),
        retransmits: info.tcpi_total_retrans.into(),
        unacknowledged: info.tcpi_unacked.into(),
        silent_ms: info.tcpi_last_data_recv.into(),
    })
}
