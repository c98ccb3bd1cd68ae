use super::*;

/// A configuration without quotes and comments, read as nginx would come upon it.
fn read(text: &str) -> Configuration {
    let mut configuration = Configuration::default();
    let mut words: Vec<Vec<u8>> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let place = Place { file: b"nginx.conf".as_slice().into(), line: number };
        let spaced = line.replace(';', " ; ").replace("{ ", " { ").replace("{}", " { }");
        for word in spaced.split_whitespace() {
            match word {
                ";" => configuration.add(std::mem::take(&mut words), place.clone()),
                "{" => configuration.open(std::mem::take(&mut words), place.clone()),
                "}" => configuration.close(),
                word => words.push(word.trim_matches('"').as_bytes().to_vec()),
            }
        }
    }
    configuration
}

const AROUND: Surroundings = Surroundings {
    keeps_by_default: false,
    worker_connections: 1024,
    file_limit: Some(4096),
    own_files: 16,
    errors_hidden: false,
    in_container: false,
};

fn findings_with(text: &str, around: &Surroundings) -> Vec<Finding> {
    find(&read(text), around, &Machine)
}

/// Nobody but root may enter /root, and there is a listener on 8080.
struct Machine;

impl Look for Machine {
    fn barrier(&self, path: &[u8]) -> Option<Barrier> {
        let closed = path.starts_with(b"/root/");
        let barrier =
            Barrier { path: b"/root".to_vec(), is_socket: false, user: b"nobody".to_vec() };
        closed.then_some(barrier)
    }

    fn listens(&self, address: SocketAddr) -> bool {
        address.port() == 8080
    }
}

fn findings(text: &str) -> Vec<Finding> {
    findings_with(text, &AROUND)
}

fn silent(text: &str) {
    assert_eq!(findings(text), [], "{text}");
}

/// One finding of that level, in the line, about that.
fn one(text: &str, level: Level, line: u64, about: &str) {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    assert_eq!(found[0].level, level, "{found:?}");
    assert_eq!(found[0].place.as_ref().map(|place| place.line), Some(line), "{found:?}");
    assert!(found[0].text.contains(about), "{found:?}");
}

#[test]
fn names() {
    one("upstream b { server app:3000; }", Level::Notice, 1, "\"app:3000\" is resolved now");
    one("location / {\nproxy_pass http://app/x;\n}", Level::Notice, 2, "\"app\" is resolved now");
    one(
        "location / { proxy_pass http://app; }\nlocation /x { proxy_pass http://app/y; }",
        Level::Notice,
        1,
        "app",
    );
    silent("upstream b { server app:3000 resolve; server 10.0.0.1; server unix:/run/x; }");
    silent("upstream_diagnosis_resolve ttl; upstream b { server app:3000; }");
    silent("upstream b { server app:3000; upstream_diagnosis_resolve failure min=2s; }");
    silent("upstream_diagnosis_resolve failure; location / { proxy_pass http://app/x; }");
    one(
        "upstream_diagnosis_resolve ttl; upstream b { upstream_diagnosis_resolve off; server a:1; }",
        Level::Notice,
        1,
        "\"a:1\" is resolved now",
    );
    silent("upstream b { server localhost:3000; server [::1]:3000; }");
    silent("upstream App { server 10.0.0.1; } server { location / { proxy_pass http://app/x; } }");
}

#[test]
fn variables() {
    let warn = Level::Warn;
    one("location / { proxy_pass http://app$request_uri; }", warn, 1, "\"app\" is never looked up");
    one("location / { set $x app:3000; proxy_pass http://$x; }", warn, 1, "\"app:3000\"");
    one("location / { set $x http://app; proxy_pass $x/y; }", warn, 1, "\"app\"");
    one("location / { proxy_pass http://$host; }", Level::Notice, 1, "a host name in them");
    silent("resolver 10.0.0.1; server { location / { proxy_pass http://$host; } }");
    silent("upstream b { server 10.0.0.1; } location / { proxy_pass http://$b; }");
    silent("upstream b { server 10.0.0.1; } location / { set $x b; proxy_pass http://$x; }");
    silent("location / { set $x 10.0.0.1:80; proxy_pass http://$x$request_uri; }");
    silent("location / { proxy_pass http://127.0.0.1:3000$request_uri; }");
    silent("location / { proxy_pass http://127.0.0.1:3000/$1; }");
}

#[test]
fn unix() {
    one("upstream b {\nserver unix:/root/x;\n}", Level::Warn, 2, "may not enter \"/root\"");
    one("location / { proxy_pass http://unix:/root/x:/y; }", Level::Warn, 1, "\"unix:/root/x\"");
    silent("upstream b { server unix:/run/x; } location / { fastcgi_pass unix:/run/y; }");
    silent("location / { proxy_pass http://unix:/root/$host:/; }");
}

const KEPT: &str = "upstream b { server 10.0.0.1; keepalive 8; }\n";

const INSIDE: Surroundings = Surroundings { in_container: true, ..AROUND };

#[test]
fn container() {
    for (argument, found) in [
        ("http://127.0.0.1:3000/x", 1),
        ("http://localhost:3000", 1),
        ("https://[::1]", 1),
        ("http://127.0.0.1", 1),
        ("http://127.0.0.1:8080", 0),
        ("http://10.0.0.1:3000", 0),
        ("http://unix:/run/x", 0),
    ] {
        let text = format!("location / {{ proxy_pass {argument}; }}");
        assert_eq!(findings_with(&text, &INSIDE).len(), found, "{text}");
        silent(&text);
    }
    let twice = "upstream b { server 127.0.0.1:1; server 127.0.0.1:1; server 127.0.0.2:1; }";
    let found = findings_with(twice, &INSIDE);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].level, Level::Notice);
}

#[test]
fn keepalive() {
    let with = |inside: &str| format!("{KEPT}location / {{ {inside} proxy_pass http://b; }}");
    let http11 = "proxy_http_version 1.1;";
    one(&with(""), Level::Warn, 2, "without \"proxy_http_version 1.1\" and with");
    one(&with(http11), Level::Warn, 2, "sent with \"Connection: close\"");
    one(&with("proxy_set_header Connection \"\";"), Level::Warn, 2, "without \"proxy_http");
    let right = format!("{http11} proxy_set_header connection \"\";");
    silent(&with(&right));
    silent(&with(&format!("{http11} proxy_set_header Connection $connection_upgrade;")));
    silent(&format!("{right} {}", with("")));
    // Headers are inherited all or none.
    let again = format!("{right} {}", with("proxy_set_header Host x;"));
    assert_eq!(findings(&again).len(), 1);
    let newer = Surroundings { keeps_by_default: true, ..AROUND };
    assert_eq!(findings_with(&with(""), &newer), []);
    assert_eq!(findings_with(&with("proxy_http_version 1.0;"), &newer).len(), 1);
    one(&format!("{KEPT}location / {{ fastcgi_pass b; }}"), Level::Warn, 2, "fastcgi_keep_conn");
    silent(&format!("{KEPT}location / {{ fastcgi_keep_conn on; fastcgi_pass b; }}"));
    silent("upstream b { server 10.0.0.1; } location / { proxy_pass http://b; }");
}

#[test]
fn upgrade() {
    let http11 = "proxy_http_version 1.1; proxy_set_header Connection";
    let kept = format!("{KEPT}location / {{ {http11} \"upgrade\"; proxy_pass http://b; }}");
    one(&kept, Level::Warn, 2, "\"Connection: upgrade\" goes with every request to \"b\"");
    silent(&kept.replace("keepalive 8;", ""));
    silent(&kept.replace("\"upgrade\"", "$connection_upgrade"));
}

#[test]
fn timeouts() {
    one("proxy_read_timeout 1h;", Level::Notice, 1, "proxy_read_timeout 1h: a request");
    one("server {\nlocation / {\nfastcgi_read_timeout 86400;\n}\n}", Level::Notice, 3, "86400");
    silent("proxy_read_timeout 3599s; grpc_read_timeout 59m;");
}

#[test]
fn buffers() {
    one("proxy_buffering off; proxy_buffers 4 8k;", Level::Warn, 1, "proxy_buffers does nothing");
    one(
        "proxy_buffering off;\nlocation / {\nproxy_busy_buffers_size 8k;\n}",
        Level::Warn,
        3,
        "proxy_busy_buffers_size does nothing",
    );
    silent("proxy_buffers 4 8k; location / { proxy_buffering off; }");
    silent("proxy_buffering off; proxy_buffer_size 8k; location / { fastcgi_buffers 4 8k; }");
}

#[test]
fn connections() {
    let level = |worker_connections, limit| {
        let around = Surroundings { worker_connections, file_limit: limit, ..AROUND };
        findings_with("", &around).first().map(|finding| finding.level)
    };
    assert_eq!(level(1024, Some(1024)), Some(Level::Notice));
    assert_eq!(level(1025, Some(1024)), Some(Level::Warn));
    assert_eq!(level(768, Some(1024)), None);
    assert_eq!(level(100_000, None), None);
}

#[test]
fn error_log() {
    let pass = "location / { proxy_pass http://10.0.0.1; }";
    one(&format!("error_log x crit;\n{pass}"), Level::Warn, 1, "error_log at level crit hides");
    silent(&format!("error_log x crit; error_log y; {pass}"));
    silent(&format!("error_log x warn; {pass} location /static {{ error_log x emerg; }}"));
    let hidden = Surroundings { errors_hidden: true, ..AROUND };
    let found = findings_with(pass, &hidden);
    assert_eq!((found.len(), found[0].place.clone()), (1, None));
    assert_eq!(findings_with(&format!("error_log x error; {pass}"), &hidden), []);
}

#[test]
fn trust() {
    one("upstream_diagnosis_trust all;", Level::Warn, 1, "trusts everybody");
    one("upstream_diagnosis_trust 10.0.0.0/8 ::/0;", Level::Warn, 1, "trusts everybody");
    silent("upstream_diagnosis_trust 10.0.0.0/8 unix:;");
}

#[test]
fn a_mistake_that_was_copied_is_told_ten_times() {
    let found = findings(&"location / { proxy_read_timeout 1h; }\n".repeat(25));
    assert_eq!(found.len(), 10);
    assert!(found[9].text.ends_with(" (15 more of this kind)"), "{found:?}");
}

#[test]
fn hostile_words_end_nothing() {
    let found = findings("upstream b { server a\u{7}\u{e9}b:1; }");
    assert!(found[0].text.starts_with("\"a???b:1\" is resolved"), "{found:?}");
    // More closed than opened, and directives without words.
    let mut configuration = read("} } x;");
    configuration.add(Vec::new(), Place::default());
    configuration.open(Vec::new(), Place::default());
    configuration.close();
    configuration.close();
    assert_eq!(find(&configuration, &INSIDE, &Machine), []);
    for argument in ["", "$", "unix:", "http://", "http://[", "http://$", "http://:", "[", "${"] {
        let words = |name: &[u8]| vec![name.to_vec(), argument.as_bytes().to_vec()];
        let mut configuration = Configuration::default();
        configuration.open(words(b"upstream"), Place::default());
        configuration.add(words(b"server"), Place::default());
        configuration.close();
        for name in [&b"proxy_pass"[..], b"proxy_set_header", b"error_log", b"set"] {
            configuration.add(words(name), Place::default());
        }
        find(&configuration, &INSIDE, &Machine);
    }
}
