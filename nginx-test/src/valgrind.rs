//! The same tests under valgrind memcheck: what it says about the module fails the test.

use std::fs;
use std::path::Path;

use crate::env;

/// The words before nginx's own; empty when valgrind was not asked for.
pub(crate) fn prefix(dir: &Path) -> Vec<String> {
    if !env::valgrind() {
        return Vec::new();
    }
    let mut words: Vec<String> = [
        "valgrind",
        "--quiet",
        "--vgdb=no",
        "--trace-children=yes",
        "--child-silent-after-fork=no",
        "--leak-check=full",
        "--show-leak-kinds=definite",
        "--num-callers=40",
        // The module is unloaded before leaks are looked for.
        "--keep-debuginfo=yes",
    ]
    .map(str::to_owned)
    .into();
    words.push(format!("--log-file={}/valgrind.%p", dir.display()));
    words.extend(env::suppressions().map(|file| format!("--suppressions={}", file.display())));
    words
}

/// Fails the test when an error or a definite leak has a frame in the module.
pub(crate) fn verdict(dir: &Path) {
    if !env::valgrind() {
        return;
    }
    let library = env::module();
    let library = library.file_name().expect("a file name").to_string_lossy().into_owned();
    let mut reports = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("valgrind.") {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let guilty: Vec<String> = blocks(&text).filter(|b| is_ours(b, &library)).collect();
            assert!(guilty.is_empty(), "valgrind:\n{}", guilty.join("\n\n"));
            reports += 1;
        }
    }
    assert!(reports > 0, "valgrind left no report");
}

/// Reports are separated by lines that hold nothing but the pid.
fn blocks(text: &str) -> impl Iterator<Item = String> {
    let bare = |line: &str| line.rsplit_once("==").map_or(line, |(_, rest)| rest).trim().to_owned();
    let lines: Vec<String> = text.lines().map(bare).collect();
    lines.split(String::is_empty).map(|block| block.join("\n")).collect::<Vec<_>>().into_iter()
}

fn is_ours(block: &str, library: &str) -> bool {
    let stem = library.trim_end_matches(".so").trim_start_matches("lib");
    block.contains(stem) || block.contains("upstream_diagnosis")
}

#[cfg(test)]
mod tests {
    use super::{blocks, is_ours};

    #[test]
    fn a_report_is_ours_when_a_frame_is() {
        let text = "==7== Invalid read of size 8\n==7==    at 0x1: f (record.rs:7)\n\
                    ==7==    by 0x2: ??? (in /x/ngx_http_upstream_diagnosis_module.so)\n==7== \n\
                    ==7== Invalid read of size 1\n==7==    at 0x3: ngx_strlow (ngx_string.c:1)\n";
        let ours = |block: &String| is_ours(block, "ngx_http_upstream_diagnosis_module.so");
        let verdicts: Vec<bool> = blocks(text).map(|block| ours(&block)).collect();
        assert_eq!(verdicts, [true, false]);
    }
}
