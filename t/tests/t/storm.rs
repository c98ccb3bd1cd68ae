//! Many requests at once, most of which fail: every one has its own diagnosis, and nginx lives.

use std::thread;

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, LogLine, Nginx, Step, client};

/// Where a request can go, and what may be said of it there.
const PLACES: [(&str, &[&str]); 9] = [
    ("/good", &[]),
    ("/dead", &["connection_refused"]),
    ("/closing", &["closed_before_header"]),
    ("/busy", &["upstream_status"]),
    ("/slow", &["header_timeout"]),
    ("/short", &["body_truncated"]),
    ("/recovers", &["connection_refused", "closed_before_header"]),
    ("/page", &["connection_refused"]),
    ("/auth", &["upstream_status"]),
];
const CLIENTS: u64 = 8;
const REQUESTS: u64 = 60;

/// xorshift: the same numbers each time, for the same client.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Sends requests, some of which it does not wait for; returns how many.
fn go_on(address: &str, seed: u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for number in 0..REQUESTS {
        let (path, _) = PLACES[(next(&mut state) % PLACES.len() as u64) as usize];
        let method = if next(&mut state).is_multiple_of(4) { "POST" } else { "GET" };
        let body: &[u8] = if method == "POST" { b"body" } else { b"" };
        let mut client = client::Client::connect(address);
        let request = client::head(method, &format!("{path}/{seed}/{number}"), &[], body.len());
        client.send([request.as_bytes(), body].concat());
        match next(&mut state) % 8 {
            0 => drop(client),
            1 => client.reset(),
            _ => drop(client.try_read(method)),
        }
    }
    REQUESTS
}

fn judge(line: &LogLine) {
    let path = line.field("uri");
    let (place, causes) = PLACES
        .iter()
        .find(|(place, _)| path.starts_with(place))
        .unwrap_or_else(|| panic!("{path}"));
    let status = line.field("status");
    let Some(diagnosis) = &line.diagnosis else {
        let fine = ["200", "499"].contains(&status);
        assert!(fine && (status == "499" || *place != "/dead"), "nothing is said of {line:?}");
        return;
    };
    for attempt in &diagnosis.attempts {
        let cause = attempt.cause.as_str();
        assert!(causes.contains(&cause) || cause == "client_closed", "{cause} in {line:?}");
    }
    let outcome = diagnosis.outcome.as_str();
    let expected: &[&str] = match (*place, status) {
        (_, "499") => &["aborted"],
        ("/recovers" | "/page", _) => &["recovered"],
        ("/busy", _) => &["upstream_error"],
        ("/short", _) => &["truncated"],
        _ => &["failed"],
    };
    assert!(expected.contains(&outcome), "{outcome} in {line:?}");
}

#[test]
fn every_request_has_its_own_diagnosis() {
    let (good, dead) = (Backend::ok("good"), Dead::refusing());
    let closing = Backend::script([Step::ReadRequest, Step::Close]);
    let busy = Backend::answering(http::response(503, &[], b"busy"));
    let slow = Backend::script([Step::Hold]);
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec();
    let short = Backend::answering_once(short);
    let nginx = Nginx::http(
        "upstream recovers { zone recovers 64k; server %dead% max_fails=0;
             server %closing% max_fails=0; server %good% backup; keepalive 2; }
         proxy_http_version 1.1; proxy_set_header Connection \"\";
         server { listen %listen%;
             location /good { proxy_pass http://%good%; }
             location /dead { proxy_pass http://%dead%; }
             location /closing { proxy_pass http://%closing%; }
             location /busy { proxy_pass http://%busy%; }
             location /slow { proxy_read_timeout 100ms; proxy_pass http://%slow%; }
             location /short { proxy_pass http://%short%; }
             location /recovers { proxy_next_upstream error non_idempotent;
                 proxy_pass http://recovers; }
             location /page { error_page 502 = @good; proxy_pass http://%dead%; }
             location @good { proxy_pass http://%good%; }
             location /auth { auth_request /check; proxy_pass http://%good%; }
             location /check { proxy_pass_request_body off; proxy_set_header Content-Length \"\";
                 proxy_pass http://%busy%; } }",
    );
    let nginx = nginx.set("good", &good).set("dead", &dead).set("closing", &closing);
    let nginx = nginx.set("busy", &busy).set("slow", &slow).set("short", &short).workers(2);
    let nginx = nginx.worker_connections(512).start();
    let address = nginx.address("listen").to_owned();
    let sent: u64 = thread::scope(|scope| {
        let clients = (1..=CLIENTS).map(|seed| {
            let address = &address;
            scope.spawn(move || go_on(address, seed))
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    // A request that was reset at once may never have been one.
    drop(nginx.connect().get("/good/last"));
    let lines = nginx_test::wait::until("the last request", || {
        let lines = nginx.log(1);
        lines.iter().any(|line| line.field("uri") == "/good/last").then_some(lines)
    });
    assert!(lines.len() as u64 > sent / 2, "{} of {sent}", lines.len());
    lines.iter().filter(|line| line.field("uri") != "/good/last").for_each(judge);
}
