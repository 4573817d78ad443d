//! Many dead letters at once: those that are meant, their messages, and what became of them.

use shared::{failure::REDRIVES_MAX, log::StoreError};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::query::LetterFilter;
use crate::view::letter::{LetterRow, OPEN_STATUSES, PARKED};

/// One of those that are meant, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Meant {
    pub id: Uuid,
    pub group: String,
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub redrives: i32,
}

/// What became of some letters since they were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct Fates {
    /// Redriven or given up.
    pub processed: i64,
    pub failed_again: i64,
}

/// Those that a redrive takes, or a discard, which takes parked ones too. What died first comes first.
pub async fn meant(
    connection: &mut PgConnection,
    filter: &LetterFilter,
    takes_parked: bool,
    limit: i64,
) -> Result<Vec<Meant>, StoreError> {
    let meant = sqlx::query_as(
        "select id, \"group\", topic, key, redrives
         from dead_letter_view
         where failed_at is not null
           and status = any ($7)
           and ($4 or status <> $8 and redrives < $5)
           and ($1::text is null or \"group\" = $1)
           and ($2::text is null or code = $2)
           and ($3::text is null or fingerprint = $3)
         -- What died in one batch died at one moment.
         order by failed_at, topic, partition, \"offset\", id
         limit $6",
    )
    .bind(&filter.group)
    .bind(&filter.code)
    .bind(&filter.fingerprint)
    .bind(takes_parked)
    .bind(REDRIVES_MAX)
    .bind(limit)
    .bind(&OPEN_STATUSES[..])
    .bind(PARKED)
    .fetch_all(connection)
    .await?;
    Ok(meant)
}

/// How many of those that wait a redrive leaves out: they failed again often enough.
pub async fn parked(connection: &mut PgConnection, filter: &LetterFilter) -> Result<i64, StoreError> {
    let parked = sqlx::query_scalar(
        "select count(*)
         from dead_letter_view
         where failed_at is not null
           and status = any ($4)
           and (status = $5 or redrives >= $6)
           and ($1::text is null or \"group\" = $1)
           and ($2::text is null or code = $2)
           and ($3::text is null or fingerprint = $3)",
    )
    .bind(&filter.group)
    .bind(&filter.code)
    .bind(&filter.fingerprint)
    .bind(&OPEN_STATUSES[..])
    .bind(PARKED)
    .bind(REDRIVES_MAX)
    .fetch_one(connection)
    .await?;
    Ok(parked)
}

/// With their bytes, which can be a megabyte each.
pub async fn whole(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<LetterRow>, StoreError> {
    let rows = sqlx::query_as("select * from dead_letter_view where id = any($1) and failed_at is not null");
    Ok(rows.bind(ids).fetch_all(connection).await?)
}

pub async fn fates(connection: &mut PgConnection, letters: &[Meant]) -> Result<Fates, StoreError> {
    let (ids, redrives): (Vec<Uuid>, Vec<i32>) =
        letters.iter().map(|letter| (letter.id, letter.redrives)).unzip();
    let fates = sqlx::query_as(
        "select
           count(*) filter (where status in ('redriven', 'discarded')) as processed,
           count(*) filter (where status in ('failed-again', 'parked') and view.redrives > meant.redrives) as failed_again
         from (select unnest($1::uuid[]) as id, unnest($2::int[]) as redrives) as meant
         join dead_letter_view as view on view.id = meant.id",
    )
    .bind(ids)
    .bind(redrives)
    .fetch_one(connection)
    .await?;
    Ok(fates)
}
