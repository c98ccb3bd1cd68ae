//! The ways to fail, in the order of an attempt's life.

use std::any::Any;

use nginx_test::backend::{Authority, Backlog, Dead, fastcgi};
use nginx_test::{Backend, Dns, Place, Running, Seen, Step, Zone};

/// One request and what it has to show.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) title: &'static str,
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    pub(crate) causes: &'static [&'static str],
    /// Requests before it that only prepare it.
    pub(crate) before: usize,
}

impl Case {
    pub(crate) fn play(&self, nginx: &Running) -> Seen {
        for _ in 0..self.before {
            nginx.fetch(self.path);
        }
        nginx.fetch(self.path)
    }
}

/// The cases, and what they need: back ends, a name server, a certificate authority.
pub(crate) struct Stage {
    pub(crate) cases: Vec<Case>,
    pub(crate) ca: String,
    authority: Authority,
    upstreams: String,
    locations: String,
    props: Vec<Box<dyn Any>>,
}

impl Stage {
    pub(crate) fn set() -> Self {
        let authority = Authority::new();
        let mut stage = Self {
            cases: Vec::new(),
            ca: authority.pem(),
            authority,
            upstreams: String::new(),
            locations: String::new(),
            props: Vec::new(),
        };
        stage.finding();
        stage.connecting();
        stage.handshaking();
        stage.answering();
        stage.going_on();
        stage
    }

    /// For the inside of `http {}`.
    pub(crate) fn conf(&self) -> String {
        format!("{}server {{ listen %listen%; {} }}", self.upstreams, self.locations)
    }

    fn finding(&mut self) {
        let resolver = Dns::start().saying(Zone::nxdomain());
        let conf = format!(
            "resolver {resolver} ipv6=off; set $name ghost.example.com; proxy_pass http://$name;"
        );
        self.keep(resolver);
        self.case("the name does not exist", "/unknown", 502, &["dns_not_found"], &conf);
    }

    fn connecting(&mut self) {
        let pass = "proxy_pass http://%name%;";
        self.server("app", Dead::refusing());
        let cause = &["connection_refused"];
        let title = "nothing listens on the port";
        self.case(title, "/refused", 502, cause, "proxy_pass http://app;");
        let conf = "proxy_pass http://app; upstream_diagnosis_trust none;
            upstream_diagnosis_proxy_status demo.example;";
        let title = "the same, seen by a client that is not trusted, with Proxy-Status";
        self.case(title, "/public", 502, cause, conf);
        self.server("missing", Dead::missing_socket());
        let cause = &["unix_socket_missing"];
        self.case("the unix socket is not there", "/missing", 502, cause, pass);
        self.server("silent", Backlog::full());
        let conf = "proxy_pass http://%name%; proxy_connect_timeout 200ms;";
        let title = "nobody accepts the connection";
        self.case(title, "/silent", 504, &["connection_timeout"], conf);
    }

    fn handshaking(&mut self) {
        let bad = answer("400 Bad Request", "", "");
        self.server("plain", [Step::Read(1), Step::Write(bad), Step::WaitForPeerClose]);
        let conf = "proxy_pass https://%name%;";
        self.case("TLS to a plain HTTP port", "/plain", 502, &["tls_peer_plaintext"], conf);
        let config = self.authority.issue_expired("expired").server();
        let script = [Step::Tls, Step::WaitForPeerClose];
        self.server("expired", Backend::at(Place::Tcp).tls(config).script(script));
        let conf = "proxy_pass https://%name%; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate %dir%/ca.pem;";
        let title = "the certificate has expired";
        self.case(title, "/expired", 502, &["tls_certificate_expired"], conf);
    }

    fn answering(&mut self) {
        let pass = "proxy_pass http://%name%;";
        self.server("crash", [Step::ReadHead, Step::Close]);
        let cause = &["closed_before_header"];
        self.case("the back end closes instead of answering", "/crash", 502, cause, pass);
        self.server("reset", [Step::ReadHead, Step::Reset]);
        let cause = &["reset_before_header"];
        self.case("it resets the connection", "/reset", 502, cause, pass);
        self.server("slow", [Step::ReadHead, Step::Hold]);
        let conf = "proxy_pass http://%name%; proxy_read_timeout 200ms;";
        self.case("it does not answer in time", "/slow", 504, &["header_timeout"], conf);
        let cookies = format!("Set-Cookie: session={}\r\n", "c".repeat(8000));
        self.server("cookies", Backend::answering(answer("200 OK", &cookies, "")));
        let cause = &["header_too_big"];
        self.case("its header is larger than the buffer", "/cookies", 502, cause, pass);
        self.server("broken", Backend::answering_once("HTTP/1.1 200 OK\r\n: no name\r\n\r\n"));
        self.case("its header is broken", "/broken", 502, &["header_invalid"], pass);
        let bad = answer("400 Bad Request", "", "");
        self.server("http", [fastcgi::request(), Step::Write(bad), Step::Close]);
        let conf = "fastcgi_pass http; fastcgi_param REQUEST_METHOD GET;";
        self.case("FastCGI to an HTTP port", "/http", 502, &["protocol_mismatch"], conf);
        let busy = answer("503 Service Unavailable", "", "come back later");
        self.server("busy", Backend::answering(busy));
        let title = "it answers with an error of its own";
        self.case(title, "/busy", 503, &["upstream_status"], pass);
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly the beginning";
        self.server("half", Backend::answering_once(half));
        let title = "it stops in the middle of the body, after the header has gone out";
        self.case(title, "/half", 200, &["body_truncated"], pass);
    }

    fn going_on(&mut self) {
        let pass = "proxy_pass http://%name%;";
        let first = vec![Step::ReadRequest, Step::Write(answer("200 OK", "", "served"))];
        let stale = [first.clone(), vec![Step::ReadHead, Step::Close]].concat();
        let backend = Backend::scripts(vec![stale, [first, vec![Step::Again]].concat()]);
        self.upstream("idle", &format!("server {backend}; keepalive 4;"));
        self.keep(backend);
        let conf = "proxy_pass http://%name%; proxy_http_version 1.1;
            proxy_set_header Connection '';";
        let title = "it had closed the idle connection; nginx takes another one";
        self.case(title, "/idle", 200, &["keepalive_stale"], conf);
        self.last().before = 1;
        let (dead, good) = (Dead::refusing(), Backend::answering(answer("200 OK", "", "served")));
        self.upstream("retried", &format!("server {dead}; server {good};"));
        self.keep((dead, good));
        let title = "one server refuses, the next one answers";
        self.case(title, "/retried", 200, &["connection_refused"], pass);
        let (one, other) = (Dead::refusing(), Dead::refusing());
        self.upstream("both", &format!("server {one}; server {other};"));
        self.keep((one, other));
        let causes = &["connection_refused", "connection_refused"];
        self.case("both servers refuse", "/both", 502, causes, pass);
        let causes = &["no_live_peers"];
        let title = "so nginx leaves them alone for fail_timeout";
        self.cases.push(Case { title, path: "/both", status: 502, causes, before: 0 });
    }

    /// An upstream block with one server.
    fn server(&mut self, name: &str, server: impl Into<Prop>) {
        let Prop(address, prop) = server.into();
        self.upstream(name, &format!("server {address};"));
        self.props.push(prop);
    }

    fn upstream(&mut self, name: &str, body: &str) {
        self.upstreams += &format!("upstream {name} {{ {body} }}\n");
    }

    fn keep(&mut self, prop: impl Any) {
        self.props.push(Box::new(prop));
    }

    /// A location; `%name%` in it is the path's own, which is also its upstream's.
    fn case(
        &mut self,
        title: &'static str,
        path: &'static str,
        status: u16,
        causes: &'static [&'static str],
        conf: &str,
    ) {
        let conf = conf.replace("%name%", path.trim_start_matches('/'));
        self.locations += &format!("location {path} {{ {conf} }}\n");
        self.cases.push(Case { title, path, status, causes, before: 0 });
    }

    fn last(&mut self) -> &mut Case {
        self.cases.last_mut().expect("a case")
    }
}

/// An HTTP response; `header` is empty or lines that end.
fn answer(status: &str, header: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{header}\r\n{body}").into_bytes()
}

/// Something that listens, or does not, and its address.
struct Prop(String, Box<dyn Any>);

impl<const N: usize> From<[Step; N]> for Prop {
    fn from(script: [Step; N]) -> Self {
        Backend::script(script).into()
    }
}

macro_rules! props {
    ($($kind:ty)*) => {$(
        impl From<$kind> for Prop {
            fn from(prop: $kind) -> Self {
                Self(prop.to_string(), Box::new(prop))
            }
        }
    )*};
}

props!(Backend Dead Backlog);
