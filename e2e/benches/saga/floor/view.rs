//! The role that reads: a row an order, its stocks, its timeline.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use projector::read_model::schema;
use rdkafka::{Message as _, message::BorrowedMessage};
use shared::{
    broker::BrokerSettings,
    contract::{Timestamp, topics::Topic},
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    place::Reader,
    role::{column, header},
    story::{Template, now},
};

pub(super) const READS: [Topic; 4] =
    [Topic::OrdersEvents, Topic::InventoryEvents, Topic::InventoryStock, Topic::PaymentsEvents];

/// When the row of an order said completed.
pub(super) type Seen = Mutex<HashMap<Uuid, Instant>>;

#[derive(Default)]
struct Row {
    order: i64,
    reservation: i64,
    payment: i64,
    is_new: bool,
}

struct Told {
    order: Uuid,
    topic: &'static str,
    sequence: i64,
    event_id: Uuid,
    key: String,
    event_type: String,
    position: i64,
    data: String,
}

pub(super) fn run(
    broker: &BrokerSettings,
    database: &str,
    seen: &Seen,
    stopped: &Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut connection = runtime.block_on(schema::connection(database, "floor", schema::SERVED))?;
    let reader = Reader::open(broker, &READS)?;
    let states = States {
        order: Template::of("fulfil.order.created.v2")?,
        reservation: Template::of("fulfil.stock.reserved.v1")?,
        payment: Template::of("fulfil.payment.requested.v1")?,
    };
    while !stopped.load(Ordering::Relaxed) {
        let (mut rows, mut told) = (BTreeMap::<Uuid, Row>::new(), Vec::new());
        let mut stocks: BTreeMap<String, i64> = BTreeMap::new();
        let mut moved: HashMap<(&'static str, i32), i64> = HashMap::new();
        reader.take(false, |message| {
            let name = message.topic().strip_prefix("floor.").unwrap_or_default();
            let Some(topic) = READS.into_iter().find(|topic| topic.name() == name) else { return };
            moved.insert((topic.name(), message.partition()), message.offset() + 1);
            let Some(event) = told_of(topic, message) else { return };
            if topic == Topic::InventoryStock {
                stocks.insert(event.key.clone(), event.sequence);
            } else {
                let row = rows.entry(event.order).or_default();
                match topic {
                    Topic::OrdersEvents => row.order = row.order.max(event.sequence),
                    Topic::InventoryEvents => row.reservation = row.reservation.max(event.sequence),
                    _ => row.payment = row.payment.max(event.sequence),
                }
                row.is_new |= event.event_type == "fulfil.order.created.v2";
            }
            told.push(event);
        })?;
        if moved.is_empty() {
            continue;
        }
        runtime.block_on(commit(&mut connection, &rows, &stocks, &told, &moved, &states))?;
        let at = Instant::now();
        let completed = rows.iter().filter(|(_, row)| row.order == 4).map(|(order, _)| (*order, at));
        seen.lock().unwrap_or_else(PoisonError::into_inner).extend(completed);
    }
    Ok(())
}

struct States {
    order: Template,
    reservation: Template,
    payment: Template,
}

/// By the headers, and with the payload as it stands at the value's end: what a fold needs at least.
fn told_of(topic: Topic, message: &BorrowedMessage<'_>) -> Option<Told> {
    let (key, order, event_id, event_type) = header(message)?;
    let value = std::str::from_utf8(message.payload()?).ok()?;
    let data = value.split_once("\"data\":")?.1.strip_suffix('}')?;
    let order =
        if topic == Topic::InventoryStock { after(data, "\"order_id\":\"")?.parse().ok()? } else { order };
    Some(Told {
        order,
        topic: topic.name(),
        sequence: after(value, "\"sequence\":\"")?.parse().ok()?,
        event_id,
        key: key.to_owned(),
        event_type: event_type.to_owned(),
        position: after(value, "\"position\":\"")?.parse().ok()?,
        data: data.to_owned(),
    })
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark)?.1.split('"').next()
}

async fn commit(
    connection: &mut PgConnection,
    rows: &BTreeMap<Uuid, Row>,
    stocks: &BTreeMap<String, i64>,
    told: &[Told],
    moved: &HashMap<(&'static str, i32), i64>,
    states: &States,
) -> anyhow::Result<()> {
    let now = now();
    let rows: Vec<(String, Uuid, &Row)> =
        rows.iter().map(|(order, row)| (order.to_string(), *order, row)).collect();
    let when = |version: i64| (version > 0).then_some(now);
    let state = |version: i64, template: &Template, order: &str| (version > 0).then(|| template.fill(order));
    let mut transaction = connection.begin().await?;
    sqlx::query(include_str!("../../../../projector/src/read_model/write_orders.sql"))
        .bind(column(&rows, |(_, order, _)| *order))
        .bind(column(&rows, |(.., row)| row.order))
        .bind(column(&rows, |(.., row)| row.reservation))
        .bind(column(&rows, |(.., row)| row.payment))
        .bind(column(&rows, |(.., row)| when(row.order)))
        .bind(column(&rows, |(.., row)| when(row.reservation)))
        .bind(column(&rows, |(.., row)| when(row.payment)))
        .bind(column(&rows, |(text, _, row)| state(row.order, &states.order, text)))
        .bind(column(&rows, |(text, _, row)| state(row.reservation, &states.reservation, text)))
        .bind(column(&rows, |(text, _, row)| state(row.payment, &states.payment, text)))
        .bind(column(&rows, |_| false))
        .bind(column(&rows, |(.., row)| status(row.order)))
        .bind(column(&rows, |(.., row)| (row.order > 0).then_some("u1")))
        .bind(column(&rows, |(.., row)| when(row.order)))
        .execute(&mut *transaction)
        .await?;
    let begun: Vec<_> = rows.iter().filter(|(.., row)| row.is_new).collect();
    if !begun.is_empty() {
        sqlx::query("insert into order_sku (sku, created_at, order_id) select 'SKU-1', $1, order_id from unnest($2::uuid[]) as order_id")
            .bind(now)
            .bind(column(&begun, |(_, order, _)| *order))
            .execute(&mut *transaction)
            .await?;
    }
    if !stocks.is_empty() {
        stock(&mut transaction, stocks, now).await?;
    }
    timeline(&mut transaction, told, now).await?;
    let (places, ends): (Vec<_>, Vec<_>) = moved.iter().unzip();
    let (topics, partitions): (Vec<&str>, Vec<i32>) = places.into_iter().copied().unzip();
    sqlx::query(
        r#"update position as stands
         set next = move."to"
         from unnest($1::text[], $2::int[], $3::bigint[]) as move (topic, partition, "to")
         where stands.topic = move.topic and stands.partition = move.partition"#,
    )
    .bind(topics)
    .bind(partitions)
    .bind(ends.into_iter().copied().collect::<Vec<i64>>())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

fn status(version: i64) -> Option<&'static str> {
    match version {
        0 => None,
        1 => Some("created"),
        2 | 3 => Some("confirmed"),
        _ => Some("completed"),
    }
}

async fn stock(
    connection: &mut PgConnection,
    stocks: &BTreeMap<String, i64>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let stocks: Vec<_> = stocks.iter().collect();
    sqlx::query(
        "insert into stock_view as known (sku, version, at, on_hand, reserved)
         select sku, version, $1, 1000, 10 from unnest($2::text[], $3::bigint[]) as new (sku, version)
         on conflict (sku) do update
         set version = excluded.version, at = excluded.at
         where known.version < excluded.version",
    )
    .bind(now)
    .bind(column(&stocks, |(sku, _)| sku.as_str()))
    .bind(column(&stocks, |(_, version)| **version))
    .execute(connection)
    .await?;
    Ok(())
}

async fn timeline(connection: &mut PgConnection, told: &[Told], now: Timestamp) -> anyhow::Result<()> {
    sqlx::query(
        "insert into timeline (order_id, topic, sequence, event_id, key, type, service, time, position, cause, data, deliveries)
         select order_id, topic, sequence, event_id, key, type, 'floor', $1, position, event_id, data, 1
         from unnest($2::uuid[], $3::text[], $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::text[])
           as new (order_id, topic, sequence, event_id, key, type, position, data)",
    )
    .bind(now)
    .bind(column(told, |event| event.order))
    .bind(column(told, |event| event.topic))
    .bind(column(told, |event| event.sequence))
    .bind(column(told, |event| event.event_id))
    .bind(column(told, |event| event.key.as_str()))
    .bind(column(told, |event| event.event_type.as_str()))
    .bind(column(told, |event| event.position))
    .bind(column(told, |event| event.data.as_str()))
    .execute(connection)
    .await?;
    Ok(())
}
