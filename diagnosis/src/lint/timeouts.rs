//! Time-outs that let a request hang for an hour.

use super::configuration::Configuration;
use super::{Finding, shown};

const HOUR_MS: u64 = 3_600_000;

/// The `*_read_timeout` lines of an hour and more.
pub(super) fn find(configuration: &Configuration) -> Vec<Finding> {
    let long = configuration
        .of_protocols(b"_read_timeout")
        .filter(|directive| milliseconds(directive.argument()).is_some_and(|ms| ms >= HOUR_MS));
    let findings = long.map(|directive| {
        let text = format!(
            "{} {}: a request to a back end that hangs holds its two connections for that long \
             before it fails",
            shown(directive.name()),
            shown(directive.argument())
        );
        Finding::notice(text, directive.place())
    });
    findings.collect()
}

/// A time as `ngx_parse_time` reads it: `1h 30m`, `3600`, `500ms`.
fn milliseconds(text: &[u8]) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let letters = after.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (unit, after) = after.split_at_checked(letters)?;
        total = total.checked_add(number.checked_mul(unit_ms(unit)?)?)?;
        rest = after.trim_ascii_start();
    }
    Some(total)
}

fn unit_ms(unit: &[u8]) -> Option<u64> {
    const DAY_MS: u64 = 24 * HOUR_MS;
    Some(match unit {
        b"ms" => 1,
        b"" | b"s" => 1000,
        b"m" => 60_000,
        b"h" => HOUR_MS,
        b"d" => DAY_MS,
        b"w" => 7 * DAY_MS,
        b"M" => 30 * DAY_MS,
        b"y" => 365 * DAY_MS,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn a_time_is_read_as_nginx_does() {
        for (text, ms) in [
            ("60", Some(60_000)),
            ("3600s", Some(3_600_000)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1d", Some(86_400_000)),
            ("$x", None),
            ("1x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(milliseconds(text.as_bytes()), ms, "{text}");
        }
    }
}
