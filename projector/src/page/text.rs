//! How times, amounts and ids are written for people.

use shared::contract::Timestamp;
use uuid::Uuid;

/// `10:02:11.123`, or with the day where that is another one.
pub(super) fn clock(time: Timestamp, now: Timestamp) -> String {
    let format = if time.date_naive() == now.date_naive() { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S" };
    time.format(format).to_string()
}

/// `12 s ago`, or `in 12 s`.
pub(super) fn from_now(time: Timestamp, now: Timestamp) -> String {
    let ms = (time - now).num_milliseconds();
    match ms {
        -999..1_000 => "now".to_owned(),
        ms if ms < 0 => format!("{} ago", duration(-ms)),
        ms => format!("in {}", duration(ms)),
    }
}

/// In the largest unit of which there is one: `340 ms`, `2.4 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn duration(ms: i64) -> String {
    match ms {
        ms if ms < 1_000 => format!("{ms} ms"),
        ms if ms < 10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms if ms < 120_000 => format!("{} s", ms / 1_000),
        ms if ms < 7_200_000 => format!("{} min", ms / 60_000),
        ms if ms < 172_800_000 => format!("{} h", ms / 3_600_000),
        ms => format!("{} d", ms / 86_400_000),
    }
}

/// `12 345`
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if number < 0 { format!("\u{2212}{text}") } else { text }
}

/// The start of an id that tells it from others of its minute.
pub(super) fn short(id: &Uuid) -> String {
    let text = id.to_string();
    let chars = if id.get_version_num() == 7 { 13 } else { 8 };
    text.get(..chars).unwrap_or(&text).to_owned()
}

/// `fulfil.stock.reserved.v1` as `stock reserved`.
pub(super) fn event(event_type: &str) -> String {
    let name = event_type.strip_prefix("fulfil.").unwrap_or(event_type);
    let name = name.rsplit_once(".v").map_or(name, |(name, _)| name);
    name.replace(['.', '-'], " ")
}

/// A name of a value on the wire as words.
pub(super) fn words(name: &str) -> String {
    name.replace(['_', '-'], " ")
}

/// A word of a shell.
pub(super) fn shell(word: &str) -> String {
    let is_plain =
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/@+,".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_for_people() {
        assert_eq!(
            (count(0), count(1_234_567), count(-1_000)),
            ("0".into(), "1\u{202f}234\u{202f}567".into(), "\u{2212}1\u{202f}000".into())
        );
        assert_eq!(event("fulfil.payment.capture-requested.v1"), "payment capture requested");
        assert_eq!(event("com.example.vip.v2"), "com example vip");
        for (ms, text) in [
            (0, "0 ms"),
            (2_450, "2.4 s"),
            (12_000, "12 s"),
            (300_000, "5 min"),
            (7_200_000, "2 h"),
            (200_000_000, "2 d"),
        ] {
            assert_eq!(duration(ms), text);
        }
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(from_now(now + std::time::Duration::from_secs(5), now), "in 5.0 s");
    }
}
