//! Who sees what: the trusted everything, anybody else a token at most.

use nginx_test::backend::{Dead, http};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Backend, Client, Nginx, Reply, Running, Step};

/// What the client's address is decided by: a header, as behind another proxy.
const REAL_IP: &str = "set_real_ip_from 127.0.0.0/8; real_ip_header X-From;";

/// `/` fails on an upstream block; trust as given.
fn refusing(trust: &str, dead: &Dead) -> Running {
    let nginx = Nginx::http(
        "upstream secret-name { server %dead%; }
         server { listen %listen%; listen %listen_v6%; listen unix:%dir%/socket;
           %real_ip% %trust%
           location / { proxy_pass http://secret-name; } }",
    );
    nginx.set("real_ip", REAL_IP).set("trust", trust).set("dead", dead).start()
}

fn is_full(reply: &Reply) -> bool {
    let member = reply.member();
    assert_eq!(member.name, "connection_refused");
    let full = member.string("address").is_some();
    assert_eq!(full, !member.params.is_empty(), "all or nothing: {member:?}");
    full
}

/// Nothing about what is behind nginx: no address, name, descriptor or errno.
fn tells_nothing(reply: &Reply, secrets: &[&str]) {
    let text = format!("{reply}{}", reply.text());
    let general = ["phase", "ECONN", "fd-", "conn-", "errno", "111", "127.0.0.1", "secret"];
    for secret in secrets.iter().chain(&general) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

fn from(nginx: &Running, address: &str) -> Reply {
    let header = format!("X-From: {address}");
    let seen = nginx.fetch_with("GET", "/", &[&header], b"");
    assert_eq!(seen.diagnosis().attempt().text("errno"), Some("ECONNREFUSED"), "the log knows all");
    seen.reply
}

/// Asks from each address; those after the bar are strangers.
fn admits(trust: &str, friends: &[&str], strangers: &[&str]) {
    let dead = Dead::refusing();
    let port = dead.address().rsplit(':').next().unwrap();
    let nginx = refusing(trust, &dead);
    for address in friends {
        assert!(is_full(&from(&nginx, address)), "{trust:?} does not admit {address}");
    }
    for address in strangers {
        let reply = from(&nginx, address);
        assert!(!is_full(&reply), "{trust:?} admits {address}");
        let value = reply.header("X-Upstream-Diagnosis");
        assert_eq!(value.as_deref(), Some("connection_refused"));
        tells_nothing(&reply, &[port]);
    }
}

#[test]
fn by_default_this_machine() {
    admits(
        "",
        &["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::ffff:127.3.4.5"],
        &[
            "10.0.0.1",
            "128.0.0.1",
            "126.255.255.255",
            "0.0.0.0",
            "2001:db8::1",
            "::2",
            "::",
            "::ffff:10.0.0.1",
            "fe80::1",
            "7f00::1",
            "::127.0.0.1",
        ],
    );
}

#[test]
fn every_kind_of_socket_of_this_machine() {
    let dead = Dead::refusing();
    let nginx = refusing("", &dead);
    let socket = format!("unix:{}/socket", nginx.dir().display());
    for address in [nginx.address("listen"), nginx.address("listen_v6"), socket.as_str()] {
        assert!(is_full(&Client::connect(address).get("/")), "{address}");
    }
}

#[test]
fn addresses_and_networks() {
    admits("upstream_diagnosis_trust 10.1.2.3;", &["10.1.2.3"], &["10.1.2.4", "127.0.0.1", "::1"]);
    admits(
        "upstream_diagnosis_trust 10.0.0.0/8 192.168.7.0/25 2001:db8::/32;",
        &["10.0.0.0", "10.255.255.255", "192.168.7.127", "2001:db8:ffff::1", "::ffff:10.1.1.1"],
        &["11.0.0.0", "192.168.7.128", "2001:db9::1", "127.0.0.1", "::1"],
    );
    admits("upstream_diagnosis_trust 0.0.0.0/0;", &["8.8.8.8", "127.0.0.1"], &["2001:db8::1"]);
    admits("upstream_diagnosis_trust ::/0;", &["2001:db8::1", "::1"], &[]);
}

#[test]
fn unix_sockets() {
    let dead = Dead::refusing();
    let nginx = refusing("upstream_diagnosis_trust unix:;", &dead);
    let socket = format!("unix:{}/socket", nginx.dir().display());
    assert!(is_full(&Client::connect(&socket).get("/")));
    for address in ["listen", "listen_v6"] {
        assert!(!is_full(&Client::connect(nginx.address(address)).get("/")));
    }
    let nginx = refusing("upstream_diagnosis_trust 127.0.0.0/8 ::1;", &dead);
    let socket = format!("unix:{}/socket", nginx.dir().display());
    assert!(!is_full(&Client::connect(&socket).get("/")));
}

#[test]
fn all_and_none() {
    admits("upstream_diagnosis_trust all;", &["8.8.8.8", "2001:db8::1", "127.0.0.1"], &[]);
    admits("upstream_diagnosis_trust none;", &[], &["8.8.8.8", "2001:db8::1", "127.0.0.1", "::1"]);
}

/// An IPv4 client of a socket for both families.
#[test]
fn mapped_addresses() {
    for (trust, full) in [
        ("", true),
        ("upstream_diagnosis_trust 127.0.0.1;", true),
        ("upstream_diagnosis_trust 10.0.0.0/8;", false),
    ] {
        isolated(|_| {
            let dead = Dead::refusing();
            let nginx = Nginx::http(
                "server { listen [::]:8080 ipv6only=off; %trust%
                   location / { proxy_pass http://%dead%; } }",
            );
            let nginx = nginx.set("trust", trust).set("dead", &dead);
            let nginx = nginx.set("listen", "127.0.0.1:8080").start();
            assert_eq!(is_full(&nginx.get("/")), full, "{trust:?}");
        });
    }
}

fn by_variable(trust: &str, cases: &[(&str, bool)]) {
    let dead = Dead::refusing();
    let nginx = refusing(trust, &dead);
    for (path, full) in cases {
        assert_eq!(is_full(&nginx.get(path)), *full, "{trust} on {path}");
    }
}

#[test]
fn variables() {
    let values = [
        ("/", false),
        ("/?debug=", false),
        ("/?debug=0", false),
        ("/?debug=1", true),
        ("/?debug=00", true),
        ("/?debug=no", true),
    ];
    by_variable("upstream_diagnosis_trust $arg_debug;", &values);
    let several = [("/", false), ("/?a=0&b=0", false), ("/?a=1", true), ("/?b=1", true)];
    by_variable("upstream_diagnosis_trust $arg_a 10.0.0.0/8 $arg_b;", &several);
    let joined = [("/", false), ("/?a=0", false), ("/?a=0&b=0", true), ("/?b=x", true)];
    by_variable("upstream_diagnosis_trust \"$arg_a$arg_b\";", &joined);
    // Loopback is in the list, whatever the variable says.
    by_variable("upstream_diagnosis_trust 127.0.0.1 $arg_a;", &[("/", true), ("/?a=0", true)]);
}

/// The diagnosis itself may decide.
#[test]
fn a_variable_of_the_module() {
    by_variable("upstream_diagnosis_trust $upstream_diagnosis_cause;", &[("/", true)]);
    by_variable("upstream_diagnosis_trust $upstream_diagnosis_limit;", &[("/", false)]);
}

/// An upstream block of two, the first of which refuses, and a page of nginx's own.
fn worlds(first: &Dead, second: &Backend) -> Nginx {
    let nginx = Nginx::http(
        "upstream pair { server %first% max_fails=0; server %second% backup; }
         upstream refusing-pair { server %first% max_fails=0; server %first% max_fails=0; }
         proxy_cache_path %dir%/cache keys_zone=stale:1m;
         server { listen %listen%; upstream_diagnosis_trust none;
           location /recovered { proxy_pass http://pair; }
           location /twice { proxy_pass http://refusing-pair; }
           location /status { proxy_pass http://%second%; }
           location /intercepted { proxy_pass http://%second%; proxy_intercept_errors on;
             error_page 503 /page.html; }
           location /page { proxy_pass http://%first%; error_page 502 =200 /page.html; }
           location /page.html { root %dir%; }
           location /fallback { proxy_pass http://%first%; error_page 502 = @second; }
           location @second { proxy_pass http://%second%; } }",
    );
    nginx.file("page.html", "sorry").set("first", first).set("second", second)
}

#[test]
fn strangers_learn_of_failures_that_nginx_answers_for() {
    let dead = Dead::refusing();
    let backend = Backend::answering(http::response(503, &[], b"busy"));
    let nginx = worlds(&dead, &backend).start();
    let port = dead.address().rsplit(':').next().unwrap();
    for (path, status, value) in [
        ("/twice", 502, "connection_refused, connection_refused"),
        ("/intercepted", 503, "upstream_status"),
        ("/page", 200, "connection_refused"),
    ] {
        let reply = nginx.fetch(path).reply;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("X-Upstream-Diagnosis").as_deref(), Some(value), "{path}");
        tells_nothing(&reply, &[port]);
    }
}

#[test]
fn strangers_learn_nothing_from_an_upstream_s_own_response() {
    let dead = Dead::refusing();
    for status in [200, 404, 503] {
        let backend = Backend::answering(http::response(status, &[], b"mine"));
        let nginx = worlds(&dead, &backend).start();
        for path in ["/recovered", "/status", "/fallback"] {
            let seen = nginx.fetch(path);
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (status, "mine"));
            assert_eq!(seen.reply.header("X-Upstream-Diagnosis"), None, "{path}: {}", seen.reply);
            let failed = path != "/status" || status == 503;
            assert_eq!(seen.line.diagnosis.is_some(), failed, "the log has it: {path} {status}");
        }
    }
}

/// Not even when a client speaks for somebody else, or nginx's error page shows what it can.
#[test]
fn a_stranger_s_words_make_no_friend() {
    let dead = Dead::refusing();
    let nginx = refusing("upstream_diagnosis_trust 10.0.0.0/8;", &dead);
    for header in ["X-From: 127.0.0.1", "X-Forwarded-For: 10.0.0.1", "X-Upstream-Diagnosis: x;y=1"]
    {
        let reply = nginx.request("GET", "/?trust=all", &[header], b"");
        assert!(!is_full(&reply), "{header}");
    }
}

#[test]
fn over_http2_and_without_a_body() {
    let dead = Dead::refusing();
    let nginx = Nginx::http(
        "server { listen %listen% http2; location / { proxy_pass http://%dead%; } }
         server { listen %listen_stranger% http2; upstream_diagnosis_trust none;
           location / { proxy_pass http://%dead%; } }
         server { listen %listen_plain%; location / { proxy_pass http://%dead%; } }",
    );
    let nginx = nginx.set("dead", &dead).start();
    for (listen, full) in [("listen", true), ("listen_stranger", false)] {
        let reply = nginx_test::curl::http2(&format!("http://{}/", nginx.address(listen)));
        assert_eq!((reply.status, is_full(&reply)), (502, full));
    }
    let mut client = Client::connect(nginx.address("listen_plain"));
    let reply = client.request("HEAD", "/", &[], b"");
    assert_eq!((reply.status, is_full(&reply)), (502, true));
}

#[test]
fn proxy_status_keeps_details_from_strangers() {
    let (dead, slow) = (Dead::refusing(), Backend::script([Step::ReadRequest, Step::Hold]));
    let busy = Backend::answering(http::response(503, &["Proxy-Status: origin;error=x"], b""));
    let nginx = Nginx::http(
        "upstream_diagnosis_proxy_status edge.example;
         server { listen %listen%; upstream_diagnosis_trust $arg_friend;
           location / { proxy_pass http://%dead%; }
           location /slow { proxy_pass http://%slow%; proxy_read_timeout 100ms; }
           location /busy { proxy_pass http://%busy%; }
           location /busy/hidden { proxy_pass http://%busy%; proxy_hide_header Proxy-Status; } }",
    );
    let nginx = nginx.set("dead", &dead).set("slow", &slow).set("busy", &busy).start();
    let port = dead.address().rsplit(':').next().unwrap();

    let stranger = nginx.get("/");
    let values = stranger.all("Proxy-Status");
    assert_eq!(values, [b"edge.example;error=connection_refused"]);
    tells_nothing(&stranger, &[port]);
    let friend = nginx.get("/?friend=1").list("Proxy-Status").remove(0);
    assert_eq!(friend.name, "edge.example");
    assert_eq!(friend.token("error"), Some("connection_refused"));
    assert_eq!(friend.string("next-hop"), Some(dead.address()));
    assert_eq!(friend.string("details"), Some("connect() failed (111: Connection refused)"));

    let late = nginx.get("/slow").list("Proxy-Status").remove(0);
    assert_eq!(late.token("error"), Some("http_response_timeout"));
    assert_eq!(late.names(), ["error"]);

    // Appended to what the upstream says of itself, for those who may know of the failure.
    let passed = nginx.get("/busy?friend=1").list("Proxy-Status");
    let names: Vec<_> = passed.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["origin", "edge.example"]);
    assert_eq!(passed[1].integer("received-status"), Some(503));
    assert_eq!(passed[1].token("error"), None);
    let hidden = nginx.get("/busy/hidden?friend=1").list("Proxy-Status");
    assert_eq!(hidden.len(), 1, "{hidden:?}");
    let stranger = nginx.get("/busy");
    assert_eq!(stranger.all("Proxy-Status"), [b"origin;error=x"], "{stranger}");
}

/// Proxy-Status alone, and neither.
#[test]
fn without_the_header() {
    let dead = Dead::refusing();
    let nginx = Nginx::server(
        "upstream_diagnosis_header off;
         location / { proxy_pass http://%dead%; }
         location /status { upstream_diagnosis_proxy_status me; proxy_pass http://%dead%; }",
    );
    let nginx = nginx.set("dead", &dead).start();
    for (path, status) in [("/", false), ("/status", true)] {
        let seen = nginx.fetch(path);
        assert_eq!(seen.diagnosis().cause, "connection_refused");
        assert_eq!(seen.reply.header("X-Upstream-Diagnosis"), None);
        assert_eq!(seen.reply.header("Proxy-Status").is_some(), status, "{}", seen.reply);
    }
}
