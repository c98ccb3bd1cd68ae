//! The documentation says what is there, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use diagnosis::{Cause, Hint, Provoked};
use nginx_test::{Diagnosis, field};

use crate::expect::PARAMETERS;

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub(crate) const PAGES: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/causes.md",
    "docs/checklist.md",
    "docs/evidence.md",
    "docs/lint.md",
    "docs/logging.md",
    "docs/reresolution.md",
];

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What stands between `before` and `after`, everywhere in the text.
fn all_between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0)).collect()
}

/// What stands between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The fenced blocks in this language.
pub(crate) fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    all_between(page, &format!("\n```{language}\n"), "\n```")
}

fn directives() -> Vec<String> {
    let tables = read("src/ffi/tables.rs");
    let names = all_between(&tables, "::<directives::", ",\n");
    let names = names.iter().filter_map(|entry| entry.split('"').nth(1));
    names.filter(|name| !name.ends_with("_test_panic")).map(str::to_owned).collect()
}

fn variables() -> Vec<String> {
    let source = read("src/variables.rs");
    let mut suffixes = all_between(&source, "scalar(\"", "\"");
    suffixes.extend(all_between(&source, "suffix: \"", "\""));
    suffixes.into_iter().map(|suffix| format!("$upstream_diagnosis{suffix}")).collect()
}

#[test]
fn every_directive_is_in_the_readme() {
    let readme = read("README.md");
    assert_eq!(directives().len(), 8);
    for name in directives() {
        for text in
            [format!("### {name}\n"), format!("Syntax:  {name} "), format!("Default: {name} ")]
        {
            assert!(readme.contains(&text), "no {text:?} in README.md");
        }
    }
    let described =
        ["Context: http, server, location\n", "Context: http, upstream\n", "Context: http\n"];
    let described: usize = described.iter().map(|context| readme.matches(context).count()).sum();
    assert_eq!(described, directives().len());
}

#[test]
fn every_variable_is_in_the_readme() {
    let readme = read("README.md");
    assert_eq!(variables().len(), 17);
    for name in variables() {
        assert!(readme.contains(&format!("`{name}`")), "no {name} in README.md");
    }
}

#[test]
fn no_page_knows_other_directives_or_variables() {
    const PREFIX: &str = "upstream_diagnosis";
    let known: Vec<String> = directives().into_iter().chain(variables()).collect();
    // Names of the project's own that begin alike.
    let others = ["_module", "_test_panic"];
    for page in PAGES {
        let text = read(page);
        for (at, _) in text.match_indices(PREFIX) {
            let name = text[at..].split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
            let name = name.into_iter().next().unwrap_or_default();
            let is_variable = text[..at].ends_with('$');
            let name = if is_variable { format!("${name}") } else { name.to_owned() };
            let is_other = others.iter().any(|other| name.ends_with(other));
            assert!(known.contains(&name) || is_other, "{name} in {page}");
        }
    }
}

#[test]
fn every_cause_has_its_section() {
    let (page, readme) = (read("docs/causes.md"), read("README.md"));
    for cause in Cause::ALL {
        let token = cause.token();
        assert!(page.contains(&format!("\n### {token}\n")), "{token} in docs/causes.md");
        assert!(readme.contains(&format!("(docs/causes.md#{token})")), "{token} in README.md");
    }
}

#[test]
fn the_checklist_has_the_causes_of_each_step() {
    let page = read("docs/checklist.md");
    for step in 1..=8 {
        let row = page.lines().find(|line| line.starts_with(&format!("| {step}. ")));
        let row = row.unwrap_or_else(|| panic!("no row for step {step}"));
        let written: Vec<&str> = all_between(row, "(causes.md#", ")");
        let causes = Cause::ALL.iter().map(|cause| cause.row());
        let causes = causes.filter(|row| row.step.contains(&step)).map(|row| row.token);
        assert_eq!(written, causes.collect::<Vec<_>>(), "step {step}");
    }
    for cause in Cause::ALL {
        let link = format!("(causes.md#{})", cause.token());
        assert!(page.contains(&link), "{link}");
    }
}

/// In the column of a step, and no other words.
#[test]
fn the_checklist_has_every_hint_that_is_given() {
    let page = read("docs/checklist.md");
    let rows = page.lines().filter(|line| (1..=8).any(|s| line.starts_with(&format!("| {s}. "))));
    let columns = rows.map(|row| row.split(" | ").nth(2).unwrap());
    let written: BTreeSet<&str> = columns.flat_map(code_spans).collect();
    assert_eq!(written, Hint::ALL.iter().map(|hint| hint.token()).collect());
}

/// Every test of `t/` that runs, as `topic::name`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let main = read("t/tests/t/main.rs");
    for entry in fs::read_dir(Path::new(ROOT).join("t/tests/t")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let topic = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !main.contains(&format!("\nmod {topic};")) {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let names = all_between(&source, "#[test]\nfn ", "(").into_iter();
        found.extend(names.map(|name| format!("{topic}::{name}")));
    }
    found
}

#[test]
fn every_cause_names_a_test_that_exists() {
    let tests = tests();
    let named = Cause::ALL.iter().filter_map(|cause| match cause.row().provoked {
        Provoked::Test(name) => Some(name),
        Provoked::Corpus(_) => None,
    });
    let missing: Vec<&str> = named.filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn the_examples_of_fields_are_valid() {
    let readme = read("README.md");
    let mut seen = 0;
    for block in blocks(&readme, "http") {
        // Long lines are folded.
        for line in block.replace("\n  ", "").lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let members = field::parse(&[value.as_bytes()]);
            assert_eq!(members.len(), 1, "{line}");
            if name == field::NAME {
                let names = members[0].names();
                let known = PARAMETERS.into_iter().filter(|name| names.contains(name));
                assert_eq!(names, known.collect::<Vec<_>>(), "{line}");
                assert!(Cause::ALL.iter().any(|cause| cause.token() == members[0].name), "{line}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 4, "fields in README.md");
    for name in PARAMETERS {
        assert!(readme.contains(&format!("`{name}`")), "{name} in README.md");
    }
}

#[test]
fn the_example_of_json_is_what_is_logged() {
    let readme = read("README.md");
    let example = nginx_test::log::parse(blocks(&readme, "json")[0]);
    let diagnosis = Diagnosis::read(&example).unwrap();
    assert_eq!(diagnosis.outcome, "recovered");
    for outcome in nginx_test::diagnosis::OUTCOMES {
        assert!(readme.contains(&format!("| `{outcome}` |")), "{outcome} in README.md");
    }
}

#[test]
fn every_symbol_in_the_architecture_exists() {
    let page = read("ARCHITECTURE.md");
    let symbols = code_spans(&page).filter_map(|text| {
        let (path, name) = text.split_once("::")?;
        path.ends_with(".rs").then_some((path, name))
    });
    let symbols: Vec<_> = symbols.collect();
    assert!(symbols.len() > 20, "{symbols:?}");
    for (path, name) in symbols {
        let source = read(path);
        let defined = ["fn", "struct", "enum"].iter().any(|kind| {
            all_between(&source, &format!("{kind} {name}"), "\n")
                .iter()
                .any(|rest| rest.starts_with(['(', '<', ' ', ';']))
        });
        assert!(defined, "{path}::{name}");
    }
}

/// The keys that the sources of evidence write, as far as `("key", …)` tells.
fn keys(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keys(&path, found);
        } else if path.file_stem().unwrap() != "tests" {
            let source = fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            let is_key = |key: &&str| {
                key.len() > 2 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            let words = all_between(source, "(\"", "\", ").into_iter().filter(is_key);
            found.extend(words.map(str::to_owned));
        }
    }
}

#[test]
fn every_hint_and_key_of_evidence_is_explained() {
    let (page, readme) = (read("docs/evidence.md"), read("README.md"));
    for hint in diagnosis::Hint::ALL {
        let row = format!("| `{}` |", hint.token());
        assert!(page.contains(&row), "{row} in docs/evidence.md");
        let given = !page.contains(&format!("{row} not given yet"));
        assert_eq!(readme.contains(&row), given, "{row} in README.md");
    }
    let mut found = BTreeSet::new();
    keys(&Path::new(ROOT).join("diagnosis/src/evidence"), &mut found);
    assert!(found.contains("oom_kills") && found.contains("peers"), "{found:?}");
    // A verb of a sentence.
    let others = ["enter"];
    for key in found.iter().filter(|key| !others.contains(&key.as_str())) {
        assert!(page.contains(&format!("`{key}`")), "{key} in docs/evidence.md");
    }
}

#[test]
fn every_path_and_link_leads_somewhere() {
    for page in PAGES {
        let text = read(page);
        let dir = Path::new(page).parent().unwrap();
        for link in all_between(&text, "](", ")").into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { text.clone() } else { read(dir.join(path)) };
            assert!(anchor.is_empty() || anchors(&target).contains(anchor), "{link} in {page}");
        }
        for path in code_spans(&text) {
            let is_path = path.contains('/') && path.ends_with(".rs") && !path.contains(['*', ' ']);
            assert!(!is_path || Path::new(ROOT).join(path).exists(), "{path} in {page}");
        }
    }
}

/// As GitHub makes them of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    headings
        .map(|text| {
            let kept = text.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

#[test]
fn every_target_of_make_is_in_the_readme() {
    let (makefile, readme) = (read("Makefile"), read("README.md"));
    let targets = makefile.lines().filter(|line| line.contains(": ## "));
    for target in targets.filter_map(|line| line.split(':').next()) {
        let told = ["help", "build"].contains(&target)
            || readme.contains(&format!("make {target}`"))
            || readme.contains(&format!("make -s {target}`"));
        assert!(told, "make {target} in README.md");
    }
}
