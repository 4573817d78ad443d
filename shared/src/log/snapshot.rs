//! The stored folds of streams, for those who compare them with their events. What decides reads them with
//! [`super::load`].

use sqlx::{PgConnection, Row};

use super::{Snapshot, StoreError, row};

/// All snapshots of a fingerprint, in the order of their streams.
pub async fn snapshots(
    connection: &mut PgConnection,
    fingerprint: &str,
) -> Result<Vec<Snapshot>, StoreError> {
    let rows = sqlx::query(
        "select stream, version, state
         from snapshot
         where fingerprint = $1
         order by stream",
    )
    .bind(fingerprint)
    .fetch_all(connection)
    .await?;
    let snapshots = rows.iter().map(|row| {
        Ok(Snapshot {
            stream: row::stream(row)?,
            version: row.try_get("version")?,
            fingerprint: fingerprint.to_owned(),
            state: row.try_get("state")?,
        })
    });
    snapshots.collect::<sqlx::Result<_>>().map_err(StoreError::from)
}
