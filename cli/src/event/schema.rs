//! `fulfil event schema` and `fulfil event validate`: what a message must look like, and whether it does.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::contract::{Malformed, catalogue::Entry, message::Message};

use super::asyncapi;
use crate::{
    exit::{Exit, ended},
    output::{Output, Tone},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil event schema order.created
  fulfil event schema order.created.v1 --json
  fulfil event schema --asyncapi")]
pub(super) struct SchemaArgs {
    /// Such as order.created or order.created.v1
    #[arg(value_name = "TYPE", required_unless_present = "asyncapi")]
    name: Option<String>,
    /// All types with their topics and services, as an AsyncAPI document
    #[arg(long, conflicts_with = "name")]
    asyncapi: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil event validate events.jsonl
  fulfil event new order.create | fulfil event validate
  fulfil event validate payloads.jsonl --type order.create")]
pub(super) struct ValidateArgs {
    /// JSON lines, - for standard input: CloudEvents, or {"type", "data"}, or payloads of --type
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// Of lines that have no type
    #[arg(long = "type", value_name = "TYPE")]
    name: Option<String>,
}

pub(super) fn run(args: &SchemaArgs, output: Output) -> anyhow::Result<ExitCode> {
    let schema = match &args.name {
        Some(name) => schema(&super::entry(name)?)?,
        None => asyncapi::document(),
    };
    output.line(&if output.json { schema.to_string() } else { super::types::pretty(&schema) });
    Ok(Exit::Done.into())
}

pub(super) fn validate(args: &ValidateArgs, output: Output) -> anyhow::Result<ExitCode> {
    let (mut good, mut bad, mut checker) = (0, 0, Checker::default());
    for (number, line) in read(&args.file)?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let typed = of_line(line, args.name.as_deref())
            .and_then(|line| Ok((super::entry(&line.name)?.message_type, line.data)));
        let wrongs = match typed {
            Ok((message_type, data)) => checker.wrongs(message_type, &data)?,
            Err(error) => vec![format!("{error:#}")],
        };
        if wrongs.is_empty() {
            good += 1
        } else {
            bad += 1
        }
        if output.json {
            output.object(&json!({"line": number + 1, "valid": wrongs.is_empty(), "errors": wrongs}))?;
        } else {
            for wrong in &wrongs {
                output.line(&format!("line {}: {}", number + 1, output.paint(Tone::Bad, wrong)));
            }
        }
    }
    output.note(&format!("{good} valid, {bad} not"));
    Ok(if bad > 0 { Exit::Refused } else { Exit::Done }.into())
}

/// A line, however much of an envelope it has.
#[derive(Deserialize)]
pub(super) struct Line {
    /// The type as somebody wrote it.
    #[serde(rename = "type")]
    pub(super) name: String,
    pub(super) data: Value,
    /// What stands beside them.
    #[serde(flatten)]
    pub(super) attributes: Map<String, Value>,
}

/// `name`: the type of bare payloads.
pub(super) fn of_line(line: &str, name: Option<&str>) -> anyhow::Result<Line> {
    shared::contract::strict::check(line)?;
    match (serde_json::from_str(line), name) {
        (Ok(line), _) => Ok(line),
        (Err(_), Some(name)) => {
            Ok(Line { name: name.to_owned(), data: serde_json::from_str(line)?, attributes: Map::new() })
        }
        (Err(_), None) => Err(ended(Exit::Usage, "has no type and data; name the type of bare payloads")),
    }
}

/// Checks payloads; a schema is compiled once.
#[derive(Default)]
pub(crate) struct Checker {
    compiled: HashMap<String, jsonschema::Validator>,
}

impl Checker {
    /// All that is wrong with a payload, each with its place. The schema says where; the code has the last word, as
    /// it knows sums and dates.
    pub(crate) fn wrongs(&mut self, message_type: &str, data: &Value) -> anyhow::Result<Vec<String>> {
        if !self.compiled.contains_key(message_type) {
            let schema = schema(&super::entry(message_type)?)?;
            let validator = jsonschema::options().should_validate_formats(true).build(&schema)?;
            self.compiled.insert(message_type.to_owned(), validator);
        }
        let of_schema = |error: jsonschema::ValidationError<'_>| {
            let place = error.instance_path().to_string();
            format!("{} {}", if place.is_empty() { "data" } else { &place }, error)
        };
        let mut wrongs: Vec<String> = self.compiled[message_type].iter_errors(data).map(of_schema).collect();
        if wrongs.is_empty()
            && let Some(Err(malformed)) = Message::decode(message_type, &data.to_string())
        {
            wrongs.push(said(&malformed));
        }
        Ok(wrongs)
    }
}

pub(super) fn said(malformed: &Malformed) -> String {
    format!("{} {}", malformed.pointer, malformed.detail).trim().to_owned()
}

pub(super) fn read(file: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    match file {
        "-" => io::stdin().read_to_string(&mut text).map(|_| text).context("standard input is not text"),
        path => fs::read_to_string(path).with_context(|| format!("{path} cannot be read")),
    }
}

fn schema(entry: &Entry) -> anyhow::Result<Value> {
    let mut schema = serde_json::to_value(&entry.schema)?;
    schema["$id"] = format!("urn:fulfil:schema:{}", entry.schema_name()).into();
    schema["title"] = entry.message_type.into();
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, data: Value) -> Vec<String> {
        Checker::default().wrongs(super::super::entry(name).unwrap().message_type, &data).unwrap()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrongs = of("stock.receive", json!({"sku": "a b", "quantity": 0}));
        assert_eq!(wrongs.len(), 2, "{wrongs:?}");
        assert!(wrongs.iter().any(|wrong| wrong.starts_with("/sku ")), "{wrongs:?}");
        assert!(wrongs.iter().any(|wrong| wrong.starts_with("/quantity ")), "{wrongs:?}");
        assert!(of("stock.receive", json!({"sku": "A", "quantity": 1})).is_empty());
    }

    #[test]
    fn what_only_the_code_knows_is_said_too() {
        let order = json!({
            "order_id": "0198f3c2-5a10-7c31-9d44-0a4be1c25f09", "user_id": "u",
            "lines": [{"sku": "A", "quantity": 1, "unit_price_minor": 5}],
            "amount": {"minor": 4, "currency": "EUR"},
        });
        assert_eq!(of("order.create", order), ["/amount/minor the amount is not the sum of the lines"]);
    }

    #[test]
    fn a_line_can_be_an_event_or_a_payload() {
        let line = of_line(r#"{"type":"stock.receive","data":{"sku":"A"},"id":"1"}"#, None).unwrap();
        assert_eq!((line.name.as_str(), line.data["sku"].as_str()), ("stock.receive", Some("A")));
        assert_eq!(Value::from(line.attributes), json!({"id": "1"}));
        assert_eq!(of_line(r#"{"sku":"A"}"#, Some("stock.receive")).unwrap().data["sku"], "A");
        assert!(of_line(r#"{"sku":"A"}"#, None).is_err());
        assert!(of_line(r#"{"sku":"A","sku":"B"}"#, Some("stock.receive")).is_err(), "duplicate keys");
    }
}
