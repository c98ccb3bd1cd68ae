//! What a look at a unix socket costs a worker where there are many.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nginx_test::Nginx;
use nginx_test::sandbox::netns::isolated;

use crate::evidence_cost::{CONNECTIONS_EACH, LISTENERS, LOOKS, alone, measure, processor_time};

/// Listeners, and connections to each.
type Busy = (u16, usize);
const SOME: Busy = (LISTENERS / 2, 1);
const MANY: Busy = (LISTENERS, CONNECTIONS_EACH);

/// Listeners that are not asked for, and connections that nobody accepts.
fn busy_directory(
    directory: &Path,
    (listeners, connections): Busy,
) -> Vec<(UnixListener, Vec<UnixStream>)> {
    let one = |number| {
        let path = directory.join(format!("busy{number}"));
        let listener = UnixListener::bind(&path).unwrap();
        let connect = |_| UnixStream::connect(&path).unwrap();
        (listener, (0..connections).map(connect).collect())
    };
    (0..listeners).map(one).collect()
}

/// Processor time, nanoseconds, for that many requests to as many sockets that nobody listens on.
fn stale(evidence: &str, busy: Busy) -> u64 {
    let nginx = Nginx::location(
        "upstream_diagnosis_evidence %evidence%; keepalive_requests 100000;
         proxy_pass http://unix:%dir%/stale$arg_n:/;",
    );
    let nginx = nginx.set("evidence", evidence).start();
    let _busy = busy_directory(nginx.dir(), busy);
    let path = |number| nginx.dir().join(format!("stale{number}"));
    for number in 0..=LOOKS {
        let listener = UnixListener::bind(path(number)).unwrap();
        // SAFETY: shutdown(2) takes plain numbers.
        unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
        fs::set_permissions(path(number), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let first = nginx.fetch("/?n=0");
    let listener = first.diagnosis().raw["attempts"][0]["evidence"]["listener"].clone();
    // Ten thousand connections are too many to look at.
    let expected = (evidence == "on" && busy == SOME).then_some("nobody");
    assert_eq!(listener.as_str(), expected);
    let mut client = nginx.connect();
    let before = processor_time(nginx.workers()[0]);
    for number in 1..=LOOKS {
        let reply = client.get(&format!("/?n={number}"));
        let looked = reply.member().token("hint") == Some("no_listener");
        assert_eq!(looked, evidence == "on", "{reply}");
    }
    let spent = processor_time(nginx.workers()[0]) - before;
    drop(client);
    nginx.log(usize::from(LOOKS) + 1);
    spent
}

#[test]
fn a_look_at_a_unix_socket_takes_less_than_a_millisecond() {
    let _alone = alone();
    isolated(|_| {
        measure("some unix sockets", &|evidence| stale(evidence, SOME));
        measure("many unix sockets", &|evidence| stale(evidence, MANY));
    });
}
