//! Writing: the structured form with header copies.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{CONTENT_TYPE, Outgoing, Recorded};
use crate::contract::{
    Malformed, Timestamp, catalogue,
    message::{self, Message},
    topics::Topic,
};

impl Recorded {
    /// The message that the relay publishes. `None` where the stream's category has no topic.
    pub fn encode(&self, service: &str) -> Option<Outgoing> {
        let topic = Topic::of_category(self.stream.category())?;
        let key = self.stream.key();
        let mut text = Text { value: String::with_capacity(self.data.len() + 640) };
        // Every part is an id, a number or a name of ours, so nothing needs escaping but the trace, which came
        // from outside.
        text.put(r#"{"specversion":"1.0","id":""#);
        let id = text.put_id(self.event_id);
        text.put(r#"","source":""#);
        let source = text.put("/fulfil/").start..text.put(service).end;
        text.put(r#"","type":""#);
        let event_type = text.put(&self.event_type);
        text.put(r#"","subject":""#);
        let subject = text.put(&self.stream.subject());
        text.put(r#"","time":""#);
        text.put(&time_text(self.recorded_at));
        text.put(r#"","datacontenttype":"application/json","dataschema":"urn:fulfil:schema:"#);
        text.put(&catalogue::schema_name(&self.event_type));
        text.put(r#"","partitionkey":""#);
        let key = text.put(key);
        text.put(r#"","sequence":""#);
        let sequence = text.put_digits(self.version, 10);
        text.put(r#"","position":""#);
        let position = text.put_digits(self.position, 20);
        text.put(r#"","decision":""#);
        text.put(&self.decision.to_string());
        text.put(r#"","correlationid":""#);
        let correlation_id = text.put_id(self.correlation_id);
        text.put(r#"","causationid":""#);
        text.put_id(self.causation_id);
        text.put("\"");
        if let Some(traceparent) = &self.traceparent {
            text.put(r#","traceparent":"#);
            text.put(&message::write(traceparent));
        }
        text.put(r#","data":"#);
        text.put(&self.data);
        text.put("}");
        // The headers repeat what stands in the value, so they are parts of it.
        let value = Bytes::from(text.value);
        let mut headers = Vec::with_capacity(9);
        let mut header = |name: &'static str, text: Bytes| headers.push((Cow::Borrowed(name), Some(text)));
        header("content-type", Bytes::from_static(CONTENT_TYPE.as_bytes()));
        header("ce_id", value.slice(id));
        header("ce_type", value.slice(event_type));
        header("ce_source", value.slice(source));
        header("ce_subject", value.slice(subject));
        header("ce_correlationid", value.slice(correlation_id));
        header("ce_sequence", value.slice(sequence));
        header("ce_position", value.slice(position));
        if let Some(traceparent) = &self.traceparent {
            header("traceparent", Bytes::copy_from_slice(traceparent.as_bytes()));
        }
        Some(Outgoing { topic, key: value.slice(key), value: Some(value), headers })
    }
}

/// A text that grows, and where its parts stand.
struct Text {
    value: String,
}

impl Text {
    fn put(&mut self, part: &str) -> Range<usize> {
        let start = self.value.len();
        self.value.push_str(part);
        start..self.value.len()
    }

    fn put_id(&mut self, id: Uuid) -> Range<usize> {
        self.put(id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    /// A number that is not negative, with zeros before it up to so many digits.
    fn put_digits(&mut self, number: i64, digits: usize) -> Range<usize> {
        const ZEROS: &str = "00000000000000000000";
        let number = number.to_string();
        let zeros = digits.saturating_sub(number.len()).min(ZEROS.len());
        self.put(&ZEROS[..zeros]).start..self.put(&number).end
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
    let (message_type, data) = (message.message_type(), message.data());
    Manual { message_type, data: &data, id, source, time, traceparent }
        .encode(topic, key)
        .unwrap_or_else(|_| unreachable!("a payload is JSON"))
}

/// A message of the edge in parts, of any version and valid or not.
pub struct Manual<'a> {
    pub message_type: &'a str,
    /// JSON text; what it says is not looked at.
    pub data: &'a str,
    pub id: Uuid,
    pub source: &'a str,
    pub time: Timestamp,
    pub traceparent: Option<&'a str>,
}

impl Manual<'_> {
    /// Fails only where `data` is not JSON.
    pub fn encode(&self, topic: Topic, key: &str) -> Result<Outgoing, Malformed> {
        let not_json = |_| Malformed::at("invalid-json", "/data", "is not JSON");
        let (id, time) = (self.id.to_string(), time_text(self.time));
        let attributes = ManualAttributes {
            specversion: "1.0",
            id: &id,
            source: self.source,
            message_type: self.message_type,
            subject: key,
            time: &time,
            datacontenttype: "application/json",
            dataschema: format!("urn:fulfil:schema:{}", catalogue::schema_name(self.message_type)),
            partitionkey: key,
            correlationid: &id,
            traceparent: self.traceparent,
            data: serde_json::from_str(self.data).map_err(not_json)?,
        };
        let value = serde_json::to_vec(&attributes).map_err(not_json)?;
        let mut headers: Vec<(Cow<'static, str>, Option<Bytes>)> = Vec::with_capacity(7);
        let mut header = |name: &'static str, text: &str| {
            headers.push((name.into(), Some(Bytes::copy_from_slice(text.as_bytes()))))
        };
        header("content-type", CONTENT_TYPE);
        header("ce_id", &id);
        header("ce_type", self.message_type);
        header("ce_source", self.source);
        header("ce_subject", key);
        header("ce_correlationid", &id);
        if let Some(traceparent) = self.traceparent {
            header("traceparent", traceparent);
        }
        let key = Bytes::copy_from_slice(key.as_bytes());
        Ok(Outgoing { topic, key, value: Some(value.into()), headers })
    }
}

#[derive(Serialize)]
struct ManualAttributes<'a> {
    specversion: &'a str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    message_type: &'a str,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'a str,
    dataschema: String,
    partitionkey: &'a str,
    correlationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a RawValue,
}

/// RFC 3339 in UTC with milliseconds.
pub fn time_text(time: Timestamp) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
