//! `fulfil event types` and `fulfil event new`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use shared::contract::catalogue::entries;

use super::{path::Assignment, template::Template};
use crate::{
    exit::Exit,
    output::{Column, Output, Tone},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil event new order.create
  fulfil event new order.create --set 'lines[0].sku=SKU-1' | fulfil event send -f -")]
pub(super) struct NewArgs {
    /// Such as order.create
    #[arg(value_name = "TYPE")]
    name: String,
    /// A field of the payload, such as lines[0].sku=SKU-1
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
}

#[derive(Serialize)]
struct TypeObject<'a> {
    r#type: &'a str,
    topic: &'a str,
    newest: bool,
    schema: String,
}

pub(super) fn run(output: Output) -> anyhow::Result<ExitCode> {
    let entries = entries();
    if output.json {
        for entry in &entries {
            output.object(&TypeObject {
                r#type: entry.message_type,
                topic: entry.topic.name(),
                newest: entry.newest,
                schema: format!("urn:fulfil:schema:{}", entry.schema_name()),
            })?;
        }
        return Ok(Exit::Done.into());
    }
    let rows = entries.iter().map(|entry| {
        let kind = match (entry.topic.is_commands(), entry.newest) {
            (_, false) => "old, still read",
            (true, true) => "command",
            (false, true) => "event",
        };
        let tone = if entry.newest { Tone::Plain } else { Tone::Dim };
        vec![output.paint(tone, entry.message_type), entry.topic.to_string(), output.paint(tone, kind)]
    });
    output.table(&[Column::Left("TYPE"), Column::Left("TOPIC"), Column::Left("KIND")], rows.collect());
    Ok(Exit::Done.into())
}

pub(super) fn new(args: &NewArgs, output: Output) -> anyhow::Result<ExitCode> {
    let entry = super::entry(&args.name)?;
    let template = Template::new(entry.message_type, entry.topic, &args.set, None)?;
    let message = template.fill(0)?;
    let object = serde_json::json!({"type": message.message_type, "data": message.data});
    output.line(&if output.json || !output.terminal { object.to_string() } else { pretty(&object) });
    Ok(Exit::Done.into())
}

pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
