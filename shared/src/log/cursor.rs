//! How far the relay has published, per lane. Written only on the connection that holds the relay's lock.

use sqlx::PgConnection;

use super::StoreError;
use crate::contract::Timestamp;

/// What the relay publishes in order, each with its own gapless numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Events,
    DeadLetters,
}

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "event",
            Self::DeadLetters => "dead_letter",
        }
    }
}

/// The last position or number that the broker has acknowledged with all before it.
pub async fn cursor(connection: &mut PgConnection, lane: Lane) -> Result<i64, StoreError> {
    let cursor = sqlx::query_scalar("select cursor from relay where name = $1").bind(lane.name());
    Ok(cursor.fetch_one(connection).await?)
}

/// When the first of what is not published was recorded. `None`: all of it is.
pub async fn waits_since(connection: &mut PgConnection, lane: Lane) -> Result<Option<Timestamp>, StoreError> {
    let since = sqlx::query_scalar(match lane {
        Lane::Events => {
            "select recorded_at
             from event
             where position > (select cursor from relay where name = $1)
             order by position
             limit 1"
        }
        Lane::DeadLetters => {
            "select recorded_at
             from dead_letter
             where number > (select cursor from relay where name = $1)
             order by number
             limit 1"
        }
    });
    Ok(since.bind(lane.name()).fetch_optional(connection).await?)
}

/// Never backwards: false where the cursor is there already, or past it.
pub async fn advance_cursor(connection: &mut PgConnection, lane: Lane, to: i64) -> Result<bool, StoreError> {
    let moved = sqlx::query("update relay set cursor = $2 where name = $1 and cursor < $2")
        .bind(lane.name())
        .bind(to)
        .execute(connection)
        .await?;
    Ok(moved.rows_affected() == 1)
}
