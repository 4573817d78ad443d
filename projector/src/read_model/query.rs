//! What is asked of the view. Each is one statement; lists are keyset pages, newest first.

use shared::{
    contract::{
        Timestamp,
        ids::{OrderId, Sku},
        topics::Topic,
    },
    log::StoreError,
};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::load::{damage, order_id};
use crate::view::{
    funnel::Step,
    letter::{self, LetterRow},
    order::{OPEN, OrderRow, STATUSES},
    stock::StockRow,
    timeline::Entry,
};

/// A row and the database's time when it was read.
#[derive(Debug, Clone)]
pub struct Read<R> {
    pub row: R,
    pub now: Timestamp,
}

/// Where a page goes on: behind the row of this time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    pub time: Timestamp,
    pub id: Uuid,
}

impl After {
    /// `None` where an order's creation is not known.
    pub fn of(row: &OrderRow) -> Option<Self> {
        Some(Self { time: row.order.state.as_ref()?.created_at, id: row.order_id.uuid() })
    }
}

#[derive(Debug, Clone, Default)]
pub struct OrderFilter {
    pub status: Option<String>,
    /// Only those that have not ended.
    pub is_open: bool,
    pub user_id: Option<String>,
    pub sku: Option<String>,
    /// Created then or later.
    pub since: Option<Timestamp>,
    /// Only with a status that orders have which came so far and no further: more is said by their state ([`super::reached`]).
    pub step: Option<Step>,
}

#[derive(Debug, Clone, Default)]
pub struct LetterFilter {
    /// One status, or `open`: those that wait for somebody.
    pub status: Option<String>,
    pub group: Option<String>,
    pub code: Option<String>,
    pub fingerprint: Option<String>,
}

impl LetterFilter {
    /// All that are asked for; `None`: whatever it is.
    pub(super) fn statuses(&self) -> Option<Vec<&str>> {
        let asked = self.status.as_deref()?;
        Some(if asked == letter::OPEN { letter::OPEN_STATUSES.to_vec() } else { vec![asked] })
    }
}

/// Also a row of which only the reservation or the payment is known.
pub async fn order(connection: &mut PgConnection, id: OrderId) -> Result<Option<Read<OrderRow>>, StoreError> {
    let found = sqlx::query_as("select *, now() as read_at from order_view where order_id = $1")
        .bind(id.uuid())
        .fetch_optional(connection)
        .await?;
    Ok(found)
}

pub async fn orders(
    connection: &mut PgConnection,
    filter: &OrderFilter,
    after: Option<After>,
    limit: i64,
) -> Result<Vec<Read<OrderRow>>, StoreError> {
    // With plans made for the values of each call, a condition on an absent filter costs nothing.
    let query = match filter.sku {
        // A page of each status that is asked for, merged: the indexes have them by status, and there are five.
        None => {
            "select found.*, now() as read_at
             from unnest($1::text[]) as asked (status)
             cross join lateral (
               select *
               from order_view
               where order_view.status = asked.status
                 and created_at is not null
                 and ($2::text is null or user_id = $2)
                 and ($3::timestamptz is null or created_at >= $3)
                 and ($4::timestamptz is null or (created_at, order_id) < ($4, $5))
                 and $6::text is null
               order by created_at desc, order_id desc
               limit $7
             ) as found
             order by created_at desc, order_id desc
             limit $7"
        }
        // Begins with what has fewer orders: the sku, the user or the status. Of two that have many and no order in common all
        // are read.
        Some(_) => {
            "select order_view.*, now() as read_at
             from order_sku
             join order_view using (order_id)
             where order_view.created_at is not null
               and order_view.status = any($1)
               and ($2::text is null or order_view.user_id = $2)
               and ($3::timestamptz is null or order_sku.created_at >= $3)
               and ($4::timestamptz is null or (order_sku.created_at, order_sku.order_id) < ($4, $5))
               and order_sku.sku = $6
             order by order_sku.created_at desc, order_sku.order_id desc
             limit $7"
        }
    };
    let is_asked = |status: &&str| {
        filter.status.as_deref().is_none_or(|asked| asked == *status)
            && (!filter.is_open || OPEN.contains(status))
            && filter.step.is_none_or(|step| step.statuses().contains(status))
    };
    let statuses: Vec<&str> = STATUSES.into_iter().filter(is_asked).collect();
    let rows = sqlx::query_as(query)
        .bind(statuses)
        .bind(&filter.user_id)
        .bind(filter.since)
        .bind(after.map(|after| after.time))
        .bind(after.map(|after| after.id))
        .bind(&filter.sku)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

/// How many orders have each of these statuses; those that none has are left out.
pub async fn count(
    connection: &mut PgConnection,
    statuses: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    let counts = sqlx::query_as(
        "select status, count(*)
         from order_view
         where status = any($1)
           and created_at is not null
         group by status",
    )
    .bind(statuses)
    .fetch_all(connection)
    .await?;
    Ok(counts)
}

pub async fn oldest(
    connection: &mut PgConnection,
    status: &str,
    limit: i64,
) -> Result<Vec<Read<OrderRow>>, StoreError> {
    let rows = sqlx::query_as(
        "select *, now() as read_at
         from order_view
         where status = $1
           and created_at is not null
         order by created_at, order_id
         limit $2",
    )
    .bind(status)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// Of orders in a range of ids, some.
pub async fn ids(
    connection: &mut PgConnection,
    first: Uuid,
    last: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let ids = sqlx::query_scalar(
        "select order_id from order_view where order_id between $1 and $2 order by order_id limit $3",
    );
    Ok(ids.bind(first).bind(last).bind(limit).fetch_all(connection).await?)
}

/// In no order: [`crate::view::timeline::story`] makes one.
pub async fn timeline(connection: &mut PgConnection, id: OrderId) -> Result<Vec<Entry>, StoreError> {
    let entries = sqlx::query_as(include_str!("timeline.sql")).bind(id.uuid()).fetch_all(connection).await?;
    Ok(entries)
}

pub async fn stock(connection: &mut PgConnection, sku: &Sku) -> Result<Option<StockRow>, StoreError> {
    let found = sqlx::query_as("select * from stock_view where sku = $1")
        .bind(sku.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found)
}

/// By sku.
pub async fn stocks(
    connection: &mut PgConnection,
    after: Option<&Sku>,
    limit: i64,
) -> Result<Vec<StockRow>, StoreError> {
    let rows =
        sqlx::query_as("select * from stock_view where ($1::text is null or sku > $1) order by sku limit $2")
            .bind(after.map(Sku::as_str))
            .bind(limit)
            .fetch_all(connection)
            .await?;
    Ok(rows)
}

pub async fn letter(connection: &mut PgConnection, id: Uuid) -> Result<Option<LetterRow>, StoreError> {
    let found = sqlx::query_as("select * from dead_letter_view where id = $1 and failed_at is not null")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(found)
}

/// Without their values and headers, which can have a megabyte each.
pub async fn letters(
    connection: &mut PgConnection,
    filter: &LetterFilter,
    after: Option<After>,
    limit: i64,
) -> Result<Vec<LetterRow>, StoreError> {
    let rows = sqlx::query_as(
        "select
           id, status, changed_at, changed_partition, changed_offset, changed_by, changed_reason,
           \"group\", topic, partition, \"offset\", stage, code, message, fingerprint, failed_at,
           delivery_count, redrives, build, key, null::bytea as value, '[]' as headers
         from dead_letter_view
         where failed_at is not null
           and ($1::text[] is null or status = any ($1))
           and ($2::text is null or \"group\" = $2)
           and ($3::text is null or code = $3)
           and ($4::text is null or fingerprint = $4)
           and ($5::timestamptz is null or (failed_at, id) < ($5, $6))
         order by failed_at desc, id desc
         limit $7",
    )
    .bind(filter.statuses())
    .bind(&filter.group)
    .bind(&filter.code)
    .bind(&filter.fingerprint)
    .bind(after.map(|after| after.time))
    .bind(after.map(|after| after.id))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

impl<R: for<'r> FromRow<'r, PgRow>> FromRow<'_, PgRow> for Read<R> {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { row: R::from_row(row)?, now: row.try_get("read_at")? })
    }
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let topic: &str = row.try_get("topic")?;
        Ok(Self {
            order_id: order_id(row, "order_id")?,
            topic: Topic::parse(topic).ok_or_else(|| damage("topic"))?,
            key: row.try_get("key")?,
            sequence: row.try_get("sequence")?,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("type")?,
            service: row.try_get("service")?,
            time: row.try_get("time")?,
            position: row.try_get("position")?,
            cause: row.try_get("cause")?,
            data: row.try_get("data")?,
            deliveries: row.try_get("deliveries")?,
        })
    }
}
