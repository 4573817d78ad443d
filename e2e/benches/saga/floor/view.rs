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
use shared::{broker::BrokerSettings, contract::topics::Topic, log::connect::BY_KEY};
use sqlx::PgConnection;
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
    let mut connection =
        runtime.block_on(schema::connection_with(database, "floor", schema::SERVED, &BY_KEY))?;
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
    let (places, ends): (Vec<_>, Vec<_>) = moved.iter().unzip();
    let (topics, partitions): (Vec<&str>, Vec<i32>) = places.into_iter().copied().unzip();
    let begun: Vec<_> = rows.iter().filter(|(.., row)| row.is_new).collect();
    let stocks: Vec<_> = stocks.iter().collect();
    sqlx::query(include_str!("view.sql"))
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
        .bind(column(&begun, |_| "SKU-1"))
        .bind(column(&begun, |_| now))
        .bind(column(&begun, |(_, order, _)| *order))
        .bind(column(&stocks, |(sku, _)| sku.as_str()))
        .bind(column(&stocks, |(_, version)| **version))
        .bind(column(&stocks, |_| now))
        .bind(column(&stocks, |_| 1_000_i64))
        .bind(column(&stocks, |_| 10_i64))
        .bind(column(told, |event| event.order))
        .bind(column(told, |event| event.topic))
        .bind(column(told, |event| event.sequence))
        .bind(column(told, |event| event.event_id))
        .bind(column(told, |event| event.key.as_str()))
        .bind(column(told, |event| event.event_type.as_str()))
        .bind(column(told, |_| "floor"))
        .bind(column(told, |_| now))
        .bind(column(told, |event| event.position))
        .bind(column(told, |event| event.event_id))
        .bind(column(told, |event| event.data.as_str()))
        .bind(topics)
        .bind(partitions)
        .bind(ends.into_iter().copied().collect::<Vec<i64>>())
        .execute(connection)
        .await?;
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
