//! Directives: what is refused and in which words, and what is accepted.

use nginx_test::{Checked, Nginx};

const DIRECTIVES: [(&str, &str); 4] = [
    ("upstream_diagnosis", "on"),
    ("upstream_diagnosis_header", "X-Why"),
    ("upstream_diagnosis_trust", "10.0.0.0/8"),
    ("upstream_diagnosis_proxy_status", "edge"),
];

/// Where the directives may stand.
const CONTEXTS: [&str; 3] = [
    "\n%here%\n",
    "server { listen %listen%;\n%here%\n}",
    "server { listen %listen%; location / {\n%here%\n} }",
];

/// `nginx -t` with these lines somewhere inside `http {}`, and nothing else of the module.
pub(crate) fn check(context: &str, here: &str) -> Checked {
    Nginx::http(context).off().set("here", here).check()
}

/// nginx refuses the line with these words, and says where it is.
pub(crate) fn refused(checked: &Checked, line: &str, words: &str) {
    assert_eq!(checked.code, Some(1), "{line}: {}", checked.stderr);
    let expected = format!("[emerg] {words} in {}\n", checked.place_of(line));
    assert!(checked.stderr.contains(&expected), "no {expected:?} in {}", checked.stderr);
}

pub(crate) fn accepted(checked: &Checked, what: &str) {
    assert_eq!(checked.code, Some(0), "{what}: {}", checked.stderr);
    assert!(checked.stderr.contains("test is successful"), "{what}: {}", checked.stderr);
    let complained = checked.stderr.contains("[emerg]") || checked.stderr.contains("[alert]");
    assert!(!complained, "{what}: {}", checked.stderr);
}

#[test]
fn each_directive_stands_in_http_server_and_location() {
    for context in CONTEXTS {
        let all = DIRECTIVES.map(|(name, value)| format!("{name} {value};\n")).concat();
        let checked = check(context, &all);
        accepted(&checked, context);
        assert!(!checked.stderr.contains("[warn]"), "{}", checked.stderr);
    }
}

#[test]
fn a_directive_twice_in_a_block_is_duplicate() {
    let again = [
        ("upstream_diagnosis", "off"),
        ("upstream_diagnosis_header", "off"),
        ("upstream_diagnosis_trust", "all"),
        ("upstream_diagnosis_proxy_status", "off"),
    ];
    for context in CONTEXTS {
        for ((name, first), (_, second)) in DIRECTIVES.iter().zip(again) {
            for (one, two) in [(*first, second), (second, *first)] {
                let line = format!("{name} {two};");
                let checked = check(context, &format!("{name} {one};\n{line}"));
                refused(&checked, &line, &format!("\"{name}\" directive is duplicate"));
            }
        }
    }
}

#[test]
fn the_same_value_twice_is_duplicate_too() {
    let checked = check(CONTEXTS[0], "upstream_diagnosis on;\nupstream_diagnosis  on;");
    refused(&checked, "upstream_diagnosis  on;", "\"upstream_diagnosis\" directive is duplicate");
}

#[test]
fn a_flag_is_on_or_off() {
    for value in ["yes", "1", "true", "onn", "o", "\"\"", "\"on \"", "$on"] {
        let line = format!("upstream_diagnosis {value};");
        let shown = value.trim_matches('"');
        let words = format!(
            "invalid value \"{shown}\" in \"upstream_diagnosis\" directive, \
             it must be \"on\" or \"off\""
        );
        for context in CONTEXTS {
            refused(&check(context, &line), &line, &words);
        }
    }
}

/// As ngx_conf_set_flag_slot does.
#[test]
fn a_flag_is_read_in_any_case() {
    for value in ["ON", "On", "OFF", "Off"] {
        accepted(&check(CONTEXTS[0], &format!("upstream_diagnosis {value};")), value);
    }
}

fn each_is_invalid(directive: &str, values: &[&str]) {
    for value in values {
        let line = format!("{directive} \"{value}\";");
        let words = format!("invalid value \"{}\"", value.replace("\\\"", "\""));
        refused(&check(CONTEXTS[0], &line), &line, &words);
    }
}

#[test]
fn a_header_name_is_a_token() {
    let wrong = ["", "X Why", "X-Why:", "X,Why", "X/Why", "(X)", "X\\\"", "X-Wärum", "X-Why;"];
    each_is_invalid("upstream_diagnosis_header", &wrong);
    for right in ["X-Why", "x", "0", "!#$%&'*+-.^_`|~", "on", "X-Upstream-Diagnosis"] {
        let line = format!("upstream_diagnosis_header \"{right}\";");
        accepted(&check(CONTEXTS[0], &line), right);
    }
}

#[test]
fn an_identifier_is_printable_and_short() {
    let long = "e".repeat(129);
    let wrong = ["", "Tür", "a\tb", "\u{7f}", &long];
    each_is_invalid("upstream_diagnosis_proxy_status", &wrong);
    for right in ["edge", "my \\\"edge\\\" 1", "edge.example.net:8080", &long[1..]] {
        let line = format!("upstream_diagnosis_proxy_status \"{right}\";");
        accepted(&check(CONTEXTS[0], &line), right);
    }
}

#[test]
fn trust_takes_addresses_networks_and_variables() {
    let wrong = [
        "",
        "localhost",
        "10.0.0",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/x",
        "/8",
        "::1/129",
        "[::1]",
        "unix",
        "unix:/run/x",
        "127.0.0.1:80",
        "off",
        "on",
        "127.0.0.1 ::1",
        "x$remote_addr",
    ];
    each_is_invalid("upstream_diagnosis_trust", &wrong);
    let right = [
        "all",
        "none",
        "127.0.0.1",
        "10.0.0.0/8 192.168.0.0/16",
        "::1 2001:db8::/32 ::ffff:10.0.0.0/104",
        "unix:",
        "$arg_debug $cookie_debug",
        "10.0.0.0/8 unix: $arg_debug",
        "0.0.0.0/0 ::/0",
        "\"$arg_a$arg_b\"",
    ];
    for value in right {
        let checked = check(CONTEXTS[0], &format!("upstream_diagnosis_trust {value};"));
        accepted(&checked, value);
        assert!(!checked.stderr.contains("[warn]"), "{}", checked.stderr);
    }
}

#[test]
fn all_and_none_stand_alone() {
    for (value, wrong) in [
        ("all 127.0.0.1", "all"),
        ("127.0.0.1 all", "all"),
        ("none unix:", "none"),
        ("$arg_x none", "none"),
        ("all none", "all"),
        ("all all", "all"),
    ] {
        let line = format!("upstream_diagnosis_trust {value};");
        refused(&check(CONTEXTS[0], &line), &line, &format!("invalid value \"{wrong}\""));
    }
}

#[test]
fn the_first_wrong_argument_of_several_is_named() {
    let line = "upstream_diagnosis_trust 127.0.0.1 nobody 10.0.0.0/99 $arg_x;";
    refused(&check(CONTEXTS[0], line), line, "invalid value \"nobody\"");
}

#[test]
fn meaningless_bits_of_an_address_are_warned_of() {
    let line = "upstream_diagnosis_trust 10.1.2.3/8;";
    let checked = check(CONTEXTS[0], line);
    accepted(&checked, line);
    let place = checked.place_of(line);
    let expected = format!("[warn] low address bits of 10.1.2.3/8 are meaningless in {place}\n");
    assert!(checked.stderr.contains(&expected), "{}", checked.stderr);
}

#[test]
fn a_variable_must_have_a_name_and_exist() {
    let line = "upstream_diagnosis_trust $;";
    refused(&check(CONTEXTS[0], line), line, "invalid variable name");
    let checked = check(CONTEXTS[0], "upstream_diagnosis_trust $no_such_thing;");
    assert_eq!(checked.code, Some(1));
    assert!(checked.stderr.contains("[emerg] unknown \"no_such_thing\" variable"));
}

#[test]
fn the_number_of_arguments_is_checked() {
    for (name, value) in DIRECTIVES {
        let none = format!("{name};");
        let two = format!("{name} {value} {value};");
        let words = format!("invalid number of arguments in \"{name}\" directive");
        refused(&check(CONTEXTS[0], &none), &none, &words);
        if name != "upstream_diagnosis_trust" {
            refused(&check(CONTEXTS[0], &two), &two, &words);
        }
        let block = format!("{name} {value} {{ }}");
        let words = format!("directive \"{name}\" is not terminated by \";\"");
        refused(&check(CONTEXTS[0], &block), &block, &words);
    }
}

#[test]
fn elsewhere_it_is_not_allowed() {
    let elsewhere = [
        "server { location / { if ($arg_x) {\n%here%\n} } }",
        "server { if ($arg_x) {\n%here%\n} }",
        "server { location / { limit_except GET {\n%here%\n} } }",
        "upstream backend { server 127.0.0.1:1;\n%here%\n}",
    ];
    for (name, value) in DIRECTIVES {
        let line = format!("{name} {value};");
        let words = format!("\"{name}\" directive is not allowed here");
        for context in elsewhere {
            refused(&check(context, &line), &line, &words);
        }
        refused(&Nginx::http("").off().main(&format!("\n{line}\n")).check(), &line, &words);
        refused(&Nginx::http("").off().events(&format!("\n{line}\n")).check(), &line, &words);
    }
}

#[test]
fn an_unknown_directive_of_that_name_is_unknown() {
    for name in ["upstream_diagnosi", "upstream_diagnosis_", "upstream_diagnosis_headers"] {
        let line = format!("{name} on;");
        refused(&check(CONTEXTS[0], &line), &line, &format!("unknown directive \"{name}\""));
    }
    let checked = check(CONTEXTS[0], "log_format x $upstream_diagnosis_nothing;");
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    assert!(checked.stderr.contains("unknown \"upstream_diagnosis_nothing\" variable"));
}

/// Longer than nginx's own buffer for such a message.
#[test]
fn a_huge_argument_is_refused_like_a_small_one() {
    let huge = "\"x ".to_owned() + &"y".repeat(3000) + "\"";
    for name in ["_header", "_trust", "_proxy_status", ""] {
        let checked = check(CONTEXTS[0], &format!("upstream_diagnosis{name} {huge};"));
        assert_eq!(checked.code, Some(1), "{name}: {}", checked.stderr);
        assert!(checked.stderr.contains("[emerg] invalid value \"x yyy"), "{}", checked.stderr);
    }
}

/// The module changes nothing about a configuration that does not mention it.
#[test]
fn what_was_accepted_before_still_is() {
    let events = "%load%\npid %dir%/nginx.pid;\nerror_log %dir%/error.log;\nevents { }\n";
    let http = |inside: &str| format!("{events}http {{ %paths% access_log off;\n{inside}\n}}");
    let server = |inside: &str| http(&format!("server {{ listen %listen%; {inside} }}"));
    let whole = [
        events.to_owned(),
        http(""),
        server(""),
        server("location / { return 204; } location /x { proxy_pass http://127.0.0.1:1; }"),
        http("upstream unused { server 127.0.0.1:1; keepalive 2; }"),
        http(
            "error_log /dev/null; server { listen %listen%; location / { error_log stderr debug; } }",
        ),
        "%load%\npid %dir%/nginx.pid;\nerror_log /dev/null emerg;\nevents { }\nhttp { %paths% access_log off;\n}"
            .to_owned(),
        server(
            "location / { proxy_pass http://localhost:1; error_page 502 = @a; }
            location @a { fastcgi_pass 127.0.0.1:1; }",
        ),
    ];
    for conf in whole {
        let with = Nginx::raw(&conf).check();
        let without = Nginx::raw(&conf).bare().check();
        accepted(&with, &conf);
        assert_eq!(with.code, without.code, "{conf}");
        let words = |checked: &Checked| checked.stderr.matches("nginx: ").count();
        assert_eq!(words(&with), words(&without), "{}{}", with.stderr, without.stderr);
        let off = conf.replace("http {", "http { upstream_diagnosis off;");
        accepted(&Nginx::raw(&off).check(), &off);
    }
}

/// What was wrong before is wrong in the same words.
#[test]
fn what_was_refused_before_still_is() {
    for wrong in [
        "server { proxy_pass http://127.0.0.1; }",
        "server { location / { proxy_pass 127.0.0.1; } }",
        "upstream a { }",
        "error_log;",
        "log_format x $nothing_like_it;",
    ] {
        let conf = format!("%load%\npid %dir%/nginx.pid;\nevents {{ }}\nhttp {{\n{wrong}\n}}");
        let words = |checked: Checked| {
            assert_eq!(checked.code, Some(1), "{wrong}");
            let place = checked.place_of("events");
            let file = place.rsplit_once('/').unwrap().0;
            checked.stderr.replace(file, "")
        };
        assert_eq!(words(Nginx::raw(&conf).check()), words(Nginx::raw(&conf).bare().check()));
    }
}
