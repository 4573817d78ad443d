//! `fulfil order cancel`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use shared::contract::{
    message::Message,
    order::{CancelOrder, Canceller, OrderCommand},
};

use super::{Following, Outcome, Status, Via, create, resolve};
use crate::{
    event::duration_arg,
    exit::Exit,
    output::{Output, Tone, duration, short},
    place::Place,
    service,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil order cancel 0198f3c2-5a10 --reason 'ordered twice'
  fulfil order cancel 0198f3c2-5a10 --by operator --wait settled")]
pub(super) struct CancelArgs {
    /// The order, or the start of its id
    order: String,
    /// Becomes the note of the cancellation
    #[arg(long)]
    reason: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    by: By,
    #[arg(long, value_enum, default_value_t)]
    via: Via,
    /// Return when it is in one of these states, such as settled
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS")]
    wait: Vec<Status>,
    #[arg(long, default_value = "30s", value_parser = duration_arg, value_name = "TIME")]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum By {
    #[default]
    Customer,
    Operator,
}

pub(super) async fn run(args: CancelArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let order_id = resolve(&args.order, place).await?;
    let by = match args.by {
        By::Customer => Canceller::Customer,
        By::Operator => Canceller::Operator,
    };
    let mut following = match args.wait.is_empty() {
        true => None,
        false => Some(Following::open(place).await?),
    };
    let begun = Instant::now();
    let mut status = match args.via {
        Via::Http => {
            let url = format!("{}/orders/{order_id}/cancel", place.order_service);
            let answer: Value = service::post(&url, &json!({"reason": args.reason, "by": by}), &[]).await?;
            answer["status"].as_str().unwrap_or("cancelled").to_owned()
        }
        Via::Topic => {
            let cancel = CancelOrder { order_id, reason: args.reason, by: Some(by) };
            create::send(&Message::OrderCommand(OrderCommand::Cancel(cancel)), place).await?;
            "sent".to_owned()
        }
    };
    let mut exit = Exit::Done;
    let is_there = args.wait.iter().any(|wanted| wanted.as_str() == status);
    if let Some(following) = following.as_mut().filter(|_| !is_there) {
        let outcome = following.until(order_id, &args.wait, args.timeout).await?;
        let (end, known) = match outcome {
            Outcome::Reached(known) => (Exit::Done, known),
            Outcome::Otherwise(known) => (Exit::Refused, known),
            Outcome::Waited(known) => (Exit::Waited, known),
        };
        exit = end;
        status = known.status.map_or(status, |status| status.as_str().to_owned());
    }
    let latency = begun.elapsed();
    if output.json {
        let latency_ms = latency.as_millis() as u64;
        output.object(&json!({"order_id": order_id, "status": status, "latency_ms": latency_ms}))?;
    } else {
        let id = order_id.to_string();
        let status = output.paint(Tone::Warn, &status.to_uppercase());
        output.line(&format!("{}  {status}  {}", output.paint(Tone::of(&id), short(&id)), duration(latency)));
    }
    Ok(exit.into())
}
