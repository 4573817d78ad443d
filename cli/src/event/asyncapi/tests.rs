//! The document against the code that writes messages.

use std::collections::BTreeSet;

use bytes::Bytes;
use shared::contract::{
    Timestamp,
    envelope::{Manual, Outgoing, Part, Recorded},
    ids::{OrderId, StreamName},
    samples::sample,
};
use uuid::Uuid;

use super::*;

#[test]
fn the_committed_document_is_that_of_the_code() {
    let text = format!("{:#}\n", document());
    shared::testing::committed(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/asyncapi.json"), &text);
}

/// The schema of a part of a message, with all that it refers to.
fn validator(document: &Value, message_type: &str, part: &str) -> jsonschema::Validator {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "allOf": [{"$ref": format!("#/components/messages/{message_type}/{part}")}],
        "components": document["components"],
    });
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

#[test]
fn every_sample_is_what_the_document_says_and_without_any_attribute_it_is_not() {
    let document = document();
    for entry in entries() {
        let validator = validator(&document, entry.message_type, "payload");
        let sample: Value = serde_json::from_str(sample(entry.message_type).unwrap()).unwrap();
        if let Err(error) = validator.validate(&sample) {
            panic!("{}: {error}", entry.message_type);
        }
        for attribute in sample.as_object().unwrap().keys().filter(|name| *name != "traceparent") {
            let mut without = sample.clone();
            without.as_object_mut().unwrap().remove(attribute);
            assert!(!validator.is_valid(&without), "{} without {attribute}", entry.message_type);
        }
    }
}

#[test]
fn what_the_code_writes_has_the_headers_of_the_document() {
    let document = document();
    for entry in entries().iter().filter(|entry| entry.newest) {
        let sent = written(entry);
        let headers: Map<String, Value> = sent
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_ref().unwrap()).into()))
            .collect();
        let schema = document["components"]["messages"][entry.message_type]["headers"]["$ref"]
            .as_str()
            .and_then(|to| document.pointer(&to[1..]))
            .unwrap();
        let names: BTreeSet<&String> = headers.keys().collect();
        assert_eq!(names, schema["properties"].as_object().unwrap().keys().collect());
        let payload: Value = serde_json::from_slice(sent.value.as_ref().unwrap()).unwrap();
        for (part, value) in [("headers", &Value::Object(headers)), ("payload", &payload)] {
            if let Err(error) = validator(&document, entry.message_type, part).validate(value) {
                panic!("{part} of {}: {error}", entry.message_type);
            }
        }
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// As the edge sends a command and the relay an event.
fn written(entry: &Entry) -> Outgoing {
    let sample: Value = serde_json::from_str(sample(entry.message_type).unwrap()).unwrap();
    let data = sample["data"].to_string();
    let (id, time) = (Uuid::from_u128(1), Timestamp::UNIX_EPOCH);
    let traceparent = sample["traceparent"].as_str().unwrap_or("00-1-2-01").to_owned();
    if entry.topic.is_commands() {
        let manual = Manual {
            message_type: entry.message_type,
            data: &data,
            id,
            source: "/fulfil/cli",
            time,
            traceparent: Some(&traceparent),
        };
        return manual.encode(entry.topic, "key").unwrap();
    }
    let order_id = OrderId::new(id).unwrap();
    let stream = match entry.topic {
        Topic::OrdersEvents => StreamName::order(order_id),
        Topic::InventoryEvents => StreamName::reservation(order_id),
        Topic::InventoryStock => StreamName::stock(&"SKU-1".parse().unwrap()),
        _ => StreamName::payment(order_id),
    };
    let recorded = Recorded {
        position: 1,
        stream,
        version: 1,
        event_id: id,
        event_type: entry.message_type.to_owned(),
        data,
        decision: Part { index: 1, count: 1 },
        correlation_id: id,
        causation_id: id,
        traceparent: Some(traceparent),
        recorded_at: time,
    };
    recorded.encode("order-service").unwrap()
}
