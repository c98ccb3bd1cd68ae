//! Where the system shows little: the diagnosis stays, the evidence gets thinner, nothing else
//! happens. The harness sees to it that nginx has no alert to log.

use nginx_test::backend::{Backlog, Dead, http};
use nginx_test::sandbox::netns::{isolated, with_small_table};
use nginx_test::sandbox::{Landlock, World};
use nginx_test::{Backend, Nginx, Running, Seen, Step, env};

/// A failure of every kind that has evidence: path, status, cause.
const FAILURES: [(&str, u16, &str); 8] = [
    ("/refused", 502, "connection_refused"),
    ("/queue", 504, "connection_timeout"),
    ("/closed", 502, "closed_before_header"),
    ("/missing", 502, "unix_socket_missing"),
    ("/stale", 502, "unix_socket_refused"),
    ("/denied", 502, "unix_socket_denied"),
    ("/down", 502, "no_live_peers"),
    ("/big", 502, "header_too_big"),
];

/// Has them all fail in this world, in the same way as everywhere. The hints of the first two, which
/// are seen through netlink, and whether a count was there that only /proc has.
fn look(world: impl FnOnce(Nginx) -> Nginx) -> ([Option<String>; 2], bool) {
    let (refusing, full) = (Dead::refusing(), Backlog::full());
    let closing = Backend::script([Step::ReadRequest, Step::Close]);
    let (missing, stale) = (Dead::missing_socket(), Dead::stale_socket());
    let denied = Dead::forbidden_socket();
    let big = Backend::answering(http::response(200, &[&format!("X: {}", "x".repeat(5000))], b""));
    let nginx = Nginx::http(
        "proxy_connect_timeout 200ms; upstream down { server 127.0.0.1:1 down; }
         server { listen %listen%; proxy_buffer_size 1k;
             location /refused { proxy_pass http://%refusing%; }
             location /queue { proxy_pass http://%full%; }
             location /closed { proxy_pass http://%closing%; }
             location /missing { proxy_pass http://%missing%:/; }
             location /stale { proxy_pass http://%stale%:/; }
             location /denied { proxy_pass http://%denied%:/; }
             location /down { proxy_pass http://down; }
             location /big { proxy_pass http://%big%; } }",
    );
    let nginx = nginx.set("refusing", &refusing).set("full", &full).set("closing", &closing);
    let nginx = nginx.set("missing", &missing).set("stale", &stale).set("denied", &denied);
    let nginx = world(nginx.set("big", &big)).start();
    let seen = FAILURES.map(|failure| fails(&nginx, failure));
    assert_eq!(hint(&seen[7]).as_deref(), Some("header_bytes_over_buffer"), "needs no look");
    assert!(seen[6].diagnosis().attempt().evidence("peers").is_array(), "nginx's own memory");
    let overflows = seen[1].diagnosis().attempt().evidence("listen_overflows").is_u64();
    ([hint(&seen[0]), hint(&seen[1])], overflows)
}

fn fails(nginx: &Running, (path, status, cause): (&str, u16, &str)) -> Seen {
    let seen = nginx.fetch(path);
    assert_eq!(seen.reply.status, status, "{path}");
    assert_eq!(seen.reply.member().name, cause, "{path}");
    assert_eq!(seen.diagnosis().causes(), [cause], "{path}");
    seen
}

/// Where the tests run in a container, a loopback without a listener has the more telling hint.
fn hint(seen: &Seen) -> Option<String> {
    let member = seen.reply.member();
    let hint =
        member.token("hint").map(|hint| hint.replace("loopback_in_container", "no_listener"));
    assert_eq!(member.token("hint"), seen.diagnosis().attempt().text("hint"));
    hint
}

/// These hints in this world; `proc` where /proc can be read.
fn sees(world: impl FnOnce(Nginx) -> Nginx, hints: [Option<&str>; 2], proc: bool) {
    let (seen, counted) = look(world);
    assert_eq!((seen.each_ref().map(Option::as_deref), counted), (hints, proc));
}

/// Without netlink, /proc/net/tcp is read where that is quick, and tells nothing of queues.
fn sees_without_netlink(world: impl FnOnce(Nginx) -> Nginx + Send, refused: Option<&str>) {
    with_small_table(|_| sees_by_proc(world, refused));
}

fn sees_by_proc(world: impl FnOnce(Nginx) -> Nginx, refused: Option<&str>) {
    let (seen, _) = look(|nginx| world(nginx.refuse_netlink()));
    let slow = env::valgrind() && seen[0].is_none();
    let refused = refused.filter(|_| !slow);
    assert_eq!(seen.each_ref().map(Option::as_deref), [refused, Some("timeout_reached")]);
}

const ALL: [Option<&str>; 2] = [Some("no_listener"), Some("accept_queue_full")];

#[test]
fn where_everything_can_be_seen() {
    sees(|nginx| nginx, ALL, true);
}

/// SELinux, or systemd's `RestrictAddressFamilies=`.
#[test]
fn netlink_refused() {
    sees_without_netlink(|nginx| nginx, ALL[0]);
}

/// A chroot.
#[test]
fn no_proc() {
    if env::valgrind() {
        return; // It cannot do without /proc itself.
    }
    sees(|nginx| nginx.inside(World::WithoutProc), ALL, false);
}

#[test]
fn neither_netlink_nor_proc() {
    if env::valgrind() {
        return; // It cannot do without /proc itself.
    }
    sees_without_netlink(|nginx| nginx.inside(World::WithoutProc), None);
}

#[test]
fn hidepid() {
    sees(|nginx| nginx.inside(World::HiddenProcesses), ALL, true);
}

#[test]
fn a_user_namespace() {
    sees(|nginx| nginx.inside(World::OwnUsers), ALL, true);
}

#[test]
fn ipv6_off() {
    const OFF: (&str, &str) = ("ipv6/conf/all/disable_ipv6", "1");
    isolated(|network| {
        network.sysctl(OFF.0, OFF.1);
        sees(|nginx| nginx, ALL, true);
    });
    with_small_table(|network| {
        network.sysctl(OFF.0, OFF.1);
        sees_by_proc(|nginx| nginx, ALL[0]);
    });
}

#[test]
fn proc_and_sys_unreadable() {
    if env::valgrind() {
        return; // It cannot do without /proc itself.
    }
    let confined = || Landlock::deny_reading(&["proc", "sys"]);
    sees(|nginx| nginx.landlock(confined()), ALL, false);
    sees_without_netlink(|nginx| nginx.landlock(confined()), None);
}
