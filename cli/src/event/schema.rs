//! `fulfil event schema` and `fulfil event validate`: what a message must look like, and whether it does.

use std::{
    fs,
    io::{self, Read},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::contract::{
    Malformed,
    schema::{Checker, document},
};

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
        Some(name) => document(&super::entry(name)?),
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
            Ok((message_type, data)) => checker.wrongs(message_type, &data)?.iter().map(said).collect(),
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

/// One thing that is wrong, with its place.
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

#[cfg(test)]
mod tests {
    use super::*;

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
