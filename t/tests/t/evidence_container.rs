//! nginx in a container, whose loopback is its own.

use std::path::Path;

use nginx_test::backend::Dead;
use nginx_test::sandbox::mounts;
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Nginx, Seen};

/// A file that only the first network namespace of a system shows.
const OF_THE_FIRST_NETWORK: &str = "/proc/sys/net/ipv4/tcp_mem";

/// What is said of a loopback that refuses: these tests may run in a container themselves.
pub(crate) fn nobody_listens() -> &'static str {
    let container =
        ["/.dockerenv", "/run/.containerenv"].iter().any(|sign| Path::new(sign).exists());
    match container && !Path::new(OF_THE_FIRST_NETWORK).exists() {
        true => "loopback_in_container",
        false => "no_listener",
    }
}

fn fetch(dead: &Dead) -> Seen {
    Nginx::location("proxy_pass http://%dead%;").set("dead", dead).start().fetch("/")
}

fn hints(seen: &Seen) -> [Option<String>; 2] {
    let attempt = seen.diagnosis().attempt().clone();
    assert_eq!(seen.reply.member().name, "connection_refused");
    [seen.reply.member().token("hint").map(str::to_owned), attempt.text("hint").map(str::to_owned)]
}

#[test]
fn loopback_in_container() {
    isolated(|_| {
        mounts::private(|mounts| {
            mounts.empty("/run");
            mounts.file("/run/.containerenv", "");
            for dead in [Dead::refusing(), Dead::refusing_v6()] {
                let seen = fetch(&dead);
                assert_eq!(hints(&seen), [Some("loopback_in_container"); 2].map(owned));
                let diagnosis = seen.diagnosis();
                let evidence = &diagnosis.attempt().raw["evidence"];
                assert_eq!(evidence["container"], "/run/.containerenv", "{evidence}");
                assert_eq!(evidence["listeners_on_port"], 0, "{evidence}");
                let advice = format!("nothing listens on {dead}, the loopback of the container");
                assert!(diagnosis.advice.starts_with(&advice), "{}", diagnosis.advice);
            }
        });
    });
}

/// The marks of a container on a system whose network is not its own: `--network=host`, or a
/// virtual machine that was made of an image.
#[test]
fn a_container_with_the_hosts_network() {
    if !Path::new(OF_THE_FIRST_NETWORK).exists() {
        return;
    }
    mounts::private(|mounts| {
        mounts.empty("/run");
        mounts.file("/run/.containerenv", "");
        assert_eq!(hints(&fetch(&Dead::refusing())), [Some("no_listener"); 2].map(owned));
    });
}

/// Without /proc/sys (ProcSubset=pid) nobody knows whose network it is.
#[test]
fn a_network_of_unknown_origin() {
    isolated(|_| {
        mounts::private(|mounts| {
            mounts.empty("/run");
            mounts.file("/run/.containerenv", "");
            mounts.empty("/proc/sys/net");
            assert_eq!(hints(&fetch(&Dead::refusing())), [Some("no_listener"); 2].map(owned));
        });
    });
}

fn owned(hint: Option<&str>) -> Option<String> {
    hint.map(str::to_owned)
}
