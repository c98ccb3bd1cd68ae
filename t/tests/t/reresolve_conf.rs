//! The directives of re-resolution: what is refused and in which words, and what is accepted.

use nginx_test::Nginx;

use crate::config::{accepted, check, refused};

const HTTP: &str = "\n%here%\n";
const UPSTREAM: &str = "upstream backend {\nserver 127.0.0.1:1;\n%here%\n}";

const RESOLVE: &str = "upstream_diagnosis_resolve";
const RESOLVER: &str = "upstream_diagnosis_resolver";

/// Refused in both contexts, with these words and the place.
fn resolve_is_refused(arguments: &str, words: &str) {
    let line = format!("{RESOLVE} {arguments};");
    for context in [HTTP, UPSTREAM] {
        refused(&check(context, &line), &line, words);
    }
}

fn resolver_is_refused(arguments: &str, words: &str) {
    let line = format!("{RESOLVER} {arguments};");
    refused(&check(HTTP, &line), &line, words);
}

#[test]
fn what_resolve_takes() {
    for value in [
        "off",
        "failure",
        "ttl",
        "failure min=1s max=300s timeout=2s wait=1s ipv4=on ipv6=on",
        "ttl ipv6=off wait=0 timeout=1ms min=1ms max=1ms",
        "ttl min=300s",
        "ttl max=1s",
        "failure ipv4=off",
        "failure max=52w timeout=1d wait=1h",
        "failure wait=1 timeout=1m30s",
    ] {
        let line = format!("{RESOLVE} {value};");
        for context in [HTTP, UPSTREAM] {
            let checked = check(context, &line);
            accepted(&checked, &line);
            assert!(!checked.stderr.contains("[warn]"), "{}", checked.stderr);
        }
    }
}

#[test]
fn a_mode_must_be_one_of_three() {
    for wrong in ["\"\"", "on", "OFF", "Failure", "failures", "always", "min=1s", "$arg_x", "0"] {
        resolve_is_refused(wrong, &format!("invalid value \"{}\"", wrong.trim_matches('"')));
    }
    resolve_is_refused("off wait=1s", "invalid value \"wait=1s\"");
    resolve_is_refused("off off", "invalid value \"off\"");
    resolve_is_refused("failure ttl", "invalid value \"ttl\"");
}

#[test]
fn a_wrong_parameter_is_named() {
    for wrong in [
        "min",
        "min=",
        "=1s",
        "min=0",
        "min=0s",
        "min=-1",
        "min=1x",
        "min=s",
        "min=99999999999999999999s",
        "Min=1s",
        "minimum=1s",
        "max=0",
        "max=",
        "max=forever",
        "timeout=0",
        "timeout=0ms",
        "timeout=1,5s",
        "wait=",
        "wait=no",
        "wait=-1s",
        "ipv4=",
        "ipv4=yes",
        "ipv4=1",
        "ipv6=Off",
        "ipv5=off",
        "valid=30s",
        "on",
        "\"\"",
    ] {
        let words = format!("invalid value \"{}\"", wrong.trim_matches('"'));
        resolve_is_refused(&format!("failure {wrong}"), &words);
        // The first wrong one of several, wherever it stands.
        resolve_is_refused(&format!("ttl wait=2s {wrong} max=x"), &words);
    }
}

#[test]
fn parameters_must_fit_together() {
    let order = "\"min\" must not be greater than \"max\"";
    resolve_is_refused("failure min=2s max=1s", order);
    resolve_is_refused("failure max=500ms", order);
    resolve_is_refused("ttl min=301s", order);
    let families = "\"ipv4\" and \"ipv6\" cannot both be \"off\"";
    resolve_is_refused("failure ipv4=off ipv6=off", families);
    resolve_is_refused("ttl ipv6=off wait=1s ipv4=off", families);
}

#[test]
fn what_the_resolver_takes() {
    for value in [
        "system",
        "system conf=/etc/resolv.conf",
        "system hosts=/etc/hosts",
        "system hosts=/etc/hosts conf=/etc/resolv.conf",
        // Relative to the directory of nginx.conf.
        "system conf=nginx.conf hosts=nginx.conf",
        "127.0.0.1",
        "127.0.0.1:5353",
        "[::1]",
        "[::1]:5353 10.0.0.1 [2001:db8::1]:53",
    ] {
        let line = format!("{RESOLVER} {value};");
        let checked = check(HTTP, &line);
        accepted(&checked, &line);
        assert!(!checked.stderr.contains("[warn]"), "{}", checked.stderr);
    }
}

#[test]
fn a_wrong_server_is_named() {
    for wrong in [
        "\"\"",
        "localhost",
        "ns.test:53",
        "10.0.0",
        "10.0.0.256",
        "10.0.0.1:",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:x",
        "10.0.0.0/8",
        "::1",
        "[::1",
        "[127.0.0.1]",
        "[::1]:0",
        "[fe80::1%eth0]x",
        "unix:/run/dns",
        "systems",
        "System",
        "valid=30s",
        "$arg_x",
        "off",
    ] {
        let words = format!("invalid value \"{}\"", wrong.trim_matches('"'));
        resolver_is_refused(wrong, &words);
        resolver_is_refused(&format!("127.0.0.1 {wrong} x"), &words);
    }
    resolver_is_refused("127.0.0.1 system", "invalid value \"system\"");
}

#[test]
fn files_of_the_system_must_be_there() {
    for wrong in ["conf=", "hosts=", "conf", "conf /etc/resolv.conf", "127.0.0.1", "host=/x"] {
        let first = wrong.split(' ').next().unwrap();
        resolver_is_refused(&format!("system {wrong}"), &format!("invalid value \"{first}\""));
    }
    let reason = "No such file or directory (os error 2)";
    for wrong in ["conf", "hosts"] {
        let words = format!("cannot read \"/nowhere/at.all\": {reason}");
        resolver_is_refused(&format!("system {wrong}=/nowhere/at.all"), &words);
        let line = format!("{RESOLVER} system {wrong}=not.here;");
        let checked = check(HTTP, &line);
        let directory = checked.place_of(&line);
        let directory = directory.rsplit_once('/').unwrap().0;
        refused(&checked, &line, &format!("cannot read \"{directory}/not.here\": {reason}"));
    }
}

#[test]
fn a_directive_twice_in_a_block_is_duplicate() {
    for (name, first, second) in [
        (RESOLVE, "failure", "off"),
        (RESOLVE, "off", "ttl"),
        (RESOLVE, "ttl", "ttl wait=1s"),
        (RESOLVER, "system", "127.0.0.1"),
        (RESOLVER, "127.0.0.1", "system"),
    ] {
        let line = format!("{name}  {second};");
        let both = format!("{name} {first};\n{line}");
        let words = format!("\"{name}\" directive is duplicate");
        refused(&check(HTTP, &both), &line, &words);
        if name == RESOLVE {
            refused(&check(UPSTREAM, &both), &line, &words);
            // Once in each is fine.
            let apart = format!("{name} {first};\nupstream backend {{ server 127.0.0.1; {line} }}");
            accepted(&check(HTTP, &apart), &apart);
        }
    }
}

#[test]
fn the_number_of_arguments_is_checked() {
    for name in [RESOLVE, RESOLVER] {
        let none = format!("{name};");
        let words = format!("invalid number of arguments in \"{name}\" directive");
        refused(&check(HTTP, &none), &none, &words);
        let block = format!("{name} off {{ }}");
        let words = format!("directive \"{name}\" is not terminated by \";\"");
        refused(&check(HTTP, &block), &block, &words);
    }
}

#[test]
fn elsewhere_it_is_not_allowed() {
    let elsewhere = [
        "server { listen %listen%;\n%here%\n}",
        "server { location / {\n%here%\n} }",
        "server { location / { if ($arg_x) {\n%here%\n} } }",
        "server { if ($arg_x) {\n%here%\n} }",
        "server { location / { limit_except GET {\n%here%\n} } }",
    ];
    for (name, value) in [(RESOLVE, "failure"), (RESOLVER, "system")] {
        let line = format!("{name} {value};");
        let words = format!("\"{name}\" directive is not allowed here");
        for context in elsewhere {
            refused(&check(context, &line), &line, &words);
        }
        if name == RESOLVER {
            refused(&check(UPSTREAM, &line), &line, &words);
        }
        refused(&Nginx::http("").off().main(&format!("\n{line}\n")).check(), &line, &words);
        refused(&Nginx::http("").off().events(&format!("\n{line}\n")).check(), &line, &words);
    }
}

/// Longer than nginx's own buffer for such a message.
#[test]
fn a_huge_argument_is_refused_like_a_small_one() {
    let huge = "\"x ".to_owned() + &"y".repeat(3000) + "\"";
    for line in [
        format!("{RESOLVE} {huge};"),
        format!("{RESOLVE} failure {huge};"),
        format!("{RESOLVER} {huge};"),
        format!("{RESOLVER} system {huge};"),
    ] {
        let checked = check(HTTP, &line);
        assert_eq!(checked.code, Some(1), "{}", checked.stderr);
        assert!(checked.stderr.contains("[emerg] invalid value \"x yyy"), "{}", checked.stderr);
    }
    let line = format!("{RESOLVER} system conf=/{};", "y".repeat(3000));
    let checked = check(HTTP, &line);
    assert_eq!(checked.code, Some(1), "{}", checked.stderr);
    assert!(checked.stderr.contains("[emerg] cannot read \"/yyy"), "{}", checked.stderr);
}
