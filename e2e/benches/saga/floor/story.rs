//! What follows what when an order completes: twelve events, or seven without those that only the product's guarantees
//! need. The payloads are the product's samples with another id.

use std::collections::HashMap;

use anyhow::Context;
use chrono::{DurationRound, TimeDelta, Utc};
use serde_json::Value;
use shared::contract::{
    Timestamp,
    envelope::{Part, Recorded},
    ids::{OrderId, Sku, StreamName},
    samples::sample,
};
use uuid::Uuid;

/// Stock is of one sku among so many.
pub(super) const SKUS: usize = 100;
const SAMPLE_SKU: &str = "SKU-1";

/// How much is told of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Story {
    /// As the product tells it; but the first of two receipts never waits for the second.
    Twelve,
    /// Without intents, movements of stock and the first of two receipts.
    Seven,
}

/// A step of the story: a type, and whose stream it is appended to.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) event_type: &'static str,
    stream: Stream,
}

#[derive(Clone, Copy)]
enum Stream {
    Order(i64),
    Reservation(i64),
    Payment(i64),
    /// Counted as it comes.
    Stock,
}

const fn step(event_type: &'static str, stream: Stream) -> Step {
    Step { event_type, stream }
}

pub(super) const CREATE: &str = "fulfil.order.create.v2";
pub(super) const CREATED: [Step; 1] = [step("fulfil.order.created.v2", Stream::Order(1))];
pub(super) const CONFIRMED: [Step; 1] = [step("fulfil.order.confirmed.v1", Stream::Order(2))];
pub(super) const PROGRESSED: [Step; 1] = [step("fulfil.order.progressed.v1", Stream::Order(3))];
pub(super) const COMPLETED: [Step; 1] = [step("fulfil.order.completed.v1", Stream::Order(4))];
pub(super) const RESERVED: [Step; 2] = [
    step("fulfil.stock.reserved.v1", Stream::Reservation(1)),
    step("fulfil.stock.allocated.v1", Stream::Stock),
];
pub(super) const COMMITTED: [Step; 2] = [
    step("fulfil.stock.committed.v1", Stream::Reservation(2)),
    step("fulfil.stock.shipped.v1", Stream::Stock),
];
pub(super) const REQUESTED: [Step; 1] = [step("fulfil.payment.requested.v1", Stream::Payment(1))];
pub(super) const AUTHORIZED: [Step; 1] = [step("fulfil.payment.authorized.v1", Stream::Payment(2))];
pub(super) const CAPTURE_REQUESTED: [Step; 1] =
    [step("fulfil.payment.capture-requested.v1", Stream::Payment(3))];
pub(super) const CAPTURED: [Step; 1] = [step("fulfil.payment.captured.v1", Stream::Payment(4))];

/// A payload cut where the order's id stands.
pub(super) struct Template {
    parts: Vec<String>,
}

impl Template {
    pub(super) fn of(message_type: &str) -> anyhow::Result<Self> {
        let sample: Value = serde_json::from_str(sample(message_type).context("every type has a sample")?)?;
        let data = &sample["data"];
        let id = data["order_id"].as_str().context("it is about an order")?;
        Ok(Self { parts: data.to_string().split(id).map(str::to_owned).collect() })
    }

    pub(super) fn fill(&self, order: &str) -> String {
        self.parts.join(order)
    }
}

/// Writes a role's log: numbers, ids and payloads.
pub(super) struct Writer {
    templates: HashMap<&'static str, Template>,
    stocks: Vec<(Sku, i64)>,
    position: i64,
}

impl Writer {
    pub(super) fn new(steps: &[&[Step]]) -> anyhow::Result<Self> {
        let templates =
            steps.iter().copied().flatten().map(|step| Ok((step.event_type, Template::of(step.event_type)?)));
        let stocks = (0..SKUS).map(|number| {
            Ok((format!("{SAMPLE_SKU}{number:02}").parse::<Sku>().map_err(anyhow::Error::msg)?, 0))
        });
        Ok(Self {
            templates: templates.collect::<anyhow::Result<_>>()?,
            stocks: stocks.collect::<anyhow::Result<_>>()?,
            position: 0,
        })
    }

    /// The events of one decision about an order.
    pub(super) fn write(
        &mut self,
        steps: &[Step],
        order: Uuid,
        text: &str,
        cause: Uuid,
        now: Timestamp,
        into: &mut Vec<Recorded>,
    ) {
        let Some(order_id) = OrderId::new(order) else { return };
        for (index, step) in (1..).zip(steps) {
            let (stream, version) = match step.stream {
                Stream::Order(version) => (StreamName::order(order_id), version),
                Stream::Reservation(version) => (StreamName::reservation(order_id), version),
                Stream::Payment(version) => (StreamName::payment(order_id), version),
                Stream::Stock => {
                    let number = order.as_u128() as usize % self.stocks.len();
                    let (sku, version) = &mut self.stocks[number];
                    *version += 1;
                    (StreamName::stock(sku), *version)
                }
            };
            self.position += 1;
            into.push(Recorded {
                position: self.position,
                stream,
                version,
                event_id: Uuid::now_v7(),
                event_type: step.event_type.to_owned(),
                data: self.templates[step.event_type].fill(text),
                decision: Part { index, count: steps.len() as u16 },
                correlation_id: order,
                causation_id: cause,
                traceparent: None,
                recorded_at: now,
            });
        }
    }
}

pub(super) fn now() -> Timestamp {
    let now = Utc::now();
    now.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(now)
}
