use std::collections::HashMap;

use super::*;

/// A file system: what is where, and what the kernel lets the worker do.
#[derive(Default)]
struct Files {
    there: HashMap<&'static [u8], Attributes>,
    links: Vec<&'static [u8]>,
    closed: Vec<&'static [u8]>,
    errno: i32,
}

impl Look for Files {
    fn attributes(&self, path: &[u8]) -> Result<Attributes, i32> {
        self.there.get(path).copied().ok_or(self.errno)
    }

    fn is_link(&self, path: &[u8]) -> bool {
        self.links.contains(&path)
    }

    fn may_search(&self, path: &[u8]) -> bool {
        !self.closed.contains(&path)
    }

    fn may_write(&self, path: &[u8]) -> bool {
        !self.closed.contains(&path)
    }
}

const PATH: &[u8] = b"/run/app/socket";
const DIRECTORY: Attributes = attributes_of(0o040_755);
const SOCKET: Attributes = attributes_of(0o140_666);

const fn attributes_of(mode: u32) -> Attributes {
    Attributes { mode, uid: 0, gid: 0, device: 1, inode: 2 }
}

fn files(parts: &[(&'static [u8], Attributes)]) -> Files {
    Files { there: parts.iter().copied().collect(), errno: 2, ..Files::default() }
}

fn whole() -> Files {
    files(&[(b"/", DIRECTORY), (b"/run", DIRECTORY), (b"/run/app", DIRECTORY), (PATH, SOCKET)])
}

fn www_data() -> Worker {
    Worker { uid: 33, gid: 33, groups: vec![33, 44], name: b"www-data".to_vec() }
}

fn advice(found: Option<Evidence>) -> String {
    found.unwrap().advice.unwrap()
}

#[test]
fn the_first_part_that_is_missing() {
    let mut here = whole();
    here.there.remove(&b"/run/app"[..]);
    let reach = walk(PATH, &here);
    assert_eq!(reach, Reach::Missing { at: b"/run/app", link: false });
    let found = missing(PATH, &reach, false).unwrap();
    assert_eq!(found.facts, [("missing", Value::Text(b"/run/app".to_vec()))]);
    assert!(found.advice.unwrap().contains("as /run/app does not exist"));

    let mut here = whole();
    here.there.remove(PATH);
    let reach = walk(PATH, &here);
    assert_eq!(reach, Reach::Missing { at: PATH, link: false });
    assert!(advice(missing(PATH, &reach, false)).contains("though its directory exists"));
    assert!(advice(missing(PATH, &reach, true)).contains("PrivateTmp="));
    here.links.push(PATH);
    let reach = walk(PATH, &here);
    assert!(advice(missing(PATH, &reach, true)).contains("/run/app/socket is a symbolic link"));
    assert!(advice(missing(PATH, &walk(PATH, &whole()), false)).contains("is by now"));
}

#[test]
fn the_parts_of_a_path() {
    for (path, expected) in [
        (&b"/run/app/socket"[..], vec![&b"/"[..], b"/run", b"/run/app"]),
        (b"//run//socket", vec![b"/", b"/", b"//run"]),
        (b"logs/socket", vec![b"logs"]),
        (b"socket", vec![]),
        (b"", vec![]),
        (b"/", vec![b"/"]),
    ] {
        assert_eq!(directories(path).collect::<Vec<_>>(), expected, "{path:?}");
    }
    assert_eq!(walk(&[b'/'; 200], &whole()), Reach::Unknown);
    assert_eq!(walk(b"/\xff/\0", &whole()), Reach::Missing { at: b"/\xff", link: false });
    let unreadable = Files { errno: 5, ..Files::default() };
    assert_eq!(walk(PATH, &unreadable), Reach::Unknown);
    assert_eq!(missing(PATH, &Reach::Unknown, false), None);
}

#[test]
fn a_directory_that_the_worker_may_not_enter() {
    let mut here = whole();
    here.there.insert(b"/run/app", attributes_of(0o040_750));
    here.closed.push(b"/run/app");
    let reach = walk(PATH, &here);
    let worker = &www_data();
    let seen = Security { worker, enforce: Some(b"1"), ..Security::default() };
    let found = denied(PATH, &reach, &seen).unwrap();
    assert_eq!(found.hint, None, "the permissions explain it, SELinux or not");
    assert_eq!(found.facts[0], ("denied_at", Value::Text(b"/run/app".to_vec())));
    assert_eq!(found.facts[2], ("mode", Value::Text(b"0750".to_vec())));
    assert_eq!(
        found.advice.unwrap(),
        "nginx's user www-data (uid 33, gid 33) may not enter /run/app (mode 0750, owner 0, group \
         0); add it to the directory's group, or give the directory the mode 0755"
    );
}

#[test]
fn a_link_into_a_closed_directory() {
    let mut here = whole();
    here.there.remove(PATH);
    here.errno = 13;
    let reach = walk(PATH, &here);
    assert_eq!(reach, Reach::Closed(PATH, None));
    let found = advice(denied(PATH, &reach, &Security::default()));
    assert!(found.starts_with("/run/app/socket is a symbolic link into"), "{found}");
}

#[test]
fn a_socket_that_the_worker_may_not_write_to() {
    let worker = &www_data();
    let seen = Security { worker, ..Security::default() };
    for (mode, uid, gid) in [(0o755, 0, 0), (0o577, 33, 33), (0o646, 0, 33), (0o707, 1, 44)] {
        let socket = Attributes { uid, gid, ..attributes_of(0o140_000 | mode) };
        let reach = Reach::There(socket, false);
        let found = advice(denied(PATH, &reach, &seen));
        assert!(found.contains(&format!("may not write to {} (mode {mode:04o}", shown(PATH))));
        assert!(found.contains("mode 0660"));
    }
}

#[test]
fn what_the_permissions_do_not_explain() {
    let worker = &www_data();
    let off = Security { worker, filesystems: Some(b"nodev tmpfs"), ..Security::default() };
    let on = Security { worker, enforce: Some(b"1"), relay: Some(b"0 0"), ..Security::default() };
    for writable in [true, false] {
        let reach = Reach::There(SOCKET, writable);
        let found = denied(PATH, &reach, &on).unwrap();
        assert_eq!(found.hint, Some(Hint::SelinuxEnforcing));
        assert!(found.advice.unwrap().contains("setsebool -P httpd_can_network_relay 1"));
        let found = denied(PATH, &reach, &off).unwrap();
        assert_eq!(found.hint, None);
        assert!(found.facts.contains(&("selinux", "off".into())));
        assert!(found.advice.unwrap().contains("look for an ACL"));
    }
    assert_eq!(denied(PATH, &walk(PATH, &files(&[])), &on), None);
}

#[test]
fn nobody_listens_or_it_is_no_socket() {
    let socket = Reach::There(SOCKET, true);
    let of = |listener| refused(PATH, &socket, listener).unwrap();
    let queue = Queue { waiting: 0, limit: 5 };
    for (listener, hint, words) in [
        (None, Some(Hint::NoListener), "left behind"),
        (Some(Listener::Nobody), Some(Hint::NoListener), "left behind"),
        (Some(Listener::Replaced), Some(Hint::NoListener), "was replaced since"),
        (Some(Listener::Named), None, "a socket of that name"),
        (Some(Listener::Here(queue)), Some(Hint::ListenerPresent), "does by now"),
    ] {
        let found = of(listener);
        assert_eq!(found.hint, hint);
        assert!(found.advice.unwrap().contains(words), "{listener:?}");
    }
    assert_eq!(of(Some(Listener::Nobody)).facts.last(), Some(&("listener", "nobody".into())));
    assert_eq!(of(None).facts.last(), Some(&("owner_gid", 0.into())));
    for (mode, kind) in [
        (0o100_644, "regular_file"),
        (0o040_755, "directory"),
        (0o010_644, "fifo"),
        (0o020_644, "device"),
        (0o170_000, "other"),
    ] {
        let found = refused(PATH, &Reach::There(attributes_of(mode), true), None).unwrap();
        assert_eq!((found.hint, &found.facts[0]), (None, &("kind", kind.into())));
    }
    assert_eq!(refused(PATH, &Reach::Unknown, None), None);
}

#[test]
fn a_full_queue_has_its_figures() {
    let full_of = |waiting| full(PATH, Queue { waiting, limit: 5 }, Some(b"4096\n"));
    let found = full_of(6);
    assert_eq!(found.hint, Some(Hint::AcceptQueueFull));
    let facts = [("accept_queue", 6), ("accept_queue_limit", 5), ("somaxconn", 4096)];
    assert_eq!(found.facts, facts.map(|(key, number)| (key, Value::Number(number))));
    let advice = found.advice.unwrap();
    assert!(advice.contains("is full (6 waiting, limit 5)") && advice.ends_with("its backlog"));
    let found = full(PATH, Queue { waiting: 6, limit: 5 }, Some(b"5\n"));
    assert!(found.advice.unwrap().ends_with("after net.core.somaxconn, which limits it"));
    // It has been emptied meanwhile: the figures say so.
    let found = full_of(5);
    assert_eq!((found.hint, found.advice, found.facts.len()), (None, None, 3));
}
