//! `fulfil stock`: what is there, what came in, and what was counted wrong.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::contract::{Timestamp, ids::Sku};
use uuid::Uuid;

use crate::{
    exit::Exit,
    output::{Column, Output, Tone, ago, count},
    place::{Place, PlaceArgs},
    service,
};

#[derive(Debug, Args)]
pub struct StockArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    command: StockCommand,
}

#[derive(Debug, Subcommand)]
enum StockCommand {
    /// Goods came in
    #[command(after_help = "Examples:
  fulfil stock receive SKU-1 --quantity 100
  fulfil stock receive SKU-1 --quantity 100 --reference delivery-77")]
    Receive {
        sku: Sku,
        #[arg(long)]
        quantity: i64,
        /// The same reference counts once [default: a new one]
        #[arg(long)]
        reference: Option<String>,
    },
    /// Correct a count, up or down
    #[command(after_help = "Examples:
  fulfil stock adjust SKU-1 --delta -3 --reason 'three were broken'")]
    Adjust {
        sku: Sku,
        #[arg(long, allow_hyphen_values = true)]
        delta: i64,
        #[arg(long)]
        reason: String,
        /// The same reference counts once [default: a new one]
        #[arg(long)]
        reference: Option<String>,
    },
    /// One sku
    #[command(after_help = "Examples:
  fulfil stock get SKU-1")]
    Get {
        sku: Sku,
        /// Wait until the read side has seen what a command was answered with
        #[arg(long, value_name = "TOKEN")]
        after: Option<String>,
    },
    /// All skus
    #[command(after_help = "Examples:
  fulfil stock list
  fulfil stock list --json")]
    List,
}

pub async fn run(args: StockArgs, output: Output) -> anyhow::Result<ExitCode> {
    let place = args.place.resolve()?;
    match args.command {
        StockCommand::Receive { sku, quantity, reference } => {
            let reference = reference.unwrap_or_else(new_reference);
            let body = json!({"quantity": quantity, "reference": reference});
            change(&sku, "receive", &body, &place, output).await
        }
        StockCommand::Adjust { sku, delta, reason, reference } => {
            let reference = reference.unwrap_or_else(new_reference);
            let body = json!({"delta": delta, "reason": reason, "reference": reference});
            change(&sku, "adjust", &body, &place, output).await
        }
        StockCommand::Get { sku, after } => {
            let query = [("after", after.unwrap_or_default())];
            let stock: Value = service::get(&format!("{}/stock/{sku}", place.projector), &query).await?;
            print(&[stock], output)
        }
        StockCommand::List => {
            let url = format!("{}/stock", place.projector);
            let stocks = service::list(&url, "stock", &[], usize::MAX).await?;
            if stocks.is_empty() && !output.json {
                output.note("no stock; receive some with: fulfil stock receive SKU-1 --quantity 100");
            }
            print(&stocks, output)
        }
    }
}

/// A request that is sent again counts once.
fn new_reference() -> String {
    format!("cli-{}", Uuid::now_v7())
}

async fn change(
    sku: &Sku,
    verb: &str,
    body: &Value,
    place: &Place,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let url = format!("{}/stock/{sku}/{verb}", place.inventory_service);
    let levels: Value = service::post(&url, body, &[]).await?;
    print(&[levels], output)
}

fn print(stocks: &[Value], output: Output) -> anyhow::Result<ExitCode> {
    if output.json {
        for stock in stocks {
            output.object(stock)?;
        }
        return Ok(Exit::Done.into());
    }
    let now = chrono::Utc::now();
    let rows = stocks.iter().map(|stock| {
        let level = |field: &str| stock[field].as_i64().unwrap_or_default();
        let (on_hand, reserved) = (level("on_hand"), level("reserved"));
        let available = on_hand - reserved;
        let tone = if available == 0 { Tone::Warn } else { Tone::Plain };
        let changed = stock["updated_at"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        vec![
            stock["sku"].as_str().unwrap_or_default().to_owned(),
            count(on_hand),
            count(reserved),
            output.paint(tone, &count(available)),
            changed.map(|time| ago(time, now)).unwrap_or_default(),
        ]
    });
    let columns = [
        Column::Left("SKU"),
        Column::Right("ON HAND"),
        Column::Right("RESERVED"),
        Column::Right("AVAILABLE"),
        Column::Right("CHANGED"),
    ];
    output.table(&columns, rows.collect());
    Ok(Exit::Done.into())
}
