//! Reading: three forms, one envelope. The limits that need no domain are checked here.

use std::borrow::Cow;

use uuid::Uuid;

use super::{Envelope, Headers, Mode, Raw, SOURCE_MANUAL, structured::Structured};
use crate::contract::{
    Malformed, ids,
    limits::{ATTRIBUTE_BYTES_MAX, MESSAGE_BYTES_MAX, REDRIVE_BYTES_MAX},
    message::Message,
    strict,
    topics::{Key, Topic},
};

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
    let envelope = read(raw, strict::text(value)?, mode)?;
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

/// Compares topic and key with the message: a type has one topic, and the key is the id in `data`.
pub fn check_key(raw: &Raw, message: &Message) -> Result<(), Malformed> {
    let topic = message.topic();
    if topic != raw.topic {
        return Err(Malformed::at("wrong-topic", "/type", format!("this type stands on {topic} only")));
    }
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

fn read(raw: &Raw, value: &str, mode: Mode) -> Result<Envelope, Malformed> {
    let header = |name| raw.headers.text(name);
    let structured = header("content-type").is_some_and(is_structured);
    let binary =
        ["ce_specversion", "ce_id", "ce_source", "ce_type"].iter().all(|name| header(name).is_some());
    if !structured && binary {
        strict::check(value)?;
        let text = |name| header(name).unwrap_or_default().to_owned();
        return complete(
            text("ce_id"),
            text("ce_source"),
            text("ce_type"),
            value,
            Attributes {
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
    let event = Structured::read(value)?;
    // The place is the identity of what came without one: the same bytes read again are the same message.
    let place = || {
        let (partition, offset) = (raw.partition.to_string(), raw.offset.to_string());
        ids::named(&["manual", raw.topic.name(), &partition, &offset]).to_string()
    };
    let Some(specversion) = event.specversion else {
        if structured || mode == Mode::Production {
            let detail = "is not a CloudEvent (no specversion)";
            return Err(Malformed::at("invalid-envelope", "/specversion", detail));
        }
        // Whatever else stands beside type and data is not an attribute: there is no envelope.
        let traceparent = header("traceparent");
        return complete(
            place(),
            SOURCE_MANUAL.to_owned(),
            event.message_type.into_owned(),
            event.data,
            Attributes { traceparent, ..Attributes::default() },
        );
    };
    complete(
        event.id.map_or_else(place, Cow::into_owned),
        event.source.map_or_else(|| SOURCE_MANUAL.to_owned(), Cow::into_owned),
        event.message_type.into_owned(),
        event.data,
        Attributes {
            specversion: Some(&specversion),
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

/// A media type, so without regard to case.
fn is_structured(content_type: &str) -> bool {
    const PREFIX: &str = "application/cloudevents";
    content_type.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Only what has the form of a trace parent is passed on: it ends in a text column and in other people's headers.
fn is_trace_parent(text: &str) -> bool {
    (55..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control()) || !text.is_ascii() && text.chars().any(char::is_control)
}

/// The attributes that a message can do without.
#[derive(Default)]
struct Attributes<'a> {
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
    id: String,
    source: String,
    message_type: String,
    data: &str,
    rest: Attributes<'_>,
) -> Result<Envelope, Malformed> {
    if rest.specversion.is_some_and(|version| version != "1.0") {
        return Err(Malformed::at("invalid-envelope", "/specversion", "is not 1.0"));
    }
    for (pointer, text) in [("/id", &id), ("/source", &source), ("/type", &message_type)] {
        if text.is_empty() || text.len() > ATTRIBUTE_BYTES_MAX || has_control(text) {
            let detail = format!("has 1 to {ATTRIBUTE_BYTES_MAX} bytes and no control character");
            return Err(Malformed::at("invalid-envelope", pointer, detail));
        }
    }
    let number = |pointer: &str, text: Option<&str>| {
        let positive = |text: &str| text.parse().ok().filter(|number: &i64| *number > 0);
        let parse = |text| {
            positive(text)
                .ok_or_else(|| Malformed::at("invalid-envelope", pointer, "is not a positive number"))
        };
        text.map(parse).transpose()
    };
    let time = |text| {
        let time = chrono::DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
        time.map_err(|_| Malformed::at("invalid-envelope", "/time", "is not an RFC 3339 time"))
    };
    let part = |text: &str| {
        text.parse().map_err(|error: String| Malformed::at("invalid-envelope", "/decision", error))
    };
    let named = Uuid::try_parse(&id).ok().filter(|id| !id.is_nil());
    Ok(Envelope {
        id: named.unwrap_or_else(|| ids::named(&["event", &source, &id])),
        source,
        message_type,
        data: data.to_owned(),
        time: rest.time.map(time).transpose()?,
        correlation_id: rest.correlationid.and_then(|text| Uuid::try_parse(text).ok()),
        causation_id: rest.causationid.and_then(|text| Uuid::try_parse(text).ok()),
        traceparent: rest.traceparent.filter(|text| is_trace_parent(text)).map(str::to_owned),
        sequence: number("/sequence", rest.sequence)?,
        position: number("/position", rest.position)?,
        decision: rest.decision.map(part).transpose()?,
    })
}
