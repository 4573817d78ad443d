//! The envelope: CloudEvents 1.0 over Kafka, read in the structured, the binary and the bare form, written in the
//! structured form with header copies.
//!
//! Source: CloudEvents 1.0.2 and its Kafka protocol binding. Where value and header differ, the value wins.

mod read;
mod structured;
mod write;

use std::borrow::Cow;

use bytes::Bytes;
use uuid::Uuid;

use super::{Timestamp, ids::StreamName, topics::Topic};

pub use read::{check_key, decode};
pub use write::{Manual, encode_manual, time_text};

pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";
/// The source of what a person sent by hand.
pub const SOURCE_MANUAL: &str = "/fulfil/manual";

/// A message as Kafka gave it, copied out of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
    /// Log append time, milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Raw {
    /// What it takes of memory.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.value) + self.headers.bytes()
    }
}

/// A Kafka header. Names that our services write are not copied: [`Headers::name`].
pub type Header = (Cow<'static, str>, Option<Bytes>);

/// Kafka headers in order; a name can repeat and a value can be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Headers {
    Readable(Vec<Header>),
    /// A name is not UTF-8, which the client library cannot read.
    Unreadable,
}

/// Of the headers of an event.
const NAMES: [&str; 9] = [
    "content-type",
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_correlationid",
    "ce_sequence",
    "ce_position",
    "traceparent",
];

impl Headers {
    /// The last header of this name, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let Self::Readable(headers) = self else { return None };
        let (_, value) = headers.iter().rev().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// The name of a header, without a copy where it is one that our services write.
    pub fn name(name: &str) -> Cow<'static, str> {
        match NAMES.iter().find(|known| **known == name) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(name.to_owned()),
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            Self::Readable(headers) => {
                headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len)).sum()
            }
            Self::Unreadable => 0,
        }
    }
}

/// How strict a reader is. In production only our services write events, so one without a position is malformed,
/// and so is a message without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Production,
    Development,
}

/// The attributes of a message, and its payload as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The CloudEvents id; where that is not a UUID, one derived from source and id.
    pub id: Uuid,
    pub source: String,
    pub message_type: String,
    pub data: String,
    pub time: Option<Timestamp>,
    pub correlation_id: Option<Uuid>,
    pub causation_id: Option<Uuid>,
    pub traceparent: Option<String>,
    /// The stream version; only our services set it.
    pub sequence: Option<i64>,
    /// The log position; only our services set it.
    pub position: Option<i64>,
    pub decision: Option<Part>,
}

/// Which of how many events of one decision; written `1/2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub index: u16,
    pub count: u16,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl std::str::FromStr for Part {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let part = Self { index: index.parse().ok()?, count: count.parse().ok()? };
            (1 <= part.index && part.index <= part.count).then_some(part)
        };
        parse().ok_or_else(|| "is not one of many, such as 1/2".to_owned())
    }
}

/// An event of a log with all that is published of it. What is published from memory and what is read back from
/// the table are equal, so both are this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Gapless, from 1, in commit order.
    pub position: i64,
    pub stream: StreamName,
    /// Gapless per stream, from 1.
    pub version: i64,
    pub event_id: Uuid,
    pub event_type: String,
    pub data: String,
    pub decision: Part,
    pub correlation_id: Uuid,
    pub causation_id: Uuid,
    pub traceparent: Option<String>,
    pub recorded_at: Timestamp,
}

/// What a producer is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: Topic,
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}
