//! Tasks as they stand. Only `append` sets and drops them; what they mean is in [`crate::task`].

use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{OwnedTask, StoreError, row};
use crate::{contract::Timestamp, decider::Task};

/// Which tasks are wanted.
#[derive(Debug, Clone)]
pub struct DueTasks {
    pub partitions: Vec<i32>,
    /// Due at this time or before it.
    pub until: Timestamp,
    /// Without these, which run already.
    pub running: Vec<Uuid>,
    /// Of these partitions, without ...
    pub waiting: Vec<i32>,
    /// ... these kinds.
    pub kinds_that_wait: &'static [&'static str],
    pub limit: i64,
}

/// The longest due first.
pub async fn due_tasks(
    connection: &mut PgConnection,
    asked: &DueTasks,
) -> Result<Vec<OwnedTask>, StoreError> {
    let tasks = sqlx::query_as(
        "select id, partition, stream, kind, due_at, attempt, cause, traceparent
         from task
         where partition = any ($1)
           and due_at <= $2
           -- Looked up in a hash, which an array that is a parameter is not.
           and id not in (select unnest($3))
           and not (partition = any ($4) and kind = any ($5))
         order by due_at, id
         limit $6",
    )
    .bind(&asked.partitions)
    .bind(asked.until)
    .bind(&asked.running)
    .bind(&asked.waiting)
    .bind(asked.kinds_that_wait)
    .bind(asked.limit)
    .fetch_all(connection)
    .await?;
    Ok(tasks)
}

/// Tasks of one kind, the first due first, whoever owns them: what an operator looks at.
pub async fn tasks_of_kind(
    connection: &mut PgConnection,
    kind: &str,
    limit: i64,
) -> Result<Vec<OwnedTask>, StoreError> {
    let tasks = sqlx::query_as(
        "select id, partition, stream, kind, due_at, attempt, cause, traceparent
         from task
         where kind = $1
         order by due_at, id
         limit $2",
    )
    .bind(kind)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(tasks)
}

impl FromRow<'_, PgRow> for OwnedTask {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let task = Task {
            id: row.try_get("id")?,
            stream: row::stream(row)?,
            kind: row.try_get("kind")?,
            due_at: row.try_get("due_at")?,
            attempt: row.try_get("attempt")?,
            cause: row.try_get("cause")?,
            traceparent: row.try_get("traceparent")?,
        };
        Ok(Self { task, partition: row.try_get("partition")? })
    }
}
