//! What a look costs a worker on a busy host.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nginx_test::env::valgrind;
use nginx_test::sandbox::netns::{isolated, with_small_table};
use nginx_test::{Backend, Nginx, Place, Step};

use crate::evidence_container::nobody_listens;

pub(crate) const LISTENERS: u16 = 1_000;
pub(crate) const CONNECTIONS_EACH: usize = 10;
/// No more than a worker takes in a second.
pub(crate) const LOOKS: u8 = 60;

/// Listening sockets with connections that nobody accepts.
struct Busy(#[expect(dead_code, reason = "kept open")] Vec<(TcpListener, Vec<TcpStream>)>);

impl Busy {
    fn host(listeners: u16, connections_each: usize) -> Self {
        let one = |port| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            let address = listener.local_addr().unwrap();
            let connect = |_| TcpStream::connect(address).unwrap();
            (listener, (0..connections_each).map(connect).collect())
        };
        // Below the ports that connections come from.
        Self((10_000..10_000 + listeners).map(one).collect())
    }
}

/// Processor time of the worker, nanoseconds, for that many refused requests to as many addresses.
fn refused(evidence: &str, refuse_netlink: bool) -> u64 {
    let nginx = Nginx::location(
        "upstream_diagnosis_evidence %evidence%; keepalive_requests 100000;
         proxy_pass http://127.0.1.$arg_n:3000;",
    );
    let nginx = nginx.set("evidence", evidence);
    let nginx = if refuse_netlink { nginx.refuse_netlink() } else { nginx };
    let nginx = nginx.start();
    let mut client = nginx.connect();
    // Where everything is touched for the first time.
    assert_eq!(client.get("/?n=255").status, 502);
    let before = processor_time(nginx.workers()[0]);
    for number in 1..=LOOKS {
        let reply = client.get(&format!("/?n={number}"));
        // /proc is read where that is quick.
        let looked = reply.member().token("hint") == Some(nobody_listens());
        assert!(looked == (evidence == "on") || (!looked && refuse_netlink), "{reply}");
    }
    let spent = processor_time(nginx.workers()[0]) - before;
    drop(client);
    nginx.log(usize::from(LOOKS) + 1);
    spent
}

/// The first number of /proc/<pid>/schedstat (proc(5)).
pub(crate) fn processor_time(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// All the descriptors that this process may have, for one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::new(());
    let alone = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
    raise_file_limit();
    alone
}

/// What a look adds to `fail`, which returns the time for [`LOOKS`] failures.
pub(crate) fn measure(what: &str, fail: &dyn Fn(&str) -> u64) {
    let look = fail("on").saturating_sub(fail("off")) / u64::from(LOOKS);
    eprintln!("{what}: a look takes {} us", look / 1_000);
    let limit = if valgrind() { 20_000_000 } else { 1_000_000 };
    assert!(look < limit, "{what}: {look} ns");
}

#[test]
fn a_look_takes_less_than_a_millisecond() {
    let _alone = alone();
    isolated(|_| {
        let _busy = Busy::host(LISTENERS, CONNECTIONS_EACH);
        measure("refused", &|evidence| refused(evidence, false));
        measure("refused without netlink", &|evidence| refused(evidence, true));
        measure("closed", &closed);
        measure("unchosen", &unchosen);
    });
}

/// Where /proc can be read in that time, it is: as many connections, and fewer listening sockets.
#[test]
fn nor_does_one_without_netlink() {
    let _alone = alone();
    with_small_table(|_| {
        let _busy = Busy::host(LISTENERS / 10, CONNECTIONS_EACH * 10);
        measure("refused without netlink", &|evidence| refused(evidence, true));
    });
}

/// Closed without an answer: what was killed, what the port did before, and who listens.
fn closed(evidence: &str) -> u64 {
    let backend = Backend::at(Place::Ip(Ipv4Addr::UNSPECIFIED));
    let backend = backend.script([Step::ReadRequest, Step::Close]);
    let nginx = Nginx::location(
        "upstream_diagnosis_evidence %evidence%; keepalive_requests 100000;
         proxy_pass http://127.0.1.$arg_n:%port%;",
    );
    let port = backend.address().rsplit(':').next().unwrap();
    let nginx = nginx.set("evidence", evidence).set("port", port).start();
    let mut client = nginx.connect();
    assert_eq!(client.get("/?n=255").status, 502);
    let before = processor_time(nginx.workers()[0]);
    for number in 1..=LOOKS {
        assert_eq!(client.get(&format!("/?n={number}")).member().name, "closed_before_header");
    }
    let spent = processor_time(nginx.workers()[0]) - before;
    drop(client);
    nginx.log(usize::from(LOOKS) + 1);
    spent
}

/// None of a thousand servers can be chosen, in that many upstreams.
fn unchosen(evidence: &str) -> u64 {
    let servers: String =
        (1..=1000).map(|port| format!("server 127.0.0.1:{port} down; ")).collect();
    let upstreams = (0..=LOOKS).map(|n| format!("upstream u{n} {{ {servers} }} "));
    let locations = (0..=LOOKS).map(|n| format!("location /{n}/ {{ proxy_pass http://u{n}; }} "));
    let nginx = Nginx::http(&format!(
        "{} server {{ listen %listen%; upstream_diagnosis_evidence {evidence};
             keepalive_requests 100000; {} }}",
        upstreams.collect::<String>(),
        locations.collect::<String>(),
    ));
    let nginx = nginx.start();
    let mut client = nginx.connect();
    assert_eq!(client.get("/0/").status, 502);
    let before = processor_time(nginx.workers()[0]);
    for number in 1..=LOOKS {
        assert_eq!(client.get(&format!("/{number}/")).member().name, "no_live_peers");
    }
    let spent = processor_time(nginx.workers()[0]) - before;
    drop(client);
    nginx.log(usize::from(LOOKS) + 1);
    spent
}

/// The connections have a descriptor each, on one side.
fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit and setrlimit write and read one rlimit.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}
