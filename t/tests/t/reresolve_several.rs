//! Several names in one upstream block: what one of them lacks, another may have.

use std::time::Duration;

use nginx_test::dns::{Dns, Zone};
use nginx_test::{Host, Nginx, Port, Running};

/// `gone.test` does not exist any more, `app.test` moves.
fn start(dns: &Dns, port: &Port, resolve: &str) -> Running {
    Nginx::http(
        "upstream_diagnosis_resolver %dns%; upstream_diagnosis_resolve %resolve%;
         upstream backend { server app.test:%port%; server gone.test:%port%; }
         server { listen %listen%; location / { proxy_pass http://backend; } }",
    )
    .set("resolve", resolve)
    .set("dns", dns)
    .set("port", port)
    .hosts(&[("127.0.0.2", "app.test"), ("127.0.0.4", "gone.test")])
    .start()
}

/// Said long after `gone.test` is known not to exist.
fn moved() -> Zone {
    Zone::addresses(["127.0.0.3"]).after(Duration::from_millis(100))
}

#[test]
fn a_name_that_does_not_exist_does_not_end_the_wait_for_another() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", moved());
    let nginx = start(&dns, &port, "failure min=1ms");
    let seen = nginx.fetch("/");
    assert_eq!(seen.reply.causes(), ["connection_refused"; 2], "{}", seen.reply);
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{}", seen.reply);
}

#[test]
fn nor_when_all_servers_are_put_aside() {
    let (dns, port) = (Dns::start(), Port::reserve());
    dns.set("app.test", Zone::addresses(["127.0.0.2"]));
    let nginx = start(&dns, &port, "failure min=1ms");
    assert_eq!(nginx.fetch("/").reply.status, 502);
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", moved());
    let seen = nginx.fetch("/");
    assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{}", seen.reply);
}

/// One of the addresses does not answer, and the other server is put aside.
#[test]
fn a_server_that_was_tried_has_more_addresses_when_all_others_are_put_aside() {
    let (dns, port) = (Dns::start(), Port::reserve());
    let _new = Host::start(port.at([127, 0, 0, 3]), "new");
    dns.set("app.test", Zone::addresses(["127.0.0.3", "127.0.0.5"]));
    let nginx = start(&dns, &port, "failure");
    for _ in 0..6 {
        let seen = nginx.fetch("/");
        assert_eq!((seen.reply.status, seen.reply.text().as_str()), (200, "new"), "{}", seen.reply);
    }
}
