//! `fulfil order get`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use shared::contract::Timestamp;

use super::resolve;
use crate::{
    exit::Exit,
    output::{Output, Tone, ago, duration_ms},
    place::Place,
    service,
    sighting::money,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil order get 0198f3c2-5a10
  fulfil order get 0198f3c2-5a10 --event 3")]
pub(super) struct GetArgs {
    /// The order, or the start of its id
    order: String,
    /// Wait until the read side has seen what a command was answered with
    #[arg(long, value_name = "TOKEN")]
    after: Option<String>,
    /// As it stood after the event of that number in its timeline
    #[arg(long, value_name = "N", conflicts_with = "after")]
    event: Option<u32>,
}

pub(super) async fn run(args: GetArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let order_id = resolve(&args.order, place).await?;
    let mut query = Vec::new();
    query.extend(args.after.map(|after| ("after", after)));
    query.extend(args.event.map(|event| ("event", event.to_string())));
    let order: Value = service::get(&format!("{}/orders/{order_id}", place.projector), &query).await?;
    if output.json {
        output.object(&order)?;
        return Ok(Exit::Done.into());
    }
    for line in described(&order, output) {
        output.line(&line);
    }
    Ok(Exit::Done.into())
}

fn described(order: &Value, output: Output) -> Vec<String> {
    let text = |field: &str| order[field].as_str().unwrap_or_default();
    let time = |field: &str| text(field).parse::<Timestamp>().ok();
    let status = output.paint(status_tone(text("status")), &text("status").to_uppercase());
    let reason = order["reason"].as_str().map(|reason| format!(" ({})", reason.replace('_', " ")));
    let mut lines = vec![format!(
        "{}  {status}{}  {}  {}",
        output.paint(Tone::of(text("order_id")), text("order_id")),
        reason.unwrap_or_default(),
        money(&order["amount"]),
        text("user_id"),
    )];
    for line in order["lines"].as_array().into_iter().flatten() {
        let price = line["unit_price_minor"].as_i64().unwrap_or_default();
        let sku = line["sku"].as_str().unwrap_or("?");
        lines.push(format!("  {} × {sku}  at {}.{:02}", line["quantity"], price / 100, price % 100));
    }
    for (name, field) in [("stock", &order["stock"]), ("payment", &order["payment"])] {
        let said = field["status"].as_str().unwrap_or("nothing yet");
        lines.push(format!("  {name:<9}{}", said.replace('_', " ")));
    }
    let now = chrono::Utc::now();
    if let (Some(created), Some(updated)) = (time("created_at"), time("updated_at")) {
        let took = duration_ms((updated - created).num_milliseconds());
        lines.push(format!("  created  {}, last change after {took}", ago(created, now)));
    }
    for awaited in order["awaiting"].as_array().into_iter().flatten() {
        lines.push(format!("  awaiting {}", awaiting(awaited, now)));
    }
    lines
}

/// `PaymentAuthorized or PaymentDeclined from payment-service, in 14m 59s`
pub(super) fn awaiting(awaited: &Value, now: Timestamp) -> String {
    let what = awaited["what"].as_str().unwrap_or("?").replace('|', " or ");
    let until = awaited["until"].as_str().and_then(|until| until.parse::<Timestamp>().ok());
    let until = match until {
        Some(until) if until < now => format!(", overdue since {}", ago(until, now)),
        Some(until) => format!(", at the latest {}", ago(until, now)),
        None => String::new(),
    };
    format!("{what} from {}{until}", awaited["from"].as_str().unwrap_or("?"))
}

pub(super) fn status_tone(status: &str) -> Tone {
    match status {
        "completed" => Tone::Good,
        "cancelled" => Tone::Bad,
        "settled" => Tone::Warn,
        _ => Tone::Plain,
    }
}
