//! The harness itself: nginx without the module behaves as the other topics take for granted.

use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use nginx_test::backend::{Authority, Backlog, Dead, fastcgi, h2, http, scgi, uwsgi};
use nginx_test::sandbox::netns::{Route, isolated};
use nginx_test::sandbox::{Landlock, SmallDisk};
use nginx_test::{Backend, Nginx, Place, Port, Step};

fn proxy(to: &dyn std::fmt::Display) -> Nginx {
    Nginx::location("proxy_pass http://%backend%;").bare().set("backend", to)
}

#[test]
fn a_working_back_end_is_reached() {
    let port = Port::reserve();
    for place in [Place::Tcp, Place::Tcp6, Place::Unix, Place::At(port.at([127, 0, 0, 4]))] {
        let script = [Step::ReadRequest, Step::Write(http::ok("hello")), Step::Again];
        let backend = Backend::at(place).script(script);
        let nginx = match place {
            Place::Unix => Nginx::location("proxy_pass http://%backend%:/;").bare(),
            Place::Tcp | Place::Tcp6 | Place::Ip(_) | Place::At(_) => {
                Nginx::location("proxy_pass http://%backend%;").bare()
            }
        };
        let nginx = nginx.set("backend", &backend).start();
        let seen = nginx.fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "hello"));
        assert!(seen.line.diagnosis.is_none());
        assert_eq!(backend.connections(), 1);
        assert!(backend.received(0).starts_with(b"GET / HTTP/1.0\r\n"));
    }
}

#[test]
fn one_client_connection_serves_several_requests() {
    let backend = Backend::ok("x");
    let nginx = proxy(&backend).start();
    let mut client = nginx.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "x");
    }
    assert_eq!(client.post("/", b"body").status, 200);
    assert_eq!(nginx.log(4).len(), 4);
}

#[test]
fn dead_addresses_give_their_errno() {
    let tcp = [(Dead::refusing(), "111: Connection refused"), (Dead::refusing_v6(), "111: ")];
    for (dead, text) in tcp {
        let nginx = proxy(&dead).start();
        assert_eq!(nginx.fetch("/").reply.status, 502);
        nginx.wait_for_error(text);
    }
    let unix = [
        (Dead::stale_socket(), "(111: "),
        (Dead::missing_socket(), "(2: "),
        (Dead::forbidden_socket(), "(13: "),
        (Dead::regular_file(), "(111: "),
        (Dead::full_unix_queue(), "(11: "),
    ];
    for (dead, text) in unix {
        let nginx = Nginx::location("proxy_pass http://%backend%:/;").bare();
        let nginx = nginx.set("backend", &dead).start();
        assert_eq!(nginx.fetch("/").reply.status, 502);
        nginx.wait_for_error(text);
    }
}

#[test]
fn a_full_backlog_times_out() {
    let backlog = Backlog::full();
    let nginx = Nginx::location("proxy_pass http://%backend%; proxy_connect_timeout 200ms;");
    let nginx = nginx.bare().set("backend", &backlog).start();
    assert_eq!(nginx.fetch("/").reply.status, 504);
    nginx.wait_for_error("while connecting to upstream");
}

#[test]
fn a_namespace_has_the_routes_of_the_test() {
    isolated(|network| {
        network.route(Route::Unreachable, Ipv4Addr::new(192, 0, 2, 0), 24);
        network.route(Route::Prohibit, Ipv4Addr::new(203, 0, 113, 0), 24);
        let _ethernet = network.silent_ethernet();
        let cases = [
            ("192.0.2.1:80", "(113: No route to host)"),
            ("203.0.113.1:80", "(13: Permission denied)"),
            ("10.0.0.1:80", "(101: Network is unreachable)"),
            ("198.51.100.2:80", "connect() failed (113: No route to host)"),
        ];
        for (address, text) in cases {
            let nginx = proxy(&address).start();
            assert_eq!(nginx.fetch("/").reply.status, 502, "{address}");
            nginx.wait_for_error(text);
        }
    });
}

#[test]
fn a_namespace_may_run_out_of_ports() {
    isolated(|network| {
        let backend = Backend::ok("x");
        network.local_ports(40_000, 40_000);
        let holder = nginx_test::stream::Stream::connect(backend.address()).unwrap();
        let nginx = Nginx::http(
            "server { listen unix:%dir%/socket; location / { proxy_pass http://%backend%; } }",
        );
        let nginx = nginx.bare().set("backend", &backend).start();
        let mut client =
            nginx_test::Client::connect(&format!("unix:{}/socket", nginx.dir().display()));
        assert_eq!(client.get("/").status, 502);
        nginx.wait_for_error("(99: Cannot assign requested address)");
        drop(holder);
    });
}

#[test]
fn landlock_denies_every_port_but_those_allowed() {
    let backend = Backend::ok("x");
    let port = backend.address().rsplit(':').next().unwrap().parse().unwrap();
    let nginx = proxy(&backend).landlock(Landlock::deny_connect()).start();
    assert_eq!(nginx.fetch("/").reply.status, 502);
    nginx.wait_for_error("(13: Permission denied)");
    let nginx = proxy(&backend).landlock(Landlock::deny_connect().allow(port)).start();
    assert_eq!(nginx.fetch("/").reply.status, 200);
}

#[test]
fn a_small_disk_is_soon_full() {
    let disk = SmallDisk::new(4096);
    assert!(std::fs::write(disk.path().join("file"), [0; 65536]).is_err());
}

#[test]
fn tls_handshakes_end_well_or_as_scripted() {
    let authority = Authority::new();
    let nginx = |backend: &Backend| {
        Nginx::location(
            "proxy_pass https://%backend%; proxy_ssl_verify on; proxy_ssl_name right.test;
             proxy_ssl_trusted_certificate %dir%/ca.pem;",
        )
        .bare()
        .file("ca.pem", &authority.pem())
        .set("backend", backend)
        .start()
    };
    let served = [Step::Tls, Step::ReadRequest, Step::Write(http::ok("tls")), Step::Close];
    let with = |leaf: nginx_test::backend::tls::Leaf| {
        Backend::at(Place::Tcp).tls(leaf.server()).script(served.clone())
    };

    let bad = http::response(400, &[], b"");
    let plain = [Step::Read(1), Step::Write(bad), Step::WaitForPeerClose];
    let backend = with(authority.issue("right.test"));
    assert_eq!(nginx(&backend).fetch("/").reply.text(), "tls");
    let wrong = [
        (with(authority.issue("wrong.test")), "does not match \"right.test\""),
        (with(authority.issue_expired("right.test")), "(10:certificate has expired)"),
        (with(authority.issue_too_early("right.test")), "(9:certificate is not yet valid)"),
        (with(Authority::new().issue("right.test")), "verify error: (21:"),
        (Backend::script([Step::Read(1), Step::Close]), "in SSL handshake"),
        (Backend::script(plain), "wrong version number"),
    ];
    for (backend, text) in wrong {
        let nginx = nginx(&backend);
        assert_eq!(nginx.fetch("/").reply.status, 502, "{text}");
        nginx.wait_for_error(text);
    }
}

#[test]
fn other_protocols_are_spoken() {
    let cgi = b"Content-Type: text/plain\r\n\r\nhello";
    let fast = [fastcgi::request(), Step::Write(fastcgi::response(cgi)), Step::Close];
    let s = [scgi::request(), Step::Write(cgi.to_vec()), Step::Close];
    let u = [uwsgi::request(), Step::Write(cgi.to_vec()), Step::Close];
    for (directive, script) in [("fastcgi", fast), ("scgi", s), ("uwsgi", u)] {
        let backend = Backend::script(script);
        let body = format!("{directive}_pass %backend%; {directive}_param REQUEST_METHOD GET;");
        let nginx = Nginx::location(&body).bare().set("backend", &backend).start();
        assert_eq!(nginx.fetch("/").reply.text(), "hello", "{directive}");
    }

    let grpc = Backend::script([h2::request(), Step::Write(h2::grpc_ok()), Step::WaitForPeerClose]);
    let nginx =
        Nginx::http("server { listen %listen% http2; location / { grpc_pass grpc://%backend%; } }");
    let nginx = nginx.bare().set("backend", &grpc).start();
    let reply = nginx_test::curl::http2(&format!("http://{}/", nginx.address("listen")));
    assert_eq!((reply.status, reply.body.len()), (200, 5));
}

#[test]
fn signals_reach_nginx() {
    let backend = Backend::ok("x");
    let mut nginx = proxy(&backend).workers(2).daemon().start();
    let before = nginx.workers();
    assert_eq!(before.len(), 2);
    nginx.reload();
    assert!(nginx.workers().iter().all(|pid| !before.contains(pid)));
    let master = nginx.master();
    nginx.upgrade();
    assert_ne!(nginx.master(), master);
    assert_eq!(nginx.get("/").status, 200);

    let single = proxy(&backend).single_process().start();
    assert_eq!(single.workers(), [single.master()]);
    assert_eq!(single.get("/").status, 200);
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let checked = Nginx::location("proxy_pass http://127.0.0.1;\nproxy_buffers x;").bare().check();
    assert_eq!(checked.code, Some(1));
    let place = checked.place_of("proxy_buffers x");
    let expected =
        format!("[emerg] invalid number of arguments in \"proxy_buffers\" directive in {place}");
    assert!(checked.stderr.contains(&expected), "{}", checked.stderr);
    assert_eq!(Nginx::location("return 204;").bare().check().code, Some(0));
}

/// Runs a test that has to fail, and removes the directory that failed tests leave.
fn assert_fails(test: impl FnOnce(&mut PathBuf)) {
    let mut dir = PathBuf::new();
    let failed = catch_unwind(AssertUnwindSafe(|| test(&mut dir)));
    assert!(failed.is_err(), "the complaint went unheard");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_undeclared_alert_fails_the_test() {
    let complain = |nginx: Nginx, dir: &mut PathBuf| {
        // Busy connections cannot be reused, idle ones would be.
        let backend = Backend::script([Step::Hold]);
        let nginx = nginx.set("backend", &backend).start();
        nginx.dir().clone_into(dir);
        let mut clients: Vec<_> = (0..12).map(|_| nginx.connect()).collect();
        for client in &mut clients {
            client.start("/");
        }
        nginx.wait_for_error("[alert]");
    };
    let tight = || proxy(&"").worker_connections(6);
    let declared = tight().allow_alert("worker_connections are not enough");
    complain(declared, &mut PathBuf::new());
    assert_fails(|dir| complain(tight(), dir));
}

#[test]
fn a_crashed_worker_fails_the_test() {
    assert_fails(|dir| {
        let nginx = Nginx::location("return 204;").bare().start();
        nginx.dir().clone_into(dir);
        // SAFETY: the pid is that of a worker of this test's own nginx.
        unsafe { libc::kill(nginx.workers()[0], libc::SIGSEGV) };
        nginx.wait_for_error("exited on signal");
    });
}
