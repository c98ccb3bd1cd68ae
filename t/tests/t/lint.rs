//! What is said about a configuration when nginx reads it: where, to whom, and when not.

use nginx_test::{Backend, Checked, Nginx, Running, env};

/// What `nginx -t` complains of, without `nginx: ` and the file's path.
pub(crate) fn complaints(checked: &Checked) -> Vec<String> {
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let lines = checked.stderr.lines().filter_map(|line| line.strip_prefix("nginx: ["));
    lines.map(|line| format!("[{line}")).collect()
}

/// One complaint, of that level and about that, where `at` stands.
pub(crate) fn one(nginx: Nginx, level: &str, words: &str, at: &str) {
    let checked = nginx.check();
    let found = complaints(&checked);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("[{level}] ")), "{found:?}");
    assert!(found[0].contains(words), "no {words:?} in {found:?}");
    let place = format!(" in {}", checked.place_of(at));
    assert!(found[0].ends_with(&place), "no {place:?} in {found:?}");
}

pub(crate) fn silent(nginx: Nginx) {
    assert_eq!(complaints(&nginx.check()), [""; 0]);
}

const RISKY: &str = "server { listen %listen%;
    location / {
        proxy_read_timeout 1h;
        proxy_pass http://%backend%; } }";

fn risky() -> Nginx {
    Nginx::http(RISKY).set("backend", "192.0.2.1:1")
}

#[test]
fn it_can_be_switched_off() {
    one(risky(), "notice", "proxy_read_timeout 1h", "proxy_read_timeout 1h");
    let with = |flag: &str| {
        let conf = format!("upstream_diagnosis_lint {flag};\n{RISKY}");
        Nginx::http(&conf).set("backend", "192.0.2.1:1")
    };
    one(with("on"), "notice", "proxy_read_timeout 1h", "proxy_read_timeout 1h");
    silent(with("off"));
}

#[test]
fn nothing_is_said_unless_the_module_is_on_somewhere() {
    silent(risky().off());
    let on_there =
        RISKY.replace("location / {", "location /on { upstream_diagnosis on; } location / {");
    let nginx = Nginx::http(&on_there).off().set("backend", "192.0.2.1:1");
    one(nginx, "notice", "proxy_read_timeout 1h", "proxy_read_timeout 1h");
}

#[test]
fn the_directive_stands_in_http_only() {
    let wrong = [
        ("server { listen %listen%; upstream_diagnosis_lint off; }", "is not allowed here"),
        ("upstream_diagnosis_lint maybe;", "it must be \"on\" or \"off\""),
        ("upstream_diagnosis_lint on; upstream_diagnosis_lint on;", "is duplicate"),
        ("upstream_diagnosis_lint;", "invalid number of arguments"),
    ];
    for (conf, words) in wrong {
        let checked = Nginx::http(conf).check();
        assert_eq!(checked.code, Some(1), "{conf}");
        assert!(checked.stderr.contains(words), "{conf}: {}", checked.stderr);
    }
}

/// The place of a directive in another file, with a block around it that began in the first.
#[test]
fn included_files_are_named() {
    let nginx = Nginx::server(
        "location / {\ninclude %dir%/more.conf;\nproxy_pass http://app.invalid%port%; }",
    );
    // The name does not resolve; without a resolver a variable need not.
    let nginx = nginx.set("port", "$request_uri");
    let checked = nginx.file("more.conf", "\n\nproxy_read_timeout 2h;\n").check();
    let found = complaints(&checked);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].ends_with(&format!(" in {}", checked.place_of("proxy_pass"))), "{found:?}");
    assert!(found[1].ends_with("/more.conf:3"), "{found:?}");
}

/// Blocks of every kind, inside each other, all modules' directives in force as without the module.
#[test]
fn what_is_read_is_what_nginx_reads() {
    let [one, two] = ["one", "two"].map(Backend::ok);
    let nginx = Nginx::http(
        "upstream one { server %one%; keepalive 4; }
        proxy_http_version 1.1; proxy_set_header Connection '';
        server { listen %listen%; set $two %two%;
            location / { proxy_pass http://one;
                if ($arg_two) { proxy_pass http://%two%; }
                limit_except GET { deny all; }
                location /in/ { location /in/side { proxy_pass http://$two; } } } }",
    );
    let nginx = nginx.set("one", &one).set("two", &two).start();
    assert_eq!(nginx.get("/").text(), "one");
    assert_eq!(nginx.get("/?two=1").text(), "two");
    assert_eq!(nginx.get("/in/side").text(), "two");
    assert_eq!(nginx.post("/", b"").status, 403);
    assert!(!nginx.error_log().contains("keepalive"), "{}", nginx.error_log());
}

#[test]
fn it_is_logged_at_the_start_and_at_each_reload() {
    let mut nginx = risky().allow_alert("nonsense").start();
    let count = |nginx: &Running| nginx.error_log().matches("proxy_read_timeout 1h: ").count();
    assert_eq!(count(&nginx), 1, "{}", nginx.error_log());
    let conf = std::fs::read_to_string(nginx.dir().join("nginx.conf")).unwrap();

    // A configuration that is refused in the middle of a block leaves nothing behind.
    nginx.rewrite(
        "nginx.conf",
        &conf.replace("proxy_read_timeout 1h;", "proxy_read_timeout 1h; nonsense;"),
    );
    nginx.signal(libc::SIGHUP);
    nginx.wait_for_error("unknown directive \"nonsense\"");
    assert_eq!(count(&nginx), 1);

    nginx.rewrite("nginx.conf", &conf.replace("proxy_read_timeout 1h;", "proxy_read_timeout 3h;"));
    nginx.reload();
    nginx.wait_for_error("proxy_read_timeout 3h: ");
    nginx.rewrite("nginx.conf", &conf);
    nginx.reload();
    assert_eq!(count(&nginx), 2, "{}", nginx.error_log());
}

/// nginx unloads a module with the configuration that has loaded it, here one that is refused while
/// the tables of commands are ours. What it reads afterwards must not lead into the void.
#[test]
fn a_module_that_was_loaded_in_vain_leaves_nothing_behind() {
    let backend = Backend::ok("served");
    let nginx = Nginx::location("proxy_read_timeout 1h; proxy_pass http://%backend%;");
    let mut nginx = nginx.set("backend", &backend).bare().allow_alert("nonsense").start();
    let conf = std::fs::read_to_string(nginx.dir().join("nginx.conf")).unwrap();
    let with = format!("load_module {};\n{conf}", env::module().display());
    for round in 1..=2 {
        let nonsense = format!("proxy_read_timeout 1h; nonsense{round};");
        nginx.rewrite("nginx.conf", &with.replace("proxy_read_timeout 1h;", &nonsense));
        nginx.signal(libc::SIGHUP);
        nginx.wait_for_error(&format!("unknown directive \"nonsense{round}\""));
        nginx.rewrite("nginx.conf", &conf);
        nginx.reload();
        assert_eq!(nginx.get("/").text(), "served");
    }
    for conf in [&with, &conf, &with] {
        nginx.rewrite("nginx.conf", conf);
        nginx.reload();
        assert_eq!(nginx.get("/").text(), "served");
    }
}
