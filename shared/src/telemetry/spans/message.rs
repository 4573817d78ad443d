//! A message as its span says it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::SpanId;
use uuid::Uuid;

use super::ids::{Origin, span_id};
use crate::contract::{
    Timestamp,
    envelope::{Envelope, Mode, Raw, decode},
    ids::named,
    topics::{Key, Topic},
};

const SOURCE: &str = "/fulfil/";

#[derive(Debug, Clone)]
pub struct Message {
    pub(super) id: Uuid,
    /// `None`: it could not be read.
    pub(super) message_type: Option<String>,
    pub(super) key: Option<String>,
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// When its service appended it.
    pub(super) recorded_at: Option<SystemTime>,
    /// When the broker took it.
    pub(super) heard_at: SystemTime,
    pub(super) origin: Origin,
    pub(super) parent: Option<SpanId>,
}

impl Message {
    /// Reads it once more. Of what cannot be read its headers may be whole. `key` is the id in `data`, where it is known.
    pub fn of(raw: &Raw, key: Option<&str>) -> Self {
        let key = key.or(raw.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()));
        if let Ok(envelope) = decode(raw, Mode::Development) {
            return Self::new(&envelope, key, (raw.topic, raw.partition, raw.offset), raw.timestamp_ms);
        }
        let header = |name| raw.headers.text(name).and_then(|text| Uuid::try_parse(text).ok());
        let (partition, offset) = (raw.partition.to_string(), raw.offset.to_string());
        let id = header("ce_id").unwrap_or_else(|| named(&["manual", raw.topic.name(), &partition, &offset]));
        let origin = Origin::new(raw.headers.text("traceparent"), header("ce_correlationid").unwrap_or(id));
        Self {
            id,
            message_type: None,
            key: key.map(str::to_owned),
            topic: raw.topic,
            partition: raw.partition,
            offset: raw.offset,
            recorded_at: None,
            heard_at: time(raw.timestamp_ms),
            origin,
            parent: origin.caller.map(|caller| caller.span_id),
        }
    }

    pub fn new(
        envelope: &Envelope,
        key: Option<&str>,
        (topic, partition, offset): (Topic, i32, i64),
        heard_ms: i64,
    ) -> Self {
        let is_ours = envelope.position.is_some();
        // As the events will have it that come of it: execute/decide.rs.
        let of_key = key.filter(|_| !is_ours).and_then(|key| Uuid::try_parse(key).ok());
        let id = of_key.or(envelope.correlation_id).unwrap_or(envelope.id);
        let origin = Origin::new(envelope.traceparent.as_deref(), id);
        let writer = envelope.source.strip_prefix(SOURCE).filter(|_| is_ours);
        let cause = envelope.causation_id.zip(writer).map(|(cause, writer)| span_id(cause, writer));
        Self {
            id: envelope.id,
            message_type: Some(envelope.message_type.clone()),
            key: key.map(str::to_owned),
            topic,
            partition,
            offset,
            recorded_at: envelope.time.filter(|_| is_ours).map(|at: Timestamp| at.into()),
            heard_at: time(heard_ms),
            origin,
            parent: cause.or(origin.caller.map(|caller| caller.span_id)),
        }
    }

    /// The order that it is about, where its topic is by order.
    pub(super) fn order_id(&self) -> Option<&str> {
        self.key.as_deref().filter(|_| self.topic.key() == Key::OrderId)
    }
}

fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::envelope::Headers;

    const ORDER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(value: &str, headers: &[(&str, &str)]) -> Message {
        let header = |(name, value): &(&str, &str)| (Headers::name(name), Some((*value).to_owned().into()));
        let raw = Raw {
            topic: Topic::PaymentsEvents,
            partition: 1,
            offset: 7,
            key: Some(ORDER.into()),
            value: Some(value.to_owned().into()),
            headers: Headers::Readable(headers.iter().map(header).collect()),
            timestamp_ms: 5,
        };
        Message::of(&raw, None)
    }

    fn event(more: &str) -> String {
        let id = Uuid::from_u128(1);
        format!(
            r#"{{"specversion":"1.0","id":"{id}","type":"t","source":"/fulfil/payment-service"{more},"data":{{}}}}"#
        )
    }

    #[test]
    fn the_parent_is_what_the_writer_did_with_the_cause() {
        let cause = Uuid::from_u128(2);
        let ours = format!(r#","position":"3","causationid":"{cause}","traceparent":"{TRACE}""#);
        let message = read(&event(&ours), &[]);
        assert_eq!(message.parent, Some(span_id(cause, "payment-service")));
        assert_eq!(message.origin.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(message.order_id(), Some(ORDER));
        // Whoever has no log has drawn nothing that could be the parent.
        let foreign = format!(r#","causationid":"{cause}","traceparent":"{TRACE}""#);
        let message = read(&event(&foreign), &[]);
        assert_eq!(message.parent.unwrap().to_string(), "00f067aa0ba902b7");
    }

    #[test]
    fn without_a_trace_parent_the_trace_is_the_correlation_id_and_of_a_command_the_one_to_be() {
        let correlation = Uuid::from_u128(9);
        let of = |more: &str| {
            read(&event(&format!(r#","correlationid":"{correlation}"{more}"#)), &[]).origin.trace_id
        };
        assert_eq!(of(r#","position":"3""#).to_string(), correlation.simple().to_string());
        assert_eq!(of("").to_string(), ORDER.replace('-', ""));
    }

    #[test]
    fn of_what_cannot_be_read_the_headers_are() {
        let id = Uuid::from_u128(4).to_string();
        let message = read("{", &[("ce_id", &id), ("traceparent", TRACE)]);
        assert_eq!((message.id.to_string(), message.message_type), (id, None));
        assert_eq!(message.parent.unwrap().to_string(), "00f067aa0ba902b7");
        assert_ne!(read("{", &[]).id, Uuid::nil());
    }
}
