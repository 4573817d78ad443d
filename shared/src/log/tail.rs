//! The log in order of position: what others appended, what the relay publishes.

use std::io;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::StoreError;
use crate::contract::envelope::Recorded;

/// The events after a position, in order. Positions are gapless: fewer than `limit` is the end.
pub async fn tail(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    let events = sqlx::query_as(
        "select
           position, stream, version, event_id, type, data, decision,
           correlation_id, causation_id, traceparent, recorded_at
         from event
         where position > $1
         order by position
         limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(events)
}

/// Returns once all that this connection has read is on the synchronous standby too, where there is one.
///
/// A session that is ended while its commit waits for the standby leaves a commit that others see and nobody was told
/// of; it is lost with its server. What must not be lost (a message, an answer) is not made of it before this.
///
/// # Errors
/// [`StoreError::Unavailable`] at once where there should be one and none streams.
pub async fn confirm(connection: &mut PgConnection) -> Result<(), StoreError> {
    // A commit of our own, with nothing in it, waits for all before it, even where the session's others do not. Not
    // where nobody streams: a wait for the standby outlives its client, and each attempt would leave a session behind.
    let row = sqlx::query(
        "select
           standby.streams,
           case when standby.streams then set_config('synchronous_commit', 'on', true) end,
           case when standby.streams then pg_logical_emit_message(true, 'fulfil', '') end
         from (select exists (select from pg_stat_replication) as streams) as standby
         where current_setting('synchronous_standby_names') <> ''",
    )
    .fetch_optional(connection)
    .await?;
    match row.map(|row| row.try_get("streams")).transpose()? {
        Some(false) => Err(StoreError::Unavailable(sqlx::Error::Io(io::Error::other(NO_STANDBY)))),
        None | Some(true) => Ok(()),
    }
}

const NO_STANDBY: &str = "no standby streams from it, and commits wait for one (synchronous_standby_names)";

/// The last event: its position and id; 0 and none where there is no event.
pub async fn last(connection: &mut PgConnection) -> Result<(i64, Option<Uuid>), StoreError> {
    let last = sqlx::query_as("select position, event_id from event order by position desc limit 1")
        .fetch_optional(connection)
        .await?;
    Ok(last.map_or((0, None), |(position, event_id)| (position, Some(event_id))))
}

/// The last position; 0 where there is no event.
pub async fn end(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let end =
        sqlx::query_scalar("select coalesce(max(position), 0) from event").fetch_one(connection).await?;
    Ok(end)
}
