//! A message as it was seen on a topic, whatever it is: read leniently, shown in one line, found by an expression.

mod brief;
mod filter;
mod line;

use serde::Serialize;
use serde_json::{Map, Value};
use shared::contract::{
    Malformed,
    dead_letter::header,
    envelope::{Envelope, Headers, Mode, Raw, decode},
    topics::Topic,
};

pub use brief::brief;
pub use filter::Filter;
pub use line::{Lines, tone, what};
pub use shared::contract::{brief::money, catalogue::label};

/// What a record of `dead-letters` says became of a letter; `None` where it is the letter. Only a letter names the
/// topic where it died: a header named like a status may be one of the dead message.
pub fn letter_status(raw: &Raw) -> Option<&str> {
    match raw.headers.text(header::TOPIC) {
        Some(_) => None,
        None => raw.headers.text(header::STATUS),
    }
}

#[derive(Clone, Debug)]
pub struct Sighting {
    pub raw: Raw,
    /// Dead letters are not read as messages: they are what could not be.
    pub envelope: Result<Envelope, Malformed>,
    /// Null where it is not JSON.
    pub data: Value,
}

impl Sighting {
    pub fn of(raw: Raw) -> Self {
        let envelope = match raw.topic {
            Topic::DeadLetters => Err(Malformed::new("dead-letter", "see its headers")),
            _ => decode(&raw, Mode::Development),
        };
        let data = envelope.as_ref().ok().and_then(|envelope| serde_json::from_str(&envelope.data).ok());
        Self { raw, envelope, data: data.unwrap_or_default() }
    }

    pub fn key(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.raw.key.as_deref().map(String::from_utf8_lossy)
    }

    pub fn order_id(&self) -> Option<&str> {
        self.data["order_id"].as_str()
    }

    pub fn sku(&self) -> Option<&str> {
        self.data["sku"].as_str()
    }

    pub fn message_type(&self) -> Option<&str> {
        self.envelope.as_ref().ok().map(|envelope| envelope.message_type.as_str())
    }

    /// What the eye should follow: the order, else the sku, else the key.
    pub fn subject(&self) -> String {
        let named = self.order_id().or(self.sku()).map(str::to_owned);
        named.or_else(|| self.key().map(|key| key.into_owned())).unwrap_or_else(|| "-".to_owned())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.raw.headers.text(name)
    }

    /// A record of `dead-letters` that says what became of a letter.
    pub fn letter_status(&self) -> Option<&str> {
        if self.raw.topic == Topic::DeadLetters { letter_status(&self.raw) } else { None }
    }

    /// The stable form of `--json`.
    pub fn object(&self) -> SightingObject<'_> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = match &self.raw.headers {
            Headers::Readable(headers) => headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_deref().map(text).into()))
                .collect(),
            Headers::Unreadable => Map::new(),
        };
        let envelope = self.envelope.as_ref().ok();
        SightingObject {
            topic: self.raw.topic.name(),
            partition: self.raw.partition,
            offset: self.raw.offset,
            timestamp_ms: self.raw.timestamp_ms,
            key: self.key().map(|key| key.into_owned()),
            headers,
            r#type: self.message_type(),
            id: envelope.map(|envelope| envelope.id.to_string()),
            source: envelope.map(|envelope| envelope.source.as_str()),
            sequence: envelope.and_then(|envelope| envelope.sequence),
            position: envelope.and_then(|envelope| envelope.position),
            causation_id: envelope.and_then(|envelope| envelope.causation_id).map(|id| id.to_string()),
            data: (!self.data.is_null()).then_some(&self.data),
            value: match envelope {
                Some(_) => None,
                None => self.raw.value.as_deref().map(text),
            },
            malformed: self.malformed().map(ToString::to_string),
        }
    }

    fn malformed(&self) -> Option<&Malformed> {
        self.envelope.as_ref().err().filter(|_| self.raw.topic != Topic::DeadLetters)
    }
}

#[derive(Debug, Serialize)]
pub struct SightingObject<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<String>,
    r#type: Option<&'a str>,
    id: Option<String>,
    source: Option<&'a str>,
    sequence: Option<i64>,
    position: Option<i64>,
    causation_id: Option<String>,
    headers: Map<String, Value>,
    data: Option<&'a Value>,
    /// Of what is not one of our messages: its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    malformed: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;

    use super::*;

    pub(crate) fn seen(topic: Topic, key: &str, value: &str) -> Sighting {
        Sighting::of(Raw {
            topic,
            partition: 2,
            offset: 17,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Headers::Readable(vec![("shop".into(), Some(Bytes::from_static(b"web")))]),
            timestamp_ms: 1_764_000_000_000,
        })
    }

    #[test]
    fn what_is_not_a_message_is_shown_all_the_same() {
        let odd = seen(Topic::OrdersCommands, "k", "hello");
        assert_eq!(odd.subject(), "k");
        let object = serde_json::to_value(odd.object()).unwrap();
        assert_eq!(object["value"], "hello");
        assert!(object["malformed"].as_str().unwrap().starts_with("invalid-json"), "{object}");
        assert_eq!(object["headers"]["shop"], "web");
    }
}
