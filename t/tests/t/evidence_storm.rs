//! A storm of failures causes no storm of looks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use nginx_test::backend::Dead;
use nginx_test::{Nginx, Running, env, log, wait};

use crate::evidence_container::nobody_listens;

const CLIENTS: usize = 4;

/// The clock of ages is CLOCK_MONOTONIC_COARSE (ngx_monotonic_time), that of `$msec` is not.
const ROUNDED_MS: u64 = 50;

const LOG: &str =
    r#"log_format looks escape=none '{"ms":"$msec","diagnosis":$upstream_diagnosis_json}';"#;

/// Failures of all clients together.
fn failures() -> usize {
    if env::valgrind() { 1_000 } else { 10_000 }
}

#[test]
fn a_look_a_second_is_enough() {
    let dead = Dead::refusing();
    let nginx = Nginx::http(&format!(
        "{LOG} upstream backend {{ server %dead% max_fails=0; }}
         server {{ listen %listen%; keepalive_requests 100000;
             location / {{ access_log %dir%/looks.log looks; proxy_pass http://backend; }} }}"
    ));
    let nginx = nginx.set("dead", &dead).error_level("crit").start();
    let address = nginx.address("listen");
    let paths = vec!["/".to_owned(); failures() / CLIENTS];
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let answers = storm(address, &paths);
                assert_eq!(answers.matches(&hint()).count(), paths.len());
            });
        }
    });
    at_most(2, &looks(&nginx, failures()));
}

/// More addresses than findings are kept of, over and over.
#[test]
fn many_addresses_share_a_number_of_looks() {
    const KEPT: usize = 64;
    let dead: Vec<Dead> = (0..80).map(|_| Dead::refusing()).collect();
    let nginx = Nginx::http(&format!(
        "{LOG} server {{ listen %listen%; keepalive_requests 100000;
             location / {{ access_log %dir%/looks.log looks; proxy_pass http://$arg_to; }} }}"
    ));
    let nginx = nginx.error_level("crit").start();
    let rounds = (0..5).flat_map(|_| &dead);
    let paths: Vec<String> = rounds.map(|dead| format!("/?to={dead}")).collect();
    let answers = storm(nginx.address("listen"), &paths);
    assert_eq!(answers.matches("X-Upstream-Diagnosis: connection_refused;").count(), paths.len());
    assert!(answers.matches(&hint()).count() >= KEPT);
    at_most(KEPT, &looks(&nginx, paths.len()));
}

fn hint() -> String {
    format!(";hint={};", nobody_listens())
}

/// So many looks a second and no more.
fn at_most(count: usize, looks: &[u64]) {
    assert!(!looks.is_empty());
    for pair in looks.windows(count + 1) {
        assert!(pair[count] - pair[0] >= 1000 - ROUNDED_MS, "in a second: {looks:?}");
    }
}

/// Sends the requests without waiting for answers, and reads those.
fn storm(address: &str, paths: &[String]) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    let mut sender = client.try_clone().unwrap();
    let head = |path: &String| format!("GET {path} HTTP/1.1\r\nHost: x\r\n");
    // The last of them ends the connection.
    let all = paths.iter().map(head).collect::<Vec<_>>().join("\r\n") + "Connection: close\r\n\r\n";
    let sending = thread::spawn(move || sender.write_all(all.as_bytes()).unwrap());
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).unwrap();
    sending.join().unwrap();
    String::from_utf8_lossy(&answers).into_owned()
}

/// When a look was taken at each address, as far as the failures show, in order; milliseconds.
fn looks(nginx: &Running, failures: usize) -> Vec<u64> {
    let path = nginx.dir().join("looks.log");
    let text = wait::until("every line of the log", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() >= failures).then_some(text)
    });
    let mut moments: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (address, moment) in text.lines().filter_map(moment) {
        moments.entry(address).or_default().insert(moment);
    }
    let mut looks: Vec<u64> = moments.values().flat_map(apart).collect();
    looks.sort_unstable();
    looks
}

/// Moments that are not one and the same.
fn apart(moments: &BTreeSet<u64>) -> Vec<u64> {
    let mut apart: Vec<u64> = Vec::new();
    for &moment in moments {
        if apart.last().is_none_or(|last| moment > last + ROUNDED_MS) {
            apart.push(moment);
        }
    }
    apart
}

fn moment(line: &str) -> Option<(String, u64)> {
    let line = log::parse(line);
    let logged: u64 = line["ms"].as_str().unwrap().replace('.', "").parse().unwrap();
    let attempt = &line["diagnosis"]["attempts"][0];
    let age = attempt["evidence"]["age_ms"].as_u64()?;
    Some((attempt["address"].as_str().unwrap().to_owned(), logged - age))
}
