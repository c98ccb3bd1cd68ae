//! No server could be chosen: the figures of each, and how it failed last.

use nginx_test::backend::{Dead, http};
use nginx_test::diagnosis::Value;
use nginx_test::{Backend, Gate, Nginx, Seen, Step, wait};

fn upstream(servers: &str) -> Nginx {
    Nginx::http(&format!(
        "upstream backend {{ {servers} }}
         server {{ listen %listen%; location / {{ proxy_pass http://backend; }} }}"
    ))
}

/// The servers in the evidence of the last attempt.
fn peers(seen: &Seen) -> Vec<Value> {
    let diagnosis = seen.diagnosis();
    let last = diagnosis.attempts.last().unwrap();
    last.evidence("peers").as_array().unwrap().clone()
}

#[test]
fn each_has_its_figures_and_its_last_cause() {
    let (dead, closing) = (Dead::refusing(), Backend::script([Step::ReadRequest, Step::Close]));
    let nginx = upstream(
        "server %dead% fail_timeout=60s; server %closing% max_fails=2 fail_timeout=60s max_conns=7;
         server 127.0.0.1:1 down; server 127.0.0.1:2 down backup;",
    );
    let nginx = nginx.set("dead", &dead).set("closing", &closing).start();
    let seen = wait::until("both to be put aside", || {
        let seen = nginx.fetch("/");
        (seen.diagnosis().causes() == ["no_live_peers"]).then_some(seen)
    });
    let peers = peers(&seen);
    let seconds: Vec<u64> =
        peers.iter().filter_map(|peer| peer["tried_again_s"].as_u64()).collect();
    assert!(seconds.len() == 2 && seconds.iter().all(|s| (50..=61).contains(s)), "{peers:?}");
    let figures = ["fails", "max_fails", "conns", "max_conns"];
    let of = |peer: &Value| figures.map(|key| peer[key].as_u64().unwrap());
    assert_eq!(
        peers.iter().map(of).collect::<Vec<_>>(),
        [[1, 1, 0, 0], [2, 2, 0, 7], [0, 1, 0, 0], [0, 1, 0, 0]]
    );
    let flags = ["down", "backup"];
    let of = |peer: &Value| flags.map(|key| peer[key].as_bool().unwrap());
    let flags: Vec<_> = peers.iter().map(of).collect();
    assert_eq!(flags, [[false, false], [false, false], [true, false], [true, true]]);
    let of = |peer: &Value| peer["last_cause"].as_str().unwrap_or_default().to_owned();
    let causes: Vec<_> = peers.iter().map(of).collect();
    assert_eq!(causes, ["connection_refused", "closed_before_header", "", ""]);
    assert_eq!(peers[0]["address"], dead.address());
    assert!(peers[0]["last_failed_ms_ago"].is_u64() && peers[0].get("server").is_none());
    let advice = &seen.diagnosis().advice;
    let said =
        format!("{dead} has reached max_fails=1, last with connection_refused, and is tried");
    assert!(advice.contains(&said), "{advice}");
    assert!(!seen.reply.member().names().contains(&"hint"), "{}", seen.reply);
}

/// With a zone the servers are shared memory; a worker tells what it has seen itself.
#[test]
fn all_down_in_a_zone() {
    let servers = "zone backend 64k; server 127.1:1 down; server 127.0.0.1:2 down;";
    let nginx = upstream(servers).start();
    let seen = nginx.fetch("/");
    let peers = peers(&seen);
    assert_eq!(
        (&peers[0]["address"], &peers[0]["server"]),
        (&"127.0.0.1:1".into(), &"127.1:1".into())
    );
    assert!(peers.iter().all(|peer| peer["down"] == true && peer.get("last_cause").is_none()));
    let advice = &seen.diagnosis().advice;
    assert!(advice.contains("all 2 are marked down, 127.0.0.1:1 first"), "{advice}");
}

#[test]
fn servers_at_their_limit() {
    let gate = Gate::new();
    let late = [Step::ReadRequest, Step::Wait(gate.clone()), Step::Write(http::ok("late"))];
    let backend = Backend::script(late);
    let nginx = upstream("server %server% max_conns=2; server 127.0.0.1:1 down;");
    let nginx = nginx.set("server", &backend).start();
    let mut clients = [nginx.connect(), nginx.connect()];
    for client in &mut clients {
        client.start("/");
    }
    backend.wait_for_connections(2);
    let seen = nginx.fetch("/");
    assert_eq!(seen.diagnosis().cause, "peers_at_limit");
    let peers = peers(&seen);
    assert_eq!((&peers[0]["conns"], &peers[0]["max_conns"]), (&2.into(), &2.into()));
    let advice = &seen.diagnosis().advice;
    assert!(advice.contains(&format!("{backend} has 2 connections of 2")), "{advice}");
    gate.open();
    for mut client in clients {
        assert_eq!(client.read("GET").text(), "late");
    }
}

#[test]
fn a_long_list_is_cut() {
    let servers: String = (1..=40).map(|port| format!("server 127.0.0.1:{port} down; ")).collect();
    let seen = upstream(&servers).start().fetch("/");
    assert_eq!(peers(&seen).len(), 32);
    assert_eq!(*seen.diagnosis().attempt().evidence("peers_left_out"), 8);
}

/// Two upstreams that fail in the same way in the same second have figures of their own.
#[test]
fn each_upstream_has_its_own() {
    let nginx = Nginx::http(
        "upstream one { server 127.0.0.1:1 down; } upstream other { server 127.0.0.1:2 down; }
         server { listen %listen%;
             location /one { proxy_pass http://one; }
             location /other { proxy_pass http://other; }
             location /none { upstream_diagnosis_evidence off; proxy_pass http://one; } }",
    );
    let nginx = nginx.start();
    for (path, address) in [("/one", "127.0.0.1:1"), ("/other", "127.0.0.1:2")] {
        assert_eq!(peers(&nginx.fetch(path))[0]["address"], address);
    }
    let seen = nginx.fetch("/none");
    assert!(!seen.diagnosis().attempt().raw.contains_key("evidence"));
}
