//! A dead letter as the view shows it: the letter and the newest record of what became of it. Both come over the
//! topic `dead-letters`; a letter without a key may be on another partition than its records, so either can be
//! first.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        Malformed, Timestamp,
        dead_letter::header,
        envelope::{self, Headers, Raw},
        topics::Topic,
    },
    log::Stage,
};
use uuid::Uuid;

/// One row of the dead-letter view.
#[derive(Debug, Clone, PartialEq)]
pub struct LetterRow {
    pub id: Uuid,
    pub letter: Option<Letter>,
    pub change: Option<Change>,
    /// How often it was redriven, as the record says that knows of most.
    pub redrives: i32,
}

/// The letter: where it came from, why it failed, and its bytes untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub group: String,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub stage: String,
    pub code: String,
    pub message: String,
    pub fingerprint: String,
    pub failed_at: Timestamp,
    pub delivery_count: i32,
    pub build: String,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// An original header. A name can repeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value_base64: Option<String>,
}

/// What was done with a letter. The newest counts: by the broker's time, then by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub at: Timestamp,
    pub partition: i32,
    pub offset: i64,
    pub status: String,
    pub by: String,
    pub reason: String,
}

/// The status of a letter that nobody has touched.
pub const DEAD: &str = "dead";
/// All statuses that a query can ask for.
pub const STATUSES: [&str; 5] = [DEAD, "redriven", "failed-again", "discarded", PARKED];
/// Asks for those that wait for somebody.
pub const OPEN: &str = "open";
/// Those: all that are not done with. Behind the others nothing waits any more.
pub const OPEN_STATUSES: [&str; 3] = [DEAD, "failed-again", PARKED];
/// It failed again so often that redrives of many leave it out. Named alone it is taken as ever, mended or as it was.
pub const PARKED: &str = "parked";

/// The codes of commands that died of something else than a refusal: a bug, or a database that does not take what was decided.
const NOT_REFUSED: [&str; 2] = ["panicked", "store-refused"];

/// The longest that a writer of ours makes is an operator's reason (512 characters, of four bytes each at most) with the error
/// of a redrive that failed behind it.
const HEADER_BYTES_MAX: usize = 4_096;

/// A record of the topic.
#[derive(Debug, Clone, PartialEq)]
pub struct LetterRecord {
    pub redrives: i32,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Dead(Box<Letter>),
    Changed(Change),
}

impl Header {
    /// Where it is text.
    pub fn text(&self) -> Option<String> {
        let bytes = STANDARD.decode(self.value_base64.as_ref()?).ok()?;
        String::from_utf8(bytes).ok()
    }
}

impl Letter {
    /// Whether later messages of its key wait for it at its group, as far as a letter tells ([`shared::failure::Failure`] knows):
    /// a command that its state refuses holds nobody; what no state allows is an event.
    pub fn holds(&self) -> bool {
        let is_of_events = || Topic::parse(&self.topic).is_some_and(Topic::is_events);
        match Stage::parse(&self.stage) {
            Some(Stage::Deadly) => true,
            Some(Stage::Decide) => is_of_events() || NOT_REFUSED.contains(&self.code.as_str()),
            Some(Stage::Decode | Stage::Validate | Stage::Hold) | None => false,
        }
    }

    /// The message that died, as it came. `None` for a topic that the contract does not have.
    pub fn raw(&self) -> Option<Raw> {
        let header = |header: &Header| {
            let value = header.value_base64.as_ref().and_then(|value| STANDARD.decode(value).ok());
            (Headers::name(&header.name), value.map(Bytes::from))
        };
        Some(Raw {
            topic: Topic::parse(&self.topic)?,
            partition: self.partition,
            offset: self.offset,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: Headers::Readable(self.headers.iter().map(header).collect()),
            timestamp_ms: 0,
        })
    }
}

impl LetterRow {
    pub fn new(id: Uuid) -> Self {
        Self { id, letter: None, change: None, redrives: 0 }
    }

    pub fn status(&self) -> &str {
        self.change.as_ref().map_or(DEAD, |change| &change.status)
    }

    /// The same letter twice is one; of two changes the newer stands.
    pub fn fold(&mut self, record: &LetterRecord) {
        self.redrives = self.redrives.max(record.redrives);
        match &record.what {
            What::Dead(letter) => {
                self.letter.get_or_insert_with(|| (**letter).clone());
            }
            What::Changed(change) => {
                if self.change.as_ref().is_none_or(|known| known < change) {
                    self.change = Some(change.clone());
                }
            }
        }
    }
}

/// Reads a record of `dead-letters` by its headers; the value is not ours to understand.
pub fn read(raw: &Raw) -> Result<(Uuid, LetterRecord), Malformed> {
    let Headers::Readable(all) = &raw.headers else {
        return Err(Malformed::new("headers-unreadable", "a header name is not UTF-8"));
    };
    let text = |name: &'static str| {
        optional(raw, name)?
            .ok_or_else(|| Malformed::new("invalid-letter", format!("the header {name} is missing")))
    };
    let or_empty = |name| optional(raw, name).map(|text| text.unwrap_or_default().to_owned());
    let id: Uuid = parsed(header::ID, text(header::ID)?)?;
    let redrives = number(raw, header::REDRIVES, 0)?;
    // Only a letter names the topic where it died; a header named like a status may be one of the dead message.
    if optional(raw, header::TOPIC)?.is_none()
        && let Some(status) = optional(raw, header::STATUS)?
    {
        let at = Timestamp::from_timestamp_millis(raw.timestamp_ms).unwrap_or_default();
        let (partition, offset) = (raw.partition, raw.offset);
        let (by, reason) = (or_empty(header::BY)?, or_empty(header::REASON)?);
        let change = Change { at, partition, offset, status: status.to_owned(), by, reason };
        return Ok((id, LetterRecord { redrives, what: What::Changed(change) }));
    }
    let letter = Letter {
        group: text(header::GROUP)?.to_owned(),
        topic: text(header::TOPIC)?.to_owned(),
        partition: parsed(header::PARTITION, text(header::PARTITION)?)?,
        offset: parsed(header::OFFSET, text(header::OFFSET)?)?,
        stage: text(header::STAGE)?.to_owned(),
        code: text(header::CODE)?.to_owned(),
        message: or_empty(header::MESSAGE)?,
        fingerprint: or_empty(header::FINGERPRINT)?,
        failed_at: parsed(header::FAILED_AT, text(header::FAILED_AT)?)?,
        delivery_count: raw
            .headers
            .text(header::DELIVERY_COUNT)
            .map_or(Ok(1), |text| parsed(header::DELIVERY_COUNT, text))?,
        build: or_empty(header::BUILD)?,
        key: raw.key.clone(),
        value: raw.value.clone(),
        headers: original(all),
    };
    Ok((id, LetterRecord { redrives, what: What::Dead(Box::new(letter)) }))
}

/// The headers that the message had before it died.
fn original(headers: &[envelope::Header]) -> Vec<Header> {
    let ours = |name: &str| name.starts_with("__dlq.") || name.starts_with("dlq.");
    let kept = headers.iter().filter(|(name, _)| !ours(name));
    kept.map(|(name, value)| Header {
        name: name.to_string(),
        value_base64: value.as_ref().map(|bytes| STANDARD.encode(bytes)),
    })
    .collect()
}

/// A header of ours is a short text without what the database does not take.
fn optional<'a>(raw: &'a Raw, name: &'static str) -> Result<Option<&'a str>, Malformed> {
    match raw.headers.text(name) {
        Some(text) if text.len() > HEADER_BYTES_MAX || text.contains('\0') => {
            let detail = format!("the header {name} has at most {HEADER_BYTES_MAX} bytes and no NUL");
            Err(Malformed::new("invalid-letter", detail))
        }
        text => Ok(text),
    }
}

fn number(raw: &Raw, name: &'static str, default: i32) -> Result<i32, Malformed> {
    optional(raw, name)?.map_or(Ok(default), |text| parsed(name, text))
}

fn parsed<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed::new("invalid-letter", format!("the header {name} cannot be read")))
}

#[cfg(test)]
mod tests {
    use shared::contract::limits::TEXT_CHARS_MAX;

    use super::*;

    fn record(headers: &[(&str, &str)]) -> Raw {
        let headers = headers
            .iter()
            .map(|(name, text)| (Headers::name(name), Some(Bytes::copy_from_slice(text.as_bytes()))));
        Raw {
            topic: Topic::DeadLetters,
            partition: 0,
            offset: 0,
            key: None,
            value: None,
            headers: Headers::Readable(headers.collect()),
            timestamp_ms: 0,
        }
    }

    /// As the relay writes it: what the message had, then what is said of it.
    fn letter(id: Uuid, of_the_message: &[(&str, &str)]) -> Raw {
        let id = id.to_string();
        let ours = [
            (header::TOPIC, "dead-letters"),
            (header::PARTITION, "1"),
            (header::OFFSET, "17"),
            (header::GROUP, "projector"),
            (header::ID, id.as_str()),
            (header::STAGE, "decode"),
            (header::CODE, "invalid-letter"),
            (header::FAILED_AT, "2026-11-24T10:02:11.034Z"),
        ];
        record(&[of_the_message, &ours].concat())
    }

    #[test]
    fn a_change_that_died_is_a_letter() {
        let other = Uuid::from_u128(1).to_string();
        let long = "x".repeat(HEADER_BYTES_MAX + 1);
        for status in ["redriven", &long] {
            let raw = letter(Uuid::from_u128(7), &[(header::ID, &other), (header::STATUS, status)]);
            let (id, record) = read(&raw).unwrap();
            assert_eq!(id, Uuid::from_u128(7), "of two with one name the last is ours");
            assert!(matches!(record.what, What::Dead(_)), "{record:?}");
        }
    }

    #[test]
    fn the_longest_reason_with_the_error_behind_it_is_read() {
        let reason = format!("{}: failed again, {}", "\u{1f4e6}".repeat(TEXT_CHARS_MAX), "x".repeat(600));
        let id = Uuid::from_u128(7).to_string();
        let changed = [(header::ID, id.as_str()), (header::STATUS, "parked"), (header::REASON, &reason)];
        let (_, record) = read(&record(&changed)).unwrap();
        assert!(matches!(record.what, What::Changed(change) if change.reason == reason));
    }

    #[test]
    fn a_change_is_one() {
        let id = Uuid::from_u128(7).to_string();
        let (_, record) = read(&record(&[(header::ID, &id), (header::STATUS, "redriven")])).unwrap();
        assert!(matches!(record.what, What::Changed(Change { status, .. }) if status == "redriven"));
    }
}
