//! Whether the second view says what the served one says, while both follow the topics.
//!
//! One look sees both at one moment, but one of them has taken what the other has not yet. What differs at the first look
//! is only in doubt: whoever follows the topics into the second view lets it stop at exactly the places where the served
//! one was at some moment, and looks at it again.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use shared::{consumer::Place, contract::topics::Topic, log::StoreError};
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, Postgres, Transaction};
use tokio::time::sleep;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    schema::{SECOND, SERVED},
    whole,
};

/// Lock 5 of the projector's database: who compares. Held by a session.
const LOCK: i64 = 5;
/// What an operator decides about a letter is done in both views, but not at one place of the topics. So what differs is
/// looked for once more.
const LOOKS: usize = 2;
/// Of what differs at a look, so many keys are looked at again: a view that another build filled may differ everywhere.
const DOUBTS_MAX: i64 = 10_000;
/// How long whoever follows into the second view is waited for.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Of differences that are shown with their rows.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Compared {
    pub rows: Vec<Rows>,
    /// How many keys differ in some table, of at most 10,000 that seemed to.
    pub different: usize,
    /// Some of them.
    pub differences: Vec<Difference>,
}

/// Of a table, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow, ToSchema)]
pub struct Rows {
    pub table: String,
    pub served: i64,
    pub second: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    pub table: String,
    /// Order id, sku, minute or id of the dead letter; empty for the sales of all skus.
    pub key: String,
    /// The row, or rows; null where there is none.
    pub served: Value,
    pub second: Value,
}

/// Next offsets, of all that both views are the fold of.
pub type Ends = HashMap<Place, i64>;

/// A table by the name that it has in a difference, and a key in it.
pub type Doubt = (String, String);

/// By the names of the differences, with the column of the key and its type.
const TABLES: [(&str, &str, &str, &str); 7] = [
    ("orders", "order_view", "order_id", "uuid"),
    ("skus", "order_sku", "order_id", "uuid"),
    ("timelines", "timeline", "order_id", "uuid"),
    ("stock", "stock_view", "sku", "text"),
    ("sales", "sale", "sku", "text"),
    ("pace", "pace", "minute", "timestamptz"),
    ("dead_letters", "dead_letter_view", "id", "uuid"),
];

/// Compares everything. It reads both views whole, so it takes longer than an answer may. `None` where the two did not come to
/// the same places meanwhile, so that nothing is known.
pub async fn compare(connection: &mut PgConnection) -> anyhow::Result<Option<Compared>> {
    while !sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut *connection)
        .await?
    {
        sleep(POLL).await;
    }
    let mut looked = None;
    for _ in 0..LOOKS {
        let comparison = Uuid::now_v7();
        let (rows, doubts) = look(connection, comparison).await?;
        if doubts > 0 && !settled(connection, comparison).await? {
            sqlx::query("delete from second.doubt").execute(&mut *connection).await?;
            return Ok(None);
        }
        let compared = left(connection, comparison, rows).await?;
        let is_done = compared.different == 0 && doubts < DOUBTS_MAX;
        looked = Some(compared);
        if is_done {
            break;
        }
    }
    Ok(looked)
}

/// What differs at one moment, though it may only be that one view is ahead. Answers how many rows there are, and how many
/// doubts.
async fn look(connection: &mut PgConnection, comparison: Uuid) -> Result<(Vec<Rows>, i64), StoreError> {
    sqlx::query("delete from second.doubt").execute(&mut *connection).await?;
    let mut snapshot = one_moment(connection).await?;
    let rows = counts(&mut snapshot).await?;
    let sql = format!(
        "insert into second.doubt (comparison, name, key)
         select $1, name, key
         from ({}) as served
         full join ({}) as second using (name, key)
         where served.hash is distinct from second.hash
         limit $2",
        hashes(SERVED, false),
        hashes(SECOND, false)
    );
    let found =
        sqlx::query(AssertSqlSafe(sql)).bind(comparison).bind(DOUBTS_MAX).execute(&mut *snapshot).await?;
    snapshot.commit().await?;
    Ok((rows, i64::try_from(found.rows_affected()).unwrap_or(i64::MAX)))
}

/// Waits until whoever follows has looked at all that is in doubt. False where nobody does.
async fn settled(connection: &mut PgConnection, comparison: Uuid) -> Result<bool, StoreError> {
    let until = Instant::now() + SETTLED_WITHIN;
    while asked(connection).await? == Some(comparison) {
        if Instant::now() > until {
            return Ok(false);
        }
        sleep(POLL).await;
    }
    Ok(true)
}

/// What differs at the same places.
async fn left(connection: &mut PgConnection, comparison: Uuid, rows: Vec<Rows>) -> anyhow::Result<Compared> {
    let different: i64 = sqlx::query_scalar("select count(*) from second.doubt where comparison = $1")
        .bind(comparison)
        .fetch_one(&mut *connection)
        .await?;
    let shown: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "select name, key, served::text, second::text
         from second.doubt
         where comparison = $1 and (served is not null or second is not null)
         order by name, key",
    )
    .bind(comparison)
    .fetch_all(connection)
    .await?;
    let value = |text: Option<String>| serde_json::from_str(text.as_deref().unwrap_or("null"));
    let difference = |(table, key, served, second)| {
        Ok(Difference { table, key, served: value(served)?, second: value(second)? })
    };
    let differences = shown.into_iter().map(difference).collect::<serde_json::Result<_>>()?;
    Ok(Compared { rows, different: usize::try_from(different)?, differences })
}

async fn counts(connection: &mut PgConnection) -> Result<Vec<Rows>, StoreError> {
    let of = |(name, table, _, _): (&str, &str, &str, &str)| {
        format!(
            "select '{name}' as \"table\", (select count(*) from {SERVED}.{table}) as served,
               (select count(*) from {SECOND}.{table}) as second"
        )
    };
    let sql = TABLES.map(of).join(" union all ");
    Ok(sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await?)
}

/// The comparison of which something is to be looked at again.
pub async fn asked(connection: &mut PgConnection) -> Result<Option<Uuid>, StoreError> {
    let sql = "select comparison from second.doubt where not is_settled limit 1";
    Ok(sqlx::query_scalar(sql).fetch_optional(connection).await?)
}

pub async fn doubts(connection: &mut PgConnection, comparison: Uuid) -> Result<Vec<Doubt>, StoreError> {
    let doubts = sqlx::query_as("select name, key from second.doubt where comparison = $1");
    Ok(doubts.bind(comparison).fetch_all(connection).await?)
}

/// What the connection reads until the transaction ends is of one moment.
pub async fn one_moment(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(
        "set transaction isolation level repeatable read;
         set local statement_timeout = 0;
         set local idle_in_transaction_session_timeout = 0;
         set local work_mem = '64MB'",
    )
    .execute(&mut *transaction)
    .await?;
    Ok(transaction)
}

/// Where a view stands.
pub async fn ends(connection: &mut PgConnection, schema: &str) -> Result<Ends, StoreError> {
    let mut next = whole::positions(connection, Some(schema)).await?;
    next.retain(|(topic, _), _| *topic != Topic::DeadLettersCommands);
    Ok(next)
}

/// What a view says of some keys, as hashes.
pub async fn said(
    connection: &mut PgConnection,
    schema: &str,
    doubts: &[Doubt],
) -> Result<HashMap<Doubt, String>, StoreError> {
    let (names, keys) = columns(doubts);
    let sql = hashes(schema, true);
    let rows: Vec<(String, String, String)> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(names).bind(keys).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(name, key, hash)| ((name, key), hash)).collect())
}

fn columns(doubts: &[Doubt]) -> (Vec<&str>, Vec<&str>) {
    doubts.iter().map(|(name, key)| (&**name, &**key)).unzip()
}

/// What a view says, by table and key, as a hash; all of it, or of the names in $1 and the keys in $2.
fn hashes(schema: &str, is_of_some: bool) -> String {
    let of = |(name, table, column, kind): (&str, &str, &str, &str)| {
        let which = match is_of_some {
            true => format!(
                "where {column} in (
                   select key::{kind} from unnest($1::text[], $2::text[]) as doubt (name, key) where name = '{name}'
                 )"
            ),
            false => String::new(),
        };
        format!(
            "select '{name}' as name, {column}::text as key, sum(hashtextextended(found::text, 0))::text as hash
             from {schema}.{table} as found {which}
             group by {column}"
        )
    };
    TABLES.map(of).join(" union all ")
}

/// What is not `different` is not in doubt any more. `served` has stood still since it was at the places where the second view
/// is now.
pub async fn settle(
    connection: &mut PgConnection,
    served: &mut PgConnection,
    comparison: Uuid,
    different: &[Doubt],
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("set local statement_timeout = 0").execute(&mut *transaction).await?;
    let (names, keys) = columns(different);
    sqlx::query(
        "delete from second.doubt
         where comparison = $3 and (name, key) not in (select * from unnest($1::text[], $2::text[]))",
    )
    .bind(names)
    .bind(keys)
    .bind(comparison)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("update second.doubt set is_settled = true where comparison = $1")
        .bind(comparison)
        .execute(&mut *transaction)
        .await?;
    for (name, key) in different.iter().take(SHOWN_MAX) {
        let shown =
            [shown(served, SERVED, name, key).await?, shown(&mut transaction, SECOND, name, key).await?];
        sqlx::query(
            "update second.doubt set served = $4::json, second = $5::json
             where comparison = $1 and name = $2 and key = $3",
        )
        .bind(comparison)
        .bind(name)
        .bind(key)
        .bind(&shown[0])
        .bind(&shown[1])
        .execute(&mut *transaction)
        .await?;
    }
    Ok(transaction.commit().await?)
}

async fn shown(
    connection: &mut PgConnection,
    schema: &str,
    name: &str,
    key: &str,
) -> Result<Option<String>, StoreError> {
    let Some((_, table, column, kind)) = TABLES.iter().find(|(known, ..)| *known == name) else {
        return Ok(None);
    };
    let sql = format!(
        "select json_agg(row_to_json(found))::text
         from (select * from {schema}.{table} where {column} = $1::{kind} limit 100) as found"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(sql)).bind(key).fetch_one(connection).await?)
}
