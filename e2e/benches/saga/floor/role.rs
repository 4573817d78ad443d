//! A role that writes: messages in, events into the log, events out.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    Message as _,
    message::{BorrowedMessage, Headers},
};
use shared::{
    broker::BrokerSettings,
    contract::{envelope::Recorded, topics::Topic},
    log::connect,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    place::{Publisher, Reader},
    story::{self, Step, Story, Writer, now},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Order,
    Inventory,
    Payment,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Order, Self::Inventory, Self::Payment];

    fn service(self) -> &'static str {
        match self {
            Self::Order => "order-service",
            Self::Inventory => "inventory-service",
            Self::Payment => "payment-service",
        }
    }

    pub(super) fn database(self) -> &'static str {
        match self {
            Self::Order => "floor_order",
            Self::Inventory => "floor_inventory",
            Self::Payment => "floor_payment",
        }
    }

    /// Of Postgres.
    pub(super) fn user(self) -> &'static str {
        match self {
            Self::Order => "order_service",
            Self::Inventory => "inventory_service",
            Self::Payment => "payment_service",
        }
    }

    pub(super) fn reads(self) -> &'static [Topic] {
        match self {
            Self::Order => &[Topic::OrdersCommands, Topic::InventoryEvents, Topic::PaymentsEvents],
            Self::Inventory => &[Topic::OrdersEvents],
            Self::Payment => &[Topic::OrdersEvents, Topic::InventoryEvents],
        }
    }

    fn steps(self) -> &'static [&'static [Step]] {
        match self {
            Self::Order => &[&story::CREATED, &story::CONFIRMED, &story::PROGRESSED, &story::COMPLETED],
            Self::Inventory => &[&story::RESERVED, &story::COMMITTED],
            Self::Payment => {
                &[&story::REQUESTED, &story::AUTHORIZED, &story::CAPTURE_REQUESTED, &story::CAPTURED]
            }
        }
    }
}

/// What a message makes of an order: what is appended now, and with the next batch (the provider's answer).
struct Follows {
    now: &'static [Step],
    next: Option<&'static [Step]>,
}

/// Runs on a thread of its own until it is stopped.
pub(super) fn run(
    role: Role,
    story: Story,
    broker: &BrokerSettings,
    database: &str,
    stopped: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut connection = runtime.block_on(connect::connect_with(database, "floor", &connect::BY_KEY))?;
    let reader = Reader::open(broker, role.reads())?;
    let publisher = Publisher::open(broker)?;
    let mut writer = Writer::new(role.steps())?;
    // Orders that had the first of two receipts.
    let mut receipts: HashMap<Uuid, u8> = HashMap::new();
    let mut answers: Vec<(Uuid, Uuid, &'static [Step])> = Vec::new();
    let mut events: Vec<Recorded> = Vec::new();
    let mut moved: HashMap<(&'static str, i32), i64> = HashMap::new();
    while !stopped.load(Ordering::Relaxed) {
        let is_busy = publisher.poll() || !answers.is_empty();
        let now = now();
        for (order, cause, steps) in std::mem::take(&mut answers) {
            writer.write(steps, order, &order.to_string(), cause, now, &mut events);
        }
        reader.take(is_busy && events.is_empty(), |message| {
            let Some(topic) = topic_of(message.topic(), role) else { return };
            moved.insert((topic, message.partition()), message.offset() + 1);
            let Some((text, order, cause, message_type)) = header(message) else { return };
            let seven = story == Story::Seven;
            let follows = match (role, message_type) {
                (Role::Order, story::CREATE) => just(&story::CREATED),
                (Role::Order, "fulfil.payment.authorized.v1") => just(&story::CONFIRMED),
                (Role::Order, "fulfil.stock.committed.v1" | "fulfil.payment.captured.v1") => {
                    let count = receipts.entry(order).or_default();
                    *count += 1;
                    match *count {
                        1 if seven => return,
                        1 => just(&story::PROGRESSED),
                        _ => just(&story::COMPLETED),
                    }
                }
                (Role::Inventory, "fulfil.order.created.v2") => {
                    just(if seven { &story::RESERVED[..1] } else { &story::RESERVED })
                }
                (Role::Inventory, "fulfil.order.confirmed.v1") => {
                    just(if seven { &story::COMMITTED[..1] } else { &story::COMMITTED })
                }
                (Role::Payment, "fulfil.stock.reserved.v1") if seven => just(&story::AUTHORIZED),
                (Role::Payment, "fulfil.order.confirmed.v1") if seven => just(&story::CAPTURED),
                (Role::Payment, "fulfil.stock.reserved.v1") => {
                    Follows { now: &story::REQUESTED, next: Some(&story::AUTHORIZED) }
                }
                (Role::Payment, "fulfil.order.confirmed.v1") => {
                    Follows { now: &story::CAPTURE_REQUESTED, next: Some(&story::CAPTURED) }
                }
                _ => return,
            };
            writer.write(follows.now, order, text, cause, now, &mut events);
            let cause = events.last().map_or(cause, |event| event.event_id);
            answers.extend(follows.next.map(|steps| (order, cause, steps)));
        })?;
        if events.is_empty() && moved.is_empty() {
            continue;
        }
        runtime.block_on(append(&mut connection, &events, &moved))?;
        for event in events.drain(..) {
            if let Some(outgoing) = event.encode(role.service()) {
                publisher.send(&outgoing)?;
            }
        }
        moved.clear();
    }
    Ok(())
}

fn just(now: &'static [Step]) -> Follows {
    Follows { now, next: None }
}

fn topic_of(name: &str, role: Role) -> Option<&'static str> {
    let name = name.strip_prefix("floor.")?;
    role.reads().iter().map(|topic| topic.name()).find(|known| *known == name)
}

/// Of a message: the order's id as text and as itself, the message's id, its type.
pub(super) fn header<'a>(message: &'a BorrowedMessage<'_>) -> Option<(&'a str, Uuid, Uuid, &'a str)> {
    let text = std::str::from_utf8(message.key()?).ok()?;
    let (mut id, mut message_type) = (None, None);
    for header in message.headers()?.iter() {
        let value = || std::str::from_utf8(header.value?).ok();
        match header.key {
            "ce_id" => id = value()?.parse().ok(),
            "ce_type" => message_type = value(),
            _ => {}
        }
    }
    Some((text, text.parse().unwrap_or_default(), id?, message_type?))
}

/// One statement, which is one transaction.
async fn append(
    connection: &mut PgConnection,
    events: &[Recorded],
    moved: &HashMap<(&'static str, i32), i64>,
) -> anyhow::Result<()> {
    let (places, ends): (Vec<_>, Vec<_>) = moved.iter().unzip();
    let (topics, partitions): (Vec<&str>, Vec<i32>) = places.into_iter().copied().unzip();
    let ends: Vec<i64> = ends.into_iter().copied().collect();
    sqlx::query(
        r#"with moved as (
           update position as stands
           set next = move."to"
           from unnest($12::text[], $13::int[], $14::bigint[]) as move (topic, partition, "to")
           where stands.topic = move.topic and stands.partition = move.partition
         )
         insert into event (
           position, stream, version, event_id, type, data, decision,
           correlation_id, causation_id, traceparent, recorded_at
         )
         select *
         from unnest(
           $1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[],
           $8::uuid[], $9::uuid[], $10::text[], $11::timestamptz[]
         )"#,
    )
    .bind(column(events, |event| event.position))
    .bind(column(events, |event| event.stream.as_str()))
    .bind(column(events, |event| event.version))
    .bind(column(events, |event| event.event_id))
    .bind(column(events, |event| event.event_type.as_str()))
    .bind(column(events, |event| event.data.as_str()))
    .bind(column(events, |event| event.decision.to_string()))
    .bind(column(events, |event| event.correlation_id))
    .bind(column(events, |event| event.causation_id))
    .bind(column(events, |event| event.traceparent.as_deref()))
    .bind(column(events, |event| event.recorded_at))
    .bind(topics)
    .bind(partitions)
    .bind(ends)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
