//! The stories: what is done, what must happen, how it must end.

use std::{borrow::Cow, future::Future, pin::Pin};

use bytes::Bytes;
use serde_json::{Value, json};
use shared::contract::{dead_letter::header, envelope::Manual, topics::Topic};
use uuid::Uuid;

use super::stage::{Stage, Told};
use crate::{event::SOURCE_CLI, kafka::Record, output::short, service};

const SKU: &str = "SKU-1";
const RECEIVED: i64 = 100;
/// What the simulated provider does is told by the last two digits of the amount (`contract`, section 5).
const PRICE_MINOR: i64 = 1999;
const DECLINED_MINOR: i64 = 2013;
const SILENT_MINOR: i64 = 2014;
const LATE_MINOR: i64 = 2015;
const CAPTURE_FAILS_MINOR: i64 = 2016;
/// More than anybody has.
const TOO_MANY: i64 = 1_000_000;

type Playing<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Told>> + 'a>>;

struct Script {
    title: &'static str,
    explained: &'static str,
    play: for<'a> fn(&'a mut Stage) -> Playing<'a>,
}

const SCRIPTS: [Script; 8] = [
    Script {
        title: "An order is completed",
        explained: "Goods are reserved, money is set aside, the order is confirmed; then goods leave and money is taken.",
        play: |stage| Box::pin(completed(stage)),
    },
    Script {
        title: "Out of stock",
        explained: "Inventory refuses, and a refusal is an event: the order is cancelled, and nothing was ever paid.",
        play: |stage| Box::pin(out_of_stock(stage)),
    },
    Script {
        title: "The payment is declined",
        explained: "The goods were reserved already, so they are released.",
        play: |stage| Box::pin(declined(stage)),
    },
    Script {
        title: "Cancelled while paying",
        explained: "The provider is silent, the customer loses patience. The yes that comes too late is voided.",
        play: |stage| Box::pin(cancelled(stage)),
    },
    Script {
        title: "The capture fails",
        explained: "The order was confirmed and the goods were on their way: both are undone.",
        play: |stage| Box::pin(capture_fails(stage)),
    },
    Script {
        title: "The provider answers late",
        explained: "It took the money and the answer was lost. Silence is never a no: it is asked again with the same key.",
        play: |stage| Box::pin(late(stage)),
    },
    Script {
        title: "A message that nobody can read",
        explained: "It becomes a dead letter, byte for byte, and holds nobody up.",
        play: |stage| Box::pin(malformed(stage)),
    },
    Script {
        title: "An event that cannot be",
        explained: "Planted by hand, it becomes a dead letter and its order waits. Mended and redriven, all goes on in order.",
        play: |stage| Box::pin(impossible(stage)),
    },
];

/// Tells all of them, also after one that went wrong.
pub(super) async fn all(stage: &mut Stage) -> anyhow::Result<Vec<Told>> {
    receive(stage).await?;
    let mut told = Vec::with_capacity(SCRIPTS.len());
    for (number, script) in SCRIPTS.iter().enumerate() {
        stage.begin(number + 1, script.title, script.explained);
        let one = match (script.play)(stage).await {
            Ok(one) => one,
            Err(error) => stage.told(None, "unknown".to_owned(), vec![format!("{error:#}")]),
        };
        if stage.output.json {
            stage.output.object(&one.object())?;
        }
        told.push(one);
    }
    Ok(told)
}

async fn receive(stage: &Stage) -> anyhow::Result<()> {
    stage.typed(&format!("fulfil stock receive {SKU} --quantity {RECEIVED}"));
    let url = format!("{}/stock/{SKU}/receive", stage.place.inventory_service);
    let body = json!({"quantity": RECEIVED, "reference": format!("demo-{}", Uuid::now_v7())});
    let _: Value = service::post(&url, &body, &[]).await?;
    Ok(())
}

async fn completed(stage: &mut Stage) -> anyhow::Result<Told> {
    let order = stage.order(SKU, 2, PRICE_MINOR).await?;
    stage.until(&["order.completed", "stock.committed", "payment.captured", "stock.shipped"]).await?;
    Ok(stage.end(&order, "completed", None).await)
}

async fn out_of_stock(stage: &mut Stage) -> anyhow::Result<Told> {
    let order = stage.order(SKU, TOO_MANY, 1).await?;
    stage.until(&["stock.rejected", "payment.abandoned", "order.settled"]).await?;
    Ok(stage.end(&order, "settled", Some("out_of_stock")).await)
}

async fn declined(stage: &mut Stage) -> anyhow::Result<Told> {
    let order = stage.order(SKU, 1, DECLINED_MINOR).await?;
    stage.until(&["payment.declined", "stock.released", "stock.deallocated", "order.settled"]).await?;
    Ok(stage.end(&order, "settled", Some("payment_declined")).await)
}

async fn cancelled(stage: &mut Stage) -> anyhow::Result<Told> {
    let order = stage.order(SKU, 1, SILENT_MINOR).await?;
    stage.until(&["payment.requested"]).await?;
    stage.typed(&format!("fulfil order cancel {} --reason 'changed my mind'", short(&order)));
    let url = format!("{}/orders/{order}/cancel", stage.place.order_service);
    let _: Value = service::post(&url, &json!({"reason": "changed my mind"}), &[]).await?;
    stage
        .until(&[
            "order.cancelled",
            "stock.released",
            "payment.reversal-requested",
            "payment.voided",
            "order.settled",
        ])
        .await?;
    Ok(stage.end(&order, "settled", Some("customer")).await)
}

async fn capture_fails(stage: &mut Stage) -> anyhow::Result<Told> {
    let order = stage.order(SKU, 1, CAPTURE_FAILS_MINOR).await?;
    stage.until(&["payment.capture-failed", "order.cancelled", "payment.voided", "order.settled"]).await?;
    Ok(stage.end(&order, "settled", Some("capture_failed")).await)
}

async fn late(stage: &mut Stage) -> anyhow::Result<Told> {
    let order = stage.order(SKU, 1, LATE_MINOR).await?;
    stage.until(&["payment.outcome-unknown", "payment.authorized", "order.completed"]).await?;
    Ok(stage.end(&order, "completed", None).await)
}

async fn malformed(stage: &mut Stage) -> anyhow::Result<Told> {
    let key = crate::event::random_id().to_string();
    stage.typed(&format!("echo 'dear order service, please' | kcat -P -b {} -t orders.commands -k {key} -X topic.partitioner=murmur2_random", stage.place.broker.bootstrap_servers));
    let value = Bytes::from_static(b"dear order service, please");
    let shop = (Cow::Borrowed("shop"), Some(Bytes::from_static(b"demo")));
    stage
        .send(Record {
            topic: Topic::OrdersCommands,
            partition: None,
            key: Some(key.into()),
            value: Some(value.clone()),
            headers: vec![shop],
        })
        .await?;
    stage.until(&["dead-letter"]).await?;
    let mut wrong = Vec::new();
    let Some(letter) = stage.first("dead-letter") else { unreachable!("it was waited for") };
    if letter.raw.value.as_ref() != Some(&value) {
        wrong.push("the letter has other bytes than the message".to_owned());
    }
    for (name, expected) in
        [(header::CODE, "invalid-json"), ("shop", "demo"), (header::GROUP, "order-service")]
    {
        let found = letter.header(name).unwrap_or("none");
        if found != expected {
            wrong.push(format!("header {name} of the letter is {found}, not {expected}"));
        }
    }
    Ok(stage.told(None, "dead letter".to_owned(), wrong))
}

async fn impossible(stage: &mut Stage) -> anyhow::Result<Told> {
    // The provider's silence holds the order in its first state, where goods cannot have left.
    let order = stage.order(SKU, 1, SILENT_MINOR).await?;
    stage.until(&["payment.requested"]).await?;
    stage.typed(&format!("fulfil event send stock.committed --key {order}"));
    stage.send(planted(&order)?).await?;
    stage.until(&["dead-letter"]).await?;
    let Some(letter) = stage.first("dead-letter") else { unreachable!("it was waited for") };
    let part = |name: &str| letter.header(name).unwrap_or_default().to_owned();
    let (letter_id, group, key) = (part(header::ID), part(header::GROUP), letter.raw.key.clone());
    // Now the yes comes in and has to wait behind the letter.
    stage.until(&["payment.authorized"]).await?;
    let mended = json!({
        "specversion": "1.0", "id": Uuid::now_v7(), "source": SOURCE_CLI, "type": "fulfil.stock.reserved.v1",
        "data": {
            "order_id": order, "lines": [{"sku": SKU, "quantity": 1}],
            "amount": {"minor": SILENT_MINOR, "currency": "EUR"},
        },
    });
    stage.typed(&format!(
        "fulfil dlq redrive {} --reason 'meant stock.reserved' --value - <<< '{mended}'",
        short(&letter_id)
    ));
    let redrive = crate::dlq::redrive_record(
        &letter_id,
        &group,
        key,
        Some(mended.to_string().as_bytes()),
        "demo",
        "meant stock.reserved",
    )?;
    stage.send(redrive).await?;
    stage
        .until(&["dead-letter.redrive", "dead-letter.redriven", "order.confirmed", "order.completed"])
        .await?;
    let at = |name: &str| stage.first(name).map(|sighting| sighting.raw.timestamp_ms);
    let was_held = at("order.confirmed") >= at("dead-letter.redrive");
    let mut told = stage.end(&order, "completed", None).await;
    if !was_held {
        told.wrong.push("the order went on although its key was held".to_owned());
    }
    told.end = "completed, after a redrive".to_owned();
    Ok(told)
}

/// Well-formed, and not true.
fn planted(order_id: &str) -> anyhow::Result<Record> {
    let data = json!({"order_id": order_id}).to_string();
    let manual = Manual {
        message_type: "fulfil.stock.committed.v1",
        data: &data,
        id: Uuid::now_v7(),
        source: SOURCE_CLI,
        time: crate::event::now(),
        traceparent: None,
    };
    Ok(manual.encode(Topic::InventoryEvents, order_id)?.into())
}
