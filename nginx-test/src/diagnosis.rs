//! `$upstream_diagnosis_json`, read by an independent parser and checked against the contract.

use serde_json::Map;
pub use serde_json::Value;

/// The contract's outcomes.
pub const OUTCOMES: [&str; 5] = ["failed", "recovered", "upstream_error", "truncated", "aborted"];

/// The contract's phases.
pub const PHASES: [&str; 9] =
    ["resolve", "select", "connect", "handshake", "send", "header", "body", "local", "client"];

/// The contract's hints, as far as there is evidence for them.
pub const HINTS: [&str; 14] = [
    "no_listener",
    "listener_other_address",
    "listener_other_port",
    "listener_present",
    "accept_queue_full",
    "oom_kill_seen",
    "selinux_denies_connect",
    "selinux_enforcing",
    "loopback_in_container",
    "address_left_dns",
    "keepalive_idle_expired",
    "backend_restarting",
    "header_bytes_over_buffer",
    "timeout_reached",
];

/// The contract's verdicts on an address.
pub const DNS: [&str; 5] = ["literal", "fresh", "stale", "unresolved", "unknown"];

/// The contract's causes, copied from it on purpose: the module's own table must not vouch for
/// itself.
pub const CAUSES: [&str; 51] = [
    "dns_not_found",
    "dns_server_failure",
    "dns_refused",
    "dns_error",
    "dns_timeout",
    "resolver_missing",
    "upstream_invalid",
    "no_live_peers",
    "peers_at_limit",
    "peers_empty",
    "connection_refused",
    "connection_reset",
    "connection_timeout",
    "host_unreachable",
    "network_unreachable",
    "connection_denied",
    "unix_socket_missing",
    "unix_socket_refused",
    "unix_socket_denied",
    "listen_queue_full",
    "ephemeral_ports_exhausted",
    "local_bind_failed",
    "fd_exhausted",
    "worker_connections_exhausted",
    "connect_failed",
    "tls_handshake_timeout",
    "tls_handshake_closed",
    "tls_protocol_error",
    "tls_alert",
    "tls_peer_plaintext",
    "tls_certificate_untrusted",
    "tls_certificate_expired",
    "tls_certificate_name_mismatch",
    "tls_client_certificate_required",
    "tls_configuration_error",
    "send_timeout",
    "send_reset",
    "keepalive_stale",
    "closed_before_header",
    "reset_before_header",
    "header_timeout",
    "header_too_big",
    "header_invalid",
    "protocol_mismatch",
    "stream_reset",
    "body_truncated",
    "body_reset",
    "body_timeout",
    "body_invalid",
    "upstream_status",
    "disk_full",
];
const MORE_CAUSES: [&str; 4] = ["disk_failed", "client_closed", "internal_error", "other"];

/// The whole object of one request.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    /// `failed`, `recovered` …
    pub outcome: String,
    /// The last failed attempt's cause.
    pub cause: String,
    /// The last failed attempt's phase.
    pub phase: String,
    /// What the client got; 0 when it got nothing.
    pub status: u64,
    /// One sentence.
    pub advice: String,
    /// Every failed attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// The object itself, for members without a field here.
    pub raw: Value,
}

/// One failed attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The cause's token.
    pub cause: String,
    /// The phase's token.
    pub phase: String,
    /// The attempt's object.
    pub raw: Map<String, Value>,
}

impl Diagnosis {
    /// Reads the object and holds it against the contract; None for `null`.
    pub fn read(value: &Value) -> Option<Self> {
        if value.is_null() {
            return None;
        }
        assert_eq!(value["v"], 1, "version of {value}");
        let diagnosis = Self {
            outcome: text(value, "outcome"),
            cause: text(value, "cause"),
            phase: text(value, "phase"),
            status: value["status"].as_u64().unwrap_or_else(|| panic!("status of {value}")),
            advice: text(value, "advice"),
            attempts: value["attempts"].as_array().expect("attempts").iter().map(attempt).collect(),
            raw: value.clone(),
        };
        diagnosis.check();
        Some(diagnosis)
    }

    /// The only attempt; any other number fails the test.
    pub fn attempt(&self) -> &Attempt {
        assert_eq!(self.attempts.len(), 1, "one attempt expected in {}", self.raw);
        &self.attempts[0]
    }

    /// The causes of all attempts, oldest first.
    pub fn causes(&self) -> Vec<&str> {
        self.attempts.iter().map(|attempt| attempt.cause.as_str()).collect()
    }

    fn check(&self) {
        let shown = &self.raw;
        assert!(OUTCOMES.contains(&self.outcome.as_str()), "outcome of {shown}");
        let last = self.attempts.last().unwrap_or_else(|| panic!("no attempts in {shown}"));
        assert_eq!((&self.cause, &self.phase), (&last.cause, &last.phase), "last of {shown}");
        assert!(!self.advice.is_empty(), "no advice in {shown}");
        assert!(!self.advice.contains(['{', '}']), "unfilled advice in {shown}");
        let recovered = self.attempts.iter().all(|attempt| attempt.flag("retried"));
        if recovered {
            assert_eq!(self.outcome, "recovered", "every attempt was retried in {shown}");
        }
    }
}

impl Attempt {
    /// A string member; another type fails the test.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw.get(name).map(|v| v.as_str().unwrap_or_else(|| panic!("{name}: {v}")))
    }

    /// A whole number; another type fails the test.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.raw.get(name).map(|v| v.as_u64().unwrap_or_else(|| panic!("{name}: {v}")))
    }

    /// A boolean; absent is false, another type fails the test.
    pub fn flag(&self, name: &str) -> bool {
        self.raw.get(name).is_some_and(|v| v.as_bool().unwrap_or_else(|| panic!("{name}: {v}")))
    }

    /// A figure of `evidence`; absent is null.
    pub fn evidence(&self, name: &str) -> &Value {
        self.raw.get("evidence").map_or(&Value::Null, |evidence| &evidence[name])
    }

    /// A member of `headroom`: `fd_free`, `fd_limit`, `conn_free`, `conn_limit`.
    pub fn headroom(&self, name: &str) -> Option<u64> {
        self.raw.get("headroom")?.get(name)?.as_u64()
    }
}

fn attempt(value: &Value) -> Attempt {
    let attempt = Attempt {
        cause: text(value, "cause"),
        phase: text(value, "phase"),
        raw: value.as_object().expect("an attempt is an object").clone(),
    };
    let known = |cause| CAUSES.contains(&cause) || MORE_CAUSES.contains(&cause);
    assert!(known(attempt.cause.as_str()), "cause of {value}");
    assert!(PHASES.contains(&attempt.phase.as_str()), "phase of {value}");
    for name in ["upstream", "server", "address", "errno", "limit", "message"] {
        assert_ne!(attempt.text(name), Some(""), "empty {name} in {value}");
    }
    assert!(attempt.text("hint").is_none_or(|hint| HINTS.contains(&hint)), "hint in {value}");
    let evidence = attempt.raw.get("evidence");
    assert!(evidence.is_none_or(|found| found["age_ms"].is_u64()), "age of evidence in {value}");
    let of_evidence = attempt.text("hint").filter(|hint| *hint != "address_left_dns");
    assert!(evidence.is_some() || of_evidence.is_none(), "a bare hint in {value}");
    assert!(attempt.text("dns").is_none_or(|dns| DNS.contains(&dns)), "dns in {value}");
    let stale = attempt.text("dns") == Some("stale");
    assert!(stale || attempt.text("hint") != Some("address_left_dns"), "hint in {value}");
    check_resolution(attempt.raw.get("resolution"), value);
    for name in ["ms", "status"] {
        let _ = attempt.number(name);
    }
    for name in ["reused", "retried"] {
        assert!(attempt.raw.contains_key(name), "no {name} in {value}");
        let _ = attempt.flag(name);
    }
    if let Some(headroom) = attempt.raw.get("headroom") {
        for name in ["fd_free", "fd_limit", "conn_free", "conn_limit"] {
            assert!(headroom[name].is_u64(), "{name} in {value}");
        }
    }
    attempt
}

/// What is told of the name, where there is one.
fn check_resolution(resolution: Option<&Value>, shown: &Value) {
    let Some(resolution) = resolution else { return };
    assert!(shown["dns"].is_string(), "a resolution without a verdict in {shown}");
    assert!(resolution["name"].as_str().is_some_and(|name| !name.is_empty()), "name in {shown}");
    for key in ["configured", "current"] {
        let addresses = resolution.get(key).map(|list| list.as_array().unwrap());
        for address in addresses.into_iter().flatten() {
            let address = address.as_str().unwrap();
            assert!(address.parse::<std::net::IpAddr>().is_ok(), "{key} in {shown}");
        }
    }
    for key in ["age_ms", "ttl_s", "waited_ms"] {
        assert!(resolution.get(key).is_none_or(Value::is_u64), "{key} in {shown}");
    }
    let used = resolution.get("used").map(|used| used.as_str().unwrap());
    let known = ["nothing", "later_requests", "this_request"];
    assert!(used.is_none_or(|used| known.contains(&used)), "used in {shown}");
    let sent = resolution.get("sent_to").is_some();
    assert_eq!(sent, used == Some("this_request"), "sent_to in {shown}");
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}
