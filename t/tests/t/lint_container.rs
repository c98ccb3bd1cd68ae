//! A back end on the loopback of a container.

use nginx_test::sandbox::mounts;
use nginx_test::sandbox::netns::isolated;
use nginx_test::{Backend, Nginx};

use crate::lint::{one, silent};

fn location(pass: &str) -> Nginx {
    Nginx::server(&format!("location / {{\n{pass}\n}}"))
}

#[test]
fn a_loopback_in_a_container() {
    isolated(|_| {
        mounts::private(|mounts| {
            mounts.empty("/run");
            mounts.file("/run/.containerenv", "");
            for pass in ["proxy_pass http://127.0.0.1:1/;", "fastcgi_pass [::1]:1;"] {
                let words = "is the loopback of the container that nginx runs in";
                one(location(pass), "notice", words, pass);
            }
            // It runs beside nginx.
            let backend = Backend::ok("here");
            silent(location("proxy_pass http://%backend%;").set("backend", &backend));
            silent(location("proxy_pass http://192.0.2.1:1;"));
        });
    });
}
