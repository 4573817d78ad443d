//! Writing: the structured form with header copies.

use std::{borrow::Cow, fmt::Write};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{CONTENT_TYPE, Outgoing, Recorded};
use crate::contract::{Malformed, Timestamp, catalogue, message::Message, topics::Topic};

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
