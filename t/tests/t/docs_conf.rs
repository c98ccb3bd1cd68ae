//! Every configuration in the documentation is one that nginx takes.

use nginx_test::Nginx;

use crate::docs::{PAGES, blocks, read};

/// `nginx -t` with this inside `http {}`.
fn accepted(what: &str, inside: &str) {
    let inside = inside.replace("/var/log/nginx/", "%dir%/");
    let checked = Nginx::http(&inside).off().check();
    assert_eq!(checked.code, Some(0), "{what}: {}\n{inside}", checked.stderr);
}

/// The inside of `http {}`, when a snippet is a whole nginx.conf.
fn inside_http(snippet: &str) -> &str {
    let Some((before, rest)) = snippet.split_once("http {") else { return snippet };
    let loads = "load_module modules/ngx_http_upstream_diagnosis_module.so;";
    assert!(before.trim() == loads, "{snippet}");
    rest.rsplit_once('}').unwrap().0
}

#[test]
fn the_snippets_of_every_page_are_valid() {
    let mut seen = 0;
    for page in PAGES {
        for snippet in blocks(&read(page), "nginx") {
            accepted(page, inside_http(snippet));
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen} snippets");
}

/// All of a page together: names that two snippets give would be refused here.
#[test]
fn the_snippets_on_logging_go_together() {
    accepted("docs/logging.md", &blocks(&read("docs/logging.md"), "nginx").join("\n"));
}
