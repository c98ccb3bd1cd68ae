//! Writing a configuration: `%name%` in a template becomes a value.
//!
//! Braces and `$` belong to nginx, so templates use per cent signs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::port::Port;

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
pub const SCALARS: [&str; 16] = [
    "",
    "_cause",
    "_phase",
    "_outcome",
    "_server",
    "_address",
    "_errno",
    "_limit",
    "_hint",
    "_dns",
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
    ports: Vec<Port>,
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
        let v6 = name.starts_with("listen_v6");
        let ip: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let port = Port::reserve_on(ip);
        let address = port.at(ip).to_string();
        self.ports.push(port);
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
