//! Writes what a batch made: view rows, positions, holds and dead letters in one transaction.
//!
//! Each source of a row is written where it is newer than what stands there, not the row as a whole: while a
//! rebalance is under way two replicas can own two topics of one key, and neither may undo the other. That each
//! topic is folded by one at a time is what the compare-and-set of positions says.

use std::collections::BTreeSet;

use serde::Serialize;
use shared::{
    contract::Timestamp,
    failpoint,
    log::{Append, Appended, StoreError, append},
};
use sqlx::{Connection, PgConnection};

use crate::view::{
    letter::LetterRow,
    order::OrderRow,
    rows::{RowId, Rows},
    source::Source,
    timeline::Entry,
};

/// Writes the changed rows of a batch and all that `write` says, or nothing.
///
/// The positions are compared last, with the log's lock: what waits for that lock then holds its rows and takes no
/// more. After an error it is unknown whether it was committed, and the same call again says.
///
/// The future must be run to its end: dropped halfway it leaves a connection with an open transaction.
pub async fn commit(
    connection: &mut PgConnection,
    rows: &Rows,
    write: &Append,
) -> Result<Appended, StoreError> {
    let mut transaction = connection.begin().await?;
    if !write.letters.is_empty() {
        // The view is folded again where a crash forgets it, but a letter is published: one that is forgotten
        // then would leave the relay's cursor past the end of its table.
        sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
    }
    orders(&mut transaction, rows).await?;
    skus(&mut transaction, rows).await?;
    stocks(&mut transaction, rows).await?;
    letters(&mut transaction, rows).await?;
    timeline(&mut transaction, rows).await?;
    let appended = append(&mut transaction, write).await?;
    let path = if write.letters.is_empty() { "projection" } else { "letter" };
    failpoint::fallible(path, "written")?;
    match appended {
        Appended::Done { .. } => {
            transaction.commit().await?;
            failpoint::fallible(path, "committed")?;
        }
        Appended::DoneBefore { .. } | Appended::Fenced | Appended::LogMoved { .. } => {
            transaction.rollback().await?;
        }
    }
    Ok(appended)
}

async fn orders(connection: &mut PgConnection, rows: &Rows) -> Result<(), StoreError> {
    let changed: Vec<&OrderRow> =
        rows.orders.values().filter(|row| rows.changed.contains(&RowId::Order(row.order_id))).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let order = |row: &&OrderRow| row.order.state.clone();
    sqlx::query(include_str!("write_orders.sql"))
        .bind(column(&changed, |row| row.order_id.uuid()))
        .bind(column(&changed, |row| row.order.version))
        .bind(column(&changed, |row| row.reservation.version))
        .bind(column(&changed, |row| row.payment.version))
        .bind(column(&changed, |row| row.order.at))
        .bind(column(&changed, |row| row.reservation.at))
        .bind(column(&changed, |row| row.payment.at))
        .bind(column(&changed, |row| json(&row.order)))
        .bind(column(&changed, |row| json(&row.reservation)))
        .bind(column(&changed, |row| json(&row.payment)))
        .bind(column(&changed, |row| row.foreign))
        .bind(column(&changed, |row| order(row).map(|order| order.stage.status())))
        .bind(column(&changed, |row| order(row).map(|order| order.user_id.to_string())))
        .bind(column(&changed, |row| order(row).map(|order| order.created_at)))
        .execute(connection)
        .await?;
    Ok(())
}

/// Only of orders that begin in this batch: what an order wants never changes.
async fn skus(connection: &mut PgConnection, rows: &Rows) -> Result<(), StoreError> {
    let mut wanted: BTreeSet<(String, Timestamp, uuid::Uuid)> = BTreeSet::new();
    for row in rows.begun.iter().filter_map(|id| rows.orders.get(id)) {
        let Some(order) = &row.order.state else { continue };
        let skus = order.lines.iter().map(|line| line.sku.to_string());
        wanted.extend(skus.map(|sku| (sku, order.created_at, row.order_id.uuid())));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    sqlx::query(
        "insert into order_sku (sku, created_at, order_id)
         select * from unnest($1::text[], $2::timestamptz[], $3::uuid[])
         on conflict do nothing",
    )
    .bind(column(&wanted, |(sku, ..)| sku.as_str()))
    .bind(column(&wanted, |(_, created_at, _)| *created_at))
    .bind(column(&wanted, |(.., order_id)| *order_id))
    .execute(connection)
    .await?;
    Ok(())
}

async fn stocks(connection: &mut PgConnection, rows: &Rows) -> Result<(), StoreError> {
    let changed: Vec<_> = rows
        .stocks
        .values()
        .filter(|row| rows.changed.contains(&RowId::Stock(row.sku.clone())))
        .filter_map(|row| Some((row, row.levels.state?)))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into stock_view as known (sku, version, at, on_hand, reserved)
         select * from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bigint[], $5::bigint[])
         on conflict (sku) do update
         set version = excluded.version,
             at = excluded.at,
             on_hand = excluded.on_hand,
             reserved = excluded.reserved
         where known.version < excluded.version",
    )
    .bind(column(&changed, |(row, _)| row.sku.as_str()))
    .bind(column(&changed, |(row, _)| row.levels.version))
    .bind(column(&changed, |(row, _)| row.levels.at))
    .bind(column(&changed, |(_, levels)| levels.on_hand))
    .bind(column(&changed, |(_, levels)| levels.reserved))
    .execute(connection)
    .await?;
    Ok(())
}

async fn letters(connection: &mut PgConnection, rows: &Rows) -> Result<(), StoreError> {
    let changed: Vec<&LetterRow> =
        rows.letters.values().filter(|row| rows.changed.contains(&RowId::Letter(row.id))).collect();
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("write_letters.sql"))
        .bind(column(&changed, |row| row.id))
        .bind(column(&changed, |row| row.status()))
        .bind(column(&changed, |row| row.change.as_ref().map(|change| change.at)))
        .bind(column(&changed, |row| row.change.as_ref().map(|change| change.partition)))
        .bind(column(&changed, |row| row.change.as_ref().map(|change| change.offset)))
        .bind(column(&changed, |row| row.change.as_ref().map(|change| change.by.as_str())))
        .bind(column(&changed, |row| row.change.as_ref().map(|change| change.reason.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.group.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.topic.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.partition)))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.offset)))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.stage.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.code.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.message.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.fingerprint.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.failed_at)))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.delivery_count)))
        .bind(column(&changed, |row| row.redrives))
        .bind(column(&changed, |row| row.letter.as_ref().map(|letter| letter.build.as_str())))
        .bind(column(&changed, |row| row.letter.as_ref().and_then(|letter| letter.key.as_deref())))
        .bind(column(&changed, |row| row.letter.as_ref().and_then(|letter| letter.value.as_deref())))
        .bind(column(&changed, |row| {
            row.letter.as_ref().map(|letter| serde_json::to_string(&letter.headers).unwrap_or_default())
        }))
        .execute(connection)
        .await?;
    Ok(())
}

async fn timeline(connection: &mut PgConnection, rows: &Rows) -> Result<(), StoreError> {
    let entries: Vec<&Entry> = rows.timeline.values().collect();
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into timeline as known (
           order_id, topic, sequence, event_id, key, type, service, time, position, cause, data, deliveries
         )
         select * from unnest(
           $1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[],
           $8::timestamptz[], $9::bigint[], $10::uuid[], $11::text[], $12::int[]
         )
         on conflict (order_id, topic, sequence, event_id) do update
         set deliveries = known.deliveries + excluded.deliveries",
    )
    .bind(column(&entries, |entry| entry.order_id.uuid()))
    .bind(column(&entries, |entry| entry.topic.name()))
    .bind(column(&entries, |entry| entry.sequence))
    .bind(column(&entries, |entry| entry.event_id))
    .bind(column(&entries, |entry| entry.key.as_str()))
    .bind(column(&entries, |entry| entry.event_type.as_str()))
    .bind(column(&entries, |entry| entry.service.as_str()))
    .bind(column(&entries, |entry| entry.time))
    .bind(column(&entries, |entry| entry.position))
    .bind(column(&entries, |entry| entry.cause))
    .bind(column(&entries, |entry| entry.data.as_str()))
    .bind(column(&entries, |entry| entry.deliveries))
    .execute(connection)
    .await?;
    Ok(())
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

fn json<S: Serialize>(source: &Source<S>) -> Option<String> {
    // States are structs of numbers, text and ids: there is no map key that could fail.
    source.state.as_ref().map(|state| serde_json::to_string(state).unwrap_or_default())
}
