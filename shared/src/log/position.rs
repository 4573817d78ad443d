//! Where the group stands in its topics, and what a message that kills its process leaves behind.
//!
//! Only `append` moves a position, but for an operator who gives up what a topic has lost; the counts are written under its lock, since the table's key would let two rows of a
//! partition be. Read positions before what waits in their partitions ([`super::hold`]): whoever
//! still holds a message between the two reads moves a position with it, and that fences whoever read the older one.

use sqlx::{Connection, PgConnection, Row};

use super::{Attempt, StoreError, StoredPosition};
use crate::contract::topics::Topic;

/// One for each asked place, also where there is no row.
pub async fn positions(
    connection: &mut PgConnection,
    places: &[(Topic, i32)],
) -> Result<Vec<StoredPosition>, StoreError> {
    let rows = sqlx::query(
        "select nullif(position.next, -1) as next, coalesce(position.starts, 0) as starts, position.attempt_offset, position.attempts
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

/// Says that this run takes its first message of a partition, after so many runs in a row that have said so and not
/// finished one. The first move of the position sets it back.
///
/// What is written is a number and not one more, so that the same call again, after an answer that was lost, counts
/// no death that nobody died.
pub async fn count_start(
    connection: &mut PgConnection,
    topic: Topic,
    partition: i32,
    before: i32,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    row(&mut transaction, topic, partition).await?;
    sqlx::query(
        "update position
         set starts = greatest(starts, $3)
         where topic = $1 and partition = $2",
    )
    .bind(topic.name())
    .bind(partition)
    .bind(before + 1)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Says that this message is about to be taken alone, after so many times that this was said of it.
pub async fn count_attempt(
    connection: &mut PgConnection,
    topic: Topic,
    partition: i32,
    offset: i64,
    before: i32,
) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await?;
    row(&mut transaction, topic, partition).await?;
    sqlx::query(
        "update position
         set
           attempts = case when attempt_offset = $3 then greatest(attempts, $4) else $4 end,
           attempt_offset = $3
         where topic = $1 and partition = $2",
    )
    .bind(topic.name())
    .bind(partition)
    .bind(offset)
    .bind(before + 1)
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}

/// Gives up what is between: an operator's word, where the topic has it no longer. False where the position is not
/// `from` any more.
pub async fn give_up(
    connection: &mut PgConnection,
    topic: Topic,
    partition: i32,
    from: i64,
    to: i64,
) -> Result<bool, StoreError> {
    let moved =
        sqlx::query("update position set next = $4 where topic = $1 and partition = $2 and next = $3")
            .bind(topic.name())
            .bind(partition)
            .bind(from)
            .bind(to)
            .execute(connection)
            .await?;
    Ok(moved.rows_affected() == 1)
}

/// Sees to it that there is one, and that nobody else makes one: lock 1 is the log's. A statement that follows sees what
/// was committed before it was taken.
async fn row(connection: &mut PgConnection, topic: Topic, partition: i32) -> Result<(), StoreError> {
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *connection).await?;
    sqlx::query(
        "insert into position (topic, partition)
         select $1, $2
         where not exists (select from position where topic = $1 and partition = $2)",
    )
    .bind(topic.name())
    .bind(partition)
    .execute(connection)
    .await?;
    Ok(())
}
