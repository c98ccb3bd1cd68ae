//! The last request: its host has moved.

use std::net::Ipv4Addr;

use nginx_test::sandbox::Etc;
use nginx_test::{Dns, Host, Nginx, Port, Running, Zone};

use crate::cases::Case;
use crate::show::Show;

const OLD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const CONF: &str = "
    upstream_diagnosis_resolver %dns%;
    upstream_diagnosis_resolve failure;
    upstream app { server %name%:%port%; }
    server { listen %listen%; location / { proxy_pass http://app; } }";

const CASE: Case = Case {
    title: "its host has moved; nginx asks for the name, and the request is answered",
    path: "/moved",
    status: 200,
    causes: &["connection_refused"],
    before: 0,
};

/// A host leaves, another one takes its name over; one request before that, one that finds out, and
/// one after it.
pub(crate) fn play(show: &mut Show) {
    let (dns, port) = (Dns::start(), Port::reserve());
    let (old, new) = (Host::start(port.at(OLD), "old"), Host::start(port.at(NEW), "new"));
    let (name, nginx) = named(crate::conf(CONF).set("dns", &dns).set("port", &port));
    let nginx = nginx.set("name", name).start();

    show.begin(&CASE);
    show.tell(&format!("{name}:{port} is {}", answered_by(&nginx)));
    dns.set(name, Zone::addresses([NEW]));
    old.kill();
    show.tell(&format!("{OLD} refuses from now on, and DNS says {NEW}"));
    show.pause();
    let seen = nginx.fetch(CASE.path);
    show.exchange(&CASE, &seen);
    show.pause();
    let now = answered_by(&nginx);
    assert_eq!(now, new.to_string(), "later requests go straight there");
    show.tell(&format!("{name}:{port} is {now} for all requests after it"));
    show.line("its line in the log of failures", &crate::logged(&nginx, &seen));
    drop((nginx, new));
}

/// The name of the old host, in an /etc of nginx's own. Whoever may not make that can only have one
/// that looks like a number: the system knows what it means, and DNS may say anything about it.
fn named(nginx: Nginx) -> (&'static str, Nginx) {
    let name = "app.internal";
    match Etc::is_permitted() {
        true => (name, nginx.hosts(&[(&OLD.to_string(), name)])),
        false => ("127.2", nginx),
    }
}

/// Where a request goes.
fn answered_by(nginx: &Running) -> String {
    nginx.fetch(CASE.path).line.field("upstream_addr").to_owned()
}
