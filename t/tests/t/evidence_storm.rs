//! A storm of failures causes no storm of looks.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use nginx_test::backend::Dead;
use nginx_test::{Nginx, Running, env, log, wait};

const CLIENTS: usize = 4;

/// The clock of ages is CLOCK_MONOTONIC_COARSE (ngx_monotonic_time), that of `$msec` is not.
const ROUNDED_MS: u64 = 50;

/// Failures of all clients together.
fn failures() -> usize {
    if env::valgrind() { 1_000 } else { 10_000 }
}

#[test]
fn a_look_a_second_is_enough() {
    let dead = Dead::refusing();
    let nginx = Nginx::http(
        r#"log_format looks escape=none '{"ms":"$msec","diagnosis":$upstream_diagnosis_json}';
         upstream backend { server %dead% max_fails=0; }
         server { listen %listen%; keepalive_requests 100000;
             location / { access_log %dir%/looks.log looks; proxy_pass http://backend; } }"#,
    );
    let nginx = nginx.set("dead", &dead).error_level("crit").start();
    let address = nginx.address("listen");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| storm(address, failures() / CLIENTS));
        }
    });
    let moments = moments(&nginx);
    let mut looks: Vec<u64> = Vec::new();
    for moment in moments {
        if looks.last().is_none_or(|last| moment > last + ROUNDED_MS) {
            looks.push(moment);
        }
    }
    for pair in looks.windows(3) {
        assert!(pair[2] - pair[0] >= 1000, "three looks within a second: {looks:?}");
    }
}

/// Sends the requests without waiting for answers, and reads those.
fn storm(address: &str, requests: usize) {
    let mut client = TcpStream::connect(address).unwrap();
    let mut sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let all = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(requests - 1);
        sender.write_all(all.as_bytes()).unwrap();
        sender.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    });
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).unwrap();
    sending.join().unwrap();
    let answers = String::from_utf8_lossy(&answers);
    assert_eq!(answers.matches(";hint=no_listener;").count(), requests);
}

/// When what each failure shows was looked at, milliseconds, in order.
fn moments(nginx: &Running) -> Vec<u64> {
    let path = nginx.dir().join("looks.log");
    let text = wait::until("every line of the log", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() >= failures()).then_some(text)
    });
    let mut moments: Vec<u64> = text.lines().map(moment).collect();
    moments.sort_unstable();
    moments
}

fn moment(line: &str) -> u64 {
    let line = log::parse(line);
    let logged: u64 = line["ms"].as_str().unwrap().replace('.', "").parse().unwrap();
    logged - line["diagnosis"]["attempts"][0]["evidence"]["age_ms"].as_u64().unwrap()
}
