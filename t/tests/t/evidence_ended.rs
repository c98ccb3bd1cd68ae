//! The other side ended the connection: what the kernel killed, and what the port did before.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nginx_test::backend::http;
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Backend, Nginx, Place, Running, Seen, Step, env};

/// Stand-ins for the kernel's counters, which only nginx sees. A real kill would be seen by every
/// other test that runs at the time.
struct Kernel(PathBuf);

impl Kernel {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("ud-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("cgroup").join(own_group())).unwrap();
        let kernel = Self(dir);
        kernel.count(7, 1);
        kernel
    }

    /// So many kills on the host and in nginx's control group.
    fn count(&self, host: u64, group: u64) {
        let vmstat = format!("nr_free_pages 1907226\ndrop_slab 0\noom_kill {host}\nswap_ra 0\n");
        fs::write(self.0.join("vmstat"), vmstat).unwrap();
        let events = format!("low 0\nhigh 0\nmax 42\noom 9\noom_kill {group}\noom_group_kill 0\n");
        let group = self.0.join("cgroup").join(own_group());
        fs::write(group.join("memory.events"), events).unwrap();
    }

    fn start(&self, nginx: Nginx) -> Running {
        let script = format!(
            "mount --bind {0}/vmstat /proc/vmstat && mount --bind {0}/cgroup /sys/fs/cgroup \
             && exec \"$@\"",
            self.0.display()
        );
        nginx.prefix(&["unshare", "--mount", "sh", "-c", &script, "sh"]).start()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The control group that nginx will be in, below where cgroup2 is mounted.
fn own_group() -> String {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    group.unwrap_or_default().to_owned()
}

fn keeping(backend: &Backend) -> Nginx {
    Nginx::http(
        "upstream backend { server %server%; keepalive 2; }
         server { listen %listen%; location / { proxy_pass http://backend;
             proxy_http_version 1.1; proxy_set_header Connection \"\"; } }",
    )
    .set("server", backend)
}

fn hint(seen: &Seen) -> Option<String> {
    let member = seen.reply.member();
    assert_eq!(member.token("hint"), seen.diagnosis().attempt().text("hint"));
    member.token("hint").map(str::to_owned)
}

#[test]
fn a_kill_for_want_of_memory_is_seen() {
    if env::valgrind() {
        return; // nginx is started by another program there.
    }
    let backend = Backend::script([Step::ReadRequest, Step::Close]);
    let other = Backend::script([Step::ReadRequest, Step::Reset]);
    let kernel = Kernel::new("kill");
    let nginx = Nginx::server(
        "location / { proxy_pass http://%server%; } location /other { proxy_pass http://%other%; }",
    );
    let nginx = kernel.start(nginx.set("server", &backend).set("other", &other));
    kernel.count(9, 2);
    let seen = nginx.fetch("/");
    assert_eq!(hint(&seen).as_deref(), Some("oom_kill_seen"));
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.cause, "closed_before_header");
    let figure = |name| diagnosis.attempt().evidence(name);
    assert_eq!((figure("oom_kills"), figure("oom_kills_in_own_cgroup")), (&2.into(), &1.into()));
    let ms = figure("oom_kill_at_most_ms_ago").as_u64().unwrap();
    assert!(ms < 60_000, "{ms}");
    let said = format!("{backend} closed the connection without a complete answer, and the kernel");
    assert!(diagnosis.advice.starts_with(&said), "{}", diagnosis.advice);
    assert!(diagnosis.advice.contains("more memory"), "{}", diagnosis.advice);
    // The same kill may have ended another connection, too.
    let seen = nginx.fetch("/other");
    assert_eq!(hint(&seen).as_deref(), Some("oom_kill_seen"));
    assert_eq!(seen.diagnosis().cause, "reset_before_header");
}

/// What was killed before this worker began is none of its business.
#[test]
fn no_kill_is_no_hint() {
    if env::valgrind() {
        return; // nginx is started by another program there.
    }
    let backend = Backend::script([Step::ReadRequest, Step::Close]);
    let kernel = Kernel::new("none");
    let nginx = Nginx::location("proxy_pass http://%server%;").set("server", &backend);
    let seen = kernel.start(nginx).fetch("/");
    assert_eq!((hint(&seen), seen.diagnosis().cause.as_str()), (None, "closed_before_header"));
    let diagnosis = seen.diagnosis();
    assert!(diagnosis.attempt().evidence("oom_kills").is_null());
    assert!(diagnosis.attempt().evidence("bytes_sent").as_u64() > Some(0));
    assert_eq!(*diagnosis.attempt().evidence("bytes_received"), 0);
    assert!(diagnosis.attempt().evidence("connection_age_ms").is_null());
    assert!(diagnosis.attempt().evidence("tcp_rtt_us").as_u64() > Some(0));
    assert_eq!(*diagnosis.attempt().evidence("tcp_retransmits"), 0);
}

#[test]
fn a_unix_socket_has_no_round_trip() {
    let backend = Backend::at(Place::Unix).script([Step::ReadRequest, Step::Close]);
    let nginx = Nginx::location("proxy_pass http://%server%:/;").set("server", &backend).start();
    let seen = nginx.fetch("/");
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.cause, "closed_before_header");
    assert!(diagnosis.attempt().evidence("bytes_sent").as_u64() > Some(0));
    assert!(diagnosis.attempt().evidence("tcp_rtt_us").is_null());
}

#[test]
fn a_stale_connection_has_its_age_and_its_requests() {
    let served = [Step::ReadRequest, Step::Write(http::ok("served"))];
    let stale = [&served[..], &served[..], &[Step::ReadRequest, Step::Close]].concat();
    let backend = Backend::scripts(vec![stale, [&served[..], &[Step::Again]].concat()]);
    let nginx = keeping(&backend).start();
    for _ in 0..2 {
        assert_eq!(nginx.fetch("/").reply.text(), "served");
    }
    let seen = nginx.fetch("/");
    let diagnosis = seen.diagnosis();
    assert_eq!(
        (diagnosis.cause.as_str(), diagnosis.outcome.as_str()),
        ("keepalive_stale", "recovered")
    );
    assert_eq!(*diagnosis.attempt().evidence("connection_requests"), 3);
    let age = diagnosis.attempt().evidence("connection_age_ms").as_u64();
    assert!(age.is_some_and(|ms| ms < 60_000), "{age:?}");
    let idle = diagnosis.attempt().evidence("connection_idle_ms").as_u64();
    assert!(idle.is_none_or(|ms| Some(ms) <= age), "{idle:?} of {age:?}");
    assert!(diagnosis.attempt().evidence("bytes_sent").as_u64() > Some(0));
    assert_eq!(*diagnosis.attempt().evidence("keepalive_timeout_ms"), 60_000);
    assert_eq!(hint(&seen), None);
}

#[test]
fn a_connection_that_was_idle_too_long_for_the_back_end() {
    let served = [Step::ReadRequest, Step::Write(http::ok("served"))];
    let stale = [&served[..], &[Step::ReadRequest, Step::Close]].concat();
    let backend = Backend::scripts(vec![stale, [&served[..], &[Step::Again]].concat()]);
    let nginx = Nginx::http(
        "upstream backend { server %backend%; keepalive 4; keepalive_timeout 75s; }
         server { listen %listen%; location / {
             proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';
         } }",
    );
    let nginx = nginx.set("backend", &backend).start();
    assert_eq!(nginx.fetch("/").reply.text(), "served");
    // To be idle takes time.
    thread::sleep(Duration::from_millis(1_100));
    let seen = nginx.fetch("/");
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.cause, "keepalive_stale");
    assert_eq!(hint(&seen).as_deref(), Some("keepalive_idle_expired"));
    let idle = diagnosis.attempt().evidence("connection_idle_ms").as_u64();
    assert!(idle.is_some_and(|ms| ms >= 1_000), "{idle:?}");
    assert_eq!(*diagnosis.attempt().evidence("keepalive_timeout_ms"), 75_000);
    let said = "s of idleness; make the back end's keep-alive time-out longer than keepalive_timeout \
                (75 s)";
    assert!(diagnosis.advice.contains(said), "{}", diagnosis.advice);
}

/// Takes one connection, reads a request and answers; then nobody listens any more.
fn answer_once(address: SocketAddr, answer: &'static [u8]) -> thread::JoinHandle<()> {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let mut connection = listener.accept().unwrap().0;
        drop(listener);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        connection.write_all(answer).unwrap();
    })
}

#[test]
fn a_port_that_answers_refuses_and_answers_again() {
    isolated(|_| {
        let address: SocketAddr = "127.0.0.1:3000".parse().unwrap();
        let nginx = Nginx::location("proxy_pass http://127.0.0.1:3000;").start();
        let up = answer_once(address, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(nginx.fetch("/").diagnosis().cause, "upstream_status");
        up.join().unwrap();
        let refused = nginx.fetch("/");
        assert_eq!(refused.diagnosis().cause, "connection_refused");
        assert_ne!(hint(&refused).as_deref(), Some("backend_restarting"));
        let up = answer_once(address, b"");
        let seen = nginx.fetch("/");
        up.join().unwrap();
        assert_eq!(seen.diagnosis().cause, "closed_before_header");
        assert_eq!(hint(&seen).as_deref(), Some("backend_restarting"));
        let diagnosis = seen.diagnosis();
        let ago = diagnosis.attempt().evidence("port_turned_ms_ago").as_u64();
        assert!(ago.is_some_and(|ms| ms <= 10_000), "{ago:?}");
        let said = "127.0.0.1:3000 has refused and accepted connections in turns within the last";
        assert!(diagnosis.advice.starts_with(said), "{}", diagnosis.advice);
    });
}
