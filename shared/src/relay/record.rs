//! What the relay gives to the producer: events as the contract writes them, dead letters with their bytes
//! untouched.

use bytes::Bytes;
use uuid::Uuid;

use super::machine::Entry;
use crate::{
    contract::{
        dead_letter::header,
        envelope::{Header, Headers, Outgoing, Recorded, time_text},
        limits::PRODUCED_BYTES_MAX,
        topics::{Topic, partition_of},
    },
    log::{Letter, LetterChange, LetterRecord, NumberedLetter},
};

/// A key this large is no key of ours. Left out, since with it the letter could not be published at all and all
/// that follow would wait for ever.
const LETTER_KEY_BYTES_MAX: usize = PRODUCED_BYTES_MAX / 4;

/// A message with the place of its key. A foreign message can have been without one, and its letter then is too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub topic: Topic,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
    /// Places what has no key: all records of one letter on one partition, so that they stay in order.
    pub instead_of_key: Uuid,
}

impl Record {
    /// What it weighs in memory and on the wire, about.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.value) + headers
    }

    /// As every client of ours would place it, but on the partition count that this process knows: a topic that
    /// is given more partitions under our feet moves nothing.
    pub fn partition(&self, partitions: i32) -> i32 {
        match &self.key {
            Some(key) => partition_of(key, partitions),
            None => partition_of(self.instead_of_key.as_bytes(), partitions),
        }
    }
}

/// `Err`: the event can never be published, with the reason.
pub fn of_event(service: &str, event: &Recorded) -> Result<Entry, String> {
    let Some(Outgoing { topic, key, value, headers }) = event.encode(service) else {
        return Err(format!("no topic takes the events of stream {}", event.stream));
    };
    let record = Record { topic, key: Some(key), value, headers, instead_of_key: event.event_id };
    Ok(Entry { position: event.position, recorded_at: event.recorded_at, record })
}

pub fn of_letter(row: &NumberedLetter) -> Entry {
    let NumberedLetter { number, key, redrives, record } = row;
    let mut headers = Vec::new();
    let value = match &record.what {
        LetterChange::Dead(letter) => {
            if let Headers::Readable(original) = &letter.raw.headers {
                headers.extend(original.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            // After the original ones: of two with one name, readers take the last.
            headers.extend(about(letter, record, *redrives));
            letter.raw.value.clone()
        }
        LetterChange::Status { status, by, reason, .. } => {
            headers.extend([
                text(header::ID, record.letter_id),
                text(header::STATUS, status.as_str()),
                text(header::BY, by),
                text(header::REASON, reason),
                // How often it was redriven with this record, whatever came of it.
                text(header::REDRIVES, redrives + i64::from(status.is_redrive())),
            ]);
            None
        }
    };
    let key = key.clone().filter(|key| key.len() <= LETTER_KEY_BYTES_MAX);
    let topic = Topic::DeadLetters;
    let record_at = record.recorded_at;
    let record = Record { topic, key, value, headers, instead_of_key: record.letter_id };
    Entry { position: *number, recorded_at: record_at, record }
}

fn about(letter: &Letter, record: &LetterRecord, redrives: i64) -> [Header; 13] {
    [
        text(header::TOPIC, letter.raw.topic.name()),
        text(header::PARTITION, letter.raw.partition),
        text(header::OFFSET, letter.raw.offset),
        text(header::GROUP, &letter.group),
        text(header::DELIVERY_COUNT, letter.delivery_count),
        text(header::MESSAGE, &letter.message),
        text(header::ID, record.letter_id),
        text(header::STAGE, letter.stage.as_str()),
        text(header::CODE, &letter.code),
        text(header::FINGERPRINT, &letter.fingerprint),
        text(header::FAILED_AT, time_text(record.recorded_at)),
        text(header::REDRIVES, redrives),
        text(header::BUILD, &letter.build),
    ]
}

fn text(name: &'static str, value: impl ToString) -> Header {
    (name.into(), Some(value.to_string().into()))
}
