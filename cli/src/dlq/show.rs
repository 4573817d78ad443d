//! `fulfil dlq show`: everything about one letter.

use std::process::ExitCode;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::{Value, json};
use shared::{
    failure::REDRIVES_MAX,
    log::{self, Followers, HeldRow},
};

use super::{Letter, letters, list::LetterObject, pick};
use crate::{
    exit::Exit,
    output::{Output, Tone, ago, bytes, short},
    place::Place,
    sighting::{Sighting, label},
};

const WAITING_MAX: i64 = 100;
const WAITING_SHOWN: usize = 10;
const DUMP_BYTES_MAX: usize = 512;
const TEXT_CHARS_MAX: usize = 8 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil dlq show 3f9d2c41
  fulfil dlq show 3f9d2c41 --raw > value.json")]
pub(super) struct ShowArgs {
    /// The letter, or the start of its id
    letter: String,
    /// Only the value, byte for byte, to mend it and send it back with: fulfil dlq edit ID -f FILE
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(args: &ShowArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let letters = letters::load(place).await?;
    let letter = pick::one(&letters, &args.letter)?;
    if args.raw {
        use std::io::Write;
        std::io::stdout().write_all(letter.value.as_deref().unwrap_or_default())?;
        return Ok(Exit::Done.into());
    }
    let waiting = waiting(letter, place).await;
    if output.json {
        output.object(&object(letter, &waiting)?)?;
        return Ok(Exit::Done.into());
    }
    for line in described(letter, &waiting, output) {
        output.line(&line);
    }
    Ok(Exit::Done.into())
}

/// What waits behind the letter; `Err`: why that cannot be told from here.
type Waiting = Result<Followers, String>;

/// Only the owner's database knows.
async fn waiting(letter: &Letter, place: &Place) -> Waiting {
    let services = place.local.as_ref().map(|local| local.services.as_slice()).unwrap_or_default();
    let Some(service) = services.iter().find(|service| service.name == letter.group) else {
        return Err(format!("known to the database of {} only", letter.group));
    };
    let ask = async {
        let mut connection = log::connect::connect(&service.database, "fulfil dlq").await?;
        let followers = log::followers(&mut connection, letter.id.parse()?, WAITING_MAX).await?;
        followers.with_context(|| format!("the letter is not in the database of {}", letter.group))
    };
    ask.await.map_err(|error: anyhow::Error| format!("{error:#}"))
}

fn object(letter: &Letter, waiting: &Waiting) -> anyhow::Result<Value> {
    let mut object = serde_json::to_value(LetterObject::of(letter))?;
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    object["key_base64"] = letter.key.as_deref().map(encode).into();
    object["value_base64"] = letter.value.as_deref().map(encode).into();
    object["headers"] = letter
        .headers
        .iter()
        .map(|(name, value)| json!({"name": name, "value_base64": value.as_deref().map(encode)}))
        .collect();
    object["history"] = letter
        .history
        .iter()
        .map(|change| json!({"status": change.status, "by": change.by, "reason": change.reason, "at_ms": change.at_ms}))
        .collect();
    object["waiting"] = match waiting {
        Ok(waiting) => waiting
            .first
            .iter()
            .map(|row| {
                let raw = &row.held.raw;
                json!({
                    "topic": raw.topic.name(), "partition": raw.partition, "offset": raw.offset,
                    "kind": row.held.kind.as_str(),
                })
            })
            .collect(),
        Err(_) => Value::Null,
    };
    Ok(object)
}

fn described(letter: &Letter, waiting: &Waiting, output: Output) -> Vec<String> {
    let now = chrono::Utc::now();
    let at = |ms| chrono::DateTime::from_timestamp_millis(ms).map(|time| ago(time, now)).unwrap_or_default();
    let mut lines = Vec::new();
    let mut field = |name: &str, text: String| {
        lines.push(format!("{}{text}", output.paint(Tone::Dim, &format!("{name:<10}"))));
    };
    let tone = if letter.is_open() { Tone::Bad } else { Tone::Good };
    field("letter", format!("{}  {}", letter.id, output.paint(tone, letter.status())));
    field("group", letter.group.clone());
    field("from", letter.place());
    field("key", letter.key.as_deref().map_or_else(|| "none".to_owned(), printable));
    field(
        "died",
        format!("{}, at delivery {}, build {}", at(letter.failed_at_ms), letter.delivery_count, letter.build),
    );
    field("error", format!("{} ({})", output.paint(Tone::Bad, &letter.code), letter.stage));
    field("", letter.message.clone());
    for (number, (name, value)) in letter.headers.iter().enumerate() {
        let value = value.as_deref().map_or_else(|| "null".to_owned(), printable);
        field(if number == 0 { "headers" } else { "" }, format!("{name}: {value}"));
    }
    field(
        "value",
        letter.value.as_ref().map_or_else(|| "null".to_owned(), |value| bytes(value.len() as u64)),
    );
    for line in value(letter.value.as_deref().unwrap_or_default()) {
        field("", line);
    }
    for (number, change) in letter.history.iter().enumerate() {
        let text = format!("{} by {} {}: {}", change.status, change.by, at(change.at_ms), change.reason);
        field(if number == 0 { "history" } else { "" }, text);
    }
    match waiting {
        Ok(waiting) if waiting.messages == 0 => field("waiting", "nobody waits behind it".to_owned()),
        Ok(waiting) => {
            for (number, row) in waiting.first.iter().take(WAITING_SHOWN).enumerate() {
                field(if number == 0 { "waiting" } else { "" }, waiter(row));
            }
            if waiting.messages > WAITING_SHOWN as i64 {
                field("", format!("and {} more", waiting.messages - WAITING_SHOWN as i64));
            }
        }
        Err(why) => field("waiting", why.clone()),
    }
    if letter.status() == "parked" {
        let text = format!(
            "it failed again {REDRIVES_MAX} times: redrives of many leave it out, and what it holds waits until it is mended or given up"
        );
        field("parked", text);
    }
    if letter.is_open() {
        let id = short(&letter.id);
        field("next", format!("fulfil dlq redrive {id} --reason '…'"));
        field("", format!("fulfil dlq edit {id} --reason '…' [--set data.quantity=2 | -f FILE]"));
        field("", format!("fulfil dlq discard {id} --reason '…' --yes"));
    }
    lines
}

fn waiter(row: &HeldRow) -> String {
    let sighting = Sighting::of(row.held.raw.clone());
    let raw = &sighting.raw;
    let what = sighting.message_type().map(label).unwrap_or("not readable");
    format!("{what}  {}[{}]@{}", raw.topic, raw.partition, raw.offset)
}

/// JSON indented, text as it is, bytes as a dump.
fn value(bytes: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return dump(bytes) };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return dump(bytes);
    }
    if text.chars().count() > TEXT_CHARS_MAX {
        let mut lines: Vec<String> =
            vec![printable(text.chars().take(TEXT_CHARS_MAX).collect::<String>().as_bytes())];
        lines.push("… (all of it: --raw)".to_owned());
        return lines;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(json @ (Value::Object(_) | Value::Array(_))) => {
            format!("{json:#}").lines().map(str::to_owned).collect()
        }
        _ => text.lines().map(|line| printable(line.as_bytes())).collect(),
    }
}

fn dump(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = bytes
        .chunks(16)
        .take(DUMP_BYTES_MAX / 16)
        .enumerate()
        .map(|(number, chunk)| {
            let hex: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
            let text: String = chunk
                .iter()
                .map(|byte| if (0x20..0x7f).contains(byte) { *byte as char } else { '.' })
                .collect();
            format!("{:06x}  {hex:<48} {text}", number * 16)
        })
        .collect();
    if bytes.len() > DUMP_BYTES_MAX {
        lines.push("… (all of it: --raw)".to_owned());
    }
    lines
}

/// Nothing in it moves the terminal's cursor.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_what_it_is() {
        assert_eq!(value(br#"{"a":1}"#), ["{", "  \"a\": 1", "}"]);
        assert_eq!(value(b"hello\nyou"), ["hello", "you"]);
        assert_eq!(
            value(b"\x1b[2J")[0].trim_end(),
            "000000  1b 5b 32 4a                                      .[2J"
        );
        assert_eq!(value(b"\xff\x00abc"), ["000000  ff 00 61 62 63                                   ..abc"]);
        assert!(value(b"").is_empty());
    }
}
