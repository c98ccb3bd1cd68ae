//! What DNS says of a failed attempt: in the header, the variables and the JSON, and to whom.

use nginx_test::backend::Dead;
use nginx_test::dns::Zone;
use nginx_test::{Client, Gate, Host, Seen};
use serde_json::json;

use crate::moved::{Moved, answered, resolution};

/// The verdict everywhere.
fn says(seen: &Seen, dns: &str) {
    assert_eq!(seen.reply.member().token("dns"), Some(dns), "{}", seen.reply);
    in_log(seen, dns);
}

fn in_log(seen: &Seen, dns: &str) {
    assert_eq!(seen.diagnosis().attempts[0].text("dns"), Some(dns), "{}", seen.diagnosis().raw);
    assert_eq!(seen.line.field("upstream_diagnosis_dns"), dns);
}

#[test]
fn stale() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).ttl(77));
    let nginx = moved.nginx().start();
    let seen = nginx.fetch("/");
    says(&seen, "stale");
    assert_eq!(seen.reply.member().token("hint"), Some("address_left_dns"));
    assert_eq!(seen.line.field("upstream_diagnosis_hint"), "address_left_dns");
    let told = &seen.diagnosis().raw["attempts"][0]["resolution"];
    assert_eq!(told["name"], "app.test");
    assert_eq!(told["configured"], json!(["127.0.0.2"]));
    assert_eq!(told["current"], json!(["127.0.0.3"]));
    assert_eq!(told["ttl_s"], 77);
    assert!(told["age_ms"].as_u64().is_some_and(|age| age < 30_000), "{told}");
    assert!(told["waited_ms"].as_u64().is_some_and(|waited| waited <= 1000), "{told}");
    assert_eq!(told.get("error"), None);
    assert_eq!((&told["used"], &told["sent_to"]), (&json!("this_request"), &json!(moved.now())));
    let advice = format!(
        "app.test no longer resolves to 127.0.0.2 but to 127.0.0.3; this request was sent to {}, \
         later ones go there too",
        moved.now()
    );
    assert_eq!(seen.diagnosis().advice, advice);
    assert_eq!(seen.line.field("upstream_diagnosis_advice"), advice);
}

/// The request was on its way when the answer came, and may not be tried again.
#[test]
fn stale_for_later_requests() {
    let (moved, gate) = (Moved::start(), Gate::new());
    let old = Host::start(moved.then(), "old");
    old.vanish();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let conf = "proxy_next_upstream off; proxy_connect_timeout 1s;";
    let nginx = moved
        .nginx()
        .error_level("debug")
        .set("location", conf)
        .set("resolve", "ttl min=10ms timeout=20s");
    let nginx = nginx.start();
    let mut client = nginx.connect();
    client.start("/");
    nginx.wait_for_error(&format!("connect to {}", moved.then()));
    gate.open();
    let seen = Seen { reply: client.read("GET"), line: nginx.logged() };
    assert_eq!((seen.reply.status, seen.diagnosis().cause.as_str()), (504, "connection_timeout"));
    says(&seen, "stale");
    assert_eq!(*resolution(&seen, "used"), "later_requests");
    let advice =
        "app.test no longer resolves to 127.0.0.2 but to 127.0.0.3; later requests go there";
    assert_eq!(seen.diagnosis().advice, advice);
    answered(&nginx, "new");
}

#[test]
fn fresh() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::addresses(["127.0.0.2", "127.0.0.3"]));
    moved.new.kill();
    let nginx = moved.nginx().start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 502);
    let diagnosis = seen.diagnosis();
    assert_eq!(diagnosis.attempts.len(), 2);
    for attempt in &diagnosis.attempts {
        assert_eq!(attempt.text("dns"), Some("fresh"), "{}", diagnosis.raw);
        assert_ne!(attempt.text("hint"), Some("address_left_dns"));
    }
    assert!(!diagnosis.advice.contains("resolve"), "{}", diagnosis.advice);
    assert_eq!(*resolution(&seen, "current"), json!(["127.0.0.2", "127.0.0.3"]));
    assert_eq!(*resolution(&seen, "ttl_s"), 30);
}

#[test]
fn unresolved() {
    let moved = Moved::start();
    moved.dns.set("app.test", Zone::servfail());
    // What the kernel says of the address would be the advice.
    let nginx = moved.nginx().set("beside", "upstream_diagnosis_evidence off;").start();
    let seen = nginx.fetch("/");
    says(&seen, "unresolved");
    let told = &seen.diagnosis().raw["attempts"][0]["resolution"];
    assert_eq!(told["configured"], json!(["127.0.0.2"]));
    assert_eq!((told.get("current"), told.get("age_ms"), told.get("ttl_s")), (None, None, None));
    assert_eq!((&told["error"], &told["used"]), (&json!("servfail"), &json!("nothing")));
    let advice =
        "app.test could not be looked up again (servfail), so 127.0.0.2 may be out of date";
    assert!(seen.diagnosis().advice.contains(advice), "{}", seen.diagnosis().advice);
}

#[test]
fn unknown() {
    let (moved, gate) = (Moved::start(), Gate::new());
    moved.dns.set("app.test", Zone::addresses(["127.0.0.3"]).held(&gate));
    let nginx = moved.nginx().set("resolve", "failure wait=50ms timeout=20s").start();
    let seen = nginx.fetch("/");
    says(&seen, "unknown");
    let told = &seen.diagnosis().raw["attempts"][0]["resolution"];
    assert_eq!((told.get("current"), told.get("error"), told.get("used")), (None, None, None));
    gate.open();
}

/// A server without a name, beside one with a name and in a block of its own.
#[test]
fn literal() {
    let (moved, dead) = (Moved::start(), Dead::refusing());
    for (upstream, asked) in [("%dead%", false), ("%dead%; server app.test:%port%", true)] {
        let nginx = moved.nginx().set("upstream", upstream).set("dead", &dead);
        let nginx = nginx.set("beside", "upstream literal { server %upstream%; }");
        let nginx = nginx.set("server", "location /l { proxy_pass http://literal; }").start();
        let seen = nginx.fetch("/l");
        if !asked {
            assert_eq!(seen.reply.status, 502);
            assert_eq!(seen.reply.member().token("dns"), None);
            continue;
        }
        assert_eq!(seen.reply.status, 200);
        let verdicts: Vec<_> = seen.diagnosis().attempts.iter().map(|a| a.text("dns")).collect();
        assert_eq!(verdicts, [Some("literal"), Some("stale")]);
    }
}

/// A failure after the request was sent says so too, once there is an answer.
#[test]
fn later_failures_have_a_verdict() {
    let moved = Moved::start();
    let nginx = moved.nginx().set("location", "proxy_read_timeout 100ms;");
    let nginx = nginx
        .set("server", "location /held { proxy_pass http://backend; proxy_read_timeout 100ms; }")
        .start();
    answered(&nginx, "new");
    let seen = nginx.fetch("/held");
    assert_eq!((seen.reply.status, seen.diagnosis().cause.as_str()), (504, "header_timeout"));
    assert_eq!(seen.line.field("upstream_addr"), moved.now().to_string());
    let dns = seen.reply.member().token("dns").map(str::to_owned);
    assert!(dns.is_none() || dns.as_deref() == Some("fresh"), "{dns:?}");
}

/// Nothing of it is for strangers: no name, no address, no verdict.
#[test]
fn strangers_see_nothing_of_it() {
    let moved = Moved::start();
    let nginx = moved
        .nginx()
        .set("server", "upstream_diagnosis_trust none; upstream_diagnosis_proxy_status edge;")
        .start();
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.status, 200);
    // The answer is that of a back end.
    assert_eq!(seen.reply.header("X-Upstream-Diagnosis"), None);
    in_log(&seen, "stale");
    moved.new.kill();
    moved.dns.set("app.test", Zone::servfail());
    let reply = Client::connect(nginx.address("listen")).get("/");
    assert_eq!(reply.header("X-Upstream-Diagnosis").as_deref(), Some("connection_refused"));
    let text = format!("{reply}{}", reply.text());
    for secret in ["app.test", "127.0.0.", "stale", "dns", "resol", "backend"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// A name that changes again and again: the age and the current addresses follow.
#[test]
fn the_answer_of_the_moment() {
    let moved = Moved::start();
    let other = Host::start(moved.port.at([127, 0, 0, 4]), "other");
    let nginx = moved.nginx().set("resolve", "failure min=1ms").start();
    answered(&nginx, "new");
    for (leaves, comes, address) in
        [(&moved.new, "other", "127.0.0.4"), (&other, "new", "127.0.0.3")]
    {
        moved.dns.set("app.test", Zone::addresses([address]));
        let before = leaves.address();
        leaves.kill();
        if comes == "new" {
            moved.new.revive();
        }
        let seen = answered(&nginx, comes);
        says(&seen, "stale");
        assert_eq!(*resolution(&seen, "current"), json!([address]));
        assert_eq!(*resolution(&seen, "configured"), json!(["127.0.0.2"]));
        let said = format!("no longer resolves to {} but to {address}", before.ip());
        assert!(seen.diagnosis().advice.contains(&said), "{}", seen.diagnosis().advice);
    }
}
