//! A configured limit that was hit, as its directive and value in force.

use std::fmt;

use crate::{Protocol, printable};

/// One directive and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    kind: Kind,
    value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ConnectTimeout(Protocol),
    SendTimeout(Protocol),
    ReadTimeout(Protocol),
    BufferSize(Protocol),
    ResolverTimeout,
    WorkerConnections,
    WorkerRlimitNofile,
}

impl Limit {
    /// `proxy_connect_timeout` and its kin, milliseconds.
    pub const fn connect_timeout(protocol: Protocol, ms: u64) -> Self {
        Self { kind: Kind::ConnectTimeout(protocol), value: ms }
    }

    /// `proxy_send_timeout` and its kin, milliseconds.
    pub const fn send_timeout(protocol: Protocol, ms: u64) -> Self {
        Self { kind: Kind::SendTimeout(protocol), value: ms }
    }

    /// `proxy_read_timeout` and its kin, milliseconds.
    pub const fn read_timeout(protocol: Protocol, ms: u64) -> Self {
        Self { kind: Kind::ReadTimeout(protocol), value: ms }
    }

    /// `proxy_buffer_size` and its kin, bytes.
    pub const fn buffer_size(protocol: Protocol, bytes: u64) -> Self {
        Self { kind: Kind::BufferSize(protocol), value: bytes }
    }

    /// `resolver_timeout`, milliseconds.
    pub const fn resolver_timeout(ms: u64) -> Self {
        Self { kind: Kind::ResolverTimeout, value: ms }
    }

    /// `worker_connections`.
    pub const fn worker_connections(count: u64) -> Self {
        Self { kind: Kind::WorkerConnections, value: count }
    }

    /// `worker_rlimit_nofile`, or the limit that the system set in its place.
    pub const fn worker_rlimit_nofile(count: u64) -> Self {
        Self { kind: Kind::WorkerRlimitNofile, value: count }
    }

    /// The directive, as it is written in nginx.conf.
    pub const fn directive(self) -> &'static str {
        match self.kind {
            Kind::ConnectTimeout(protocol) => match protocol {
                Protocol::Http => "proxy_connect_timeout",
                Protocol::FastCgi => "fastcgi_connect_timeout",
                Protocol::Uwsgi => "uwsgi_connect_timeout",
                Protocol::Scgi => "scgi_connect_timeout",
                Protocol::Grpc => "grpc_connect_timeout",
                Protocol::Memcached => "memcached_connect_timeout",
            },
            Kind::SendTimeout(protocol) => match protocol {
                Protocol::Http => "proxy_send_timeout",
                Protocol::FastCgi => "fastcgi_send_timeout",
                Protocol::Uwsgi => "uwsgi_send_timeout",
                Protocol::Scgi => "scgi_send_timeout",
                Protocol::Grpc => "grpc_send_timeout",
                Protocol::Memcached => "memcached_send_timeout",
            },
            Kind::ReadTimeout(protocol) => match protocol {
                Protocol::Http => "proxy_read_timeout",
                Protocol::FastCgi => "fastcgi_read_timeout",
                Protocol::Uwsgi => "uwsgi_read_timeout",
                Protocol::Scgi => "scgi_read_timeout",
                Protocol::Grpc => "grpc_read_timeout",
                Protocol::Memcached => "memcached_read_timeout",
            },
            Kind::BufferSize(protocol) => match protocol {
                Protocol::Http => "proxy_buffer_size",
                Protocol::FastCgi => "fastcgi_buffer_size",
                Protocol::Uwsgi => "uwsgi_buffer_size",
                Protocol::Scgi => "scgi_buffer_size",
                Protocol::Grpc => "grpc_buffer_size",
                Protocol::Memcached => "memcached_buffer_size",
            },
            Kind::ResolverTimeout => "resolver_timeout",
            Kind::WorkerConnections => "worker_connections",
            Kind::WorkerRlimitNofile => "worker_rlimit_nofile",
        }
    }

    /// The value, in the units that nginx.conf takes: `60s`, `500ms`, `4k`, `512`.
    pub fn value(self) -> String {
        let (number, unit) = self.scaled();
        format!("{number}{unit}")
    }

    pub(crate) fn write_to(self, out: &mut Vec<u8>) {
        let (number, unit) = self.scaled();
        out.extend_from_slice(self.directive().as_bytes());
        out.push(b'=');
        printable::decimal(out, number);
        out.extend_from_slice(unit.as_bytes());
    }

    const fn scaled(self) -> (u64, &'static str) {
        const K: u64 = 1024;
        const M: u64 = 1024 * K;
        match self.kind {
            Kind::ConnectTimeout(_)
            | Kind::SendTimeout(_)
            | Kind::ReadTimeout(_)
            | Kind::ResolverTimeout => {
                if self.value.is_multiple_of(1000) {
                    (self.value / 1000, "s")
                } else {
                    (self.value, "ms")
                }
            }
            Kind::BufferSize(_) => match self.value {
                0 => (0, ""),
                size if size.is_multiple_of(M) => (size / M, "m"),
                size if size.is_multiple_of(K) => (size / K, "k"),
                size => (size, ""),
            },
            Kind::WorkerConnections | Kind::WorkerRlimitNofile => (self.value, ""),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = self.scaled();
        write!(f, "{}={number}{unit}", self.directive())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_in_nginx_conf() {
        for (limit, text) in [
            (Limit::read_timeout(Protocol::Http, 60_000), "proxy_read_timeout=60s"),
            (Limit::read_timeout(Protocol::FastCgi, 500), "fastcgi_read_timeout=500ms"),
            (Limit::connect_timeout(Protocol::Grpc, 1_500), "grpc_connect_timeout=1500ms"),
            (Limit::send_timeout(Protocol::Uwsgi, 0), "uwsgi_send_timeout=0s"),
            (Limit::buffer_size(Protocol::Http, 4096), "proxy_buffer_size=4k"),
            (Limit::buffer_size(Protocol::Scgi, 2 << 20), "scgi_buffer_size=2m"),
            (Limit::buffer_size(Protocol::Memcached, 1000), "memcached_buffer_size=1000"),
            (Limit::worker_connections(512), "worker_connections=512"),
            (Limit::worker_rlimit_nofile(u64::MAX), "worker_rlimit_nofile=18446744073709551615"),
        ] {
            assert_eq!(limit.to_string(), text);
            assert_eq!(format!("{}={}", limit.directive(), limit.value()), text);
            let mut out = Vec::new();
            limit.write_to(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
