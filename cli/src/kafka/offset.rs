//! Where to begin to read: `start`, `end`, `-N`, an offset, `@-1h`, `@2026-11-24T10:00:00Z`, as with kcat and rpk.

use std::{str::FromStr, time::Duration};

use shared::contract::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Start,
    End,
    /// So many before the end of each partition.
    Last(i64),
    Offset(i64),
    Since(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is not start, end, -N, N, @-1h or @2026-11-24T10:00:00Z");
        match text {
            "start" | "beginning" | "earliest" => return Ok(Self::Start),
            "end" | "latest" => return Ok(Self::End),
            _ => {}
        }
        if let Some(ago) = text.strip_prefix("@-") {
            return parse_duration(ago).map(Self::Ago).ok_or_else(usage);
        }
        if let Some(time) = text.strip_prefix('@') {
            if let Ok(ms) = time.parse() {
                return Timestamp::from_timestamp_millis(ms).map(Self::Since).ok_or_else(usage);
            }
            return time.parse().map(Self::Since).map_err(|_| usage());
        }
        match text.parse::<i64>() {
            Ok(number) if number < 0 => Ok(Self::Last(-number)),
            Ok(number) => Ok(Self::Offset(number)),
            Err(_) => Err(usage()),
        }
    }
}

/// `500ms`, `30s`, `5m`, `1h`, `2d`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..split].parse().ok()?;
    let seconds = match text[split..].trim() {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_with_kcat_and_rpk() {
        assert_eq!("start".parse(), Ok(From::Start));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("-10".parse(), Ok(From::Last(10)));
        assert_eq!("17".parse(), Ok(From::Offset(17)));
        assert_eq!("@-1h".parse(), Ok(From::Ago(Duration::from_secs(3600))));
        let at = "2026-11-24T10:00:00Z";
        assert_eq!(format!("@{at}").parse(), Ok(From::Since(at.parse().unwrap())));
        for bad in ["", "soon", "@", "@-", "@-1y", "1.5"] {
            assert!(bad.parse::<From>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2d"), Some(Duration::from_secs(172_800)));
        assert_eq!(parse_duration("-1s"), None);
    }
}
