//! What an upstream says under our header's name: hidden from strangers, kept for friends, and
//! never able to break or lengthen what nginx says.

use nginx_test::backend::{Dead, fastcgi, h2, http};
use nginx_test::{Backend, Nginx, Reply, Running, Step, env};

/// Too long for nginx's own buffers at their default size.
const BUFFERS: &str = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;";

/// `/` shows everything to friends (`?friend=1`), `/recovered` asks a dead server first.
fn nginx(backend: &Backend, dead: &Dead) -> Nginx {
    let nginx = Nginx::http(
        "upstream one { server %backend%; }
         upstream pair { server %dead% max_fails=0; server %backend% backup; }
         server { listen %listen%; upstream_diagnosis_trust $arg_friend; %buffers% %more%
           location / { proxy_pass http://one; }
           location /recovered { proxy_pass http://pair; }
           location /off { upstream_diagnosis off; proxy_pass http://one; }
           location /no-header { upstream_diagnosis_header off; proxy_pass http://one; }
           location /renamed { upstream_diagnosis_header X-Why; proxy_pass http://one; } }",
    );
    let nginx = nginx.lenient().set("backend", backend).set("dead", dead);
    nginx.set("buffers", BUFFERS).set("more", "")
}

/// A response of the upstream's with these field lines.
fn saying(status: u16, lines: &[&[u8]]) -> Backend {
    let response = http::response(status, &["X-Place: here"], b"mine");
    let (first, rest) = response.split_at(response.iter().position(|&b| b == b'\n').unwrap() + 1);
    let mut bytes = first.to_vec();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(rest);
    Backend::answering(bytes)
}

fn values(reply: &Reply, name: &str) -> Vec<String> {
    reply.all(name).into_iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

#[test]
fn strangers_never_see_it() {
    let dead = Dead::refusing();
    for status in [200, 302, 404, 503] {
        let lines: [&[u8]; 4] = [
            b"X-Upstream-Diagnosis: a;address=\"10.0.0.1\"",
            b"x-upstream-DIAGNOSIS: b",
            b"X-Upstream-Diagnosis: \"unbalanced",
            b"X-Why: c",
        ];
        let backend = saying(status, &lines);
        let nginx = nginx(&backend, &dead).start();
        for path in ["/", "/recovered", "/no-header", "/renamed"] {
            let reply = nginx.get(path);
            assert_eq!((reply.status, reply.text().as_str()), (status, "mine"), "{path}");
            assert_eq!(values(&reply, "X-Upstream-Diagnosis"), [""; 0], "{path}: {reply}");
            let why: &[&str] = if path == "/renamed" { &[] } else { &["c"] };
            assert_eq!(values(&reply, "X-Why"), why, "{path}: {reply}");
            assert_eq!(reply.header("X-Place").as_deref(), Some("here"), "the others stay");
        }
        let off = nginx.get("/off");
        assert_eq!(values(&off, "X-Upstream-Diagnosis").len(), 3, "not ours to hide: {off}");
    }
}

#[test]
fn strangers_never_see_it_from_a_cache_or_another_protocol() {
    let dead = Dead::refusing();
    let backend = saying(200, &[b"X-Upstream-Diagnosis: a;address=\"10.0.0.1\""]);
    let cache = "proxy_cache_path %dir%/cache keys_zone=z:1m;
        server { listen %listen%; upstream_diagnosis_trust $arg_friend; proxy_cache z;
          proxy_cache_key $uri; proxy_cache_valid 200 1h;
          location / { proxy_pass http://%backend%; } }";
    let running = Nginx::http(cache).lenient().set("backend", &backend).start();
    for path in ["/?friend=1", "/", "/?friend=1", "/"] {
        let shown = running.get(path).header("X-Upstream-Diagnosis").is_some();
        assert_eq!(shown, path != "/", "{path}");
    }
    assert_eq!(backend.connections(), 1, "served from the cache");

    let cgi = b"Status: 200\r\nX-Upstream-Diagnosis: a;address=\"10.0.0.1\"\r\n\r\nhi";
    let script = [fastcgi::request(), Step::Write(fastcgi::response(cgi)), Step::Close];
    let fast = Backend::script(script);
    let running = Nginx::server(
        "upstream_diagnosis_trust $arg_friend;
         location / { fastcgi_pass %backend%; fastcgi_param REQUEST_METHOD GET; }",
    );
    let running = running.lenient().set("backend", &fast).start();
    assert_eq!(running.get("/").header("X-Upstream-Diagnosis"), None);
    assert!(running.get("/?friend=1").header("X-Upstream-Diagnosis").is_some());
    drop(dead);
}

#[test]
fn friends_see_it_as_it_is_when_nothing_failed() {
    let dead = Dead::refusing();
    let lines: [&[u8]; 2] =
        [b"X-Upstream-Diagnosis: a;address=\"10.0.0.1\"", b"X-Upstream-Diagnosis: b, c;x=?0"];
    let backend = saying(200, &lines);
    let nginx = nginx(&backend, &dead).start();
    for path in ["/?friend=1", "/no-header?friend=1", "/renamed?friend=1"] {
        let reply = nginx.get(path);
        let expected = ["a;address=\"10.0.0.1\"", "b, c;x=?0"];
        assert_eq!(values(&reply, "X-Upstream-Diagnosis"), expected, "{path}");
        assert_eq!(values(&reply, "X-Why"), [""; 0]);
    }
}

/// Names of the members in the one field line, ours last.
fn chain(reply: &Reply, header: &str) -> Vec<String> {
    let lines = reply.all(header);
    assert_eq!(lines.len(), 1, "one field line in {reply}");
    let members = reply.list(header);
    let ours = members.last().unwrap();
    assert!(ours.string("server").is_some(), "ours comes last: {reply}");
    members.into_iter().map(|member| member.name).collect()
}

#[test]
fn ours_is_appended() {
    let dead = Dead::refusing();
    let lines: [&[u8]; 3] = [
        b"X-Upstream-Diagnosis: connection_refused;phase=connect;address=\"10.0.0.1:80\", b",
        b"X-Upstream-Diagnosis: c;retried",
        b"x-upstream-diagnosis: d",
    ];
    let backend = saying(503, &lines);
    let nginx = nginx(&backend, &dead).start();
    let reply = nginx.get("/?friend=1");
    let header = "X-Upstream-Diagnosis";
    assert_eq!(chain(&reply, header), ["connection_refused", "b", "c", "d", "upstream_status"]);
    let members = reply.members();
    assert_eq!(members[0].string("address"), Some("10.0.0.1:80"));
    assert_eq!(members[0].names(), ["phase", "address"]);
    assert!(members[2].is("retried") && !members[4].is("retried"));
    assert_eq!(members[4].integer("status"), Some(503));
    assert_eq!(members[4].string("address"), Some(backend.address()));

    // The log is about this nginx alone.
    let line = nginx.logged();
    assert_eq!(line.diagnosis().causes(), ["upstream_status"]);
    assert!(line.field("upstream_diagnosis").starts_with("upstream_status;phase=header;"));
}

#[test]
fn ours_is_appended_after_a_recovery_and_under_another_name() {
    let dead = Dead::refusing();
    let lines: [&[u8]; 2] = [b"X-Upstream-Diagnosis: a", b"X-Why: b"];
    let backend = saying(200, &lines);
    let running = nginx(&backend, &dead).start();
    let reply = running.get("/recovered?friend=1");
    assert_eq!(chain(&reply, "X-Upstream-Diagnosis"), ["a", "connection_refused"]);

    let backend = saying(500, &lines);
    let running = nginx(&backend, &dead).start();
    let reply = running.get("/renamed?friend=1");
    assert_eq!(chain(&reply, "X-Why"), ["a", "b", "upstream_status"]);
    assert_eq!(reply.header("X-Upstream-Diagnosis"), None);
    let reply = running.get("/no-header?friend=1");
    assert_eq!(values(&reply, "X-Upstream-Diagnosis"), ["a"]);
}

/// A response that nginx made in place of the upstream's says nothing of the upstream's.
#[test]
fn an_intercepted_response_is_not_the_upstream_s() {
    let dead = Dead::refusing();
    let backend = saying(503, &[b"X-Upstream-Diagnosis: a"]);
    let more = "proxy_intercept_errors on; error_page 503 @page; location @page { return 200; }";
    let running = nginx(&backend, &dead).set("more", more).start();
    assert_eq!(chain(&running.get("/?friend=1"), "X-Upstream-Diagnosis"), ["upstream_status"]);
    let reply = running.get("/");
    assert_eq!(values(&reply, "X-Upstream-Diagnosis"), ["upstream_status"]);
}

const LONG: usize = 8 * 1024;

#[test]
fn a_broken_line_is_dropped_and_the_others_stay() {
    let dead = Dead::refusing();
    let name = "X-Upstream-Diagnosis: ";
    let broken: Vec<Vec<u8>> = [
        &b"\"unbalanced"[..],
        b"a;b=\"unbalanced",
        b"a;b=\"\\",
        b"a,",
        b",a",
        b";a",
        b"a;",
        b"a;=1",
        b"a b",
        b"(a",
        b"a;b=(c)",
        b"1.2345",
        b"9999999999999999",
        b"a;b=:not base64:",
        b"\x01",
        b"a\tb",
        b"\xc3\xa9",
        b"a;b=\"\xc3\xa9\"",
        b"a;b=\"\x7f\"",
        b"connection_refused;phase=connect, \"",
        b"connect() failed (111: Connection refused) while connecting to upstream, client: 1.1.1.1",
        &b"(".repeat(LONG),
        &b"\"".repeat(LONG),
        &b"a;".repeat(LONG / 2),
    ]
    .map(|value| [name.as_bytes(), value].concat())
    .into();
    for line in &broken {
        let good = format!("{name}good");
        let backend = saying(503, &[line, good.as_bytes()]);
        let nginx = nginx(&backend, &dead).start();
        let reply = nginx.get("/?friend=1");
        let names = chain(&reply, "X-Upstream-Diagnosis");
        assert_eq!(names, ["good", "upstream_status"], "after {}", line.escape_ascii());
    }
}

#[test]
fn too_many_or_too_long_members_give_way_to_ours() {
    let dead = Dead::refusing();
    let name = "X-Upstream-Diagnosis: ";
    let long = format!("{name}{}", "m".repeat(LONG));
    let many = format!("{name}{}", vec!["member;p=1"; 700].join(", "));
    let big = format!("{name}m;p=\"{}\"", "\\\\".repeat(900));
    let full = format!("{name}{}", "m".repeat(1020));
    for lines in [vec![&long], vec![&many], vec![&big], vec![&full], vec![&many; 5], vec![&full; 9]]
    {
        let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        let backend = saying(503, &bytes);
        let nginx = nginx(&backend, &dead).start();
        let reply = nginx.get("/?friend=1");
        let names = chain(&reply, "X-Upstream-Diagnosis");
        assert_eq!(names.last().unwrap(), "upstream_status");
        assert!(reply.members()[0].is("truncated"), "{reply}");
        assert!(names.len() == 1 || lines.contains(&&many), "{names:?}");
    }
}

/// An upstream that pretends to be this nginx is one member more, before ours, and no parameter.
#[test]
fn an_imitation_stays_apart() {
    let dead = Dead::refusing();
    let lines: [&[u8]; 3] = [
        b"X-Upstream-Diagnosis: upstream_status;phase=header;server=\"x\";truncated",
        b"X-Upstream-Diagnosis: a;b=\"c\", upstream_status;phase=connect;server=\"\\\"y\\\"\"",
        b"X-Upstream-Diagnosis: \"string\", 12, ?1, :YQ==:, @1659578233",
    ];
    let backend = saying(503, &lines);
    let nginx = nginx(&backend, &dead).start();
    let reply = nginx.get("/?friend=1");
    let value = reply.header("X-Upstream-Diagnosis").unwrap();
    let expected = "upstream_status;phase=header;server=\"x\";truncated, a;b=\"c\", \
        upstream_status;phase=connect;server=\"\\\"y\\\"\", \"string\", 12, ?1, :YQ==:, @1659578233, \
        upstream_status;phase=header;upstream=\"one\";";
    assert!(value.starts_with(expected), "{value}");
    let ours = value.strip_prefix(expected).unwrap();
    assert!(!ours.contains(','), "{ours}");
}

/// Proxy-Status of the upstream's is appended to: a hostile one must not make ours unreadable.
#[test]
fn a_broken_proxy_status_does_not_break_ours() {
    let dead = Dead::refusing();
    let lines: [&[u8]; 4] = [
        b"Proxy-Status: origin;details=\"unbalanced",
        b"Proxy-Status: origin;",
        b"Proxy-Status: \"",
        b"Proxy-Status: (((",
    ];
    for line in lines {
        let backend = saying(503, &[line]);
        let running = nginx(&backend, &dead).set("more", "upstream_diagnosis_proxy_status edge;");
        let reply = running.start().get("/?friend=1");
        let members = reply.list("Proxy-Status");
        assert_eq!(members.last().map(|member| member.name.as_str()), Some("edge"), "{reply}");
    }
}

/// Everything that a stranger gets, trailers too.
fn bytes_for_a_stranger(nginx: &Running) -> String {
    let mut client = nginx.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

#[test]
fn strangers_do_not_see_it_in_trailers() {
    let trailer = ("x-upstream-diagnosis", "a;address=\"10.0.0.1\"");
    let place = ("x-place", "here");
    let response = [
        h2::settings(),
        h2::headers(0, &[("content-type", "application/grpc")]),
        h2::frame(h2::DATA, 0, 1, &[0; 5]),
        h2::trailers(&[trailer, place]),
    ];
    let grpc =
        Backend::script([h2::request(), Step::Write(response.concat()), Step::WaitForPeerClose]);
    let nginx = Nginx::location("upstream_diagnosis_trust none; grpc_pass grpc://%backend%;");
    let nginx = nginx.set("backend", &grpc).start();
    let text = bytes_for_a_stranger(&nginx);
    assert!(text.contains("x-place: here"), "the others stay: {text}");
    assert!(!text.contains("10.0.0.1"), "{text}");

    if env::nginx_version() < (1, 27, 2) {
        return;
    }
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-place\r\n\r\n\
        2\r\nhi\r\n0\r\nX-Upstream-Diagnosis: a;address=\"10.0.0.1\"\r\nx-place: here\r\n\r\n";
    let backend = Backend::answering_once(&chunked[..]);
    let nginx = Nginx::location(
        "upstream_diagnosis_trust none; proxy_pass http://%backend%; proxy_http_version 1.1;
         proxy_pass_trailers on; proxy_set_header Connection \"te\"; proxy_set_header TE trailers;",
    );
    let nginx = nginx.set("backend", &backend).start();
    let text = bytes_for_a_stranger(&nginx);
    assert!(text.contains("x-place: here"), "the others stay: {text}");
    assert!(!text.contains("10.0.0.1"), "{text}");
}
