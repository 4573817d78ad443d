//! The envelope: CloudEvents 1.0 over Kafka, read in the structured, the binary and the bare form, written in the
//! structured form with header copies.
//!
//! Source: CloudEvents 1.0.2 and its Kafka protocol binding. Where value and header differ, the value wins.

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Malformed, Timestamp, catalogue,
    ids::{self, StreamName},
    limits::{MESSAGE_BYTES_MAX, REDRIVE_BYTES_MAX},
    message::{Message, invalid_data},
    strict,
    topics::{Key, Topic},
};

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

/// Kafka headers in order; a name can repeat and a value can be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Headers {
    Readable(Vec<(String, Option<Bytes>)>),
    /// A name is not UTF-8, which the client library cannot read.
    Unreadable,
}

impl Headers {
    /// The last header of this name, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        let Self::Readable(headers) = self else { return None };
        let (_, value) = headers.iter().rev().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
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
    pub headers: Vec<(Cow<'static, str>, Option<Bytes>)>,
}

/// Reads a message. All the limits that do not need the domain are checked here: size, strict JSON, the required
/// attributes, and that the key is the id in `data`.
///
/// The type may be unknown: [`Message::decode`] says so, and its caller knows what that means.
pub fn decode(raw: &Raw, mode: Mode) -> Result<Envelope, Malformed> {
    let value = raw.value.as_deref().unwrap_or_default();
    let bytes_max = if raw.topic == Topic::DeadLettersCommands {
        REDRIVE_BYTES_MAX * 4 / 3 + 64 * 1024
    } else {
        MESSAGE_BYTES_MAX
    };
    if value.len() + raw.headers.bytes() > bytes_max {
        return Err(Malformed::new("too-large", format!("a message has at most {bytes_max} bytes")));
    }
    if raw.headers == Headers::Unreadable {
        return Err(Malformed::new("headers-unreadable", "a header name is not UTF-8"));
    }
    if raw.value.is_none() || value.is_empty() {
        return Err(Malformed::new("empty", "the message has no value"));
    }
    strict::check(value)?;
    let envelope = read(raw, value, mode)?;
    if mode == Mode::Production && raw.key.is_none() {
        return Err(Malformed::new("no-key", "the message has no key"));
    }
    if mode == Mode::Production && raw.topic.is_events() && envelope.position.is_none() {
        return Err(Malformed::new(
            "foreign",
            "an event without a position was not written by a service of ours",
        ));
    }
    Ok(envelope)
}

/// Compares the Kafka key with the id in `data`.
pub fn check_key(raw: &Raw, message: &Message) -> Result<(), Malformed> {
    match (raw.topic.key(), &raw.key, message.key()) {
        (Key::Original, ..) | (_, None, _) | (_, _, None) => Ok(()),
        (_, Some(key), Some(expected)) if key.as_ref() == expected.as_bytes() => Ok(()),
        (Key::Sku, ..) => {
            Err(Malformed::at("key-mismatch", "/data/sku", "the message key is not the sku in data"))
        }
        _ => Err(Malformed::at(
            "key-mismatch",
            "/data/order_id",
            "the message key is not the order id in data",
        )),
    }
}

#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(default)]
    specversion: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(rename = "type")]
    message_type: String,
    #[serde(default)]
    time: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    correlationid: Option<String>,
    #[serde(default)]
    causationid: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default)]
    sequence: Option<String>,
    #[serde(default)]
    position: Option<String>,
    #[serde(default)]
    decision: Option<String>,
}

fn read(raw: &Raw, value: &[u8], mode: Mode) -> Result<Envelope, Malformed> {
    let header = |name| raw.headers.text(name);
    let structured = header("content-type").is_some_and(|text| text.starts_with("application/cloudevents"));
    let binary =
        ["ce_specversion", "ce_id", "ce_source", "ce_type"].iter().all(|name| header(name).is_some());
    if !structured && binary {
        let data = std::str::from_utf8(value).map_err(|_| Malformed::new("invalid-json", "is not UTF-8"))?;
        let text = |name| header(name).map(str::to_owned);
        return complete(
            text("ce_id"),
            text("ce_source"),
            text("ce_type").unwrap_or_default(),
            data,
            Optional {
                specversion: header("ce_specversion"),
                time: header("ce_time"),
                correlationid: header("ce_correlationid"),
                causationid: header("ce_causationid"),
                traceparent: header("traceparent").or(header("ce_traceparent")),
                sequence: header("ce_sequence"),
                position: header("ce_position"),
                decision: header("ce_decision"),
            },
        );
    }
    let event: Structured = serde_json::from_slice(value)
        .map_err(|error| Malformed { code: "invalid-envelope", ..invalid_data(error) })?;
    let bare = event.specversion.is_none();
    if bare && structured {
        return Err(Malformed::at(
            "invalid-envelope",
            "/specversion",
            "a structured CloudEvent has a specversion",
        ));
    }
    if bare && mode == Mode::Production {
        return Err(Malformed::at(
            "invalid-envelope",
            "/specversion",
            "is not a CloudEvent (no specversion)",
        ));
    }
    let (id, source) = if bare {
        // The place is the identity: the same bytes read again are the same message.
        let id =
            ids::named(&["manual", raw.topic.name(), &raw.partition.to_string(), &raw.offset.to_string()]);
        (Some(id.to_string()), Some(SOURCE_MANUAL.to_owned()))
    } else {
        let id = event.id.or_else(|| {
            Some(
                ids::named(&[
                    "manual",
                    raw.topic.name(),
                    &raw.partition.to_string(),
                    &raw.offset.to_string(),
                ])
                .to_string(),
            )
        });
        (id, event.source.or_else(|| Some(SOURCE_MANUAL.to_owned())))
    };
    complete(
        id,
        source,
        event.message_type,
        event.data.get(),
        Optional {
            specversion: event.specversion.as_deref(),
            time: event.time.as_deref(),
            correlationid: event.correlationid.as_deref(),
            causationid: event.causationid.as_deref(),
            traceparent: event.traceparent.as_deref().or(header("traceparent")),
            sequence: event.sequence.as_deref(),
            position: event.position.as_deref(),
            decision: event.decision.as_deref(),
        },
    )
}

struct Optional<'a> {
    specversion: Option<&'a str>,
    time: Option<&'a str>,
    correlationid: Option<&'a str>,
    causationid: Option<&'a str>,
    traceparent: Option<&'a str>,
    sequence: Option<&'a str>,
    position: Option<&'a str>,
    decision: Option<&'a str>,
}

fn complete(
    id: Option<String>,
    source: Option<String>,
    message_type: String,
    data: &str,
    rest: Optional<'_>,
) -> Result<Envelope, Malformed> {
    if rest.specversion.is_some_and(|version| version != "1.0") {
        return Err(Malformed::at("invalid-envelope", "/specversion", "is not 1.0"));
    }
    let (Some(id), Some(source)) = (id.filter(|id| !id.is_empty()), source) else {
        return Err(Malformed::at("invalid-envelope", "/id", "a CloudEvent has an id and a source"));
    };
    let number = |pointer: &str, text: Option<&str>| {
        let positive = |text: &str| text.parse().ok().filter(|number: &i64| *number > 0);
        let parse = |text| {
            positive(text)
                .ok_or_else(|| Malformed::at("invalid-envelope", pointer, "is not a positive number"))
        };
        text.map(parse).transpose()
    };
    let time = rest.time.map(|text| {
        let time = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
        time.map_err(|_| Malformed::at("invalid-envelope", "/time", "is not an RFC 3339 time"))
    });
    Ok(Envelope {
        id: Uuid::try_parse(&id)
            .ok()
            .filter(|id| !id.is_nil())
            .unwrap_or_else(|| ids::named(&["event", &source, &id])),
        source,
        message_type,
        data: data.to_owned(),
        time: time.transpose()?,
        correlation_id: rest.correlationid.and_then(|text| Uuid::try_parse(text).ok()),
        causation_id: rest.causationid.and_then(|text| Uuid::try_parse(text).ok()),
        traceparent: rest.traceparent.map(str::to_owned).filter(|text| text.len() <= 128),
        sequence: number("/sequence", rest.sequence)?,
        position: number("/position", rest.position)?,
        decision: rest
            .decision
            .map(|text| {
                text.parse().map_err(|error: String| Malformed::at("invalid-envelope", "/decision", error))
            })
            .transpose()?,
    })
}

impl Recorded {
    /// The message that the relay publishes. `None` where the stream's category has no topic.
    pub fn encode(&self, service: &str) -> Option<Outgoing> {
        let topic = Topic::of_category(self.stream.category())?;
        let key = self.stream.key();
        let (subject, time) = (self.stream.subject(), time_text(self.recorded_at));
        let mut value = String::with_capacity(self.data.len() + 640);
        // Every part is an id, a number or a name of ours, so nothing needs escaping but the trace, which came
        // from outside.
        let _ = write!(
            value,
            r#"{{"specversion":"1.0","id":"{}","source":"/fulfil/{service}","type":"{}","subject":"{subject}","time":"{time}","datacontenttype":"application/json","dataschema":"urn:fulfil:schema:{}","partitionkey":"{key}","sequence":"{:010}","position":"{:020}","decision":"{}","correlationid":"{}","causationid":"{}""#,
            self.event_id,
            self.event_type,
            catalogue::schema_name(&self.event_type),
            self.version,
            self.position,
            self.decision,
            self.correlation_id,
            self.causation_id,
        );
        if let Some(traceparent) = &self.traceparent {
            let _ = write!(value, r#","traceparent":{}"#, serde_json::Value::from(traceparent.as_str()));
        }
        let _ = write!(value, r#","data":{}}}"#, self.data);
        let mut headers = Vec::with_capacity(9);
        let mut header =
            |name: &'static str, text: String| headers.push((Cow::Borrowed(name), Some(Bytes::from(text))));
        header("content-type", CONTENT_TYPE.to_owned());
        header("ce_id", self.event_id.to_string());
        header("ce_type", self.event_type.clone());
        header("ce_source", format!("/fulfil/{service}"));
        header("ce_subject", subject);
        header("ce_correlationid", self.correlation_id.to_string());
        header("ce_sequence", format!("{:010}", self.version));
        header("ce_position", format!("{:020}", self.position));
        if let Some(traceparent) = &self.traceparent {
            header("traceparent", traceparent.clone());
        }
        Some(Outgoing {
            topic,
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Some(value.into()),
            headers,
        })
    }
}

/// A message of the edge: a command, or an event sent by hand. It has no sequence and no position.
pub fn encode_manual(
    topic: Topic,
    message: &Message,
    id: Uuid,
    key: &str,
    source: &str,
    time: Timestamp,
    traceparent: Option<&str>,
) -> Outgoing {
    let message_type = message.message_type();
    let mut value = serde_json::json!({
        "specversion": "1.0", "id": id, "source": source, "type": message_type, "subject": key,
        "time": time_text(time), "datacontenttype": "application/json",
        "dataschema": format!("urn:fulfil:schema:{}", catalogue::schema_name(message_type)),
        "partitionkey": key, "correlationid": id,
    });
    if let Some(traceparent) = traceparent {
        value["traceparent"] = traceparent.into();
    }
    value["data"] = serde_json::from_str(&message.data()).unwrap_or_default();
    let mut headers: Vec<(Cow<'static, str>, Option<Bytes>)> = Vec::new();
    let mut header = |name: &'static str, text: &str| {
        headers.push((name.into(), Some(Bytes::copy_from_slice(text.as_bytes()))))
    };
    header("content-type", CONTENT_TYPE);
    header("ce_id", &id.to_string());
    header("ce_type", message_type);
    header("ce_source", source);
    header("ce_subject", key);
    header("ce_correlationid", &id.to_string());
    if let Some(traceparent) = traceparent {
        header("traceparent", traceparent);
    }
    Outgoing {
        topic,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Some(value.to_string().into()),
        headers,
    }
}

/// RFC 3339 in UTC with milliseconds.
pub fn time_text(time: Timestamp) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
