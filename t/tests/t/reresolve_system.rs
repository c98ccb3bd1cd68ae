//! Names as the system resolves them: resolv.conf and hosts, as they are now.

use nginx_test::dns::{Dns, Kind, Zone};
use nginx_test::sandbox::Etc;
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Host, Nginx, Port, Running, Seen};

use crate::moved::{answered, resolution, rounds, until_answered};

/// A machine of its own: its /etc, its name server, a host at 127.0.0.3 and another at 127.0.0.4.
struct Machine {
    etc: Etc,
    dns: Dns,
    port: Port,
    _hosts: [Host; 2],
}

const HOSTS: &[(&str, &str)] =
    &[("127.0.0.2", "app.test"), ("127.0.0.2", "app"), ("127.0.0.2", "my_app")];

impl Machine {
    fn start() -> Self {
        let (etc, dns, port) = (Etc::new(), Dns::at("127.0.0.1:53"), Port::reserve());
        etc.hosts(HOSTS);
        let three = Host::start(port.at([127, 0, 0, 3]), "three");
        let four = Host::start(port.at([127, 0, 0, 4]), "four");
        Self { etc, dns, port, _hosts: [three, four] }
    }

    /// Started with the name at 127.0.0.2; then nothing is in the hosts file any more.
    fn nginx(&self, name: &str, http: &str) -> Running {
        let nginx = self.plan(name, http).start();
        self.etc.hosts(&[]);
        nginx
    }

    fn plan(&self, name: &str, http: &str) -> Nginx {
        Nginx::http(
            "upstream_diagnosis_resolve failure min=10ms wait=20s %parameters%; %more%
             upstream backend { server %name%:%port%; }
             server { listen %listen%; location / { proxy_pass http://backend; } }",
        )
        .etc(&self.etc)
        .set("name", name)
        .set("more", http)
        .set("parameters", "timeout=5s")
        .set("port", &self.port)
    }
}

fn alone(test: impl FnOnce(&Machine) + Send) {
    isolated(|_| test(&Machine::start()));
}

fn fails(nginx: &Running, error: &str) -> Seen {
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 502, "{}", seen.reply);
    assert_eq!(seen.reply.member().token("dns"), Some("unresolved"));
    assert_eq!(*resolution(&seen, "error"), error);
    seen
}

#[test]
fn the_server_of_resolv_conf_is_asked() {
    for directive in ["", "upstream_diagnosis_resolver system;"] {
        alone(|machine| {
            machine.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
            let nginx = machine.nginx("app.test", directive);
            answered(&nginx, "three");
            assert_eq!(rounds(&machine.dns, "app.test", Kind::A), 1);
        });
    }
}

/// As in a container: a server on another address, a search list, and five dots to be sure.
#[test]
fn short_names() {
    for (conf, name, full, before) in [
        ("search svc.local\n", "app", "app.svc.local", vec![]),
        ("domain svc.local\n", "app", "app.svc.local", vec![]),
        ("search a.local svc.local\n", "app", "app.svc.local", vec!["app.a.local"]),
        ("search svc.local\noptions ndots:5\n", "app.test", "app.test.svc.local", vec![]),
        ("search svc.local\noptions ndots:5\n", "app.test", "app.test", vec!["app.test.svc.local"]),
        ("search svc.local\n", "app.test", "app.test", vec![]),
        ("search svc.local\n", "app.test", "app.test.svc.local", vec!["app.test"]),
        ("search svc.local\noptions ndots:0\n", "app", "app", vec![]),
        ("", "app", "app", vec![]),
        ("search svc.local\n", "my_app", "my_app.svc.local", vec![]),
    ] {
        alone(|machine| {
            machine.etc.resolv_conf(&format!("nameserver 127.0.0.11\n{conf}"));
            let docker = Dns::at("127.0.0.11:53");
            docker.set(full, Zone::addresses(["127.0.0.3"]));
            let nginx = machine.nginx(name, "");
            answered(&nginx, "three");
            let mut asked: Vec<_> = docker.questions().into_iter().map(|q| q.name).collect();
            asked.dedup();
            asked.sort();
            asked.dedup();
            let mut expected = before.clone();
            expected.push(full);
            expected.sort_unstable();
            assert_eq!(asked, expected, "{conf}");
            assert!(machine.dns.questions().is_empty());
        });
    }
}

#[test]
fn the_next_server_is_asked() {
    alone(|machine| {
        machine
            .etc
            .resolv_conf("nameserver 127.0.0.7\nnameserver 127.0.0.8\nnameserver 127.0.0.1\n");
        let broken = Dns::at("127.0.0.8:53").saying(Zone::servfail());
        machine.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
        let nginx = machine.nginx("app.test", "");
        answered(&nginx, "three");
        drop(broken);
    });
}

#[test]
fn options_of_resolv_conf() {
    for (options, tcp, v6) in [
        ("", false, 1),
        ("options use-vc", true, 1),
        ("options no-aaaa", false, 0),
        ("options edns0 trust-ad rotate timeout:1 attempts:1 nonsense:7", false, 1),
    ] {
        alone(|machine| {
            machine.etc.resolv_conf(&format!("nameserver 127.0.0.1\n{options}\n"));
            machine.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
            let nginx = machine.nginx("app.test", "");
            answered(&nginx, "three");
            machine.dns.wait_for("app.test", Kind::Aaaa, v6);
            let asked = [Kind::A, Kind::Aaaa].map(|kind| rounds(&machine.dns, "app.test", kind));
            assert_eq!(asked, [1, v6], "{options}");
            let questions = machine.dns.questions();
            assert!(questions.iter().all(|question| question.tcp == tcp), "{options}");
        });
    }
}

/// With EDNS an answer of 4 kB fits into a packet.
#[test]
fn large_answers_with_edns() {
    alone(|machine| {
        machine.etc.resolv_conf("nameserver 127.0.0.1\noptions edns0\n");
        let many = (0..60).map(|_| "127.0.0.3".to_owned()).chain(["127.0.0.4".to_owned()]);
        machine.dns.set("app.test", Zone::addresses(many));
        let nginx = machine.nginx("app.test", "");
        let seen = nginx.fetch("/");
        assert_eq!(seen.reply.status, 200);
        let current = serde_json::json!(["127.0.0.3", "127.0.0.4"]);
        assert_eq!(*resolution(&seen, "current"), current);
        assert!(machine.dns.questions().iter().all(|question| !question.tcp));
    });
}

#[test]
fn the_hosts_file_comes_first() {
    alone(|machine| {
        machine.dns.set_others(Zone::addresses(["127.0.0.66"]));
        let nginx = machine.plan("app.test", "").start();
        machine.etc.hosts(&[("127.0.0.3", "APP.test other"), ("127.0.0.9", "app.tester")]);
        let seen = answered(&nginx, "three");
        assert_eq!(*resolution(&seen, "current"), serde_json::json!(["127.0.0.3"]));
        assert!(machine.dns.questions().is_empty());
    });
}

/// Both files change while nginx runs, in place and by rename; no reload.
#[test]
fn files_that_change_are_read_again() {
    alone(|machine| {
        let other = Dns::at("127.0.0.12:53");
        machine.dns.set("app.test", Zone::addresses(["127.0.0.5"]));
        let nginx = machine.nginx("app.test", "");
        assert_eq!(nginx.fetch("/").reply.status, 502);
        let serve = |address: &str| other.set("app.test", Zone::addresses([address]));
        serve("127.0.0.3");
        machine.etc.resolv_conf("nameserver 127.0.0.12\n");
        until_answered(&nginx, "three");
        // Each address fails before the next is asked for.
        let gone = |host: &Host| host.kill();
        gone(&machine._hosts[0]);
        machine.etc.replace("hosts", "127.0.0.4 app.test\n");
        until_answered(&nginx, "four");
        gone(&machine._hosts[1]);
        machine._hosts[0].revive();
        machine.etc.write("hosts", "127.0.0.3 app.test\n");
        until_answered(&nginx, "three");
        gone(&machine._hosts[0]);
        machine._hosts[1].revive();
        machine.etc.write("hosts", "");
        machine.dns.set("app.test", Zone::addresses(["127.0.0.4"]));
        machine.etc.replace("resolv.conf", "nameserver 127.0.0.1\n");
        until_answered(&nginx, "four");
    });
}

/// Without resolv.conf a server on this machine is asked, as by the system; without hosts nobody
/// is listed. Both may come back.
#[test]
fn missing_files() {
    alone(|machine| {
        let nginx = machine.nginx("app.test", "");
        machine.etc.remove("hosts");
        machine.etc.remove("resolv.conf");
        fails(&nginx, "nxdomain");
        assert!(machine.dns.asked("app.test", Kind::A) >= 1);
        machine.etc.write("resolv.conf", "nameserver 127.0.0.12\n");
        nginx_test::wait::until("the new file to be read", || {
            let seen = nginx.fetch("/");
            assert_eq!(seen.reply.status, 502);
            (*resolution(&seen, "error") == "unreachable").then_some(())
        });
        machine.etc.write("hosts", "127.0.0.4 app.test\n");
        until_answered(&nginx, "four");
    });
}

#[test]
fn unreadable_and_absurd_files() {
    alone(|machine| {
        machine.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
        let secret = |name: &str| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o000);
            std::fs::set_permissions(machine.etc.path(name), mode).unwrap();
        };
        let nginx = machine.nginx("app.test", "");
        secret("hosts");
        secret("resolv.conf");
        answered(&nginx, "three");
    });
    alone(|machine| {
        machine.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
        let nginx = machine.nginx("app.test", "");
        let noise = "\0\u{fe}nameserver x\nsearch \noptions\n".repeat(100_000);
        machine.etc.write("hosts", &noise);
        machine.etc.write("resolv.conf", &noise);
        answered(&nginx, "three");
    });
    alone(|machine| {
        machine.dns.set("app.test", Zone::addresses(["127.0.0.3"]));
        let nginx = machine.nginx("app.test", "");
        for name in ["hosts", "resolv.conf"] {
            machine.etc.remove(name);
            std::fs::create_dir(machine.etc.path(name)).unwrap();
        }
        answered(&nginx, "three");
    });
}

/// Files of one's own, beside those of the system.
#[test]
fn other_files() {
    alone(|machine| {
        let own = Dns::at("127.0.0.13:53");
        own.set("app.test.own", Zone::addresses(["127.0.0.3"]));
        machine.dns.set_others(Zone::addresses(["127.0.0.66"]));
        let plan = machine
            .plan("app.test", "upstream_diagnosis_resolver system conf=my.conf hosts=my.hosts;");
        let plan = plan.file("my.conf", "nameserver 127.0.0.13\nsearch own\n");
        let nginx = plan.file("my.hosts", "127.0.0.9 somebody\n").start();
        answered(&nginx, "three");
        machine._hosts[0].kill();
        // In a directory that the worker may look into.
        let path = nginx.dir().join("my.hosts");
        std::fs::write(path, "127.0.0.4 app.test\n").unwrap();
        until_answered(&nginx, "four");
        assert!(machine.dns.questions().is_empty());
    });
}
