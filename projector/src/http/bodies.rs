//! What the query API answers, as it is written on the wire.

use serde::Serialize;
use serde_json::value::RawValue;
use shared::contract::{Timestamp, brief::cut, envelope::time_text, ids::OrderId};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::view::{
    awaiting::{Awaiting, Limits, awaiting},
    letter::LetterRow,
    order::{Order, OrderRow},
    payment::Payment,
    source::Source,
    stock::{Levels, Reservation, StockRow},
    timeline::Told,
};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrderBody {
    order_id: Uuid,
    user_id: String,
    /// created, confirmed, completed, cancelled or settled
    #[schema(example = "confirmed")]
    status: &'static str,
    /// Why it was cancelled.
    #[schema(value_type = Option<String>, example = "payment_declined")]
    reason: Option<serde_json::Value>,
    lines: Vec<LineBody>,
    amount: MoneyBody,
    created_at: String,
    updated_at: String,
    /// The reservation; null before inventory-service has told of one.
    stock: Option<StockPart>,
    /// Null before payment-service has told of one.
    payment: Option<PaymentPart>,
    versions: Versions,
    awaiting: Vec<AwaitingBody>,
    /// Set where an event that no service of ours wrote claimed something about the order.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    foreign: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct LineBody {
    sku: String,
    quantity: i64,
    unit_price_minor: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct MoneyBody {
    minor: i64,
    currency: String,
}

/// How far the streams of the order are in the view.
#[derive(Debug, Serialize, ToSchema)]
struct Versions {
    order: i64,
    reservation: i64,
    payment: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct StockPart {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    reservation: Reservation,
    updated_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct PaymentPart {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    payment: Payment,
    updated_at: String,
}

/// What the order waits for, and from whom.
#[derive(Debug, Serialize, ToSchema)]
struct AwaitingBody {
    /// Events of which one will come.
    #[schema(example = "StockReserved|StockRejected")]
    what: &'static str,
    #[schema(example = "inventory-service")]
    from: &'static str,
    until: Option<String>,
    overdue: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OrdersBody {
    pub(super) orders: Vec<OrderBody>,
    /// The `cursor` of the next page; null on the last.
    pub(super) next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TimelineBody {
    order_id: Uuid,
    status: Option<&'static str>,
    /// Causes before their effects.
    events: Vec<EventBody>,
    /// With the order's id as key, of any group, that somebody has to decide about: at most 50, the first that died first.
    dead_letters: Vec<OrderLetterBody>,
    awaiting: Vec<HeldBody>,
}

/// What the order waits for, and the dead letter that it waits behind.
#[derive(Debug, Serialize, ToSchema)]
struct HeldBody {
    #[serde(flatten)]
    awaiting: AwaitingBody,
    /// One of `dead_letters`; null where it is only awaited.
    held_behind: Option<Uuid>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OrderLetterBody {
    id: Uuid,
    /// The consumer group that owns it.
    #[schema(example = "order-service")]
    group: String,
    #[schema(example = "contradiction")]
    code: String,
    /// The beginning of it.
    message: String,
    /// dead, failed-again or parked
    #[schema(example = "dead")]
    status: String,
    failed_at: String,
    /// Whether what else its group hears of the order waits until it is redriven or discarded.
    holds: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct EventBody {
    event_id: Uuid,
    #[schema(example = "fulfil.stock.reserved.v1")]
    r#type: String,
    topic: &'static str,
    /// The order id, or the sku of a stock event.
    key: String,
    #[schema(example = "inventory-service")]
    service: String,
    time: String,
    /// Version of the stream; null for an event that no service of ours wrote.
    sequence: Option<i64>,
    position: Option<i64>,
    /// Id of the message that caused it, which may be a command.
    cause: Option<Uuid>,
    /// Since its cause, where that is an event of this order.
    latency_ms: Option<i64>,
    /// How often it was on its topic.
    deliveries: i64,
    #[schema(value_type = Object)]
    data: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LevelsBody {
    sku: String,
    on_hand: i64,
    reserved: i64,
    available: i64,
    version: i64,
    updated_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StocksBody {
    pub(super) stock: Vec<LevelsBody>,
    /// The `cursor` of the next page; null on the last.
    pub(super) next: Option<String>,
}

impl OrderBody {
    /// `None` while only its reservation or its payment is known.
    pub(super) fn of(row: &OrderRow, limits: &Limits, now: Timestamp) -> Option<Self> {
        let Order { user_id, lines, amount, created_at, stage, .. } = row.order.state.as_ref()?;
        Some(Self {
            order_id: row.order_id.uuid(),
            user_id: user_id.to_string(),
            status: stage.status(),
            reason: stage.reason().and_then(|reason| serde_json::to_value(reason).ok()),
            lines: lines
                .iter()
                .map(|line| LineBody {
                    sku: line.sku.to_string(),
                    quantity: line.quantity,
                    unit_price_minor: line.unit_price_minor,
                })
                .collect(),
            amount: MoneyBody { minor: amount.minor, currency: amount.currency.to_string() },
            created_at: time_text(*created_at),
            updated_at: time_text(row.updated_at().unwrap_or(*created_at)),
            stock: part(&row.reservation)
                .map(|(reservation, updated_at)| StockPart { reservation, updated_at }),
            payment: part(&row.payment).map(|(payment, updated_at)| PaymentPart { payment, updated_at }),
            versions: Versions {
                order: row.order.version,
                reservation: row.reservation.version,
                payment: row.payment.version,
            },
            awaiting: awaited(row, limits, now),
            foreign: row.foreign,
        })
    }
}

impl TimelineBody {
    pub(super) fn of(
        id: OrderId,
        row: Option<&OrderRow>,
        awaiting: Vec<Awaiting>,
        story: Vec<Told>,
        letters: &[LetterRow],
    ) -> Self {
        let order = row.and_then(|row| row.order.state.as_ref());
        let held = |awaiting: Awaiting| HeldBody {
            held_behind: awaiting.held_behind(letters).map(|row| row.id),
            awaiting: awaiting.into(),
        };
        Self {
            order_id: id.uuid(),
            status: order.map(|order| order.stage.status()),
            events: story.into_iter().map(EventBody::from).collect(),
            dead_letters: letters.iter().filter_map(OrderLetterBody::of).collect(),
            awaiting: awaiting.into_iter().map(held).collect(),
        }
    }
}

impl OrderLetterBody {
    fn of(row: &LetterRow) -> Option<Self> {
        let letter = row.letter.as_ref()?;
        Some(Self {
            id: row.id,
            group: letter.group.clone(),
            code: letter.code.clone(),
            message: cut(&letter.message),
            status: row.status().to_owned(),
            failed_at: time_text(letter.failed_at),
            holds: letter.holds(),
        })
    }
}

impl From<Told> for EventBody {
    fn from(Told { entry, latency_ms }: Told) -> Self {
        Self {
            event_id: entry.event_id,
            r#type: entry.event_type,
            topic: entry.topic.name(),
            key: entry.key,
            service: entry.service,
            time: time_text(entry.time),
            sequence: Some(entry.sequence).filter(|sequence| *sequence > 0),
            position: entry.position,
            cause: entry.cause,
            latency_ms,
            deliveries: entry.deliveries,
            // It was read as JSON before it was stored.
            data: RawValue::from_string(entry.data).unwrap_or_default(),
        }
    }
}

impl From<Awaiting> for AwaitingBody {
    fn from(Awaiting { what, from, until, overdue }: Awaiting) -> Self {
        Self { what, from, until: until.map(time_text), overdue }
    }
}

impl LevelsBody {
    pub(super) fn of(row: &StockRow) -> Self {
        let Levels { on_hand, reserved } = row.levels();
        Self {
            sku: row.sku.to_string(),
            on_hand,
            reserved,
            available: on_hand - reserved,
            version: row.levels.version,
            updated_at: row.levels.at.map(time_text),
        }
    }
}

fn awaited(row: &OrderRow, limits: &Limits, now: Timestamp) -> Vec<AwaitingBody> {
    awaiting(row, limits, now).into_iter().map(AwaitingBody::from).collect()
}

fn part<S: Clone>(source: &Source<S>) -> Option<(S, String)> {
    Some((source.state.clone()?, time_text(source.at?)))
}
