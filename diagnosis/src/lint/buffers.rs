//! Buffers that contradict each other in ways that nginx lets pass.

use super::configuration::{Configuration, Directive, Scope};
use super::{Finding, shown};

/// What only counts while responses are buffered.
const OF_BUFFERING: [&[u8]; 3] = [b"_buffers", b"_busy_buffers_size", b"_max_temp_file_size"];
const PROTOCOLS: [&str; 4] = ["proxy", "fastcgi", "uwsgi", "scgi"];

/// Buffers that stand beside `proxy_buffering off`, or below it.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    configuration.scopes().flat_map(in_block).collect()
}

fn in_block(scope: Scope<'_>) -> Vec<Finding> {
    let of_protocol = |protocol: &'static str| {
        let name = |end: &[u8]| [protocol.as_bytes(), end].concat();
        let buffering = scope.inherited(&name(b"_buffering"))?;
        if !buffering.argument().eq_ignore_ascii_case(b"off") {
            return None;
        }
        let unused = OF_BUFFERING.iter().find_map(|end| scope.all(&name(end)).next())?;
        Some(finding(unused, protocol))
    };
    PROTOCOLS.into_iter().filter_map(of_protocol).collect()
}

fn finding(unused: &Directive, protocol: &str) -> Finding {
    let text = format!(
        "{} does nothing while {protocol}_buffering is off: a response has {protocol}_buffer_size \
         and no more, so a slow client holds its back end",
        shown(unused.name())
    );
    Finding::warn(text, unused.place())
}
