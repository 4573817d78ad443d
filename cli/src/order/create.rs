//! `fulfil order create`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::contract::{
    envelope::encode_manual,
    ids::{OrderId, Sku, UserId},
    message::Message,
    money::{Currency, Money},
    order::{CreateOrder, Line, OrderCommand, sum_minor},
    topics::Topic,
};
use uuid::Uuid;

use super::{Following, Outcome, Status, Via, follow::Known};
use crate::{
    event::{SOURCE_CLI, duration_arg},
    exit::{Exit, ended},
    kafka::publish,
    output::{Output, Tone, duration, short},
    place::Place,
    service,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fulfil order create --sku SKU-1 --quantity 2 --price 19.99EUR --wait completed
  fulfil order create --line SKU-1:2:19.99EUR --line SKU-2:1:5EUR --user alice
  fulfil order create --sku SKU-1 --via topic --json")]
pub(super) struct CreateArgs {
    /// What is ordered
    #[arg(long, required_unless_present = "line")]
    sku: Option<Sku>,
    #[arg(long, default_value_t = 1, requires = "sku")]
    quantity: i64,
    /// Of one piece, such as 19.99EUR [default: 0.00 EUR]
    #[arg(long, value_name = "AMOUNT", requires = "sku")]
    price: Option<Money>,
    /// Another line: SKU:QUANTITY or SKU:QUANTITY:PRICE, any number of times
    #[arg(long, value_name = "SKU:N[:PRICE]", value_parser = parse_line)]
    line: Vec<(Line, Currency)>,
    #[arg(long, default_value = "cli")]
    user: UserId,
    /// Over HTTP, or as a command on orders.commands
    #[arg(long, value_enum, default_value_t)]
    via: Via,
    /// The same key and user make the same order [default: a new one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Return when it is in one of these states
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATUS")]
    wait: Vec<Status>,
    #[arg(long, default_value = "30s", value_parser = duration_arg, value_name = "TIME")]
    timeout: Duration,
}

#[derive(Deserialize)]
struct Accepted {
    order_id: OrderId,
    token: Option<String>,
}

#[derive(Serialize)]
struct OrderObject<'a> {
    order_id: OrderId,
    status: &'a str,
    reason: Option<String>,
    amount: Money,
    latency_ms: u64,
    token: Option<String>,
}

pub(super) async fn run(args: CreateArgs, place: &Place, output: Output) -> anyhow::Result<ExitCode> {
    let (lines, currency) = lines(&args)?;
    let minor =
        sum_minor(&lines).ok_or_else(|| ended(Exit::Usage, "the sum of the lines is out of range"))?;
    let amount = Money::new(minor, currency);
    let mut following = match args.wait.is_empty() {
        true => None,
        false => Some(Following::open(place).await?),
    };
    let begun = Instant::now();
    let accepted = match args.via {
        Via::Http => over_http(&args, &lines, currency, place).await?,
        Via::Topic => over_topic(&args, lines, amount, place).await?,
    };
    let (mut exit, mut known) = (Exit::Done, Known::default());
    if let Some(following) = &mut following {
        let outcome = tokio::select! {
            outcome = following.until(accepted.order_id, &args.wait, args.timeout) => outcome?,
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted.into()),
        };
        (exit, known) = match outcome {
            Outcome::Reached(known) => (Exit::Done, known),
            Outcome::Otherwise(known) => (Exit::Refused, known),
            Outcome::Waited(known) => (Exit::Waited, known),
        };
    }
    let status = match (known.status, args.via) {
        (Some(status), _) => status.as_str(),
        (None, Via::Http) => "created",
        (None, Via::Topic) => "sent",
    };
    let latency = begun.elapsed();
    if output.json {
        output.object(&OrderObject {
            order_id: accepted.order_id,
            status,
            reason: known.reason(),
            amount,
            latency_ms: latency.as_millis() as u64,
            token: accepted.token,
        })?;
    } else {
        let id = accepted.order_id.to_string();
        let tone = match status {
            "completed" => Tone::Good,
            "cancelled" | "settled" => Tone::Warn,
            _ => Tone::Plain,
        };
        let reason =
            known.reason().map(|reason| format!("  {}", reason.replace('_', " "))).unwrap_or_default();
        let status = output.paint(tone, &status.to_uppercase());
        let id = output.paint(Tone::of(&id), short(&id));
        output.line(&format!("{id}  {status}  {amount}  {}{reason}", duration(latency)));
        if exit == Exit::Waited {
            output.note(&format!(
                "still not there after {}; look with: fulfil order timeline {}",
                duration(args.timeout),
                accepted.order_id
            ));
        } else if args.wait.is_empty() && output.terminal {
            output.note(&format!("follow it with: fulfil topic watch --order {}", accepted.order_id));
        }
    }
    Ok(exit.into())
}

async fn over_http(
    args: &CreateArgs,
    lines: &[Line],
    currency: Currency,
    place: &Place,
) -> anyhow::Result<Accepted> {
    // With a key of its own a request that is sent again is the same order.
    let key = args.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let body = json!({"user_id": args.user, "lines": lines, "currency": currency});
    service::post(&format!("{}/orders", place.order_service), &body, &[("Idempotency-Key", &key)]).await
}

async fn over_topic(
    args: &CreateArgs,
    lines: Vec<Line>,
    amount: Money,
    place: &Place,
) -> anyhow::Result<Accepted> {
    let id = match &args.idempotency_key {
        Some(key) => shared::contract::ids::named(&["order", args.user.as_str(), key]),
        None => crate::event::random_id(),
    };
    let order_id = OrderId::new(id).ok_or_else(|| anyhow::anyhow!("the nil id"))?;
    let create = CreateOrder { order_id, user_id: args.user.clone(), lines, amount, deadline_at: None };
    create.validate().map_err(|malformed| ended(Exit::Refused, malformed.to_string()))?;
    let message = Message::OrderCommand(OrderCommand::Create(create));
    send(&message, place).await?;
    Ok(Accepted { order_id, token: None })
}

/// Publishes one command with its own key.
pub(super) async fn send(message: &Message, place: &Place) -> anyhow::Result<()> {
    let key = message.key().unwrap_or_default();
    let id = Uuid::now_v7();
    let outgoing =
        encode_manual(Topic::OrdersCommands, message, id, &key, SOURCE_CLI, crate::event::now(), None);
    let broker = place.broker.clone();
    let sent = tokio::task::spawn_blocking(move || publish(&broker, &[outgoing.into()], None)).await??;
    match sent.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(ended(Exit::Failed, format!("Kafka did not take the command: {error}"))),
        None => Ok(()),
    }
}

fn lines(args: &CreateArgs) -> anyhow::Result<(Vec<Line>, Currency)> {
    let mut lines = Vec::new();
    let mut currencies = Vec::new();
    if let Some(sku) = &args.sku {
        let price = args.price.unwrap_or(Money::new(0, Currency::EUR));
        lines.push(Line { sku: sku.clone(), quantity: args.quantity, unit_price_minor: price.minor });
        currencies.extend(args.price.map(|price| price.currency));
    }
    for (line, currency) in &args.line {
        lines.push(line.clone());
        currencies.extend((line.unit_price_minor > 0).then_some(*currency));
    }
    currencies.dedup();
    match currencies.as_slice() {
        [] => Ok((lines, Currency::EUR)),
        [one] => Ok((lines, *one)),
        [first, second, ..] => {
            Err(ended(Exit::Usage, format!("an order has one currency, and here are {first} and {second}")))
        }
    }
}

fn parse_line(text: &str) -> Result<(Line, Currency), String> {
    let mut parts = text.splitn(3, ':');
    let sku = parts.next().unwrap_or_default().parse()?;
    let quantity = parts.next().ok_or("has no quantity; write SKU:QUANTITY or SKU:QUANTITY:PRICE")?;
    let quantity = quantity.parse().map_err(|_| format!("quantity {quantity:?} is not a number"))?;
    let price: Money = parts.next().map(str::parse).transpose()?.unwrap_or(Money::new(0, Currency::EUR));
    Ok((Line { sku, quantity, unit_price_minor: price.minor }, price.currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_with_colons() {
        let (line, currency) = parse_line("SKU-1:2:19.99EUR").unwrap();
        assert_eq!((line.quantity, line.unit_price_minor, currency), (2, 1999, Currency::EUR));
        assert_eq!(parse_line("SKU-1:2").unwrap().0.unit_price_minor, 0);
        for bad in ["SKU-1", "SKU-1:x", "a b:1", "SKU-1:1:cheap"] {
            assert!(parse_line(bad).is_err(), "{bad}");
        }
    }
}
