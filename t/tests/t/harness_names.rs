//! The harness's own /etc and networks, in which host names move.

use std::net::Ipv4Addr;

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::sandbox::netns::isolated;
use nginx_test::sandbox::{Etc, World};
use nginx_test::{Host, Nginx, Port, Running};

/// Three addresses that say who they are, and a port that is free on all of them.
fn forward(port: &Port) -> Nginx {
    Nginx::http(
        "server { listen 127.0.0.2:%port%; return 200 two; }
         server { listen 127.0.0.3:%port%; return 200 three; }
         server { listen [::1]:%port%; return 200 six; }
         upstream backend { server app.test:%port%; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    )
    .bare()
    .set("port", port)
}

fn reached(nginx: &Running) -> String {
    let reply = nginx.get("/");
    assert_eq!(reply.status, 200, "{reply}");
    reply.text()
}

#[test]
fn nginx_has_the_hosts_of_the_test() {
    let port = Port::reserve();
    let nginx = forward(&port).hosts(&[("127.0.0.2", "app.test")]).start();
    assert_eq!(reached(&nginx), "two");
    nginx.etc().hosts(&[("127.0.0.3", "app.test")]);
    assert_eq!(reached(&nginx), "two");
    nginx.reload();
    assert_eq!(reached(&nginx), "three");
    nginx.etc().replace("hosts", "::1 app.test\n");
    nginx.reload();
    assert_eq!(reached(&nginx), "six");
    nginx.etc().write("hosts", "127.0.0.2 app.test\n");
    nginx.reload();
    assert_eq!(reached(&nginx), "two");
    let outside = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    assert!(!outside.contains("app.test"), "{outside}");
}

#[test]
fn several_nginx_share_an_etc() {
    let (port, etc) = (Port::reserve(), Etc::new());
    let refused = forward(&port).etc(&etc).check();
    assert!(refused.stderr.contains("host not found in upstream"), "{}", refused.stderr);
    etc.hosts(&[("127.0.0.2", "app.test"), ("127.0.0.9", "other.test")]);
    assert_eq!(forward(&port).etc(&etc).check().code, Some(0));
    let nginx = forward(&port).etc(&etc).inside(World::HiddenProcesses).start();
    assert_eq!(reached(&nginx), "two");
    etc.remove("hosts");
    assert_eq!(forward(&port).etc(nginx.etc()).check().code, Some(1));
}

/// What a worker sees as a file of /etc.
fn as_worker(nginx: &Running, name: &str) -> String {
    let path = format!("/proc/{}/root/etc/{name}", nginx.workers()[0]);
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn workers_see_files_change() {
    let nginx = Nginx::location("return 204;").bare().hosts(&[]).start();
    let etc = nginx.etc();
    etc.resolv_conf("nameserver 127.0.0.7\n");
    assert_eq!(as_worker(&nginx, "resolv.conf"), "nameserver 127.0.0.7\n");
    let old = std::fs::metadata(etc.path("resolv.conf")).unwrap();
    etc.replace("resolv.conf", "nameserver 127.0.0.8\n");
    assert_eq!(as_worker(&nginx, "resolv.conf"), "nameserver 127.0.0.8\n");
    let new = std::fs::metadata(etc.path("resolv.conf")).unwrap();
    assert_ne!(old.modified().unwrap(), new.modified().unwrap());
    // The rest is that of the machine: nginx has found its user, whose worker this is.
    assert!(etc.path("passwd").is_symlink());
}

/// A machine of its own: its /etc, its loopback, its name server on port 53.
#[test]
fn a_world_has_its_own_name_server() {
    isolated(|_| {
        let (port, etc) = (Port::reserve(), Etc::new());
        let dns = Dns::at("127.0.0.1:53");
        dns.set("app.test", Zone::addresses(["127.0.0.2"]));
        let nginx = forward(&port).etc(&etc).start();
        assert_eq!(reached(&nginx), "two");
        assert!(dns.asked("app.test", Kind::A) >= 1);
        dns.set("app.test", Zone::addresses([Ipv4Addr::new(127, 0, 0, 3)]));
        nginx.reload();
        assert_eq!(reached(&nginx), "three");

        // A short name, another server: as in a container.
        let docker = Dns::at("127.0.0.11:53");
        docker.set("app.test.svc.cluster.local", Zone::addresses(["::1"]));
        etc.resolv_conf("nameserver 127.0.0.11\nsearch svc.cluster.local\noptions ndots:5\n");
        dns.forget();
        nginx.reload();
        assert_eq!(reached(&nginx), "six");
        assert!(dns.questions().is_empty());
    });
}

/// A host of one family looks up the names of one family, as nginx does when it starts.
#[test]
fn a_world_has_the_addresses_of_the_test() {
    isolated(|network| {
        network.address("10.1.2.3");
        let (port, etc) = (Port::reserve(), Etc::new());
        let dns = Dns::at("127.0.0.1:53").saying(Zone::addresses(["127.0.0.2", "::1"]));
        let old = Host::start(port.at([10, 1, 2, 3]), "global");
        dns.set("app.test", Zone::addresses(["10.1.2.3", "2001:db8::3"]));
        let nginx = forward(&port).etc(&etc).start();
        assert_eq!(reached(&nginx), "global");
        assert_eq!(dns.asked("app.test", Kind::Aaaa), 0);

        network.address("2001:db8::3");
        let new = Host::start(port.at([0x2001, 0xdb8, 0, 0, 0, 0, 0, 3]), "six");
        old.kill();
        nginx.reload();
        assert_eq!(reached(&nginx), "six");
        assert!(dns.asked("app.test", Kind::Aaaa) > 0);
        assert_eq!(new.requests(), 1);
    });
}
