//! Durations as people write them: `500ms`, `30s`, `15m`, `2h`, `1d`, `1m30s`. A number without a unit is refused.

use std::time::Duration;

pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration such as 500ms, 30s, 15m, 1h or 1m30s");
    let (mut rest, mut total_ms) = (text.trim(), 0_u64);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == &rest[..unit]).ok_or_else(bad)?;
        rest = &rest[unit..];
        total_ms = number.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(bad)?;
    }
    if total_ms == 0 || total_ms > DAYS_MAX * DAY_MS {
        return Err(format!("{text:?} is not between 1ms and {DAYS_MAX}d"));
    }
    Ok(Duration::from_millis(total_ms))
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Far beyond any use, and far from where adding it to a time overflows.
const DAYS_MAX: u64 = 365;
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("15m", 900_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1d", DAY_MS),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "15",
            "s",
            "1.5s",
            "-1s",
            "1 m",
            "0s",
            "1y",
            "99999999999999999999s",
            "18446744073709551615d",
            "1s2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
