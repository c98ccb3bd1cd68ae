//! Limits and logs that will hurt: each rule is provoked, and silent on what is sound.

use nginx_test::Nginx;

use crate::lint::{complaints, one, silent};

fn location(inside: &str) -> Nginx {
    let pass = "proxy_pass http://192.0.2.1:1;";
    Nginx::http(&format!("server {{ listen %listen%;\nlocation / {{ {pass}\n{inside}\n}} }}"))
}

#[test]
fn read_time_outs_of_an_hour() {
    for line in [
        "proxy_read_timeout 3600;",
        "fastcgi_read_timeout 1h;",
        "uwsgi_read_timeout 1d;",
        "scgi_read_timeout \"59m 60s\";",
        "memcached_read_timeout 3600000ms;",
    ] {
        one(location(line), "notice", "a back end that hangs holds its two connections", line);
    }
    silent(location("proxy_read_timeout 59m; proxy_send_timeout 2h; client_body_timeout 2h;"));
}

#[test]
fn buffers_without_buffering() {
    let line = "proxy_busy_buffers_size 16k;";
    let off = "proxy_buffering off;";
    let words = "proxy_busy_buffers_size does nothing while proxy_buffering is off";
    one(location(&format!("{off}\n{line}")), "warn", words, line);
    let line = "fastcgi_buffers 16 8k;";
    let nginx = location(&format!("fastcgi_buffering off;\n{line}"));
    one(nginx, "warn", "fastcgi_buffers does nothing", line);
    silent(location("proxy_buffers 8 16k; proxy_busy_buffers_size 32k;"));
    silent(location("proxy_buffering off; proxy_buffer_size 8k;"));
    silent(location("proxy_buffers 8 16k; location /live { proxy_buffering off; }"));
}

/// The file limit is the one that the workers will have.
#[test]
fn connections_beyond_the_files() {
    let with = |limit: u32| {
        let main = format!("worker_rlimit_nofile {limit};");
        complaints(&location("").worker_connections(128).main(&main).check())
    };
    for (limit, level) in [(100, "warn"), (130, "notice")] {
        let found = with(limit);
        let words = format!("do not fit into the {limit} that a worker may open");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("[{level}] worker_connections 128 ")), "{found:?}");
        assert!(found[0].contains(&words), "{found:?}");
    }
    assert_eq!(with(256), [""; 0]);
}

#[test]
fn logs_that_hide_errors() {
    let line = "error_log %dir%/x.log crit;";
    let stands = "error_log";
    let checked = location(line).check();
    let found = complaints(&checked);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("[warn] error_log at level crit hides errors: "), "{found:?}");
    assert!(checked.stderr.contains(stands));
    silent(location("error_log %dir%/x.log emerg; error_log %dir%/y.log;"));
    let elsewhere = "location /static/ { root /var/www; error_log /dev/null crit; }";
    silent(location(elsewhere));

    let found = complaints(&location("").error_level("alert").check());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("[warn] the main error_log hides errors: "), "{found:?}");
    silent(location("error_log %dir%/x.log;").error_level("alert"));
}

#[test]
fn a_diagnosis_for_everybody() {
    for line in ["upstream_diagnosis_trust all;", "upstream_diagnosis_trust 0.0.0.0/0 ::/0;"] {
        one(location(line), "warn", "upstream_diagnosis_trust trusts everybody", line);
    }
    silent(location("upstream_diagnosis_trust none;"));
    silent(location("upstream_diagnosis_trust 10.0.0.0/8 $cookie_debug;"));
}
