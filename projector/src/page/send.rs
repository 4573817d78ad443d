//! Send: a form made from the JSON Schema of a message type, filled with its committed sample.

use askama::Template;
use axum::{extract::State, response::Response};
use serde::Deserialize;
use serde_json::Value;
use shared::{
    contract::{catalogue::Entry, envelope::Mode, samples::sample},
    http::{Problem, Query},
};
use uuid::Uuid;

use super::layout::{Frame, rendered};
use crate::http::{App, send::sendable};

#[derive(Debug, Deserialize)]
pub(super) struct SendQuery {
    #[serde(rename = "type")]
    message_type: Option<String>,
    /// Whose the message is.
    order: Option<String>,
}

#[derive(Template)]
#[template(path = "send.html")]
struct Send {
    frame: Frame,
    is_allowed: bool,
    commands: Vec<&'static str>,
    events: Vec<&'static str>,
    message_type: &'static str,
    topic: &'static str,
    parts: Vec<Part>,
}

/// The form in the order in which it is read.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    /// An object, or one item of a list.
    Begin {
        label: String,
    },
    BeginList {
        label: String,
        items_max: u64,
    },
    End,
    EndList,
    Field(Box<Field>),
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Field {
    /// Of the field in the payload.
    pub pointer: String,
    pub label: String,
    /// string, integer or boolean
    pub kind: String,
    pub value: String,
    pub is_required: bool,
    pub options: Vec<String>,
    pub note: String,
    pub pattern: String,
    pub chars_min: Option<u64>,
    pub chars_max: Option<u64>,
    pub min: Option<i64>,
    pub max: Option<i64>,
}

const FIRST: &str = "fulfil.order.create.v2";
/// Deeper than any type of ours; a schema that names itself ends there.
const DEPTH_MAX: usize = 8;

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<SendQuery>,
) -> Result<Response, Problem> {
    let wanted = asked.message_type.as_deref().unwrap_or(FIRST);
    let entry = sendable().find(|entry| entry.message_type == wanted);
    let entry = entry.ok_or_else(|| Problem::unreadable("/type", "is none of the types that can be sent"))?;
    let names = |is_command: bool| {
        sendable()
            .filter(|entry| entry.topic.is_commands() == is_command)
            .map(|entry| entry.message_type)
            .collect()
    };
    let short = wanted.strip_prefix("fulfil.").unwrap_or(wanted);
    rendered(&Send {
        frame: Frame::new(&app, "send", "Send", format!("fulfil event send {short}")),
        is_allowed: app.mode == Mode::Development,
        commands: names(true),
        events: names(false),
        message_type: entry.message_type,
        topic: entry.topic.name(),
        parts: parts(&entry, asked.order.as_deref()),
    })
}

impl Send {
    fn is(&self, message_type: &str) -> bool {
        self.message_type == message_type
    }
}

impl Field {
    fn is(&self, option: &str) -> bool {
        self.value == option
    }
}

/// The form of a type. A message that makes an order makes a new one.
fn parts(entry: &Entry, order: Option<&str>) -> Vec<Part> {
    let schema = entry.schema.as_value();
    let sample: Value =
        sample(entry.message_type).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut data = sample["data"].clone();
    if let Some(fields) = data.as_object_mut() {
        // A date of the past.
        fields.retain(|name, _| !["deadline_at", "deadline_given"].contains(&name.as_str()));
        // What makes a repeat harmless must not make every message one.
        if schema["required"].as_array().is_some_and(|names| names.iter().any(|name| name == "reference")) {
            fields.insert("reference".to_owned(), Uuid::now_v7().to_string().into());
        } else {
            fields.remove("reference");
        }
        let makes_one =
            ["order.create.", "order.created."].iter().any(|name| entry.message_type.contains(name));
        let fresh = || if makes_one { Uuid::now_v7().to_string() } else { String::new() };
        if let Some(id) = fields.get_mut("order_id") {
            *id = order.map_or_else(fresh, str::to_owned).into();
        }
    }
    let mut parts = Vec::new();
    object(schema, schema, "", &data, 0, &mut parts);
    parts
}

/// The fields of an object: those that must be there first.
fn object(root: &Value, schema: &Value, pointer: &str, data: &Value, depth: usize, parts: &mut Vec<Part>) {
    let Some(properties) = schema["properties"].as_object().filter(|_| depth < DEPTH_MAX) else { return };
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rest = properties.keys().map(String::as_str).filter(|name| !required.contains(name));
    for name in required.iter().copied().chain(rest) {
        let Some(own) = properties.get(name) else { continue };
        let schema = resolved(root, own);
        let (pointer, data) = (format!("{pointer}/{name}"), &data[name]);
        let label = name.replace('_', " ");
        match kind(schema) {
            "object" => {
                parts.push(Part::Begin { label });
                object(root, schema, &pointer, data, depth + 1, parts);
                parts.push(Part::End);
            }
            "array" => {
                let items_max = schema["maxItems"].as_u64().unwrap_or(200);
                parts.push(Part::BeginList { label: label.clone(), items_max });
                parts.push(Part::Begin { label: String::new() });
                let item = resolved(root, &schema["items"]);
                object(root, item, &format!("{pointer}/0"), &data[0], depth + 1, parts);
                parts.extend([Part::End, Part::EndList]);
            }
            kind => {
                let field = field(schema, kind, data);
                let note = own["description"].as_str().or(schema["description"].as_str()).unwrap_or_default();
                let is_required = required.contains(&name);
                let field = Field { pointer, label, is_required, note: note.to_owned(), ..field };
                parts.push(Part::Field(Box::new(field)));
            }
        }
    }
}

/// What a field may be.
fn field(schema: &Value, kind: &str, data: &Value) -> Field {
    let number = |name: &str| schema[name].as_i64();
    let chars = |name: &str| schema[name].as_u64();
    let options = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Field {
        kind: kind.to_owned(),
        value: match data {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        },
        options: options.map(str::to_owned).collect(),
        pattern: schema["pattern"].as_str().unwrap_or_default().to_owned(),
        chars_min: chars("minLength"),
        chars_max: chars("maxLength"),
        min: number("minimum"),
        max: number("maximum"),
        ..Field::default()
    }
}

/// Follows references, and takes what is there of `it or null`.
fn resolved<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    for _ in 0..DEPTH_MAX {
        if let Some(place) = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
            schema = root.pointer(place).unwrap_or(&Value::Null);
        } else if let Some(any) = schema["anyOf"].as_array() {
            schema = any.iter().find(|one| one["type"] != "null").unwrap_or(&Value::Null);
        } else {
            break;
        }
    }
    schema
}

fn kind(schema: &Value) -> &str {
    let one = schema["type"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|kind| *kind != "null");
    one.or(schema["type"].as_str()).unwrap_or("string")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::contract::message::Message;

    use super::*;

    /// As the script reads it.
    fn read(parts: &[Part]) -> Value {
        let mut data = json!({});
        for part in parts {
            let Part::Field(field) = part else { continue };
            if field.value.is_empty() {
                continue;
            }
            let value: Value = match field.kind.as_str() {
                "string" => field.value.clone().into(),
                _ => serde_json::from_str(&field.value).unwrap(),
            };
            let mut place = &mut data;
            for step in field.pointer.split('/').skip(1) {
                place = match step.parse::<usize>() {
                    Ok(at) => {
                        let items = if place.is_array() {
                            place
                        } else {
                            *place = json!([{}]);
                            place
                        };
                        &mut items[at]
                    }
                    Err(_) => &mut place[step],
                };
            }
            *place = value;
        }
        data
    }

    #[test]
    fn the_form_of_every_type_says_a_message_of_it() {
        for entry in sendable() {
            let parts = parts(&entry, Some("0198f3c2-5a10-7c31-9d44-0a4be1c25f01"));
            let data = read(&parts);
            let message = Message::decode(entry.message_type, &data.to_string()).unwrap();
            assert!(message.is_ok(), "{}: {data} {message:?}", entry.message_type);
        }
    }

    #[test]
    fn fields_have_the_limits_of_the_schema() {
        let entry = sendable().find(|entry| entry.message_type == FIRST).unwrap();
        let parts = parts(&entry, None);
        let of = |pointer: &str| {
            let fields = parts
                .iter()
                .filter_map(|part| if let Part::Field(field) = part { Some(field) } else { None });
            fields.into_iter().find(|field| field.pointer == pointer).unwrap()
        };
        let quantity = of("/lines/0/quantity");
        assert_eq!((quantity.min, quantity.max, quantity.is_required), (Some(1), Some(1_000_000), true));
        assert_eq!(of("/lines/0/sku").chars_max, Some(64));
        let deadline = of("/deadline_at");
        assert!(!deadline.is_required && deadline.value.is_empty() && deadline.note.contains("15 minutes"));
        assert!(Uuid::try_parse(&of("/order_id").value).is_ok(), "a new order");
    }
}
