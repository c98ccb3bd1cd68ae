//! The JSON object of `$upstream_diagnosis_json`.

use crate::Diagnosis;

/// One object, already escaped.
pub fn object(d: &Diagnosis<'_>) -> Vec<u8> {
    let value = serde_json::json!({ "v": 1, "outcome": d.outcome.token() });
    value.to_string().into_bytes()
}
