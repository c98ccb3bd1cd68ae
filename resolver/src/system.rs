//! What the system's files say: resolv.conf(5) and hosts(5), read from their text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

use hickory_resolver::proto::rr::Name;

use crate::{Failure, Family};

/// The port of DNS (RFC 1035, section 4.2).
const PORT: u16 = 53;
/// Servers that are asked: as many as the C library asks (MAXNS).
const MAX_SERVERS: usize = 3;
/// Search domains that are tried: as many as Kubernetes allows.
const MAX_SEARCH: usize = 32;
/// The C library's bound on ndots (`RES_MAXNDOTS`).
const MAX_NDOTS: u32 = 15;
/// Bytes of a resolv.conf that are read.
const MAX_CONF: usize = 64 * 1024;
/// Bytes of a hosts file that are read, and kept.
const MAX_HOSTS: usize = 1024 * 1024;

/// What resolv.conf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    /// Whom to ask, in this order. Without any line, a server on this machine.
    pub servers: Vec<SocketAddr>,
    /// Domains that a short name may be in, in the order in which they are tried.
    pub search: Vec<Name>,
    /// From this many dots on, a name is first tried as it is.
    pub ndots: usize,
    /// Ask with EDNS (RFC 6891), for larger answers over UDP.
    pub edns: bool,
    /// Ask over TCP only.
    pub tcp: bool,
    /// Don't ask for IPv6 addresses.
    pub no_aaaa: bool,
}

impl Conf {
    /// Reads the text. Lines that make no sense are skipped, as the C library does. The number of
    /// attempts and their time-out are not taken from it: the caller's time-out bounds a lookup.
    pub fn parse(text: &[u8]) -> Self {
        let (conf, _) = resolv_conf::Config::parse_with_errors(whole_lines(text, MAX_CONF));
        let mut servers: Vec<SocketAddr> = Vec::new();
        for server in conf.nameservers.iter().map(|server| server_address(server.into())) {
            if servers.len() < MAX_SERVERS && !servers.contains(&server) {
                servers.push(server);
            }
        }
        if servers.is_empty() {
            servers.push(server_address(Ipv4Addr::UNSPECIFIED.into()));
        }
        let search = conf.get_last_search_or_domain().filter_map(|domain| name(domain));
        Self {
            servers,
            search: search.take(MAX_SEARCH).collect(),
            ndots: usize::try_from(conf.ndots.min(MAX_NDOTS)).unwrap_or(1),
            edns: conf.edns0,
            tcp: conf.use_vc,
            no_aaaa: conf.no_aaaa,
        }
    }

    /// Servers that are asked for names as they are.
    pub fn of_servers(servers: &[SocketAddr]) -> Self {
        let (search, ndots) = (Vec::new(), 0);
        let servers = servers.to_vec();
        Self { servers, search, ndots, edns: false, tcp: false, no_aaaa: false }
    }

    /// The full names that `host` may stand for, in the order in which to try them. None if it is
    /// no name at all (RFC 1035, section 2.3.4).
    pub(crate) fn candidates(&self, host: &str) -> Vec<Name> {
        let Some(absolute) = name(host) else { return Vec::new() };
        if host.ends_with('.') {
            return vec![absolute];
        }
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let searched = |domain: &Name| absolute.clone().append_domain(domain).ok();
        let mut names: Vec<Name> = self.search.iter().filter_map(searched).collect();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, absolute);
        let mut tried = Vec::with_capacity(names.len());
        for name in names {
            if !tried.contains(&name) {
                tried.push(name);
            }
        }
        tried
    }
}

/// To the C library and the kernel, no address means this machine; answers come from a real one.
fn server_address(address: IpAddr) -> SocketAddr {
    let local = match address {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(if address.is_unspecified() { local } else { address }, PORT)
}

/// A name of any bytes: services are called `my_app`. With or without the dot at its end.
fn name(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    Name::from_labels(text.split('.').map(str::as_bytes)).ok()
}

/// The text of a hosts file. It is searched each time, which for its usual size costs less than an
/// index, and much less memory for an unusual one.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Box<[u8]>);

impl Hosts {
    /// Takes the text, of which lines that make no sense are skipped later.
    pub fn new(text: &[u8]) -> Self {
        Self(whole_lines(text, MAX_HOSTS).into())
    }

    /// The addresses of `host`, if it is listed. One that is listed with addresses of the other
    /// family only has none of this: that is not asked of DNS, as in getaddrinfo(3).
    pub fn lookup(&self, host: &str, family: Family) -> Option<Result<Vec<IpAddr>, Failure>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut listed = false;
        let mut addresses = Vec::new();
        for line in self.0.split(|byte| *byte == b'\n') {
            let Some(address) = line_address(line, host) else { continue };
            listed = true;
            if Family::of(address) == family && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let result = if addresses.is_empty() { Err(Failure::NoData) } else { Ok(addresses) };
        listed.then_some(result)
    }
}

/// The address of a line `address name …` that names `host`.
fn line_address(line: &[u8], host: &str) -> Option<IpAddr> {
    let line = line.split(|byte| *byte == b'#').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let address = words.next()?;
    if !words.any(|word| word.eq_ignore_ascii_case(host.as_bytes())) {
        return None;
    }
    str::from_utf8(address).ok()?.parse().ok()
}

/// As much of `text` as there are whole lines in its first `most` bytes.
fn whole_lines(text: &[u8], most: usize) -> &[u8] {
    let Some(start) = text.get(..most) else { return text };
    let end = start.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    start.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Family::{V4, V6};

    fn names(names: &[Name]) -> String {
        names.iter().map(Name::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn resolv_conf() {
        let conf = Conf::parse(
            b"# comment\nnameserver 10.0.0.1 # first\nnameserver fe80::1%eth0\nnameserver ::\n\
              nameserver 10.0.0.1\nnameserver 10.0.0.9\nnameserver x\nsearch a.test b.test.\n\
              options ndots:5 edns0 use-vc no-aaaa timeout:1 attempts:9 what:1\n",
        );
        let servers: Vec<String> = conf.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fe80::1]:53", "[::1]:53"]);
        assert_eq!(names(&conf.search), "a.test. b.test.");
        assert_eq!((conf.ndots, conf.edns, conf.tcp, conf.no_aaaa), (5, true, true, true));
    }

    #[test]
    fn resolv_conf_of_all_kinds() {
        for (text, servers, search, ndots) in [
            ("", 1, "", 1),
            ("nameserver 0.0.0.0", 1, "", 1),
            ("domain a.test\nsearch b.test", 1, "b.test.", 1),
            ("search b.test\ndomain a.test", 1, "a.test.", 1),
            ("search a..test b_c.test -- .", 1, "b_c.test. \\--.", 1),
            ("search\noptions ndots:x", 1, "", 1),
            ("options ndots:99", 1, "", 15),
            ("options ndots:0\r\nnameserver 1.1.1.1\r\nnameserver 2.2.2.2\r\n", 2, "", 0),
            ("nameserver\nsearch \u{e4}.test\n\0\0\n;\n#", 1, "\\303\\244.test.", 1),
        ] {
            let conf = Conf::parse(text.as_bytes());
            assert_eq!(conf.servers.len(), servers, "{text}");
            assert_eq!(names(&conf.search), search, "{text}");
            assert_eq!(conf.ndots, ndots, "{text}");
        }
        assert_eq!(
            Conf::parse(b"\xff\xfe\nnameserver 9.9.9.9").servers[0].to_string(),
            "9.9.9.9:53"
        );
        assert_eq!(Conf::parse(b"").servers[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn resolv_conf_is_bounded() {
        let mut text = b"search".to_vec();
        text.extend((0..5000).flat_map(|n| format!(" d{n}.test").into_bytes()));
        text.extend(b"\nnameserver 9.9.9.9\n");
        assert_eq!(Conf::parse(&text).search.len(), MAX_SEARCH);
        text.resize(10 * MAX_CONF, b'x');
        assert_eq!(Conf::parse(&text).servers[0].to_string(), "9.9.9.9:53");
    }

    #[test]
    fn names_to_try() {
        let parse = |ndots: usize| {
            Conf::parse(format!("search ns.svc.test svc.test\noptions ndots:{ndots}").as_bytes())
        };
        let long = format!("{}.test", "a".repeat(64));
        for (ndots, host, wanted) in [
            (5, "app", "app.ns.svc.test. app.svc.test. app."),
            (5, "app.other", "app.other.ns.svc.test. app.other.svc.test. app.other."),
            (1, "app.other", "app.other. app.other.ns.svc.test. app.other.svc.test."),
            (0, "app", "app. app.ns.svc.test. app.svc.test."),
            (5, "App.test.", "App.test."),
            (5, "my_app.test.", "my_app.test."),
            (5, "", ""),
            (5, ".", ""),
            (5, "a..b", ""),
            (5, &long, ""),
        ] {
            assert_eq!(names(&parse(ndots).candidates(host)), wanted, "{host}");
        }
        assert_eq!(names(&Conf::of_servers(&[]).candidates("app")), "app.");
        // Too long with a domain, not without.
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(55));
        assert_eq!(parse(5).candidates(&long).len(), 1);
    }

    #[test]
    fn hosts() {
        let hosts = Hosts::new(
            b"\xef\xbb\xbf127.0.0.9 bom\n127.0.0.1\tlocalhost  LocalHost.test # app\n::1 localhost\n\
              10.0.0.1 app\n10.0.0.2 other app\n10.0.0.1 app app\n# 10.0.0.3 app\nfd00::1 six\r\n\
              fe80::1%eth0 scoped\nx broken\n10.0.0.4",
        );
        let found = |host: &str, family| {
            let addresses = hosts.lookup(host, family)?;
            Some(
                addresses
                    .map(|all| all.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")),
            )
        };
        let some = |text: &str| Some(Ok(text.to_owned()));
        assert_eq!(found("localhost", V4), some("127.0.0.1"));
        assert_eq!(found("localhost", V6), some("::1"));
        assert_eq!(found("localhost.TEST", V4), some("127.0.0.1"));
        assert_eq!(found("App.", V4), some("10.0.0.1 10.0.0.2"));
        assert_eq!(found("app", V6), Some(Err(Failure::NoData)));
        assert_eq!(found("six", V6), some("fd00::1"));
        for host in ["bom", "scoped", "broken", "10.0.0.4", "", "ap", "#"] {
            assert_eq!(found(host, V4), None, "{host}");
        }
    }

    #[test]
    fn hosts_are_bounded() {
        let text: Vec<u8> = b"10.0.0.1 app\n".repeat(MAX_HOSTS / 10);
        let hosts = Hosts::new(&text);
        assert!(hosts.0.len() <= MAX_HOSTS);
        assert_eq!(hosts.lookup("app", V4), Some(Ok(vec![[10, 0, 0, 1].into()])));
    }
}
