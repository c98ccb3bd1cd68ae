//! Why a socket could not be used: its path, its permissions, SELinux.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nginx_test::backend::Dead;
use nginx_test::diagnosis::Attempt;
use nginx_test::sandbox::Landlock;
use nginx_test::sandbox::acl;
use nginx_test::sandbox::mounts::{self, Mounts};
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Backend, Nginx, Seen};
use serde_json::{Value, json};

/// The user of workers where the configuration names none.
const NOBODY: u32 = 65534;

/// A request to a socket in nginx's own directory, which `prepare` has made something of.
fn through(path: &str, prepare: impl FnOnce(&Path)) -> (Seen, PathBuf) {
    let nginx = Nginx::location(&format!("proxy_pass http://unix:%dir%/{path}:/;")).start();
    prepare(nginx.dir());
    (nginx.fetch("/"), nginx.dir().join(path))
}

/// Cause, hint in header and JSON, and a part of the advice.
fn says(seen: &Seen, cause: &str, hint: Option<&str>, advice: &str) {
    let member = seen.reply.member();
    assert_eq!((member.name.as_str(), member.token("hint")), (cause, hint));
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.attempt().text("hint"), hint);
    assert!(diagnosis.advice.contains(advice), "{:?} in {}", advice, diagnosis.raw);
}

fn evidence(seen: &Seen) -> Value {
    evidence_of(seen.diagnosis().attempt())
}

fn evidence_of(attempt: &Attempt) -> Value {
    let evidence = attempt.raw.get("evidence");
    evidence.unwrap_or_else(|| panic!("no evidence in {:?}", attempt.raw)).clone()
}

/// Each of `facts` is in the evidence.
fn shows(seen: &Seen, facts: &Value) {
    let evidence = evidence(seen);
    for (key, value) in facts.as_object().unwrap() {
        assert_eq!(&evidence[key], value, "{key} of {evidence}");
    }
}

fn bind(path: &Path, mode: u32) -> UnixListener {
    let listener = UnixListener::bind(path).unwrap();
    set_mode(path, mode);
    listener
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_directory_that_is_missing() {
    let (seen, path) = through("run/app/deeper/socket", |dir| {
        fs::create_dir(dir.join("run")).unwrap();
    });
    let missing = path.parent().unwrap().parent().unwrap().display().to_string();
    let advice = format!("there is no socket at unix:{}, as {missing} does not", path.display());
    says(&seen, "unix_socket_missing", None, &advice);
    shows(&seen, &json!({"missing": missing, "age_ms": 0}));
}

#[test]
fn the_file_that_is_missing() {
    let (seen, path) = through("socket", |_| ());
    says(&seen, "unix_socket_missing", None, "though its directory exists");
    shows(&seen, &json!({"missing": path}));
}

#[test]
fn a_link_that_points_to_nothing() {
    let (seen, path) = through("socket", |dir| symlink("nowhere", dir.join("socket")).unwrap());
    let advice = format!("{} is a symbolic link to something", path.display());
    says(&seen, "unix_socket_missing", None, &advice);
    shows(&seen, &json!({"missing": path, "dangling_link": true}));
}

#[test]
fn a_directory_is_no_socket() {
    let (seen, _) = through("socket", |dir| {
        fs::create_dir(dir.join("socket")).unwrap();
        set_mode(&dir.join("socket"), 0o777);
    });
    says(&seen, "unix_socket_refused", None, "is a directory and not a socket");
    shows(&seen, &json!({"kind": "directory", "mode": "0777"}));
}

#[test]
fn a_regular_file_is_no_socket() {
    let dead = Dead::regular_file();
    let nginx = Nginx::location("proxy_pass http://%dead%:/;").set("dead", &dead).start();
    let seen = nginx.fetch("/");
    says(&seen, "unix_socket_refused", None, &format!("{dead} is a regular file and not"));
    shows(&seen, &json!({"kind": "regular_file"}));
}

#[test]
fn a_stale_socket() {
    let dead = Dead::stale_socket();
    let nginx = Nginx::location("proxy_pass http://%dead%:/;").set("dead", &dead).start();
    let seen = nginx.fetch("/");
    let advice = format!("nobody listens on {dead}, a socket left behind");
    says(&seen, "unix_socket_refused", Some("no_listener"), &advice);
    shows(&seen, &json!({"kind": "socket", "mode": "0777", "owner_uid": 0, "listener": "nobody"}));
}

#[test]
fn a_directory_that_nginx_may_not_enter() {
    let mut held = None;
    let (seen, path) = through("run/app/socket", |dir| {
        fs::create_dir_all(dir.join("run/app")).unwrap();
        held = Some(bind(&dir.join("run/app/socket"), 0o777));
        set_mode(&dir.join("run"), 0o750);
    });
    let run = path.ancestors().nth(2).unwrap().display().to_string();
    let advice = format!("may not enter {run} (mode 0750, owner 0, group 0)");
    says(&seen, "unix_socket_denied", None, &advice);
    let nobody = json!({"denied_at": run, "kind": "directory", "mode": "0750", "owner_uid": 0,
                        "owner_gid": 0, "worker_uid": 65534, "worker_gid": 65534});
    shows(&seen, &nobody);
    assert_eq!(evidence(&seen)["selinux"], Value::Null, "{}", evidence(&seen));
}

#[test]
fn a_socket_that_nginx_may_not_write_to() {
    let mut held = None;
    let (seen, path) = through("socket", |dir| held = Some(bind(&dir.join("socket"), 0o755)));
    let advice = format!("may not write to {} (mode 0755, owner 0, group 0)", path.display());
    says(&seen, "unix_socket_denied", None, &advice);
    shows(&seen, &json!({"denied_at": path, "kind": "socket", "mode": "0755"}));
}

#[test]
fn the_user_that_the_configuration_names() {
    let mut held = None;
    let nginx = Nginx::location("proxy_pass http://unix:%dir%/socket:/;");
    let nginx = nginx.main("user www-data;").start();
    held.replace(bind(&nginx.dir().join("socket"), 0o700));
    let seen = nginx.fetch("/");
    says(&seen, "unix_socket_denied", None, "nginx's user www-data (uid 33, gid 33) may not");
    shows(&seen, &json!({"worker_uid": 33, "worker_gid": 33, "worker_user": "www-data"}));
}

/// The back end still has the file that it made, and another one has taken its place.
#[test]
fn a_socket_that_was_replaced() {
    let mut held = None;
    let (seen, path) = through("socket", |dir| {
        let path = dir.join("socket");
        held = Some(bind(&path, 0o777));
        fs::rename(&path, dir.join("before")).unwrap();
        stale(&path);
    });
    let advice = "a program listens on a file that was there before";
    says(&seen, "unix_socket_refused", Some("no_listener"), advice);
    shows(&seen, &json!({"kind": "socket", "listener": "replaced"}));
    drop((held, path));
}

/// Leaves a socket that nobody listens on.
fn stale(path: &Path) {
    let listener = bind(path, 0o777);
    // SAFETY: shutdown(2) takes plain numbers; unlike close it works on copies that another test's
    // nginx has until its exec.
    assert_eq!(unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) }, 0);
}

#[test]
fn a_full_listen_queue() {
    let dead = Dead::full_unix_queue();
    let nginx = Nginx::location("proxy_pass http://%dead%:/;").set("dead", &dead).start();
    let seen = nginx.fetch("/");
    let advice = format!("the listen queue of {dead} is full (1 waiting, limit 0)");
    says(&seen, "listen_queue_full", Some("accept_queue_full"), &advice);
    shows(&seen, &json!({"accept_queue": 1, "accept_queue_limit": 0}));
    assert!(evidence(&seen)["somaxconn"].is_u64(), "{}", evidence(&seen));
}

/// Without netlink, /proc/net/unix knows names. In a network of its own the list is short.
#[test]
fn netlink_is_refused() {
    isolated(|_| {
        let nginx = Nginx::location("proxy_pass http://unix:%dir%/$arg_name:/;");
        let nginx = nginx.refuse_netlink().start();
        let path = |name: &str| nginx.dir().join(name);
        stale(&path("stale"));
        let seen = nginx.fetch("/?name=stale");
        says(&seen, "unix_socket_refused", Some("no_listener"), "left behind");
        shows(&seen, &json!({"kind": "socket", "listener": "nobody"}));

        let _held = bind(&path("replaced"), 0o777);
        fs::rename(path("replaced"), path("before")).unwrap();
        fs::rename(path("stale"), path("replaced")).unwrap();
        let seen = nginx.fetch("/?name=replaced");
        says(&seen, "unix_socket_refused", None, "a program has a socket of that name");
        shows(&seen, &json!({"kind": "socket", "listener": "named"}));
    });
}

#[test]
fn a_full_listen_queue_without_figures() {
    let dead = Dead::full_unix_queue();
    let nginx = Nginx::location("proxy_pass http://%dead%:/;").set("dead", &dead);
    let seen = nginx.refuse_netlink().start().fetch("/");
    says(&seen, "listen_queue_full", None, &format!("the listen queue of {dead} is full; give"));
    assert_eq!(seen.diagnosis().attempt().raw.get("evidence"), None);
}

/// systemd gives nginx a /var/tmp of its own, and the back end puts its socket into the other.
#[test]
fn a_temporary_directory_of_its_own() {
    let own = std::env::temp_dir().join(format!("systemd-private-{}-nginx", std::process::id()));
    fs::create_dir_all(own.join("tmp")).unwrap();
    mounts::private(|mounts| {
        mounts.bind(own.join("tmp").to_str().unwrap(), "/var/tmp");
        let nginx = Nginx::location("proxy_pass http://unix:/var/tmp/app.sock:/;").start();
        let seen = nginx.fetch("/");
        let advice = "/var/tmp/app.sock is not in the directory that nginx sees";
        says(&seen, "unix_socket_missing", None, advice);
        shows(&seen, &json!({"missing": "/var/tmp/app.sock", "private_tmp": true}));
    });
    fs::remove_dir_all(&own).unwrap();
}

/// selinuxfs as nginx reads it: this machine has none.
fn selinux(mounts: &Mounts, enforce: &str, connect: &str, relay: &str) {
    mounts.empty("/sys/fs");
    for (name, value) in [
        ("enforce", enforce),
        ("booleans/httpd_can_network_connect", connect),
        ("booleans/httpd_can_network_relay", relay),
    ] {
        mounts.file(&format!("/sys/fs/selinux/{name}"), value);
    }
}

/// A connection that Landlock denies, with the errno of SELinux.
fn denied() -> (Seen, String) {
    let backend = Backend::ok("never reached");
    let nginx = Nginx::location("proxy_pass http://%backend%;").set("backend", &backend);
    let nginx = nginx.landlock(Landlock::deny_connect()).start();
    (nginx.fetch("/"), backend.address().to_owned())
}

#[test]
fn selinux_denies_connect() {
    mounts::private(|mounts| {
        selinux(mounts, "1", "0 0", "0 0");
        let (seen, address) = denied();
        let advice = format!(
            "may not connect to {address}; run 'setsebool -P \
                              httpd_can_network_connect 1'"
        );
        says(&seen, "connection_denied", Some("selinux_denies_connect"), &advice);
        shows(
            &seen,
            &json!({"selinux": "enforcing", "httpd_can_network_connect": false,
                             "httpd_can_network_relay": false, "worker_uid": 65534}),
        );
    });
}

#[test]
fn selinux_enforcing_with_the_switch_on() {
    mounts::private(|mounts| {
        selinux(mounts, "1", "1 1", "0 0");
        let (seen, _) = denied();
        says(&seen, "connection_denied", Some("selinux_enforcing"), "ausearch -m AVC");
        shows(&seen, &json!({"selinux": "enforcing", "httpd_can_network_connect": true}));
    });
}

#[test]
fn selinux_permissive_denies_nothing() {
    mounts::private(|mounts| {
        selinux(mounts, "0", "0 0", "0 0");
        let (seen, _) = denied();
        says(&seen, "connection_denied", None, "SELinux is permissive and denies nothing, so");
        shows(&seen, &json!({"selinux": "permissive", "httpd_can_network_connect": false}));
    });
}

#[test]
fn no_selinux_at_all() {
    if fs::read_to_string("/proc/filesystems").unwrap().contains("selinuxfs") {
        return;
    }
    let (seen, _) = denied();
    says(&seen, "connection_denied", None, "SELinux does not run here, so look");
    shows(&seen, &json!({"selinux": "off", "httpd_can_network_connect": null}));
}

#[test]
fn a_seccomp_filter_is_seen() {
    let backend = Backend::ok("never reached");
    let nginx = Nginx::location("proxy_pass http://%backend%;").set("backend", &backend);
    let nginx = nginx.refuse_netlink().landlock(Landlock::deny_connect()).start();
    let seen = nginx.fetch("/");
    says(&seen, "connection_denied", None, "look at the seccomp filter that nginx runs under");
    shows(&seen, &json!({"seccomp": true}));
}

/// Neither sysfs nor what the kernel says of itself.
#[test]
fn nothing_to_be_read_is_nothing_said() {
    mounts::private(|mounts| {
        mounts.empty("/sys");
        mounts.bind("/dev/null", "/proc/filesystems");
        let (seen, _) = denied();
        says(&seen, "connection_denied", None, "with SELinux run 'setsebool -P");
        shows(&seen, &json!({"selinux": "unknown"}));
    });
}

#[test]
fn a_socket_whose_permissions_do_not_explain_it() {
    mounts::private(|mounts| {
        selinux(mounts, "1", "0 0", "0 0");
        let mut held = None;
        let (seen, path) = through("socket", |dir| {
            let path = dir.join("socket");
            held = Some(bind(&path, 0o777));
            acl::deny(&path, NOBODY);
        });
        let advice = format!("the permissions of {} let nginx's user", path.display());
        says(&seen, "unix_socket_denied", Some("selinux_enforcing"), &advice);
        assert!(seen.diagnosis().advice.contains("setsebool -P httpd_can_network_relay 1"));
        shows(&seen, &json!({"selinux": "enforcing", "httpd_can_network_relay": false}));
    });
}
