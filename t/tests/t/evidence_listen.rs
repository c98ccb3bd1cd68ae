//! Who listens on the port that failed, and how long its accept queue is.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;

use nginx_test::backend::{Backlog, Dead};
use nginx_test::diagnosis::Attempt;
use nginx_test::sandbox::netns::{isolated, with_small_table};
use nginx_test::stream::Stream;
use nginx_test::{Nginx, Seen, env};

use crate::evidence_container as container;

const PORT: u16 = 3000;

/// One request to an upstream block with this server.
fn fetch(server: &dyn std::fmt::Display) -> Seen {
    let nginx = Nginx::http(
        "upstream backend { server %server%; }
         server { listen %listen%;
             location / { proxy_pass http://backend; proxy_connect_timeout 200ms; } }",
    );
    nginx.set("server", server).start().fetch("/")
}

/// The only attempt, whose cause and hint are these in the header and in JSON.
fn attempt(seen: &Seen, cause: &str, hint: Option<&str>) -> Attempt {
    let member = seen.reply.member();
    assert_eq!((member.name.as_str(), member.token("hint")), (cause, hint), "{member:?}");
    let attempt = seen.diagnosis().attempt().clone();
    assert_eq!(attempt.text("hint"), hint, "{attempt:?}");
    attempt
}

/// A figure as JSON; `null` when it is not there.
fn fact(attempt: &Attempt, name: &str) -> String {
    attempt.raw["evidence"][name].to_string()
}

fn count(attempt: &Attempt, name: &str) -> u64 {
    fact(attempt, name).parse().unwrap_or_else(|_| panic!("{name} of {attempt:?}"))
}

/// A listening socket made by hand, as std's has no IPV6_V6ONLY.
fn listen_v6(address: &str, ipv6_only: bool) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let SocketAddr::V6(address) = address else { panic!("{address}") };
    let only = libc::c_int::from(ipv6_only);
    // SAFETY: sockaddr_in6 is plain old data; the calls read it and an int, and nothing keeps them.
    unsafe {
        let fd = libc::socket(libc::AF_INET6, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        let size = size_of_val(&only) as libc::socklen_t;
        let value = (&raw const only).cast();
        let rc = libc::setsockopt(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, value, size);
        assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
        let mut name: libc::sockaddr_in6 = std::mem::zeroed();
        name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        name.sin6_port = address.port().to_be();
        name.sin6_addr.s6_addr = address.ip().octets();
        let size = size_of_val(&name) as libc::socklen_t;
        assert_eq!(libc::bind(fd, (&raw const name).cast(), size), 0);
        assert_eq!(libc::listen(fd, 9), 0);
        TcpListener::from(socket)
    }
}

#[test]
fn no_listener() {
    for dead in [Dead::refusing(), Dead::refusing_v6()] {
        let seen = fetch(&dead);
        let attempt = attempt(&seen, "connection_refused", Some(container::nobody_listens()));
        assert_eq!(fact(&attempt, "listeners_from"), "\"sock_diag\"");
        assert_eq!(count(&attempt, "listeners_on_port"), 0);
        let advice = &seen.diagnosis().advice;
        assert!(advice.starts_with(&format!("nothing listens on {dead}")), "{advice}");
    }
}

/// The checklist's classic: the back end listens on another of the machine's addresses.
#[test]
fn listener_other_address() {
    isolated(|network| {
        let _ethernet = network.silent_ethernet();
        // A port each: another test may be starting its nginx, which has a copy until exec.
        for (tried, listening) in [
            ("127.0.0.1:3000", "198.51.100.1:3000"),
            ("198.51.100.1:3001", "127.0.0.1:3001"),
            ("[::1]:3002", "127.0.0.1:3002"),
            ("127.0.0.1:3003", "[::1]:3003"),
        ] {
            let _listener = TcpListener::bind(listening).unwrap();
            let seen = fetch(&tried);
            let attempt = attempt(&seen, "connection_refused", Some("listener_other_address"));
            assert_eq!(count(&attempt, "listeners_on_port"), 1);
            let named = fact(&attempt, "listeners");
            assert!(named.contains(&format!("[{{\"address\":\"{listening}\"")), "{named}");
            let advice = seen.diagnosis().advice.clone();
            let expected = format!("{tried} refused, a listener is on {listening}");
            assert!(advice.starts_with(&expected), "{advice}");
        }
    });
}

#[test]
fn listener_other_port() {
    isolated(|_| {
        for ip in ["127.0.0.1", "[::1]"] {
            let _listener = TcpListener::bind(format!("{ip}:3002")).unwrap();
            // The second one is another machine as far as the block tells.
            let nginx = Nginx::http(
                "upstream backend { server %ip%:3000 max_fails=0; server 127.0.0.9:3002 backup;
                     server %ip%:3001 down; server %ip%:3002 down; }
                 server { listen %listen%; proxy_next_upstream off;
                     location / { proxy_pass http://backend; } }",
            );
            let seen = nginx.set("ip", ip).start().fetch("/");
            let attempt = attempt(&seen, "connection_refused", Some("listener_other_port"));
            assert_eq!(fact(&attempt, "listener_beside"), format!("\"{ip}:3002\""));
            let advice = &seen.diagnosis().advice;
            assert!(advice.contains(&format!("but {ip}:3002 of the same upstream")), "{advice}");
        }
    });
}

/// As under systemd's RestrictAddressFamilies: /proc tells less, and nothing is made up for it.
#[test]
fn where_netlink_is_refused() {
    let fetch = |server: &str| {
        let nginx = Nginx::http(
            "upstream backend { server %server%; }
             server { listen %listen%;
                 location / { proxy_pass http://backend; proxy_connect_timeout 200ms; } }",
        );
        nginx.set("server", server).refuse_netlink().start().fetch("/")
    };
    if env::valgrind() {
        return; // It takes too long to read /proc there.
    }
    with_small_table(|network| {
        let _ethernet = network.silent_ethernet();
        for server in ["127.0.0.1:3000", "[::1]:3000"] {
            let hint = Some(container::nobody_listens());
            let attempt = attempt(&fetch(server), "connection_refused", hint);
            assert_eq!(fact(&attempt, "listeners_from"), "\"proc_net_tcp\"");
        }
        // Whether this address is the machine's own is not known then.
        let seen = fetch("198.51.100.1:3000");
        assert!(!attempt(&seen, "connection_refused", None).raw.contains_key("evidence"));

        let _elsewhere = TcpListener::bind("198.51.100.1:3001").unwrap();
        let seen = fetch("127.0.0.1:3001");
        let seen = attempt(&seen, "connection_refused", Some("listener_other_address"));
        assert_eq!(fact(&seen, "listeners"), r#"[{"address":"198.51.100.1:3001"}]"#);

        // Nor whether this socket takes IPv4.
        let _only = listen_v6("[::]:3002", true);
        let seen = attempt(&fetch("127.0.0.1:3002"), "connection_refused", None);
        assert_eq!(fact(&seen, "listeners"), r#"[{"address":"[::]:3002"}]"#);

        let backlog = Backlog::full();
        let server = backlog.to_string();
        let seen = attempt(&fetch(&server), "connection_timeout", Some("timeout_reached"));
        assert_eq!(count(&seen, "listeners_on_port"), 1);
        assert!(count(&seen, "listen_overflows") > 0, "{seen:?}");
    });
}

#[test]
fn ipv6_only_and_dual_stack() {
    isolated(|_| {
        let _only = listen_v6("[::]:3000", true);
        let seen = fetch(&"127.0.0.1:3000");
        let attempt = attempt(&seen, "connection_refused", Some("listener_other_address"));
        let expected = r#"[{"address":"[::]:3000","ipv6_only":true}]"#;
        assert_eq!(fact(&attempt, "listeners"), expected);
        let advice = &seen.diagnosis().advice;
        assert!(
            advice.contains("on [::]:3000 for IPv6 only; change the server line to [::1]:3000")
        );

        // This one takes IPv4 too; it does not answer, as nobody accepts.
        let listener = listen_v6("[::]:3001", false);
        drop_everything(&listener);
        let seen = fetch(&"127.0.0.1:3001");
        let attempt = self::attempt(&seen, "connection_timeout", Some("listener_present"));
        let expected = r#"[{"address":"[::]:3001","ipv6_only":false}]"#;
        assert_eq!(fact(&attempt, "listeners"), expected);
    });
}

#[test]
fn an_ipv4_wildcard_is_no_listener_for_ipv6() {
    isolated(|_| {
        let _listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        let seen = fetch(&"[::1]:3000");
        attempt(&seen, "connection_refused", Some("listener_other_address"));
        let advice = &seen.diagnosis().advice;
        assert!(advice.contains("on 0.0.0.0:3000 for IPv4 only"), "{advice}");
    });
}

/// A socket that is bound to an interface may or may not be the one that should have answered.
#[test]
fn a_listener_on_one_interface_is_a_figure_only() {
    isolated(|network| {
        let _ethernet = network.silent_ethernet();
        let listener = TcpListener::bind(("127.0.0.1", PORT)).unwrap();
        option(&listener, libc::SO_BINDTODEVICE, b"silent0\0");
        let seen = fetch(&"127.0.0.1:3000");
        let attempt = attempt(&seen, "connection_refused", None);
        let expected = r#"[{"address":"127.0.0.1:3000","one_interface":true}]"#;
        assert_eq!(fact(&attempt, "listeners"), expected);
    });
}

#[test]
fn accept_queue_full() {
    let backlog = Backlog::full();
    let seen = fetch(&backlog);
    let attempt = attempt(&seen, "connection_timeout", Some("accept_queue_full"));
    assert_eq!(count(&attempt, "accept_queue"), 1);
    assert_eq!(count(&attempt, "accept_queue_limit"), 0);
    assert!(count(&attempt, "listen_overflows") > 0, "{attempt:?}");
    assert!(count(&attempt, "listen_drops") > 0, "{attempt:?}");
    // The attempt's own figures are there, too.
    assert_eq!(fact(&attempt, "directive"), "\"proxy_connect_timeout\"");
    let expected = format!("the accept queue of {backlog} is full (1 waiting, limit 0)");
    assert!(seen.diagnosis().advice.starts_with(&expected), "{}", seen.diagnosis().advice);
}

#[test]
fn overflows_rise_from_look_to_look() {
    isolated(|_| {
        let backlog = Backlog::full();
        let nginx = Nginx::http(
            "proxy_connect_timeout 100ms;
             server { listen %listen%; location / { proxy_pass http://%backlog%; } }
             server { listen %listen_2%; location / { proxy_pass http://%other%; } }",
        );
        let other = Backlog::full();
        let nginx = nginx.set("backlog", &backlog).set("other", &other).start();
        let first = nginx.fetch("/");
        let first = attempt(&first, "connection_timeout", Some("accept_queue_full"));
        // Since the worker started.
        assert!(count(&first, "listen_overflows_rose") > 0, "{first:?}");
        let mut client = TcpStream::connect(nginx.address("listen_2")).unwrap();
        std::io::Write::write_all(&mut client, b"GET / HTTP/1.0\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
        let second = nginx.log(2)[1].diagnosis.clone().unwrap();
        assert!(count(second.attempt(), "listen_overflows_rose") > 0, "{second:?}");
        count(second.attempt(), "listen_rose_since_ms");
    });
}

/// A filter of the socket's own stands in for a firewall.
#[test]
fn listener_present() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    drop_everything(&listener);
    let address = listener.local_addr().unwrap();
    let seen = fetch(&address);
    let attempt = attempt(&seen, "connection_timeout", Some("listener_present"));
    assert_eq!(count(&attempt, "accept_queue"), 0);
    let advice = &seen.diagnosis().advice;
    assert!(
        advice.starts_with(&format!("a socket listens on {address} and its accept")),
        "{advice}"
    );
}

#[test]
fn a_back_end_that_went_away_during_the_request() {
    isolated(|_| {
        let endings = [(3000, true, "reset_before_header"), (3001, false, "closed_before_header")];
        for (port, reset, cause) in endings {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let back_end = thread::spawn(move || {
                let connection = read_request(&listener);
                // SAFETY: shutdown(2) takes plain numbers; unlike close it works on all copies.
                unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
                end(connection, reset);
            });
            let address = format!("127.0.0.1:{port}");
            let seen = fetch(&address);
            back_end.join().unwrap();
            attempt(&seen, cause, Some("no_listener"));
            let advice = &seen.diagnosis().advice;
            assert!(
                advice.starts_with(&format!("nothing listens on {address} any more")),
                "{advice}"
            );
        }
    });
}

#[test]
fn a_reset_by_a_back_end_whose_queue_is_full() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // SAFETY: listen(2) takes plain numbers.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let back_end = thread::spawn(move || {
        let connection = read_request(&listener);
        let waiting = TcpStream::connect(address).unwrap();
        end(connection, true);
        (listener, waiting)
    });
    let seen = fetch(&address);
    let attempt = attempt(&seen, "reset_before_header", Some("accept_queue_full"));
    assert_eq!(count(&attempt, "accept_queue"), 1);
    assert_eq!(count(&attempt, "accept_queue_limit"), 0);
    back_end.join().unwrap();
}

#[test]
fn nothing_is_said_about_other_machines() {
    isolated(|network| {
        let _ethernet = network.silent_ethernet();
        network.sysctl("ipv4/neigh/silent0/mcast_solicit", "100");
        let _listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        let seen = fetch(&"198.51.100.2:3000");
        let attempt = attempt(&seen, "connection_timeout", Some("timeout_reached"));
        assert_eq!(fact(&attempt, "listeners_from"), "null");
    });
}

#[test]
fn nothing_is_looked_for_where_it_is_off() {
    let dead = Dead::refusing();
    let nginx = Nginx::location("proxy_pass http://%server%; upstream_diagnosis_evidence off;");
    let seen = nginx.set("server", &dead).start().fetch("/");
    let attempt = attempt(&seen, "connection_refused", None);
    assert!(!attempt.raw.contains_key("evidence"), "{attempt:?}");
}

fn read_request(listener: &TcpListener) -> TcpStream {
    let (mut connection, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    connection
}

fn end(connection: TcpStream, reset: bool) {
    let connection = Stream::Tcp(connection);
    if reset { connection.reset() } else { connection.finish() }
}

/// A classic BPF program of one instruction: accept no byte of any packet.
fn drop_everything(listener: &TcpListener) {
    let mut nothing = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    // SAFETY: a sock_fprog and the instruction that it points to, for the length of the call.
    let bytes = unsafe {
        std::slice::from_raw_parts((&raw const program).cast::<u8>(), size_of_val(&program))
    };
    option(listener, libc::SO_ATTACH_FILTER, bytes);
}

fn option(listener: &TcpListener, name: libc::c_int, value: &[u8]) {
    // SAFETY: setsockopt(2) reads as many bytes as it is told.
    let rc = unsafe {
        let (value, size) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
        libc::setsockopt(listener.as_raw_fd(), libc::SOL_SOCKET, name, value, size)
    };
    assert_eq!(rc, 0, "{}", std::io::Error::last_os_error());
}
