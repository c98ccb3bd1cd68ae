//! What is wrong or risky about how upstreams are named and reached: each rule is provoked, and
//! silent on what is sound.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nginx_test::{Backend, Nginx};

use crate::lint::{one, silent};

fn location(inside: &str) -> Nginx {
    Nginx::http(&format!("server {{ listen %listen%;\nlocation / {{\n{inside}\n}} }}"))
}

fn with_upstream(upstream: &str, inside: &str) -> Nginx {
    let conf = format!(
        "upstream backend {{\n{upstream}\n}}
        server {{ listen %listen%;\nlocation / {{\n{inside}\n}} }}"
    );
    Nginx::http(&conf)
}

const SOUND: &str = "server 192.0.2.1:1;";
const PASS: &str = "proxy_pass http://backend;";

/// Every machine knows its own name, whatever that is, without asking a server.
fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn a_name_that_is_resolved_once() {
    let name = host_name();
    let words = format!("\"{name}:3000\" is resolved now and never again");
    let server = format!("server {name}:3000;");
    one(with_upstream(&server, "proxy_pass http://backend;"), "notice", &words, &server);
    for pass in ["proxy_pass http://", "fastcgi_pass ", "uwsgi_pass ", "scgi_pass "] {
        let pass = format!("{pass}{name}:3000;");
        one(location(&pass), "notice", &words, &pass);
    }
    silent(with_upstream("server 192.0.2.1:1;", "proxy_pass http://BACKEND/x;"));
    silent(location("proxy_pass http://[2001:db8::1]:3000/;"));
    silent(with_upstream(&format!("{server} upstream_diagnosis_resolve failure;"), PASS));
}

#[test]
fn variables_without_a_resolver() {
    let line = "proxy_pass http://app.invalid$request_uri;";
    one(location(line), "warn", "\"app.invalid\" is never looked up", line);
    silent(location(&format!("resolver 192.0.2.1:1; {line}")));
    let set = "set $app http://app.invalid:3000;";
    let line = "proxy_pass $app;";
    one(location(&format!("{set}\n{line}")), "warn", "\"app.invalid:3000\" is never", line);
    let line = "proxy_pass http://$host;";
    one(location(line), "notice", "no resolver: a host name in them", line);
    silent(with_upstream(SOUND, "proxy_pass http://$arg_backend;"));
    silent(with_upstream(SOUND, "set $to backend; proxy_pass http://$to$request_uri;"));
    silent(location("proxy_pass http://192.0.2.1:1$request_uri;"));
    silent(location("set $to 192.0.2.1:1; fastcgi_pass $to;"));
}

#[test]
fn a_socket_that_the_worker_cannot_reach() {
    let backend = Backend::at(nginx_test::Place::Unix).script([]);
    let address = backend.address().to_owned();
    let path = address.strip_prefix("unix:").unwrap();
    let mode =
        |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let server = format!("server {address};");
    let nginx = || with_upstream(&server, "proxy_pass http://backend;");
    mode(path, 0o666);
    silent(nginx());
    mode(path, 0o644);
    let words = format!("\"nobody\" of the workers may not write to \"{path}\"");
    one(nginx(), "warn", &words, &server);
    silent(nginx().main("user root;"));
    mode(path, 0o666);

    let directory = path.rsplit_once('/').unwrap().0;
    mode(directory, 0o700);
    let words = format!("may not enter \"{directory}\"");
    one(nginx(), "warn", &words, &server);
    let pass = format!("proxy_pass http://{address}:/;");
    one(location(&pass), "warn", &words, &pass);
    mode(directory, 0o755);
    // It may be there when it is needed.
    silent(location("proxy_pass http://unix:%dir%/none:/;"));
}

const KEPT: &str = "server 192.0.2.1:1; keepalive 4;";

#[test]
fn keepalive_that_keeps_nothing() {
    let pass = "proxy_pass http://backend;";
    let (version, empty) = ("proxy_http_version 1.1;", "proxy_set_header Connection '';");
    let with = |inside: &str| with_upstream(KEPT, &format!("{inside}\n{pass}"));
    let words = "\"backend\" are sent without \"proxy_http_version 1.1\"";
    one(with("proxy_http_version 1.0;"), "warn", words, pass);
    let words = "sent with \"Connection: close\", so its keepalive keeps nothing";
    one(with(&format!("{version} proxy_set_header Connection close;")), "warn", words, pass);
    silent(with(&format!("{version} {empty}")));
    silent(with(&format!("{version} proxy_set_header Connection $http_connection;")));
    silent(with_upstream(SOUND, pass));
    let pass = "fastcgi_pass backend;";
    one(with_upstream(KEPT, pass), "warn", "without \"fastcgi_keep_conn on\"", pass);
    silent(with_upstream(KEPT, &format!("fastcgi_keep_conn on; {pass}")));
}

#[test]
fn upgrade_with_every_request() {
    let pass = "proxy_pass http://backend;";
    let version = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;";
    let always = format!("{version} proxy_set_header Connection \"upgrade\";\n{pass}");
    let words = "\"Connection: upgrade\" goes with every request to \"backend\"";
    one(with_upstream(KEPT, &always), "warn", words, pass);
    silent(with_upstream(SOUND, &always));
    let mapped = format!("{version} proxy_set_header Connection $http_connection;\n{pass}");
    silent(with_upstream(KEPT, &mapped));
}
