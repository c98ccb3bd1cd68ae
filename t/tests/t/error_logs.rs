//! Every arrangement of `error_log`: the diagnosis works, and the user's files hold exactly what
//! they would hold without the module.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;

use nginx_test::backend::Dead;
use nginx_test::{Nginx, Running};

/// Lists of logs as they may stand in any block.
const CHAINS: [&str; 16] = [
    "",
    "error_log %dir%/a.log emerg;",
    "error_log %dir%/a.log alert;",
    "error_log %dir%/a.log crit;",
    "error_log %dir%/a.log error;",
    "error_log %dir%/a.log;",
    "error_log %dir%/a.log warn;",
    "error_log %dir%/a.log info;",
    "error_log %dir%/a.log emerg; error_log %dir%/b.log warn; error_log %dir%/c.log crit;",
    "error_log %dir%/a.log crit; error_log %dir%/b.log alert;",
    "error_log %dir%/a.log alert; error_log %dir%/b.log crit; error_log %dir%/c.log emerg;",
    "error_log %dir%/a.log error; error_log %dir%/b.log crit;",
    "error_log %dir%/a.log crit; error_log %dir%/a.log error;",
    "error_log /dev/null;",
    "error_log /dev/null emerg; error_log %dir%/b.log crit;",
    "error_log stderr crit;",
];

/// Requests that make nginx write at level error, crit, warn, and error about something else.
const REQUESTS: [(&str, &str, Option<&str>); 4] = [
    ("GET", "/refused", Some("connection_refused")),
    ("GET", "/missing", Some("unix_socket_missing")),
    ("POST", "/refused", Some("connection_refused")),
    ("GET", "/no-such-file", None),
];

const LOCATIONS: &str = "
    location /refused { client_body_buffer_size 1k; proxy_pass http://%refused%; }
    location /missing { proxy_pass http://%missing%:/; }
    location /no-such-file { root %dir%; }";

/// The lines of every log of the user's, without what differs between any two runs: numbers, the
/// order of processes, and what nginx says of its own life.
fn written(nginx: &Running) -> BTreeMap<String, Vec<String>> {
    let ours = ["fields.log", "diagnosis.log"];
    let mut logs = BTreeMap::new();
    for entry in fs::read_dir(nginx.dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if (name.ends_with(".log") || name == "stderr") && !ours.contains(&name.as_str()) {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            let lines = text.lines().filter(|line| !line.contains("[notice]"));
            logs.insert(name, lines.map(|line| line.replace(char::is_numeric, "")).collect());
        }
    }
    logs
}

/// Makes all requests below `prefix`, once they are diagnosed or known to be fine.
fn request_all(nginx: &Running, prefix: &str, with: bool) {
    let body = "x".repeat(4096);
    for (method, path, cause) in REQUESTS {
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        let seen = nginx.fetch_with(method, &format!("{prefix}{path}"), &[], body);
        let found = seen.line.diagnosis.as_ref().map(|diagnosis| diagnosis.cause.as_str());
        assert_eq!(found, cause.filter(|_| with), "{method} {prefix}{path}");
        assert_eq!(seen.reply.causes(), Vec::from_iter(cause.filter(|_| with)));
    }
}

/// Runs the configuration without the module and with it, and compares the files.
fn unchanged(configuration: impl Fn() -> Nginx, prefixes: &[String]) -> usize {
    let [without, with] = [false, true].map(|with| {
        // What it says of a configuration would be a line more, on purpose.
        let quiet = "upstream_diagnosis on; upstream_diagnosis_lint off;";
        let nginx = configuration().set("on", quiet);
        let nginx = if with { nginx } else { nginx.bare() }.start();
        prefixes.iter().for_each(|prefix| request_all(&nginx, prefix, with));
        written(&nginx)
    });
    for (name, lines) in &without {
        assert_eq!(with.get(name), Some(lines), "{name}");
    }
    assert_eq!(with.len(), without.len());
    without.values().map(Vec::len).sum()
}

fn back_ends() -> [Dead; 2] {
    [Dead::refusing(), Dead::missing_socket()]
}

#[test]
fn in_a_location() {
    let [refused, missing] = back_ends();
    let mut conf = "log_not_found on; server { listen %listen%;".to_owned();
    for (index, chain) in CHAINS.iter().enumerate() {
        // A log file of its own for each location.
        let chain = chain.replace("%dir%/", &format!("%dir%/{index}-"));
        let inner = LOCATIONS.replace("location /", &format!("location /{index}/"));
        conf += &format!("location /{index} {{ {chain} {inner} }}\n");
    }
    conf += "}";
    let prefixes: Vec<String> = (0..CHAINS.len()).map(|index| format!("/{index}")).collect();
    for level in ["warn", "emerg"] {
        let make = || {
            let nginx = Nginx::http(&conf).error_level(level);
            nginx.set("refused", &refused).set("missing", &missing)
        };
        let lines = unchanged(make, &prefixes);
        assert!(lines > 20, "{lines} lines");
    }
}

#[test]
fn in_http_or_server() {
    let [refused, missing] = back_ends();
    for chain in [CHAINS[3], CHAINS[8], CHAINS[13]] {
        for conf in [
            format!("{chain} server {{ listen %listen%; {LOCATIONS} }}"),
            format!("server {{ listen %listen%; {chain} {LOCATIONS} }}"),
        ] {
            let make = || Nginx::http(&conf).set("refused", &refused).set("missing", &missing);
            unchanged(make, &[String::new()]);
        }
    }
}

/// What a whole configuration says outside of `http {}`: before it, after it, or nothing.
#[test]
fn at_the_top() {
    let [refused, missing] = back_ends();
    let frame = |before: &str, after: &str| {
        format!(
            "%load%\n{before}\ndaemon off; pid %dir%/nginx.pid; events {{ }}
             http {{ %paths% %log% %probe% %on% server {{ listen %listen%; {LOCATIONS} }} }}
             {after}\n"
        )
    };
    for chain in ["", CHAINS[1], CHAINS[3], CHAINS[4], CHAINS[8], CHAINS[13], CHAINS[14]] {
        for conf in [frame(chain, ""), frame("", chain)] {
            let make = || Nginx::raw(&conf).set("refused", &refused).set("missing", &missing);
            unchanged(make, &[String::new()]);
        }
    }
}

#[test]
fn in_a_syslog() {
    let [refused, missing] = back_ends();
    let syslog = UdpSocket::bind("127.0.0.1:0").unwrap();
    syslog.set_nonblocking(true).unwrap();
    let received = || {
        let mut lines = Vec::new();
        let mut datagram = [0; 4096];
        while let Ok(length) = syslog.recv(&mut datagram) {
            let line = String::from_utf8_lossy(&datagram[..length]).into_owned();
            lines.push(line.rsplit_once(" [").map_or(line.clone(), |(_, text)| text.to_owned()));
        }
        lines
    };
    let nginx = Nginx::server(&format!(
        "error_log syslog:server=%syslog%,nohostname crit; error_log %dir%/a.log alert; {LOCATIONS}"
    ));
    let nginx = nginx.set("syslog", syslog.local_addr().unwrap());
    let nginx = nginx.set("refused", &refused).set("missing", &missing).start();
    request_all(&nginx, "", true);
    let lines = received();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("connect() to unix:"), "{lines:?}");
    assert!(lines[0].contains("while connecting to upstream, client: 127.0.0.1, "), "{lines:?}");
    assert_eq!(written(&nginx)["a.log"], [""; 0]);
}

#[test]
fn reopened_logs_are_written_on() {
    let [refused, missing] = back_ends();
    let nginx = Nginx::server(&format!(
        "error_log %dir%/a.log crit; error_log %dir%/b.log emerg; {LOCATIONS}"
    ));
    let nginx = nginx.set("refused", &refused).set("missing", &missing).start();
    request_all(&nginx, "", true);
    let (log, moved) = (nginx.dir().join("a.log"), nginx.dir().join("a.log.1"));
    fs::rename(&log, &moved).unwrap();
    nginx.signal(libc::SIGUSR1);
    nginx_test::wait::until("the log to be reopened", || log.exists().then_some(()));
    nginx.wait_for_error("reopening logs");
    // The master makes the file; the worker uses it once it has had the signal.
    nginx_test::wait::until("the worker to write to the new file", || {
        request_all(&nginx, "", true);
        (fs::metadata(&log).unwrap().len() > 0).then_some(())
    });
    for path in [&log, &moved] {
        let text = fs::read_to_string(path).unwrap();
        let only_crit = text.lines().all(|line| line.contains("[crit]"));
        assert!(only_crit && !text.is_empty(), "{}: {text}", path.display());
    }
}
