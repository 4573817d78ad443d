//! Where the group stands in its topics, and what a message that kills its process leaves behind.
//!
//! Only `append` moves a position. Read positions before what waits in their partitions ([`super::hold`]): whoever
//! still holds a message between the two reads moves a position with it, and that fences whoever read the older one.

use sqlx::{PgConnection, Row};

use super::{Attempt, StoreError, StoredPosition};
use crate::contract::topics::Topic;

/// One for each asked place, also where there is no row.
pub async fn positions(
    connection: &mut PgConnection,
    places: &[(Topic, i32)],
) -> Result<Vec<StoredPosition>, StoreError> {
    let rows = sqlx::query(
        "select position.next, coalesce(position.starts, 0) as starts, position.attempt_offset, position.attempts
         from unnest($1::text[], $2::int[]) with ordinality as place (topic, partition, ordinal)
         left join position on position.topic = place.topic and position.partition = place.partition
         order by place.ordinal",
    )
    .bind(places.iter().map(|(topic, _)| topic.name()).collect::<Vec<_>>())
    .bind(places.iter().map(|(_, partition)| *partition).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let stored = places.iter().zip(&rows).map(|(&(topic, partition), row)| {
        let attempt = match row.try_get("attempt_offset")? {
            Some(offset) => Some(Attempt { offset, attempts: row.try_get("attempts")? }),
            None => None,
        };
        let (next, starts) = (row.try_get("next")?, row.try_get("starts")?);
        Ok(StoredPosition { topic, partition, next, starts, attempt })
    });
    stored.collect::<sqlx::Result<_>>().map_err(StoreError::from)
}

/// Says that this run takes its first message of a partition. Answers how many runs in a row have said so and not
/// finished one; the first move of the position sets it back.
pub async fn count_start(
    connection: &mut PgConnection,
    topic: Topic,
    partition: i32,
) -> Result<i32, StoreError> {
    let starts = sqlx::query_scalar(
        "insert into position (topic, partition, starts)
         values ($1, $2, 1)
         on conflict (topic, partition) do update
         set starts = position.starts + 1
         returning starts",
    )
    .bind(topic.name())
    .bind(partition)
    .fetch_one(connection)
    .await?;
    Ok(starts)
}

/// Says that this message is about to be taken alone. Answers how often that was said of it.
pub async fn count_attempt(
    connection: &mut PgConnection,
    topic: Topic,
    partition: i32,
    offset: i64,
) -> Result<i32, StoreError> {
    let attempts = sqlx::query_scalar(
        "insert into position (topic, partition, attempt_offset, attempts)
         values ($1, $2, $3, 1)
         on conflict (topic, partition) do update
         set
           attempts = case
             when position.attempt_offset = excluded.attempt_offset then position.attempts + 1
             else 1
           end,
           attempt_offset = excluded.attempt_offset
         returning attempts",
    )
    .bind(topic.name())
    .bind(partition)
    .bind(offset)
    .fetch_one(connection)
    .await?;
    Ok(attempts)
}
