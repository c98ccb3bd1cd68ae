//! Directives: what a block takes over from the one around it.

use nginx_test::backend::{Dead, http};
use nginx_test::{Backend, Nginx, Running};

use crate::expect::nothing;

/// The header of that name has one member, about the refused connection.
fn says(nginx: &Running, method: &str, path: &str, header: &str) {
    let seen = nginx.fetch_with(method, path, &[], b"");
    assert_eq!(seen.reply.status, 502, "{path}");
    let members = seen.reply.list(header);
    assert_eq!(members.len(), 1, "{header} on {path} in {}", seen.reply);
    assert_eq!(members[0].name, "connection_refused");
    assert_eq!(seen.diagnosis().cause, "connection_refused");
    let ours = ["X-Upstream-Diagnosis", "X-Server", "X-Location", "X-Inner"];
    for other in ours.into_iter().filter(|name| *name != header) {
        assert_eq!(seen.reply.header(other), None, "{other} on {path}");
    }
}

fn silent(nginx: &Running, path: &str) {
    let seen = nginx.fetch(path);
    assert_eq!(seen.reply.status, 502, "{path}");
    assert_eq!(seen.reply.header("X-Upstream-Diagnosis"), None);
    assert!(seen.line.diagnosis.is_none(), "{path}: {:?}", seen.line);
}

#[test]
fn the_nearest_block_decides() {
    let dead = Dead::refusing();
    let nginx = Nginx::http(
        "server { listen %listen%;
           location /inherits { proxy_pass http://%dead%; }
           location /off { upstream_diagnosis off; proxy_pass http://%dead%;
             location /off/inner { proxy_pass http://%dead%; }
             location /off/on { upstream_diagnosis on; proxy_pass http://%dead%; } }
           location /if { if ($arg_x) { proxy_pass http://%dead%; } }
           location /if-off { upstream_diagnosis off;
             if ($arg_x) { proxy_pass http://%dead%; } }
           location /limited { proxy_pass http://127.0.0.1:1;
             limit_except GET { proxy_pass http://%dead%; } }
           location @named { proxy_pass http://%dead%; }
           location /named { error_page 404 = @named; return 404; }
         }",
    );
    let nginx = nginx.set("dead", &dead).start();
    for path in ["/inherits", "/off/on", "/if?x=1", "/named"] {
        says(&nginx, "GET", path, "X-Upstream-Diagnosis");
    }
    says(&nginx, "DELETE", "/limited", "X-Upstream-Diagnosis");
    for path in ["/off", "/off/inner", "/if-off?x=1"] {
        silent(&nginx, path);
    }
}

#[test]
fn one_location_alone_may_be_on() {
    let dead = Dead::refusing();
    let nginx = Nginx::server(
        "location / { proxy_pass http://%dead%; }
         location /on { upstream_diagnosis on; proxy_pass http://%dead%; }",
    );
    let nginx = nginx.off().set("dead", &dead).start();
    silent(&nginx, "/");
    says(&nginx, "GET", "/on", "X-Upstream-Diagnosis");
    silent(&nginx, "/");
}

#[test]
fn header_names_are_inherited() {
    let dead = Dead::refusing();
    let nginx = Nginx::server(
        "upstream_diagnosis_header X-Server;
         location / { proxy_pass http://%dead%; }
         location /l { upstream_diagnosis_header X-Location; proxy_pass http://%dead%;
           location /l/same { proxy_pass http://%dead%; }
           location /l/i { upstream_diagnosis_header X-Inner; proxy_pass http://%dead%; }
           location /l/off { upstream_diagnosis_header off; proxy_pass http://%dead%; }
           location /l/if { if ($arg_x) { proxy_pass http://%dead%; } } }",
    );
    let nginx = nginx.set("dead", &dead).start();
    for (path, header) in [
        ("/", "X-Server"),
        ("/l", "X-Location"),
        ("/l/same", "X-Location"),
        ("/l/if?x=1", "X-Location"),
        ("/l/i", "X-Inner"),
    ] {
        says(&nginx, "GET", path, header);
    }
    let seen = nginx.fetch("/l/off");
    assert_eq!(seen.diagnosis().cause, "connection_refused");
    for header in ["X-Upstream-Diagnosis", "X-Server", "X-Location"] {
        assert_eq!(seen.reply.header(header), None);
    }
}

#[test]
fn trust_and_identifier_are_inherited_as_wholes() {
    let dead = Dead::refusing();
    let nginx = Nginx::server(
        "upstream_diagnosis_trust none; upstream_diagnosis_proxy_status outer;
         location / { proxy_pass http://%dead%; }
         location /all { upstream_diagnosis_trust all; proxy_pass http://%dead%;
           location /all/inner { upstream_diagnosis_proxy_status inner; proxy_pass http://%dead%; }
           location /all/off { upstream_diagnosis_proxy_status off; proxy_pass http://%dead%; } }
         location /other { upstream_diagnosis_trust 10.0.0.0/8; proxy_pass http://%dead%; }",
    );
    let nginx = nginx.set("dead", &dead).start();
    for (path, identifier, trusted) in [
        ("/", Some("outer"), false),
        ("/other", Some("outer"), false),
        ("/all", Some("outer"), true),
        ("/all/inner", Some("inner"), true),
        ("/all/off", None, true),
    ] {
        let reply = nginx.fetch(path).reply;
        assert_eq!(reply.member().string("address").is_some(), trusted, "{path}: {reply}");
        let proxies = reply.list("Proxy-Status");
        let names: Vec<_> = proxies.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, Vec::from_iter(identifier), "{path}: {reply}");
        let detailed = proxies.iter().any(|member| member.string("next-hop").is_some());
        assert_eq!(detailed, trusted && identifier.is_some(), "{path}: {reply}");
    }
}

/// What failed where the module is off is not its business, even when nginx's page is made where
/// it is on.
#[test]
fn a_failure_in_an_off_location_stays_unsaid() {
    let dead = Dead::refusing();
    let busy = Backend::answering(http::response(503, &[], b"busy"));
    let fine = Backend::ok("fine");
    let nginx = Nginx::server(
        "location /static { upstream_diagnosis off; proxy_pass http://%dead%;
           error_page 502 /page; }
         location /named { upstream_diagnosis off; proxy_pass http://%dead%;
           error_page 502 = @fine; }
         location /busy { upstream_diagnosis off; proxy_pass http://%busy%;
           proxy_intercept_errors on; error_page 503 /page; }
         location /page { return 200 sorry; }
         location @fine { proxy_pass http://%fine%; }",
    );
    let nginx = nginx.set("dead", &dead).set("busy", &busy).set("fine", &fine).start();
    for (path, status) in [("/static", 502), ("/named", 200), ("/busy", 503)] {
        let seen = nginx.fetch(path);
        assert_eq!(seen.reply.status, status, "{path}");
        nothing(&seen);
    }
}

/// The other way round: known since it happened, shown where the response is made or logged.
#[test]
fn a_later_location_alone_may_be_on() {
    let dead = Dead::refusing();
    let nginx = Nginx::server(
        "location / { return 404; error_page 404 = /on; }
         location /on { upstream_diagnosis on; proxy_pass http://%dead%; }
         location /named { return 404; error_page 404 = @on; }
         location @on { upstream_diagnosis on; proxy_pass http://%dead%; }
         location /rewritten { rewrite ^ /on last; }",
    );
    let nginx = nginx.off().set("dead", &dead).start();
    for path in ["/", "/named", "/rewritten"] {
        says(&nginx, "GET", path, "X-Upstream-Diagnosis");
    }
}
