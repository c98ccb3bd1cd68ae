//! The example configurations of this repository, and the template of the 502 checklist, as they
//! are: only names, ports and paths are put in.

use std::fs;

use nginx_test::backend::{Authority, Dead, http};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Backend, Nginx, Running, Seen, Step, curl};

use crate::expect::{Failure, ended, nothing};
use crate::lint::complaints;

/// Every directive of a complete reverse proxy, as the 502 checklist that the causes refer to ends
/// with: a redirect to https, TLS with http2, security headers, upgraded connections, time-outs,
/// buffers, static files.
const CHECKLIST: &str = r#"
    upstream backend { server 127.0.0.1:3000; keepalive 32; }
    server {
        listen 80;
        server_name example.com;
        return 301 https://$server_name$request_uri;
    }
    server {
        listen 443 ssl http2;
        server_name example.com;
        ssl_certificate /etc/letsencrypt/live/example.com/fullchain.pem;
        ssl_certificate_key /etc/letsencrypt/live/example.com/privkey.pem;
        add_header X-Frame-Options "SAMEORIGIN" always;
        add_header X-Content-Type-Options "nosniff" always;
        add_header X-XSS-Protection "1; mode=block" always;
        location / {
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_connect_timeout 30s;
            proxy_read_timeout 120s;
            proxy_send_timeout 30s;
            proxy_buffer_size 128k;
            proxy_buffers 4 256k;
            proxy_busy_buffers_size 256k;
        }
        location /_next/static/ {
            alias /var/www/app/.next/static/;
            expires 365d;
            access_log off;
        }
    }
"#;

fn shipped(name: &str) -> String {
    let path = format!("{}/../conf/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Puts this machine's names into an example; each must be there to be replaced.
fn fill(example: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(example.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the example");
        text.replace(from, to)
    })
}

const NAMES: [(&str, &str); 5] = [
    ("127.0.0.1:3000", "%backend%"),
    ("listen 80;", "listen %listen%;"),
    ("listen 443 ssl http2;", "listen %listen_tls% ssl http2;"),
    ("/etc/letsencrypt/live/example.com/fullchain.pem", "%dir%/chain.pem"),
    ("/etc/letsencrypt/live/example.com/privkey.pem", "%dir%/key.pem"),
];

fn proxy(example: &str, backend: &dyn std::fmt::Display) -> Nginx {
    let leaf = Authority::new().issue("example.com");
    Nginx::http(example)
        .set("backend", backend)
        .file("chain.pem", &leaf.pem())
        .file("key.pem", &leaf.key_pem())
        .file("static.css", "styles")
}

/// Over TLS and HTTP/2, as a browser would.
fn browse(nginx: &Running, path: &str) -> nginx_test::Reply {
    let address = nginx.address("listen_tls");
    let port = address.rsplit(':').next().unwrap();
    let to = format!("example.com:{port}:127.0.0.1");
    curl::get(&["--http2", "--resolve", &to, &format!("https://example.com:{port}{path}")])
}

fn fetch(nginx: &Running) -> Seen {
    let seen = Seen { reply: browse(nginx, "/app?q=1"), line: nginx.logged() };
    assert_eq!(seen.line.field("protocol"), "HTTP/2.0");
    assert_eq!(seen.reply.header("X-Frame-Options").as_deref(), Some("SAMEORIGIN"));
    seen
}

/// Everything in the example works; then its back end stops.
fn works_and_then_stops(example: &str, files: &str) {
    // Nobody else can take over the back end's port in here.
    isolated(|_| {
        let steps = [Step::ReadRequest, Step::Write(http::ok("the application")), Step::Again];
        let backend = Backend::script(steps);
        let address = backend.address().to_owned();
        let nginx = proxy(example, &backend).start();

        let redirect = nginx.fetch("/path");
        assert_eq!(redirect.reply.status, 301);
        let location = redirect.reply.header("Location");
        assert_eq!(location.as_deref(), Some("https://example.com/path"));
        nothing(&redirect);

        for _ in 0..2 {
            let seen = fetch(&nginx);
            assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "the application"));
            nothing(&seen);
        }
        let styles = browse(&nginx, &format!("{files}static.css"));
        assert_eq!((styles.status, styles.text().as_str()), (200, "styles"));

        drop(backend);
        let failure = Failure::of(&address, "connection_refused", "connect");
        let message = "connect() failed (111: Connection refused)";
        let refused = Failure { errno: "ECONNREFUSED", message, ..failure };
        let seen = fetch(&nginx);
        ended(&seen, 502, "failed", &[refused]);
        // What else it says depends on whether this runs in a container.
        let advice = format!("nothing listens on {address}");
        assert!(seen.diagnosis().advice.starts_with(&advice), "{}", seen.diagnosis().advice);
        assert_eq!(browse(&nginx, &format!("{files}static.css")).status, 200);
    });
}

#[test]
fn the_checklists_reverse_proxy() {
    let example = fill(CHECKLIST, &NAMES);
    let example = fill(&example, &[("/var/www/app/.next/static/", "%dir%/")]);
    works_and_then_stops(&example, "/_next/static/");
}

#[test]
fn the_shipped_reverse_proxy() {
    let example = fill(&shipped("reverse-proxy.conf"), &NAMES);
    let example = fill(&example, &[("/var/www/app/static/", "%dir%/")]);
    works_and_then_stops(&example, "/static/");
}

/// What `nginx -t` says of an example, apart from what newer versions of nginx deprecate.
fn warnings(example: &str) -> Vec<String> {
    let backend = Backend::ok("");
    let mut found = complaints(&proxy(&fill(example, &NAMES), &backend).check());
    found.retain(|line| !line.contains("is deprecated"));
    found
}

#[test]
fn the_examples_are_sound_but_for_the_checklists_upgrade() {
    assert_eq!(warnings(&shipped("reverse-proxy.conf")), [""; 0]);
    let found = warnings(CHECKLIST);
    assert_eq!(found.len(), 1, "{found:?}");
    let words = "[warn] \"Connection: upgrade\" goes with every request to \"backend\": ";
    assert!(found[0].starts_with(words), "{found:?}");
}

/// A response header that fits the template's buffers and not nginx's own.
#[test]
fn the_shipped_reverse_proxy_has_room_for_cookies() {
    let cookie = format!("Set-Cookie: {}", "c".repeat(100_000));
    let backend = Backend::answering(http::response(200, &[&cookie], b"large"));
    let example = fill(&shipped("reverse-proxy.conf"), &NAMES);
    let nginx = proxy(&example, &backend).start();
    let seen = fetch(&nginx);
    assert_eq!(seen.reply.text(), "large");
    nothing(&seen);
}

const LOG: (&str, &str) = ("/var/log/nginx/upstream-failures.log", "%dir%/failures.log");

#[test]
fn the_shipped_log_of_failures() {
    let (dead, good) = (Dead::refusing(), Backend::ok("good"));
    let example = fill(&shipped("upstream-diagnosis.conf"), &[LOG]);
    let sites = "upstream backend { server %dead%; }
        server { listen %listen%;
            location / { proxy_pass http://backend; }
            location /good { proxy_pass http://%good%; } }";
    let nginx = |body: &str| {
        // The example itself switches the module on.
        Nginx::http(body).off().set("dead", &dead).set("good", &good)
    };
    let body = format!("{example}\n{sites}");
    let checked = nginx(&body).check();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);

    let nginx = nginx(&body).start();
    nothing(&nginx.fetch("/good"));
    let failure = Failure::of(dead.address(), "connection_refused", "connect");
    let hostile = "/%22%7D?a=%22,\"b\":1";
    for path in ["/", hostile] {
        let seen = nginx.fetch(path);
        ended(&seen, 502, "failed", &[Failure { errno: "ECONNREFUSED", ..failure }]);
    }
    nothing(&nginx.fetch("/good"));

    let lines = nginx_test::log::lines(&nginx.dir().join("failures.log"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["method"], "GET");
        assert_eq!(line["request_id"].as_str().unwrap().len(), 32);
        assert!(line["request_time"].is_number() && line["time"].is_string(), "{line}");
        assert_eq!(line["diagnosis"]["cause"], "connection_refused");
        assert_eq!(line["diagnosis"]["status"], 502);
        assert_eq!(line["diagnosis"]["attempts"][0]["address"], dead.address());
    }
}
