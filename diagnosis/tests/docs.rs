//! docs/causes.md is what the table says.

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
