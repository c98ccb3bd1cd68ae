//! docs/causes.md and the table in README.md are what the table of causes says.

use std::fs;
use std::path::Path;

#[path = "../examples/causes/markdown.rs"]
mod markdown;

#[test]
fn the_page_of_causes_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/causes.md");
    let written = fs::read_to_string(page).expect("docs/causes.md exists");
    assert!(
        written == markdown::causes(),
        "write it anew: cargo run -q -p diagnosis --example causes > docs/causes.md"
    );
}

#[test]
fn the_table_in_the_readme_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let written = fs::read_to_string(page).expect("README.md exists");
    assert!(
        markdown::with_short_table(&written).as_ref() == Some(&written),
        "renew it: cargo run -q -p diagnosis --example causes README.md"
    );
}
