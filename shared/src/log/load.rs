//! What a batch must read before it can decide: one query, one round trip.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection, Row};

use super::{Load, Loaded, Snapshot, StoreError, row};
use crate::contract::envelope::Recorded;

/// The asked streams in the order in which they were asked, each once, also those without an event.
pub async fn load(connection: &mut PgConnection, load: &Load) -> Result<Loaded, StoreError> {
    let mut loaded = Loaded::default();
    let mut places = HashMap::new();
    for stream in &load.streams {
        places.entry(stream).or_insert_with(|| {
            loaded.streams.push((stream.clone(), None, Vec::new()));
            loaded.streams.len() - 1
        });
    }
    if places.is_empty() && load.identities.is_empty() && load.positions.is_empty() {
        return Ok(loaded);
    }
    let streams: Vec<_> = loaded.streams.iter().map(|(stream, ..)| stream.as_str()).collect();
    let rows = sqlx::query(include_str!("load.sql"))
        .bind(streams)
        .bind(&load.fingerprint)
        .bind(&load.identities)
        .bind(&load.positions)
        .fetch_all(connection)
        .await?;
    for row in rows {
        let part: i32 = row.try_get("part")?;
        match part {
            1 => {
                let snapshot = Snapshot {
                    stream: row::stream(&row)?,
                    version: row.try_get("version")?,
                    fingerprint: load.fingerprint.clone(),
                    state: row.try_get("data")?,
                };
                if let Some(place) = places.get(&snapshot.stream) {
                    loaded.streams[*place].1 = Some(snapshot);
                }
            }
            2 => {
                let event = Recorded::from_row(&row)?;
                if let Some(place) = places.get(&event.stream) {
                    loaded.streams[*place].2.push(event);
                }
            }
            3 => loaded.identities.push(Recorded::from_row(&row)?),
            _ => loaded.positions.push((row.try_get("position")?, row.try_get("event_id")?)),
        }
    }
    Ok(loaded)
}
