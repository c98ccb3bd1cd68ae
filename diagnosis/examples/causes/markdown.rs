//! The table of causes as a page.

use std::fmt::Write as _;

use diagnosis::{Advice, Cause, Phase, Provoked, Row};

const PHASES: &[(Phase, &str)] = &[
    (Phase::Resolve, "Before a server is known"),
    (Phase::Select, "Choosing a server"),
    (Phase::Connect, "Connecting"),
    (Phase::Handshake, "The TLS handshake"),
    (Phase::Send, "Sending the request"),
    (Phase::Header, "Waiting for the response header"),
    (Phase::Body, "Reading the response body"),
    (Phase::Local, "On this machine"),
    (Phase::Client, "The client"),
];

const HEAD: &str = "\
# Causes

<!-- Generated: cargo run -q -p diagnosis --example causes > docs/causes.md -->

Every failed attempt has one of these causes. The list is closed, new ones are appended, and a
failure that none of them describes is counted as `other`. The phase is the usual one; the header
says in which one it was. Words in capitals are filled with what was in force: the address that was
tried, the upstream, the directive and its value. \"Step\" is the step of the 502 checklist that
the cause answers: 1 is the back end running, 2 the error log, 3 the upstream configuration,
4 time-outs, 5 buffers, 6 DNS, 7 SELinux and permissions, 8 connections and file descriptors.
";

/// docs/causes.md.
pub(crate) fn causes() -> String {
    let mut out = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n| cause | phase | RFC 9209 error | step |\n|---|---|---|---|");
    for row in rows() {
        let _ = writeln!(
            out,
            "| [{0}](#{0}) | {1} | {2} | {3} |",
            row.token,
            row.phase.token(),
            error(row),
            steps(row)
        );
    }
    for (phase, title) in PHASES {
        let _ = writeln!(out, "\n## {title}");
        rows().filter(|row| row.phase == *phase).for_each(|row| section(&mut out, row));
    }
    out
}

/// The part of README.md that is made from the table.
const BEGIN: &str = "<!-- causes: cargo run -q -p diagnosis --example causes README.md -->\n";
const END: &str = "<!-- end of causes -->\n";

/// README.md with its table made anew; `None` when it has no place for one.
pub(crate) fn with_short_table(readme: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some([before, BEGIN, &short_table(), END, after].concat())
}

fn short_table() -> String {
    let mut out = String::from("| cause | what happened | usual reason |\n|---|---|---|\n");
    for row in rows() {
        let Row { token, meaning, reason, .. } = row;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| [`{token}`](docs/causes.md#{token}) | {meaning} | {reason} |");
    }
    out
}

fn rows() -> impl Iterator<Item = &'static Row> {
    Cause::ALL.iter().map(|cause| cause.row())
}

fn section(out: &mut String, row: &Row) {
    let tested = match row.provoked {
        Provoked::Test(test) => format!("provoked by the test `{test}`"),
        Provoked::Corpus(why) => format!("known from the corpus only: {why}"),
    };
    let _ = write!(
        out,
        "\n### {}\n\n{}.\n\n- usual reason: {}\n- what to do: {}\n- tested: {tested}\n",
        row.token,
        sentence(row.meaning),
        row.reason,
        template(row.advice),
    );
}

fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn template(advice: Advice) -> String {
    let rest = advice.rest.iter().map(|(hole, words)| format!("{}{words}", hole.placeholder()));
    std::iter::once(advice.first.to_owned()).chain(rest).collect()
}

fn error(row: &Row) -> String {
    match (row.error_type, row.rcode) {
        (Some(error), Some(rcode)) => format!("`{error};rcode=\"{rcode}\"`"),
        (Some(error), None) => format!("`{error}`"),
        (None, _) => "–".to_owned(),
    }
}

fn steps(row: &Row) -> String {
    let steps: Vec<_> = row.step.iter().map(u8::to_string).collect();
    if steps.is_empty() { "–".to_owned() } else { steps.join(", ") }
}
