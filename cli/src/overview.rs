//! `fulfil overview`: how the whole does, and what needs attention.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::{
    exit::Exit,
    output::{Column, Output, Tone, count, duration_ms},
    place::PlaceArgs,
    service,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil overview
  fulfil overview --json")]
pub struct OverviewArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

pub async fn run(args: OverviewArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    let nothing: [(&str, String); 0] = [];
    let overview: Value = service::get(&format!("{}/overview", place.projector), &nothing).await?;
    if output.json {
        output.object(&overview)?;
        return Ok(Exit::Done.into());
    }
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let told = |value: &Value, tone| match number(value) {
        0 => count(0),
        some => output.paint(tone, &count(some)),
    };
    let parts = || overview["parts"].as_array().into_iter().flatten();
    let mut rows = vec![
        row("created in the last hour", count(parts().map(|part| number(&part["created"])).sum::<i64>())),
        row("open", count(number(&overview["open"]))),
        row("overdue", told(&overview["overdue"], Tone::Bad)),
        row("dead letters that wait", told(&overview["dead_letters"], Tone::Bad)),
    ];
    let newest = parts().filter_map(|part| part["p95_ms"].as_f64()).next_back();
    rows.extend(newest.map(|ms| row("p95, creation to end", duration_ms(ms as i64))));
    for step in ["created", "reserved", "authorized", "confirmed", "completed"] {
        rows.push(row(&format!("of the newest: {step}"), count(number(&overview["funnel"][step]))));
    }
    for lost in overview["lost"].as_array().into_iter().flatten() {
        let reason = lost["reason"].as_str().unwrap_or_default().replace('_', " ");
        rows.push(row(&format!("lost: {reason}"), count(number(&lost["orders"]))));
    }
    output.table(&[Column::Left("WHAT"), Column::Right("HOW MANY")], rows);
    let attention = overview["attention"].as_array().map(Vec::as_slice).unwrap_or_default();
    for alarm in attention {
        let [kind, what, why, address] =
            ["kind", "what", "why", "address"].map(|field| alarm[field].as_str().unwrap_or_default());
        let kind = output.paint(Tone::Bad, kind);
        output.line(&format!("{kind}  {what}: {why}  {}{address}", place.projector));
    }
    if attention.is_empty() {
        output.note_toned(Tone::Good, "nothing needs attention");
    }
    Ok(Exit::Done.into())
}
