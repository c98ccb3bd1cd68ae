//! A diagnosis that everybody may read.

use super::Finding;
use super::configuration::Configuration;

/// Arguments that let everybody in.
const EVERYBODY: [&[u8]; 3] = [b"all", b"0.0.0.0/0", b"::/0"];

/// The `upstream_diagnosis_trust` lines that trust all.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    let lists = configuration.scopes().flat_map(|scope| scope.all(b"upstream_diagnosis_trust"));
    let everybody = lists.filter(|list| {
        list.arguments().iter().any(|argument| EVERYBODY.contains(&argument.as_slice()))
    });
    let findings = everybody.map(|list| {
        let text = "upstream_diagnosis_trust trusts everybody: any client reads the names, \
                    addresses and limits of the back ends when one fails";
        Finding::warn(text.to_owned(), list.place())
    });
    findings.collect()
}
