//! Dead letters that failed for one reason, as one row: ten thousand of them are perhaps three things to mend.

use shared::{contract::Timestamp, log::StoreError};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::query::LetterFilter;
use crate::view::letter::{OPEN_STATUSES, STATUSES};

/// More reasons than that nobody reads.
pub const GROUPS_MAX: i64 = 200;
/// Of those that wait, and of those that are done with, the newest so many are counted: a hundred thousand would take seconds,
/// again and again.
pub const LETTERS_MAX: i64 = 20_000;

/// Letters with one fingerprint and code, of one consumer group.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LetterGroup {
    pub fingerprint: String,
    pub group: String,
    pub code: String,
    /// The newest of them, and what it says.
    pub newest_id: Uuid,
    pub message: String,
    pub letters: i64,
    #[sqlx(flatten)]
    pub statuses: Statuses,
    /// Different message keys: orders or skus.
    pub keys: i64,
    pub first_failed_at: Timestamp,
    pub last_failed_at: Timestamp,
    /// How many died in each five minutes of the last hour, oldest first.
    pub trend: Vec<i64>,
}

/// How many letters are in which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Statuses {
    pub dead: i64,
    pub failed_again: i64,
    pub parked: i64,
    pub redriven: i64,
    pub discarded: i64,
}

impl Statuses {
    /// Those that wait for somebody.
    pub fn open(&self) -> i64 {
        self.dead + self.failed_again + self.parked
    }
}

/// How many letters of each consumer group wait for somebody.
pub async fn open_by_group(connection: &mut PgConnection) -> Result<Vec<(String, i64)>, StoreError> {
    let counts = sqlx::query_as(
        "select \"group\", count(*)
         from dead_letter_view
         where status = any ($1)
           and failed_at is not null
         group by 1",
    )
    .bind(&OPEN_STATUSES[..]);
    Ok(counts.fetch_all(connection).await?)
}

/// How many letters that match wait for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Waiting {
    pub open: i64,
    /// Of these.
    pub parked: i64,
}

pub async fn waiting(connection: &mut PgConnection, filter: &LetterFilter) -> Result<Waiting, StoreError> {
    let waiting = sqlx::query_as(
        "select count(*) as open, count(*) filter (where status = 'parked') as parked
         from dead_letter_view
         where status = any ($1)
           and failed_at is not null
           and ($2::text is null or \"group\" = $2)
           and ($3::text is null or code = $3)
           and ($4::text is null or fingerprint = $4)",
    )
    .bind(asked(filter, true))
    .bind(&filter.group)
    .bind(&filter.code)
    .bind(&filter.fingerprint);
    Ok(waiting.fetch_one(connection).await?)
}

/// The statuses that are asked for: those of letters that wait, or of those that are done with.
fn asked(filter: &LetterFilter, waits: bool) -> Vec<&'static str> {
    let asked = filter.statuses();
    let is_asked = |status: &&str| asked.as_ref().is_none_or(|asked| asked.contains(status));
    STATUSES.into_iter().filter(|status| OPEN_STATUSES.contains(status) == waits).filter(is_asked).collect()
}

/// Most letters that wait for somebody first; at most [`GROUPS_MAX`], of at most [`LETTERS_MAX`] of either kind.
pub async fn letter_groups(
    connection: &mut PgConnection,
    filter: &LetterFilter,
) -> Result<Vec<LetterGroup>, StoreError> {
    let groups = sqlx::query_as(include_str!("letter_groups.sql"))
        .bind(asked(filter, true))
        .bind(&filter.group)
        .bind(&filter.code)
        .bind(&filter.fingerprint)
        .bind(GROUPS_MAX)
        .bind(LETTERS_MAX)
        .bind(asked(filter, false))
        .fetch_all(connection)
        .await?;
    Ok(groups)
}
