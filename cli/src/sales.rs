//! `fulfil sales`: what orders completed with, by hour or by sku.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;
use shared::contract::{Timestamp, envelope::time_text, ids::Sku};

use crate::{
    exit::Exit,
    output::{Column, Output, count},
    place::PlaceArgs,
    service,
    sighting::money,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil sales
  fulfil sales --sku SKU-1 --since 2026-11-24T10:00:00Z
  fulfil sales --by sku --json")]
pub struct SalesArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[arg(long, value_enum, default_value_t = By::Hour)]
    by: By,
    /// By hour: of this sku alone
    #[arg(long)]
    sku: Option<Sku>,
    /// From the hour on that this is in; by sku at most 31 days ago
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// At most so many rows
    #[arg(short, long, default_value_t = 50)]
    num: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Newest first
    Hour,
    /// By its name
    Sku,
}

pub async fn run(args: SalesArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    let query = [
        ("by", if args.by == By::Sku { "sku" } else { "hour" }.to_owned()),
        ("sku", args.sku.map(|sku| sku.to_string()).unwrap_or_default()),
        ("since", args.since.map(time_text).unwrap_or_default()),
    ];
    let rows: Vec<Value> =
        service::list(&format!("{}/sales", place.projector), "sales", &query, args.num).await?;
    if output.json {
        for row in &rows {
            output.object(row)?;
        }
        return Ok(Exit::Done.into());
    }
    if rows.is_empty() {
        output.note("no order has completed with it");
        return Ok(Exit::Done.into());
    }
    let (name, field) = if args.by == By::Sku { ("SKU", "sku") } else { ("HOUR", "hour") };
    let number = |value: &Value| count(value.as_i64().unwrap_or_default());
    let shown = rows.iter().map(|row| {
        vec![
            row[field].as_str().unwrap_or_default().to_owned(),
            number(&row["orders"]),
            number(&row["quantity"]),
            money(&row["amount"]),
        ]
    });
    let columns =
        [Column::Left(name), Column::Right("ORDERS"), Column::Right("QUANTITY"), Column::Right("AMOUNT")];
    output.table(&columns, shown.collect());
    Ok(Exit::Done.into())
}
