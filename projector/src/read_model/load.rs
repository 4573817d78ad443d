//! What the loop reads before it can fold: positions, holds, and the rows that a batch touches.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use shared::{
    contract::{
        Timestamp,
        ids::{OrderId, Sku},
    },
    log::StoreError,
};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::view::{
    letter::{Change, Header, Letter, LetterRow},
    order::OrderRow,
    rows::{RowId, Rows},
    source::Source,
    stock::{Levels, StockRow},
};

/// Adds the rows of these ids that exist, without their timelines.
pub async fn rows(
    connection: &mut PgConnection,
    ids: &BTreeSet<RowId>,
    rows: &mut Rows,
) -> Result<(), StoreError> {
    let (mut orders, mut stocks, mut letters) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        match id {
            RowId::Order(id) => orders.push(id.uuid()),
            RowId::Stock(sku) => stocks.push(sku.as_str()),
            RowId::Letter(id) => letters.push(*id),
        }
    }
    if !orders.is_empty() {
        let found: Vec<OrderRow> = sqlx::query_as("select * from order_view where order_id = any ($1)")
            .bind(orders)
            .fetch_all(&mut *connection)
            .await?;
        rows.orders.extend(found.into_iter().map(|row| (row.order_id, row)));
    }
    if !stocks.is_empty() {
        let found: Vec<StockRow> = sqlx::query_as("select * from stock_view where sku = any ($1)")
            .bind(stocks)
            .fetch_all(&mut *connection)
            .await?;
        rows.stocks.extend(found.into_iter().map(|row| (row.sku.clone(), row)));
    }
    if !letters.is_empty() {
        let found: Vec<LetterRow> = sqlx::query_as("select * from dead_letter_view where id = any ($1)")
            .bind(letters)
            .fetch_all(connection)
            .await?;
        rows.letters.extend(found.into_iter().map(|row| (row.id, row)));
    }
    Ok(())
}

impl FromRow<'_, PgRow> for OrderRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            order_id: order_id(row, "order_id")?,
            order: source(row, "order")?,
            reservation: source(row, "reservation")?,
            payment: source(row, "payment")?,
            foreign: row.try_get("foreign")?,
        })
    }
}

impl FromRow<'_, PgRow> for StockRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let sku: &str = row.try_get("sku")?;
        let state = Levels { on_hand: row.try_get("on_hand")?, reserved: row.try_get("reserved")? };
        Ok(Self {
            sku: sku.parse::<Sku>().map_err(|_| damage("sku"))?,
            levels: Source { version: row.try_get("version")?, at: row.try_get("at")?, state: Some(state) },
        })
    }
}

impl FromRow<'_, PgRow> for LetterRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let changed_at: Option<Timestamp> = row.try_get("changed_at")?;
        let failed_at: Option<Timestamp> = row.try_get("failed_at")?;
        let change = changed_at.map(|at| change(row, at));
        let letter = failed_at.map(|failed_at| letter(row, failed_at));
        Ok(Self {
            id: row.try_get("id")?,
            letter: letter.transpose()?,
            change: change.transpose()?,
            redrives: row.try_get("redrives")?,
        })
    }
}

fn change(row: &PgRow, at: Timestamp) -> sqlx::Result<Change> {
    Ok(Change {
        at,
        partition: row.try_get("changed_partition")?,
        offset: row.try_get("changed_offset")?,
        status: row.try_get("status")?,
        by: row.try_get("changed_by")?,
        reason: row.try_get("changed_reason")?,
    })
}

fn letter(row: &PgRow, failed_at: Timestamp) -> sqlx::Result<Letter> {
    let bytes =
        |column: &str| row.try_get::<Option<Vec<u8>>, _>(column).map(|bytes| bytes.map(bytes::Bytes::from));
    let headers: &str = row.try_get("headers")?;
    Ok(Letter {
        group: row.try_get("group")?,
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        stage: row.try_get("stage")?,
        code: row.try_get("code")?,
        message: row.try_get("message")?,
        fingerprint: row.try_get("fingerprint")?,
        failed_at,
        delivery_count: row.try_get("delivery_count")?,
        build: row.try_get("build")?,
        key: bytes("key")?,
        value: bytes("value")?,
        headers: serde_json::from_str::<Vec<Header>>(headers).map_err(|_| damage("headers"))?,
    })
}

fn source<S: DeserializeOwned>(row: &PgRow, name: &str) -> sqlx::Result<Source<S>> {
    let column = |part: &str| format!("{name}_{part}");
    let state: Option<&str> = row.try_get(column("state").as_str())?;
    let state = state.map(serde_json::from_str).transpose().map_err(|_| damage(&column("state")))?;
    Ok(Source {
        version: row.try_get(column("version").as_str())?,
        at: row.try_get(column("at").as_str())?,
        state,
    })
}

pub(super) fn order_id(row: &PgRow, column: &str) -> sqlx::Result<OrderId> {
    OrderId::new(row.try_get::<Uuid, _>(column)?).ok_or_else(|| damage(column))
}

/// It was written by us: what does not read is damage.
pub(super) fn damage(column: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} holds what nobody wrote").into())
}
