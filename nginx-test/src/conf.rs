//! Writing a configuration: `%name%` in a template becomes a value.
//!
//! Braces and `$` belong to nginx, so templates use per cent signs.

use std::net::{Ipv6Addr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};

use crate::stream::set_option;

/// Where `%http%`, `%log%` … of a template go unless a test writes a whole file of its own.
pub(crate) const STANDARD: &str = "\
%load%
%main%
daemon %daemon%;
pid %dir%/nginx.pid;
error_log %dir%/error.log %error_level%;
worker_processes %workers%;
master_process %master%;
events { worker_connections %worker_connections%; %events% }
http {
%paths%
%log%
%probe%
%on%
%http%
}
";

pub(crate) const PATHS: &str = "\
client_body_temp_path %dir%/client_body;
proxy_temp_path %dir%/proxy;
fastcgi_temp_path %dir%/fastcgi;
uwsgi_temp_path %dir%/uwsgi;
scgi_temp_path %dir%/scgi;";

/// Answers on its own socket, so that a test knows which workers serve and since when.
pub(crate) const PROBE: &str = "\
server { listen unix:%dir%/probe; access_log off; keepalive_timeout 0; \
location / { return 200 \"$pid\"; } }";

/// Escaped as JSON: what is safe to write so. The diagnosis must be written unescaped and has a
/// log of its own; `key` joins the two.
pub(crate) const LOG: &str = r#"
log_format fields escape=json '{"key":"$pid-$connection-$connection_requests-$request_id",'
  '"status":"$status","request":"$request","uri":"$uri","upstream_addr":"$upstream_addr",'
  '"upstream_status":"$upstream_status","bytes_sent":"$bytes_sent","pid":"$pid",'
  '"request_time":"$request_time","protocol":"$server_protocol"%scalars%}';
access_log %dir%/fields.log fields;
log_format diagnosis escape=none '{"key":"$pid-$connection-$connection_requests-$request_id",'
  '"status":"$status","diagnosis":%json%}';
access_log %dir%/diagnosis.log diagnosis;"#;

/// The scalar variables of the contract, without their common prefix; the first has none.
pub const SCALARS: [&str; 15] = [
    "",
    "_cause",
    "_phase",
    "_outcome",
    "_server",
    "_address",
    "_errno",
    "_limit",
    "_hint",
    "_advice",
    "_attempts",
    "_fd_free",
    "_fd_limit",
    "_conn_free",
    "_conn_limit",
];

/// The members that `SCALARS` add to a line of the fields log.
pub(crate) fn scalars() -> String {
    let one =
        |name: &str| format!(r#",\"upstream_diagnosis{name}\":\"$upstream_diagnosis{name}\""#);
    SCALARS.map(one).concat().replace('\\', "")
}

/// Values for a template, and the ports held for it.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pairs: Vec<(String, String)>,
    ports: Vec<OwnedFd>,
}

impl Values {
    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.pairs.retain(|(n, _)| n != name);
        self.pairs.push((name.to_owned(), value));
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Fills the template; values may hold further `%name%`s. An unknown name fails the test.
    pub(crate) fn fill(&mut self, template: &str) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, name, after)) = placeholder(rest) {
            out.push_str(before);
            let value = self.known(name);
            out.push_str(&self.fill(&value));
            rest = after;
        }
        out + rest
    }

    fn known(&mut self, name: &str) -> String {
        if let Some(value) = self.value(name) {
            return value.to_owned();
        }
        assert!(name.starts_with("listen"), "no value for %{name}% in the configuration");
        let (address, held) = reserve(name.starts_with("listen_v6"));
        self.ports.push(held);
        self.set(name, address.clone());
        address
    }
}

/// Splits at the first `%name%`; other per cent signs are text.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = text[from..].find('%').map(|at| from + at) {
        let rest = &text[start + 1..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        if let Some(end) = end.filter(|&end| end > 0 && rest[end..].starts_with('%')) {
            return Some((&text[..start], &rest[..end], &rest[end + 1..]));
        }
        from = start + 1;
    }
    None
}

/// A free port that stays ours: bound with SO_REUSEADDR and never listened on, it lets nginx
/// (which sets the option too) bind and listen, and keeps the kernel from giving it to others.
fn reserve(v6: bool) -> (String, OwnedFd) {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: socket(2) with constant arguments.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "socket: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let held = unsafe { OwnedFd::from_raw_fd(fd) };
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &1i32);
    bind_loopback(fd, v6);
    let port = TcpListener::from(held.try_clone().unwrap()).local_addr().unwrap().port();
    (if v6 { format!("[::1]:{port}") } else { format!("127.0.0.1:{port}") }, held)
}

pub(crate) fn bind_loopback(fd: i32, v6: bool) {
    // SAFETY: both structs are plain old data, valid when zeroed, and of the length given.
    let rc = unsafe {
        if v6 {
            let mut address: libc::sockaddr_in6 = std::mem::zeroed();
            address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            address.sin6_addr.s6_addr = Ipv6Addr::LOCALHOST.octets();
            libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32)
        } else {
            let mut address: libc::sockaddr_in = std::mem::zeroed();
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
            libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32)
        }
    };
    assert_eq!(rc, 0, "bind: {}", std::io::Error::last_os_error());
}
