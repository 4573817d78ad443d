//! Numbers as people read them.

use std::time::Duration;

use chrono::{Local, TimeZone};
use shared::contract::Timestamp;

/// `412 ms`, `4.2 s`, `3m 05s`, `2h 10m`, `3d 4h`.
pub fn duration(duration: Duration) -> String {
    duration_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// The same of milliseconds; a negative one keeps its sign.
pub fn duration_ms(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    let seconds = ms / 1000;
    let text = match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{seconds}.{} s", ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ if seconds % 86_400 < 3600 => format!("{}d", seconds / 86_400),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    };
    format!("{sign}{text}")
}

/// `3 s ago`, or `in 3 s`.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let ms = (now - time).num_milliseconds();
    if ms < 0 { format!("in {}", duration_ms(-ms)) } else { format!("{} ago", duration_ms(ms)) }
}

/// `12:03:04.512` here.
pub fn clock(timestamp_ms: i64) -> String {
    match Local.timestamp_millis_opt(timestamp_ms).earliest() {
        Some(time) => time.format("%H:%M:%S%.3f").to_string(),
        None => "--:--:--.---".to_owned(),
    }
}

/// `1,234,567`.
pub fn count(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// `0 B`, `640 B`, `12.4 KiB`, `3.0 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_fits() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (4_290, "4.2 s"),
            (59_999, "59 s"),
            (185_000, "3m 05s"),
            (7_800_000, "2h 10m"),
            (273_600_000, "3d 4h"),
            (172_800_000, "2d"),
            (-1_500, "-1.5 s"),
        ] {
            assert_eq!(duration_ms(ms), text);
        }
    }

    #[test]
    fn counts_and_bytes_read_at_a_glance() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(-1_000), "-1,000");
        assert_eq!(bytes(640), "640 B");
        assert_eq!(bytes(12_700), "12.4 KiB");
        assert_eq!(bytes(3 * 1024 * 1024), "3.0 MiB");
    }
}
