//! How the whole does: orders over the last hour or day, and keys on which messages wait.

use std::collections::BTreeMap;

use shared::{contract::Timestamp, log::StoreError};
use sqlx::PgConnection;

use super::load::damage;
use crate::view::pace::{Counted, percentile_ms};

/// How far back, in how many parts of how many minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub parts: usize,
    pub minutes: i64,
}

/// As the trend of dead letters is told.
pub const HOUR: Span = Span { parts: 12, minutes: 5 };
pub const DAY: Span = Span { parts: 96, minutes: 15 };

/// Of the orders that were created then.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub begins_at: Timestamp,
    pub created: i64,
    pub completed: i64,
    pub cancelled: i64,
    /// How many orders took so long from creation to the end, by the bounds of [`Counted::Took`].
    pub took: BTreeMap<u8, i64>,
}

impl Part {
    /// `None` where nothing has ended.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        percentile_ms(&self.took, share)
    }

    /// Of those that are decided; `None` where none is.
    pub fn cancelled_percent(&self) -> Option<f64> {
        let decided = self.completed + self.cancelled;
        (decided > 0).then(|| self.cancelled as f64 * 100.0 / decided as f64)
    }
}

/// Oldest part first; the last one ends with this minute.
pub async fn over(connection: &mut PgConnection, span: Span) -> Result<Vec<Part>, StoreError> {
    let ends_at: Timestamp = sqlx::query_scalar("select date_trunc('minute', now()) + interval '1 minute'")
        .fetch_one(&mut *connection)
        .await?;
    let part = chrono::TimeDelta::minutes(span.minutes);
    let begins_at = ends_at - part * span.parts as i32;
    let counts: Vec<(i32, i16, i64)> = sqlx::query_as(
        "select (extract(epoch from minute - $1) / ($3 * 60))::numeric::int as part, counted, sum(orders)::bigint
         from (
           select date_bin($3 * interval '1 minute', minute, $1) as minute, counted, orders
           from pace
           where minute >= $1
             and minute < $2
         ) as found
         group by 1, 2",
    )
    .bind(begins_at)
    .bind(ends_at)
    .bind(span.minutes)
    .fetch_all(connection)
    .await?;
    let empty = |at: usize| Part {
        begins_at: begins_at + part * at as i32,
        created: 0,
        completed: 0,
        cancelled: 0,
        took: BTreeMap::new(),
    };
    let mut parts: Vec<Part> = (0..span.parts).map(empty).collect();
    for (at, number, orders) in counts {
        let part =
            usize::try_from(at).ok().and_then(|at| parts.get_mut(at)).ok_or_else(|| damage("minute"))?;
        match Counted::of_number(number).ok_or_else(|| damage("counted"))? {
            Counted::Created => part.created = orders,
            Counted::Completed => part.completed = orders,
            Counted::Cancelled => part.cancelled = orders,
            Counted::Took(index) => drop(part.took.insert(index, orders)),
        }
    }
    Ok(parts)
}

/// When open and done letters died, by part.
pub async fn died(connection: &mut PgConnection, span: Span) -> Result<Vec<i64>, StoreError> {
    let counts: Vec<(i32, i64)> = sqlx::query_as(
        "select floor(extract(epoch from ends_at - failed_at) / ($1 * 60))::int as age, count(*)
         from dead_letter_view
         cross join (select date_trunc('minute', now()) + interval '1 minute' as ends_at) as span
         where failed_at >= ends_at - $1 * $2 * interval '1 minute'
           and failed_at < ends_at
         group by 1",
    )
    .bind(span.minutes)
    .bind(span.parts as i64)
    .fetch_all(connection)
    .await?;
    let mut parts = vec![0; span.parts];
    for (age, letters) in counts {
        let at = usize::try_from(age).ok().and_then(|age| span.parts.checked_sub(age + 1));
        if let Some(part) = at.and_then(|at| parts.get_mut(at)) {
            *part += letters;
        }
    }
    Ok(parts)
}

/// Keys on which messages wait in the view's own consumer.
pub async fn held_keys(connection: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("select count(distinct key) from held_message").fetch_one(connection).await?)
}
