//! Printing, for a terminal and for a pipe.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use nginx_test::Seen;

use crate::cases::Case;

/// Longest line, as far as it can be broken.
const WIDTH: usize = 78;
const INDENT: &str = "    ";

/// What was printed so far.
pub(crate) struct Show {
    bold: bool,
    shown: usize,
    unexpected: usize,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self { bold: io::stdout().is_terminal(), shown: 0, unexpected: 0 }
    }

    pub(crate) fn intro(&self, nginx: &str) {
        say(format!("{nginx}\n"));
        say("The client is on this machine, so it is told everything; anybody else gets");
        say("bare cause tokens. \"advice\" is what the log says to do.");
    }

    /// One request: title, status line, fields, advice.
    pub(crate) fn request(&mut self, case: &Case, seen: &Seen) {
        self.begin(case);
        self.exchange(case, seen);
    }

    /// The title of a request that has a story.
    pub(crate) fn begin(&mut self, case: &Case) {
        self.shown += 1;
        self.title(&format!("{:>2}. {}", self.shown, case.title));
    }

    /// A sentence of the story.
    pub(crate) fn tell(&self, sentence: &str) {
        say(wrapped("", sentence.split_inclusive(' ')));
    }

    /// An empty line.
    pub(crate) fn pause(&self) {
        say("");
    }

    /// The request.
    pub(crate) fn exchange(&mut self, case: &Case, seen: &Seen) {
        say(format!("{INDENT}GET {}", case.path));
        say(format!("{INDENT}{}", seen.reply.line));
        match seen.reply.header("X-Upstream-Diagnosis") {
            Some(value) => field("X-Upstream-Diagnosis", &value),
            None => field("$upstream_diagnosis", seen.line.field("upstream_diagnosis")),
        }
        if let Some(value) = seen.reply.header("Proxy-Status") {
            field("Proxy-Status", &value);
        }
        let advice = seen.line.field("upstream_diagnosis_advice");
        say(wrapped("advice: ", advice.split_inclusive(' ')));
        if !case.is_met(seen) {
            self.unexpected += 1;
            say(format!("{INDENT}UNEXPECTED: it should be {} {:?}", case.status, case.causes));
        }
    }

    /// A line of the log, which is one JSON object.
    pub(crate) fn line(&self, title: &str, line: &str) {
        self.title(&format!("{title}, spread out"));
        for line in pretty(line).lines() {
            say(format!("{INDENT}{line}"));
        }
    }

    pub(crate) fn end(self) -> ExitCode {
        say("");
        if self.unexpected == 0 {
            say(format!("{} requests, each with the cause that was set up", self.shown));
            ExitCode::SUCCESS
        } else {
            say(format!("{} of {} requests showed something else", self.unexpected, self.shown));
            ExitCode::FAILURE
        }
    }

    fn title(&self, title: &str) {
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        say(format!("\n{on}{title}{off}\n"));
    }
}

impl Case {
    fn is_met(&self, seen: &Seen) -> bool {
        let Some(diagnosis) = &seen.line.diagnosis else { return false };
        let shown = seen.reply.causes();
        // What failed after the header had gone out is only in the log.
        let too_late = diagnosis.outcome == "truncated" && shown.is_empty();
        seen.reply.status == self.status
            && diagnosis.causes() == self.causes
            && (shown == self.causes || too_late)
    }
}

/// A reader who has seen enough (`make demo | head`) is no reason to fail.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn field(name: &str, value: &str) {
    say(wrapped(&format!("{name}: "), pieces(value)));
}

/// The members and parameters of a structured field.
fn pieces(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split_inclusive(move |c| {
        quoted ^= c == '"';
        !quoted && matches!(c, ';' | ' ')
    })
}

/// As many pieces a line as fit; further lines are indented.
fn wrapped<'a>(first: &str, pieces: impl Iterator<Item = &'a str>) -> String {
    let mut out = format!("{INDENT}{first}");
    let mut length = out.len();
    for piece in pieces {
        if length + piece.trim_end().len() > WIDTH {
            out.truncate(out.trim_end().len());
            out += &format!("\n{INDENT}  ");
            length = INDENT.len() + 2;
        }
        out += piece;
        length += piece.len();
    }
    out
}

/// A line for each member of the object; the members keep their order.
fn pretty(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0, false, false);
    for c in json.chars() {
        let is_quote = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        quoted ^= is_quote;
        match c {
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => {
                depth -= 1;
                newline(&mut out, depth);
            }
            _ => {}
        }
        out.push(c);
        match c {
            '{' | '[' | ',' if !quoted => newline(&mut out, depth),
            ':' if !quoted => out.push(' '),
            _ => {}
        }
    }
    out
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}
