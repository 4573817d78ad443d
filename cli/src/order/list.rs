//! `fulfil order list`.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use serde_json::Value;
use shared::{config::duration, contract::Timestamp};

use super::{Status, show::status_tone};
use crate::{
    exit::Exit,
    output::{Column, Output, ShortIds, Tone, ago},
    place::Place,
    service,
    sighting::money,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil order list --open
  fulfil order list --open --stage reserved --older-than 5m
  fulfil order list --status cancelled --since 2026-11-24T10:00:00Z
  fulfil order list --sku SKU-1 --json")]
pub(super) struct ListArgs {
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Only orders that have not ended
    #[arg(long)]
    open: bool,
    /// Only orders of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only orders with a line of it
    #[arg(long)]
    sku: Option<String>,
    /// Only orders created since, such as 2026-11-24T10:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only orders that came so far and no further; looks through all that may be, until there are enough
    #[arg(long, value_parser = ["created", "reserved", "authorized", "confirmed", "completed"])]
    stage: Option<String>,
    /// Only orders created longer ago, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// At most so many
    #[arg(short, long, default_value_t = 50)]
    num: usize,
}

pub(super) async fn run(args: ListArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let orders = load(&args, place).await?;
    if output.json {
        for order in &orders {
            output.object(order)?;
        }
        return Ok(Exit::Done.into());
    }
    if orders.is_empty() {
        output
            .note("no orders; make one with: fulfil order create --sku SKU-1 --quantity 2 --price 19.99EUR");
        return Ok(Exit::Done.into());
    }
    let ids = ShortIds::new(orders.iter().filter_map(|order| order["order_id"].as_str()));
    let now = chrono::Utc::now();
    let rows = orders.iter().map(|order| {
        let text = |field: &str| order[field].as_str().unwrap_or_default().to_owned();
        let time =
            |field: &str| text(field).parse::<Timestamp>().map(|time| ago(time, now)).unwrap_or_default();
        let id = text("order_id");
        let shown = if output.terminal { ids.short(&id) } else { id.clone() };
        let lines = order["lines"].as_array().map(|lines| {
            let all: Vec<_> = lines
                .iter()
                .map(|line| format!("{} × {}", line["quantity"], line["sku"].as_str().unwrap_or("?")))
                .collect();
            all.join(", ")
        });
        vec![
            output.paint(Tone::of(&id), &shown),
            output.paint(status_tone(&text("status")), &text("status")),
            text("reason").replace('_', " "),
            money(&order["amount"]),
            text("user_id"),
            time("created_at"),
            time("updated_at"),
            lines.unwrap_or_default(),
        ]
    });
    let columns = [
        Column::Left("ORDER"),
        Column::Left("STATUS"),
        Column::Left("REASON"),
        Column::Right("AMOUNT"),
        Column::Left("USER"),
        Column::Right("CREATED"),
        Column::Right("CHANGED"),
        Column::Left("LINES"),
    ];
    output.table(&columns, rows.collect());
    Ok(Exit::Done.into())
}

async fn load(args: &ListArgs, place: &Place) -> anyhow::Result<Vec<Value>> {
    let query = [
        ("status", args.status.map(|status| status.as_str().to_owned()).unwrap_or_default()),
        ("open", if args.open { "true".to_owned() } else { String::new() }),
        ("user_id", args.user.clone().unwrap_or_default()),
        ("sku", args.sku.clone().unwrap_or_default()),
        ("stage", args.stage.clone().unwrap_or_default()),
        ("older_than", args.older_than.map(|age| format!("{}ms", age.as_millis())).unwrap_or_default()),
        ("since", args.since.map(shared::contract::envelope::time_text).unwrap_or_default()),
    ];
    service::list(&format!("{}/orders", place.projector), "orders", &query, args.num).await
}
