//! Where the group stands in its topics, and what a message that kills its process leaves behind.
//!
//! Only `append` moves a position, but for an operator who gives up what a topic has lost; that and the counts are
//! written under its lock, since the table's key would let two rows of a partition be. Read positions before what waits
//! in their partitions ([`super::hold`]): whoever still holds a message between the two reads moves a position with it,
//! and that fences whoever read the older one.

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

/// What became of [`give_up`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// All of them go on where they were told to, from now on or already.
    Done,
    /// One of them has moved: nothing was done.
    Moved,
    /// A topic goes back, and so many dead letters and held messages of before stand at offsets that would come again,
    /// as other messages: nothing was done.
    ComesAgain(i64),
}

/// An operator's word: goes on elsewhere, where the topic has a place no longer. All of them or none.
pub async fn give_up(
    connection: &mut PgConnection,
    places: &[(Topic, i32)],
    from: &[i64],
    to: &[i64],
) -> Result<GivenUp, StoreError> {
    let topics: Vec<&str> = places.iter().map(|(topic, _)| topic.name()).collect();
    let partitions: Vec<i32> = places.iter().map(|(_, partition)| *partition).collect();
    let mut transaction = connection.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *transaction).await?;
    // Both are known by their offset, and what is known is left out.
    let comes_again: i64 = sqlx::query_scalar(
        "select count(*)
         from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) as place (topic, partition, before, next)
         join (
           select topic, partition, \"offset\" from dead_letter
           union all
           select topic, partition, \"offset\" from held_message
         ) as known on known.topic = place.topic and known.partition = place.partition
         where place.next < place.before and known.\"offset\" >= place.next",
    )
    .bind(&topics)
    .bind(&partitions)
    .bind(from)
    .bind(to)
    .fetch_one(&mut *transaction)
    .await?;
    if comes_again > 0 {
        return Ok(GivenUp::ComesAgain(comes_again));
    }
    let moved = sqlx::query(
        "update position
         set next = place.next, starts = 0, attempt_offset = null, attempts = 0
         from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) as place (topic, partition, before, next)
         where position.topic = place.topic and position.partition = place.partition
           and position.next in (place.before, place.next)",
    )
    .bind(&topics)
    .bind(&partitions)
    .bind(from)
    .bind(to)
    .execute(&mut *transaction)
    .await?;
    if moved.rows_affected() < places.len() as u64 {
        return Ok(GivenUp::Moved);
    }
    transaction.commit().await?;
    Ok(GivenUp::Done)
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
