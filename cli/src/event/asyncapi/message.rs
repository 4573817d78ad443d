//! Messages with their headers and payloads, and the schemas that they share.

use serde_json::{Map, Value, json};
use shared::contract::{
    catalogue::Entry, dead_letter::header, envelope::CONTENT_TYPE, samples::sample, topics::Key,
};

use super::BINDING_VERSION;
use crate::dlq::ABOUT;

/// A message that died, and what became of it: they have no envelope.
pub(super) const LETTER: &str = "dead-letter";
pub(super) const LETTER_CHANGE: &str = "dead-letter-change";

/// Attributes that an event has because it stands in a log.
const LOGGED: [&str; 4] = ["sequence", "position", "decision", "causationid"];
/// Attributes that every message of ours has again as a header.
const COPIED: [&str; 5] = ["id", "type", "source", "subject", "correlationid"];

/// All messages, and all schemas that they refer to.
pub(super) fn components(entries: &[Entry]) -> (Map<String, Value>, Map<String, Value>) {
    let mut schemas = Map::new();
    let mut messages: Map<String, Value> =
        entries.iter().map(|entry| (entry.message_type.to_owned(), message(entry, &mut schemas))).collect();
    messages.insert(LETTER.to_owned(), letter());
    messages.insert(LETTER_CHANGE.to_owned(), letter_change());
    schemas.insert("command-envelope".to_owned(), envelope(&[]));
    schemas.insert("event-envelope".to_owned(), envelope(&LOGGED));
    schemas.insert("command-headers".to_owned(), headers(&COPIED));
    schemas.insert("event-headers".to_owned(), headers(&[&COPIED[..], &["sequence", "position"]].concat()));
    (messages, schemas)
}

/// Puts what its schema refers to into `schemas`, where all of the document find it.
fn message(entry: &Entry, schemas: &mut Map<String, Value>) -> Value {
    let mut data = entry.schema.clone().to_value();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("$schema");
        if let Some(Value::Object(definitions)) = fields.remove("$defs") {
            let found = definitions.into_iter().map(|(name, definition)| (name, refer(definition)));
            schemas.extend(found);
        }
    }
    let kind = if entry.topic.is_commands() { "command" } else { "event" };
    let key = match entry.topic.key() {
        Key::OrderId => json!({"type": "string", "format": "uuid"}),
        Key::Sku | Key::Original => json!({"type": "string"}),
    };
    let sample: Option<Value> = sample(entry.message_type).and_then(|text| serde_json::from_str(text).ok());
    let mut message = json!({
        "name": entry.message_type,
        "contentType": CONTENT_TYPE,
        "headers": {"$ref": format!("#/components/schemas/{kind}-headers")},
        "payload": {
            "allOf": [{"$ref": format!("#/components/schemas/{kind}-envelope")}],
            "properties": {
                "type": {"const": entry.message_type},
                "dataschema": {"const": format!("urn:fulfil:schema:{}", entry.schema_name())},
                "data": refer(data),
            },
        },
        "correlationId": {"location": "$message.header#/ce_correlationid"},
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING_VERSION}},
        "examples": sample.map(|payload| json!({"payload": payload})).into_iter().collect::<Value>(),
    });
    if !entry.newest {
        message["description"] = "Is still read and not written any more.".into();
    }
    message
}

/// References to a schema's own definitions, as those of the document.
fn refer(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match value.as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
                Some(definition) if name == "$ref" => {
                    (name, format!("#/components/schemas/{definition}").into())
                }
                _ => (name, refer(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(refer).collect(),
        other => other,
    }
}

fn envelope(more: &[&str]) -> Value {
    let always = [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "partitionkey",
        "correlationid",
        "data",
    ];
    let required: Vec<&str> = always.into_iter().chain(more.iter().copied()).collect();
    let attribute = |name: &str| {
        let mut schema = match name {
            "specversion" => json!({"const": "1.0"}),
            "datacontenttype" => json!({"const": "application/json"}),
            "id" | "correlationid" | "causationid" => json!({"type": "string", "format": "uuid"}),
            "time" => json!({"type": "string", "format": "date-time"}),
            "sequence" => json!({"type": "string", "pattern": "^[0-9]{10}$"}),
            "position" => json!({"type": "string", "pattern": "^[0-9]{20}$"}),
            "decision" => json!({"type": "string", "pattern": "^[0-9]+/[0-9]+$"}),
            "data" => json!({"type": "object"}),
            _ => json!({"type": "string"}),
        };
        if let Some(description) = described(name) {
            schema["description"] = description.into();
        }
        (name.to_owned(), schema)
    };
    let properties: Map<String, Value> =
        required.iter().copied().chain(["traceparent"]).map(attribute).collect();
    json!({
        "type": "object",
        "description": "A CloudEvent. Where it and a header differ, it wins. Readers need type and data only.",
        "required": required,
        "properties": properties,
    })
}

fn described(attribute: &str) -> Option<&'static str> {
    match attribute {
        "sequence" => Some("The version of the event's stream."),
        "position" => Some("The place in the log of its service: the order of publication."),
        "decision" => Some("Which of how many events of one decision."),
        "causationid" => Some("The id of the message that caused it."),
        "partitionkey" => Some("The record's key."),
        "traceparent" => Some("W3C Trace Context."),
        _ => None,
    }
}

fn headers(copied: &[&str]) -> Value {
    let mut required: Vec<String> = vec!["content-type".to_owned()];
    required.extend(copied.iter().map(|name| format!("ce_{name}")));
    of_text(&required, &["traceparent".to_owned()])
}

fn letter() -> Value {
    json!({
        "name": LETTER,
        "summary": "A message that could not be processed: its key, value and headers byte for byte, and these headers.",
        "contentType": "application/octet-stream",
        "headers": of_text(&ABOUT.map(str::to_owned), &[]),
    })
}

fn letter_change() -> Value {
    let required = [header::ID, header::STATUS, header::BY, header::REASON];
    let mut headers = of_text(&required.map(str::to_owned), &[]);
    headers["properties"][header::STATUS]["enum"] =
        json!(["redriven", "failed-again", "discarded", "parked"]);
    json!({
        "name": LETTER_CHANGE,
        "summary": "What became of a dead letter: the same key, an empty value.",
        "headers": headers,
        "payload": {"type": "null"},
    })
}

/// Headers are text.
fn of_text(required: &[String], optional: &[String]) -> Value {
    let properties: Map<String, Value> =
        required.iter().chain(optional).map(|name| (name.clone(), json!({"type": "string"}))).collect();
    json!({"type": "object", "required": required, "properties": properties})
}
