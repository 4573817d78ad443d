//! `fulfil order timeline`: the story of an order, causes before effects.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use serde_json::Value;
use shared::contract::{
    Timestamp,
    envelope::{Headers, Raw},
    topics::Topic,
};

use super::{held, resolve};
use crate::{
    exit::Exit,
    output::{Column, Output, Tone, clock, duration_ms},
    place::Place,
    service,
    sighting::{Sighting, brief, label, tone},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil order timeline 0198f3c2-5a10
  fulfil order timeline 0198f3c2-5a10 --json")]
pub(super) struct TimelineArgs {
    /// The order, or the start of its id
    order: String,
}

pub(super) async fn run(args: TimelineArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let order_id = resolve(&args.order, place).await?;
    let timeline: Value =
        service::get(&format!("{}/orders/{order_id}/timeline", place.projector), &[]).await?;
    if output.json {
        output.object(&timeline)?;
        return Ok(Exit::Done.into());
    }
    let rows = timeline["events"].as_array().into_iter().flatten().map(|entry| row(entry, output)).collect();
    let columns = [
        Column::Left("TIME"),
        Column::Left("SERVICE"),
        Column::Left("EVENT"),
        Column::Right("AFTER ITS CAUSE"),
        Column::Left(""),
    ];
    output.table(&columns, rows);
    if timeline["status"].is_null() {
        output.line(&output.paint(Tone::Warn, "order-service has not told of this order"));
    }
    let now = chrono::Utc::now();
    let letters = &timeline["dead_letters"];
    held::show_letters(letters, now, output);
    held::show_awaiting(&timeline["awaiting"], letters, now, output);
    Ok(Exit::Done.into())
}

/// Time, service, event, how long after its cause, and what it says.
pub(super) fn row(entry: &Value, output: Output) -> Vec<String> {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let message_type = entry["type"].as_str().unwrap_or_default();
    let time =
        text("time").parse::<Timestamp>().map(|time| clock(time.timestamp_millis())).unwrap_or_default();
    let latency = entry["latency_ms"].as_i64().map(duration_ms).unwrap_or_default();
    // As if it had been seen on its topic, so that it is said in the same words.
    let event = serde_json::json!({"specversion": "1.0", "type": message_type, "data": entry["data"]});
    let sighting = Sighting::of(Raw {
        topic: Topic::parse(&text("topic")).unwrap_or(Topic::OrdersEvents),
        partition: 0,
        offset: 0,
        key: None,
        value: Some(Bytes::from(event.to_string())),
        headers: Headers::Readable(Vec::new()),
        timestamp_ms: 0,
    });
    vec![
        output.paint(Tone::Dim, &time),
        text("service"),
        output.paint(tone(&sighting), label(message_type)),
        output.paint(Tone::Dim, &latency),
        brief(&sighting),
    ]
}
