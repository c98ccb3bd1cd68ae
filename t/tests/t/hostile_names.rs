//! Names that a client chooses (`proxy_pass http://$variable`): they are shown, never believed, and
//! every field and line stays what it claims to be.

use nginx_test::{Dns, Nginx, Reply, Running, Seen, Zone, log, wait};

/// The captured path is decoded: any byte but NUL may come.
const GO: &str = "server { listen %listen%; location ~ ^/go/(?<to>(?s:.*))$ {
    %resolver% proxy_pass http://$to; %more% } }";

/// Scalars alone, each in a log line of JSON; the standard log would repeat the client's raw bytes.
const SCALARS: &str = r#"
log_format scalars escape=json '{"field":"$upstream_diagnosis",'
  '"cause":"$upstream_diagnosis_cause","server":"$upstream_diagnosis_server",'
  '"address":"$upstream_diagnosis_address","errno":"$upstream_diagnosis_errno",'
  '"limit":"$upstream_diagnosis_limit","advice":"$upstream_diagnosis_advice"}';
log_format object escape=none '{"diagnosis":$upstream_diagnosis_json}';
access_log %dir%/scalars.log scalars; access_log %dir%/object.log object;"#;

fn going(resolver: &str) -> Running {
    let nginx = Nginx::http(GO).set("log", SCALARS).set("resolver", resolver);
    nginx.set("more", "").start()
}

/// As it may stand in a request line.
fn encoded(name: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let encode =
        |byte: &u8| if plain(byte) { char::from(*byte).into() } else { format!("%{byte:02X}") };
    name.iter().map(encode).collect()
}

/// Names with everything that a quoted string, a list, a log line or an object could trip over.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"\"quoted\""[..],
        b"back\\slash\\",
        b"\\\"",
        b"a, b;c=1",
        b"a\";address=\"10.0.0.1",
        b"a\"],\"x\"",
        b"line\nbreak\r\n[error] 1#1; *1 no live upstreams",
        b"\x01\x02\x1b[31m\x7f",
        b"tab\there",
        "w\u{e4}rmlich.test".as_bytes(),
        "\u{202e}\u{2028}\u{1f4a9}\u{fffd}".as_bytes(),
        b"\xff\xfe\xc3(\x80",
        b"\xed\xa0\x80",
        b"%s%n%V$host",
        b"</script><script>alert(1)</script>",
    ]
    .map(<[u8]>::to_vec)
    .into();
    names.extend((0x01..=0xff_u8).collect::<Vec<_>>().chunks(16).map(|bytes| {
        let mut name = bytes.to_vec();
        // The first end the host in a URL; the braces would look like a gap in the advice.
        name.retain(|byte| !b"/?#:{}".contains(byte));
        [b"x", &name[..], b"x"].concat()
    }));
    names.extend([200, 255, 1000, 1900, 2040, 2048, 4000].map(|length| vec![b'n'; length]));
    names.extend([100, 1000, 1300].map(|length| b"\"".repeat(length)));
    names.extend([100, 1000, 1300].map(|length| b"\xc3\xa9".repeat(length / 2)));
    names
}

/// The n-th line of both logs, read as JSON.
fn logged(nginx: &Running, number: usize) -> (String, nginx_test::Diagnosis) {
    let read = |name: &str| {
        let path = nginx.dir().join(name);
        wait::until(name, || log::lines(&path).get(number).cloned())
    };
    let scalars = read("scalars.log");
    let object = read("object.log")["diagnosis"].clone();
    let diagnosis = nginx_test::Diagnosis::read(&object).expect("a diagnosis");
    assert_eq!(scalars["cause"].as_str(), Some(diagnosis.cause.as_str()));
    assert_eq!(scalars["advice"].as_str(), Some(diagnosis.advice.as_str()));
    let server = diagnosis.attempt().text("server").unwrap_or_default();
    let shown = scalars["server"].as_str().unwrap();
    assert_eq!(shown, server);
    (scalars["field"].as_str().unwrap().to_owned(), diagnosis)
}

/// One member, whatever the name; the log tells the same.
fn is_one(reply: &Reply, cause: &str, name: &[u8]) -> nginx_test::Member {
    let shown = name.escape_ascii();
    let value = reply.header("X-Upstream-Diagnosis").unwrap_or_else(|| panic!("{shown}: {reply}"));
    assert!(value.is_ascii() && !value.bytes().any(|byte| byte.is_ascii_control()), "{value}");
    let member = reply.member();
    assert_eq!(member.name, cause, "{shown}: {reply}");
    for parameter in member.names() {
        let known =
            ["phase", "upstream", "server", "ms", "fd-free", "fd-limit", "conn-free", "conn-limit"];
        assert!(known.contains(&parameter), "{parameter} after {shown}: {reply}");
    }
    member
}

#[test]
fn without_a_resolver() {
    let nginx = going("");
    for (number, name) in names().into_iter().enumerate() {
        let reply = nginx.get(&format!("/go/{}", encoded(&name)));
        assert_eq!(reply.status, 502, "{}", name.escape_ascii());
        let member = is_one(&reply, "resolver_missing", &name);
        assert_eq!(member.token("phase"), Some("resolve"));
        let (field, diagnosis) = logged(&nginx, number);
        assert_eq!(Some(field), reply.header("X-Upstream-Diagnosis"));
        assert_eq!(diagnosis.attempt().cause, "resolver_missing");
        let message = diagnosis.attempt().text("message").unwrap().to_owned();
        assert!(message.starts_with("no resolver defined to resolve "), "{message}");
    }
}

/// The name comes first in nginx's text: it must not be read as one of nginx's others.
#[test]
fn names_that_are_nginx_s_own_words() {
    let resolver = Dns::start().saying(Zone::nxdomain());
    let nginx = going(&format!("resolver {resolver} ipv6=off; resolver_timeout 1s;"));
    for (number, name) in [
        "no live upstreams",
        "connect() failed (111: Connection refused)",
        "upstream timed out (110: Connection timed out)",
        "upstream prematurely closed connection",
        "upstream sent too big header",
        "upstream sent invalid header",
        "recv() failed (104: Connection reset by peer)",
        "socket() failed (24: Too many open files)",
        "64 worker_connections are not enough",
        "peer closed connection in SSL handshake",
        "no resolver defined to resolve x",
        "x could not be resolved (110: Operation timed out)",
        "x could not be resolved (2: Server failure)",
        "no port in upstream \"x\"",
        "pwrite() \"x\" failed (28: No space left on device)",
    ]
    .into_iter()
    .enumerate()
    {
        // Only so are the colons and slashes of a text no port and no path.
        let name = name.replace([':', '/'], ";");
        let reply = nginx.get(&format!("/go/{}", encoded(name.as_bytes())));
        assert_eq!(reply.status, 502, "{name}");
        let member = is_one(&reply, "dns_not_found", name.as_bytes());
        assert_eq!(member.string("upstream").map(str::to_lowercase), Some(name.to_lowercase()));
        let (_, diagnosis) = logged(&nginx, number);
        assert_eq!(diagnosis.attempt().cause, "dns_not_found");
    }
}

#[test]
fn what_is_no_upstream_at_all() {
    let nginx = going("");
    let names = [
        ":",
        "",
        "/",
        "a:b",
        "a:99999",
        "[",
        "[::1",
        "[x]:1",
        "unix:",
        "unix:/dev/null",
        "?x",
        ":80",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let reply = nginx.get(&format!("/go/{}", encoded(name.as_bytes())));
        let found = reply.causes();
        assert_eq!(found.len(), 1, "{name:?}: {reply}");
        let (_, diagnosis) = logged(&nginx, number);
        assert_eq!(diagnosis.cause, found[0]);
        let expected =
            ["upstream_invalid", "unix_socket_refused", "unix_socket_missing", "resolver_missing"];
        assert!(expected.contains(&found[0].as_str()), "{name:?}: {found:?}");
    }
}

/// Long names are cut, and what was cut does not break what follows.
#[test]
fn long_names_leave_room_for_the_rest() {
    let nginx = going("");
    let seen = nginx.get(&format!("/go/{}", "n".repeat(4000)));
    let member = seen.member();
    assert!(member.string("upstream").unwrap().len() <= 200);
    assert!(member.integer("conn-limit").is_some(), "{seen}");
    let (_, diagnosis) = logged(&nginx, 0);
    assert!(diagnosis.raw.to_string().len() < 4000, "{}", diagnosis.raw);
}

/// `Seen` holds every scalar against header and object, here for plain names of every length.
#[test]
fn scalars_tell_what_the_header_tells() {
    let nginx = Nginx::http(GO).set("resolver", "").set("more", "").start();
    for length in [1, 50, 100, 190] {
        let seen: Seen = nginx.fetch(&format!("/go/{}", "n".repeat(length)));
        assert_eq!(seen.diagnosis().cause, "resolver_missing");
    }
}

/// The advice has gaps of its own to fill: a name is no template.
#[test]
fn a_name_is_filled_in_once() {
    let nginx = going("");
    let _ = nginx.get(&format!("/go/{}", encoded(b"{address}{server}{limit}{x")));
    let path = nginx.dir().join("object.log");
    let line = wait::until("a log line", || log::lines(&path).pop());
    let advice = line["diagnosis"]["advice"].as_str().unwrap();
    assert!(advice.contains(" {address}{server}{limit}{x;"), "{advice}");
}
