//! Writes what a batch made: view rows, positions, holds and dead letters in one transaction.
//!
//! Each source of a row is written where it is newer than what stands there, not the row as a whole: while a
//! rebalance is under way two replicas can own two topics of one key, and neither may undo the other. That each
//! topic is folded by one at a time is what the compare-and-set of positions says.

use std::{collections::BTreeSet, iter, sync::LazyLock};

use serde::Serialize;
use shared::{
    contract::{
        Timestamp,
        ids::{OrderId, Sku},
        topics::Topic,
    },
    failpoint,
    log::{Append, Appended, StoreError, append},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::types::Oid};

use crate::view::{
    letter::LetterRow,
    order::OrderRow,
    pace::PaceKey,
    rows::{RowId, Rows},
    sale::{SaleKey, Sold},
    source::Source,
    timeline::Entry,
};

static SQL: LazyLock<String> =
    LazyLock::new(|| include_str!("write.sql").replace("/* log/append.sql */", append::CALL));

/// Writes the changed rows of a batch and all that `write` says, or nothing. `view` is the one that the rows are of, as its
/// table of orders is known to the database.
///
/// Whoever writes has the log's lock first, so two that write the same rows wait for each other there. After an error it is
/// unknown whether it was committed, and the same call again says.
///
/// The future must be run to its end: dropped halfway it can leave a connection with an open transaction.
pub async fn commit(
    connection: &mut PgConnection,
    view: Oid,
    rows: &Rows,
    write: &Append,
) -> Result<Appended, StoreError> {
    if write.letters.is_empty() && rows.letters.is_empty() {
        failpoint::fallible("projection", "writing")?;
        let appended = write_all(connection, view, rows, write).await?;
        failpoint::fallible("projection", "committed")?;
        return Ok(appended);
    }
    let mut transaction = connection.begin().await?;
    // The view is folded again where a crash forgets it, but a letter is published: one that is forgotten then would
    // leave the relay's cursor past the end of its table.
    sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
    let appended = write_all(&mut transaction, view, rows, write).await?;
    if let Appended::Done { .. } = appended {
        letters(&mut transaction, rows).await?;
    }
    failpoint::fallible("letter", "written")?;
    transaction.commit().await?;
    failpoint::fallible("letter", "committed")?;
    Ok(appended)
}

/// All but the letters of the view, which are few.
async fn write_all<'r>(
    connection: &mut PgConnection,
    view: Oid,
    rows: &'r Rows,
    write: &Append,
) -> Result<Appended, StoreError> {
    let orders: Vec<&OrderRow> =
        rows.orders.values().filter(|row| rows.changed.contains(&RowId::Order(row.order_id))).collect();
    // Of a row only what is new: the rest stands in the database as it is, whatever is thought of it here.
    let is_new = |row: &OrderRow, topic| rows.sources.contains(&(row.order_id, topic));
    let new_order = |row: &'r OrderRow| is_new(row, Topic::OrdersEvents).then_some(&row.order);
    let new_reservation = |row: &'r OrderRow| is_new(row, Topic::InventoryEvents).then_some(&row.reservation);
    let new_payment = |row: &'r OrderRow| is_new(row, Topic::PaymentsEvents).then_some(&row.payment);
    // Only of orders that begin in this batch: what an order wants never changes.
    let mut wanted: BTreeSet<(&Sku, Timestamp, OrderId)> = BTreeSet::new();
    for row in rows.begun.iter().filter_map(|id| rows.orders.get(id)) {
        let Some(order) = &row.order.state else { continue };
        wanted.extend(order.lines.iter().map(|line| (&line.sku, order.created_at, row.order_id)));
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    let stocks: Vec<_> = rows
        .stocks
        .values()
        .filter(|row| rows.changed.contains(&RowId::Stock(row.sku.clone())))
        .filter_map(|row| Some((row, row.levels.state?)))
        .collect();
    let sales: Vec<(&SaleKey, &Sold)> = rows.sales.iter().collect();
    let pace: Vec<(PaceKey, i64)> = rows.pace.iter().map(|(key, orders)| (*key, *orders)).collect();
    let delivered = |entry: &'r Entry| iter::repeat_n(entry, entry.deliveries as usize);
    let entries: Vec<&Entry> = rows.timeline.values().flat_map(delivered).collect();
    let answer = append::call(AssertSqlSafe(SQL.as_str()), write)
        .bind(column(&orders, |row| row.order_id.uuid()))
        .bind(column(&orders, |row| new_order(row).map_or(0, |order| order.version)))
        .bind(column(&orders, |row| new_reservation(row).map_or(0, |reservation| reservation.version)))
        .bind(column(&orders, |row| new_payment(row).map_or(0, |payment| payment.version)))
        .bind(column(&orders, |row| new_order(row)?.at))
        .bind(column(&orders, |row| new_reservation(row)?.at))
        .bind(column(&orders, |row| new_payment(row)?.at))
        .bind(column(&orders, |row| json(new_order(row)?)))
        .bind(column(&orders, |row| json(new_reservation(row)?)))
        .bind(column(&orders, |row| json(new_payment(row)?)))
        .bind(column(&orders, |row| row.foreign))
        .bind(column(&orders, |row| Some(new_order(row)?.state.as_ref()?.stage.status())))
        .bind(column(&orders, |row| Some(new_order(row)?.state.as_ref()?.user_id.as_str())))
        .bind(column(&orders, |row| Some(new_order(row)?.state.as_ref()?.created_at)))
        .bind(column(&wanted, |(sku, ..)| sku.as_str()))
        .bind(column(&wanted, |(_, created_at, _)| *created_at))
        .bind(column(&wanted, |(.., order_id)| order_id.uuid()))
        .bind(column(&stocks, |(row, _)| row.sku.as_str()))
        .bind(column(&stocks, |(row, _)| row.levels.version))
        .bind(column(&stocks, |(row, _)| row.levels.at))
        .bind(column(&stocks, |(_, levels)| levels.on_hand))
        .bind(column(&stocks, |(_, levels)| levels.reserved))
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
        .bind(view)
        .bind(column(&sales, |(key, _)| key.sku.as_ref().map_or("", Sku::as_str)))
        .bind(column(&sales, |(key, _)| key.hour))
        .bind(column(&sales, |(key, _)| key.currency.as_str()))
        .bind(column(&sales, |(_, sold)| sold.orders))
        .bind(column(&sales, |(_, sold)| sold.quantity))
        .bind(column(&sales, |(_, sold)| sold.amount_minor.to_string()))
        .bind(column(&pace, |((minute, _), _)| *minute))
        .bind(column(&pace, |((_, counted), _)| counted.number()))
        .bind(column(&pace, |(_, orders)| *orders))
        .fetch_optional(connection)
        .await?;
    // Another view has taken its place: as if somebody else had gone on with all partitions.
    answer.map_or(Ok(Appended::Fenced), |answer| append::appended(write, answer))
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

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

fn json<S: Serialize>(source: &Source<S>) -> Option<String> {
    // States are structs of numbers, text and ids: there is no map key that could fail.
    source.state.as_ref().map(|state| serde_json::to_string(state).unwrap_or_default())
}
