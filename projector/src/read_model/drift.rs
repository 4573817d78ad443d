//! What the view says of some orders at some places, and the list of those that differed from their topics.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::{
    contract::{Timestamp, ids::OrderId, topics::Topic},
    log::StoreError,
};
use sqlx::{
    FromRow, PgConnection, Row,
    postgres::{PgRow, types::Oid},
};
use uuid::Uuid;

use super::{compare::one_moment, load::order_id, schema::SERVED, whole};
use crate::view::order::OrderRow;

/// Lock 6 of the projector's database: who compares with the topics. Held by a session.
const LOCK: i64 = 6;
/// More than that nobody reads. A view that differs everywhere is rebuilt, not mended order by order.
const FOUND_MAX: i64 = 100;

/// An order of which the view said something else than the topics.
#[derive(Debug, Clone, PartialEq)]
pub struct Drifted {
    pub order_id: OrderId,
    pub found_at: Timestamp,
    /// In words.
    pub what: String,
}

/// Orders as the view has them.
#[derive(Debug, Default)]
pub struct Shown {
    pub at: Timestamp,
    /// The view that says so, by its table: another one may take its place meanwhile.
    pub view: Oid,
    pub rows: BTreeMap<OrderId, OrderRow>,
    /// Entries of their timelines, of events of our services about the order itself.
    pub events: HashMap<OrderId, i64>,
    /// Something of theirs died, or waits.
    pub waiting: BTreeSet<OrderId>,
}

/// False where somebody else has it.
pub async fn lock(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection).await?)
}

pub async fn unlock(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(connection).await?;
    Ok(())
}

/// Where the view stands in a partition.
pub async fn ends(connection: &mut PgConnection, partition: i32) -> Result<HashMap<Topic, i64>, StoreError> {
    let all = whole::positions(connection, Some(SERVED)).await?;
    let of_it = all.into_iter().filter(|((_, known), _)| *known == partition);
    Ok(of_it.map(|((topic, _), next)| (topic, next)).collect())
}

/// These orders, and where the view stands in their partition: at one moment.
pub async fn shown(
    connection: &mut PgConnection,
    partition: i32,
    ids: &[OrderId],
) -> Result<(HashMap<Topic, i64>, Shown), StoreError> {
    let uuids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut moment = one_moment(connection).await?;
    let ends = ends(&mut moment, partition).await?;
    let (at, view) =
        sqlx::query_as("select now(), to_regclass('order_view')::oid").fetch_one(&mut *moment).await?;
    let rows: Vec<OrderRow> = sqlx::query_as("select * from order_view where order_id = any ($1)")
        .bind(&uuids)
        .fetch_all(&mut *moment)
        .await?;
    let events: Vec<Counted> = sqlx::query_as(
        "select order_id, count(*) as events
         from timeline
         where order_id = any ($1) and sequence > 0 and topic <> $2
         group by order_id",
    )
    .bind(&uuids)
    .bind(Topic::InventoryStock.name())
    .fetch_all(&mut *moment)
    .await?;
    let waiting: Vec<String> = sqlx::query_scalar(
        "select key from held_message where key = any ($1)
         union
         select holds_key from dead_letter where holds_key = any ($1)",
    )
    .bind(&texts)
    .fetch_all(&mut *moment)
    .await?;
    moment.commit().await?;
    let shown = Shown {
        at,
        view,
        rows: rows.into_iter().map(|row| (row.order_id, row)).collect(),
        events: events.into_iter().map(|counted| (counted.order_id, counted.events)).collect(),
        waiting: waiting.iter().filter_map(|key| OrderId::new(Uuid::try_parse(key).ok()?)).collect(),
    };
    Ok((ends, shown))
}

/// Takes what was compared off the list of that view, and puts what differs on it. Nothing where another one serves by now.
pub async fn record(
    connection: &mut PgConnection,
    view: Oid,
    compared: &[OrderId],
    different: &[Drifted],
) -> Result<(), StoreError> {
    let uuids: Vec<Uuid> = compared.iter().map(|id| id.uuid()).collect();
    sqlx::query(
        "with gone as (
           delete from drift
           where order_id = any ($1) and order_id <> all ($2)
             and $6 = to_regclass('order_view')::oid
         )
         insert into drift (order_id, found_at, what)
         select *
         from (
           select unnest($2::uuid[]), unnest($3::timestamptz[]), unnest($4::text[])
         ) as new
         where (select count(*) from drift) < $5
           and $6 = to_regclass('order_view')::oid
         on conflict (order_id) do update
         set what = excluded.what",
    )
    .bind(uuids)
    .bind(different.iter().map(|drifted| drifted.order_id.uuid()).collect::<Vec<_>>())
    .bind(different.iter().map(|drifted| drifted.found_at).collect::<Vec<_>>())
    .bind(different.iter().map(|drifted| drifted.what.as_str()).collect::<Vec<_>>())
    .bind(FOUND_MAX)
    .bind(view)
    .execute(connection)
    .await?;
    Ok(())
}

/// The list, oldest first.
pub async fn found(connection: &mut PgConnection) -> Result<Vec<Drifted>, StoreError> {
    Ok(sqlx::query_as("select * from drift order by found_at, order_id limit $1")
        .bind(FOUND_MAX)
        .fetch_all(connection)
        .await?)
}

impl FromRow<'_, PgRow> for Drifted {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let (found_at, what) = (row.try_get("found_at")?, row.try_get("what")?);
        Ok(Self { order_id: order_id(row, "order_id")?, found_at, what })
    }
}

struct Counted {
    order_id: OrderId,
    events: i64,
}

impl FromRow<'_, PgRow> for Counted {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { order_id: order_id(row, "order_id")?, events: row.try_get("events")? })
    }
}
