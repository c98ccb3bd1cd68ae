//! The `Proxy-Status` field of RFC 9209.

use std::fmt::Write as _;

use crate::{Cause, Diagnosis, Outcome, codes, field, printable};

/// One member for this proxy, about the last attempt; `None` when the request recovered or nobody
/// is left to read it. `detail` adds what only a trusted client may see.
pub fn member(identifier: &str, d: &Diagnosis<'_>, detail: bool) -> Option<String> {
    let attempt = d.attempts.last()?;
    let row = attempt.verdict.cause.row();
    let silent = matches!(d.outcome, Outcome::Recovered | Outcome::Aborted)
        || attempt.verdict.cause == Cause::ClientClosed;
    if silent {
        return None;
    }
    let mut out = String::with_capacity(256);
    name(&mut out, identifier);
    // Writing to a String cannot fail.
    if let Some(error) = row.error_type {
        let _ = write!(out, ";error={error}");
    }
    if let Some(rcode) = row.rcode {
        let _ = write!(out, ";rcode=\"{rcode}\"");
    }
    if let Some(alert) = attempt.verdict.alert {
        let _ = write!(out, ";alert-id={alert}");
        if let Some(message) = codes::tls_alert(alert) {
            let _ = write!(out, ";alert-message={message}");
        }
    }
    if attempt.status > 0 {
        let _ = write!(out, ";received-status={}", attempt.status);
    }
    for (key, text) in [(";next-hop=", attempt.address()), (";details=", attempt.message())] {
        if detail && !text.is_empty() {
            string(&mut out, key, text);
        }
    }
    Some(out)
}

/// A Token where it can be one (RFC 9209, section 2), else a String.
fn name(out: &mut String, identifier: &str) {
    match sfv::TokenRef::from_str(identifier) {
        Ok(token) => out.push_str(token.as_str()),
        Err(_) => string(out, "", identifier.as_bytes()),
    }
}

fn string(out: &mut String, key: &str, text: &[u8]) {
    let mut quoted = vec![b'"'];
    field::quoted(&mut quoted, text, printable::is_plain(text));
    out.push_str(key);
    out.push_str(&printable::into_string(quoted));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::sample;
    use crate::{Attempt, Verdict};

    /// The error types of RFC 9209, section 2.3, that a cause may name.
    const ERROR_TYPES: &[&str] = &[
        "dns_timeout",
        "dns_error",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_transfer_coding",
        "http_response_timeout",
        "http_protocol_error",
        "proxy_internal_error",
        "proxy_configuration_error",
    ];

    fn of(attempt: Attempt, outcome: Outcome, detail: bool) -> Option<String> {
        let d = Diagnosis { outcome, status: 502, attempts: &[attempt], dropped: 0 };
        let field = member("edge.example", &d, detail);
        if let Some(field) = &field {
            sfv::Parser::new(field).parse::<sfv::List>().unwrap();
        }
        field
    }

    #[test]
    fn every_cause_names_a_registered_error() {
        for cause in Cause::ALL.iter().copied() {
            let error = cause.row().error_type;
            assert!(error.is_none_or(|error| ERROR_TYPES.contains(&error)), "{error:?}");
            let field = of(sample(cause), Outcome::Failed, true);
            assert_eq!(field.is_none(), cause == Cause::ClientClosed);
        }
    }

    #[test]
    fn members_as_the_standard_writes_them() {
        let alert = |mut a: Attempt| {
            a.verdict = Verdict { alert: Some(40), ..a.verdict };
            a
        };
        let status = |mut a: Attempt| {
            a.status = 503;
            a
        };
        for (attempt, outcome, detail, expected) in [
            (
                sample(Cause::ConnectionRefused),
                Outcome::Failed,
                false,
                Some("edge.example;error=connection_refused"),
            ),
            (
                sample(Cause::ConnectionRefused),
                Outcome::Failed,
                true,
                Some(
                    "edge.example;error=connection_refused;next-hop=\"10.0.0.7:3000\";\
                    details=\"connect() failed (111: Connection refused)\"",
                ),
            ),
            (
                sample(Cause::DnsNotFound),
                Outcome::Failed,
                false,
                Some("edge.example;error=dns_error;rcode=\"NXDOMAIN\""),
            ),
            (
                alert(sample(Cause::TlsAlert)),
                Outcome::Failed,
                false,
                Some(
                    "edge.example;error=tls_alert_received;alert-id=40;alert-message=handshake_failure",
                ),
            ),
            (
                status(sample(Cause::UpstreamStatus)),
                Outcome::UpstreamError,
                false,
                Some("edge.example;received-status=503"),
            ),
            (sample(Cause::ConnectionRefused), Outcome::Recovered, true, None),
            (sample(Cause::ClientClosed), Outcome::Aborted, true, None),
        ] {
            assert_eq!(of(attempt, outcome, detail).as_deref(), expected);
        }
    }

    #[test]
    fn an_identifier_that_is_no_token_is_a_string() {
        let attempts = [sample(Cause::Other)];
        let d =
            Diagnosis { outcome: Outcome::Failed, status: 502, attempts: &attempts, dropped: 0 };
        for (identifier, expected) in
            [("nginx", "nginx;"), ("my \"edge\"", "\"my \\\"edge\\\"\";"), ("1a", "\"1a\";")]
        {
            let field = member(identifier, &d, false).unwrap();
            assert!(field.starts_with(expected), "{field}");
            sfv::Parser::new(&field).parse::<sfv::List>().unwrap();
        }
    }
}
