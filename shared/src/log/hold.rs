//! What waits, as the database has it. Only `append` adds and removes.

use std::collections::HashSet;

use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};

use super::{Held, HeldRow, HoldKind, KeyHeld, StoreError, row};

/// The keys of these partitions that are held or have messages waiting.
pub async fn held_keys(
    connection: &mut PgConnection,
    key_partitions: &[i32],
) -> Result<Vec<KeyHeld>, StoreError> {
    let sql = sql("key_partition", "holds_partition");
    read_keys(sqlx::query(AssertSqlSafe(sql)).bind(key_partitions).fetch_all(connection).await?)
}

/// How these keys stand, one answer for each, also where nothing waits.
pub async fn keys_held(connection: &mut PgConnection, keys: &[String]) -> Result<Vec<KeyHeld>, StoreError> {
    let sql = sql("key", "holds_key");
    let mut held = read_keys(sqlx::query(AssertSqlSafe(sql)).bind(keys).fetch_all(connection).await?)?;
    let mut known: HashSet<String> = held.iter().map(|held| held.key.clone()).collect();
    for key in keys.iter().filter(|key| known.insert((*key).clone())) {
        held.push(KeyHeld { key: key.clone(), letter: None, too_early: 0, behind: 0, newer: 0 });
    }
    Ok(held)
}

/// The first `limit_per_key` messages that wait on each of these keys, ascending by id.
pub async fn held_messages(
    connection: &mut PgConnection,
    keys: &[String],
    limit_per_key: i64,
) -> Result<Vec<HeldRow>, StoreError> {
    let rows = sqlx::query_as(
        "select held.*
         from (select distinct unnest($1::text[])) as asked (key)
         cross join lateral (
           select
             id, key, key_partition, kind, topic, partition, \"offset\",
             message_key, value, headers, timestamp_ms, held_at
           from held_message
           where held_message.key = asked.key
           order by id
           limit $2
         ) as held
         order by held.id",
    )
    .bind(keys)
    .bind(limit_per_key)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// By one column each, so that each has a plan of its own.
fn sql(column: &str, holds: &str) -> String {
    include_str!("hold.sql").replace("/* column */", column).replace("/* holds */", holds)
}

fn read_keys(rows: Vec<PgRow>) -> Result<Vec<KeyHeld>, StoreError> {
    let held = rows.iter().map(|row| {
        Ok(KeyHeld {
            key: row.try_get("key")?,
            letter: row.try_get("letter_id")?,
            too_early: row.try_get("too_early")?,
            behind: row.try_get("behind")?,
            newer: row.try_get("newer")?,
        })
    });
    held.collect::<sqlx::Result<_>>().map_err(StoreError::from)
}

impl FromRow<'_, PgRow> for HeldRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let kind = row.try_get("kind")?;
        Ok(Self {
            id: row.try_get("id")?,
            held: Held {
                key: row.try_get("key")?,
                key_partition: row.try_get("key_partition")?,
                kind: HoldKind::parse(kind).ok_or_else(|| row::damage("kind", kind))?,
                raw: row::raw(row)?,
                held_at: row.try_get("held_at")?,
            },
        })
    }
}
