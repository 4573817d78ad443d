//! How far the relay has published, per lane. Written only on the connection that holds the relay's lock.

use sqlx::PgConnection;

use super::StoreError;

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

/// Never backwards: false where the cursor is there already, or past it.
pub async fn advance_cursor(connection: &mut PgConnection, lane: Lane, to: i64) -> Result<bool, StoreError> {
    let moved = sqlx::query("update relay set cursor = $2 where name = $1 and cursor < $2")
        .bind(lane.name())
        .bind(to)
        .execute(connection)
        .await?;
    Ok(moved.rows_affected() == 1)
}
