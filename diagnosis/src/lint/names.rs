//! A host name that is resolved once and never again.

use std::collections::HashSet;

use super::configuration::{Configuration, Directive, Scope};
use super::target::{self, Target};
use super::{Finding, shown};

/// The `server` lines and the `*_pass` lines whose name nginx resolves when it reads them, and nobody
/// afterwards.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    let upstreams = configuration.upstreams().filter(|upstream| !is_resolved_again(*upstream));
    let servers = upstreams.flat_map(|upstream| upstream.all(b"server"));
    let servers = servers.filter(|server| {
        !server.arguments().iter().any(|word| word == b"resolve" || word.starts_with(b"service="))
    });
    let passes = configuration.passes().filter(|pass| !is_resolved_again(pass.scope));
    let passes = passes.map(|pass| pass.directive);
    let passes = passes.filter(|pass| !pass.argument().contains(&b'$'));
    let mut seen = HashSet::new();
    let mut findings = Vec::new();
    for directive in servers.chain(passes) {
        let Some(name) = once(configuration, directive) else { continue };
        if seen.insert(name) {
            findings.push(finding(directive, name));
        }
    }
    findings
}

/// Whether re-resolution is on for the servers of this block.
fn is_resolved_again(scope: Scope<'_>) -> bool {
    scope
        .inherited(b"upstream_diagnosis_resolve")
        .is_some_and(|directive| directive.argument() != b"off")
}

/// The name, if its address may change. Names of this machine do not.
fn once<'c>(configuration: &'c Configuration, directive: &'c Directive) -> Option<&'c [u8]> {
    let Target::Name { host, whole } = target::parse(directive.argument()) else { return None };
    let is_upstream = directive.name() != b"server" && configuration.upstream(host).is_some();
    let is_local = host.eq_ignore_ascii_case(b"localhost")
        || host.to_ascii_lowercase().ends_with(b".localhost");
    (!is_upstream && !is_local).then_some(whole)
}

fn finding(directive: &Directive, name: &[u8]) -> Finding {
    let text = format!(
        "\"{}\" is resolved now and never again: once its address changes, requests fail or reach \
         a stranger until nginx is reloaded",
        shown(name)
    );
    Finding::notice(text, directive.place())
}
