//! An `error_log` that drops what nginx says about failed upstreams.

use super::configuration::{Configuration, Directive, Scope};
use super::{Finding, Level, shown};

/// Levels above `error`.
const ABOVE: [&[u8]; 3] = [b"crit", b"alert", b"emerg"];

/// The logs that hide it where requests are passed on.
pub(super) fn find(configuration: &Configuration, main_hides: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pass in configuration.passes() {
        let finding = match pass.scope.nearest(b"error_log") {
            Some(block) => hiding(block).map(of_directive),
            None => main_hides.then(of_main),
        };
        findings.extend(finding.filter(|finding| !findings.contains(finding)));
    }
    findings
}

/// The first line of the block, if no other shows errors.
fn hiding(block: Scope<'_>) -> Option<&Directive> {
    let hides = |log: &Directive| log.arguments().get(1).is_some_and(|level| is_above(level));
    let mut logs = block.all(b"error_log");
    if logs.any(|log| !hides(log)) { None } else { block.all(b"error_log").next() }
}

fn is_above(level: &[u8]) -> bool {
    ABOVE.contains(&level)
}

const COST: &str = "a failed upstream leaves no line that says why";

fn of_directive(log: &Directive) -> Finding {
    let level = log.arguments().get(1).map(|level| shown(level)).unwrap_or_default();
    let text = format!("error_log at level {level} hides errors: {COST}");
    Finding::warn(text, log.place())
}

fn of_main() -> Finding {
    let text = format!("the main error_log hides errors: {COST}");
    Finding { level: Level::Warn, text, place: None }
}
