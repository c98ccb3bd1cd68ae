//! `Connection: upgrade` with every request, to an upstream whose connections are to be kept.

use super::configuration::Configuration;
use super::keepalive::{connection_header, kept_upstream};
use super::{Finding, shown};

/// The `proxy_pass` lines that do so.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    let passes = configuration.passes().filter(|pass| pass.protocol == b"proxy");
    let always = passes.filter(|pass| {
        connection_header(pass.scope).is_some_and(|value| value.eq_ignore_ascii_case(b"upgrade"))
    });
    let findings = always.filter_map(|pass| {
        let upstream = kept_upstream(configuration, pass)?;
        let text = format!(
            "\"Connection: upgrade\" goes with every request to \"{}\": back ends that take it at \
             its word refuse plain requests or close the connections that keepalive would keep",
            shown(upstream.argument())
        );
        Some(Finding::warn(text, pass.directive.place()))
    });
    findings.collect()
}
