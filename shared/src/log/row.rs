//! A row of `event` as [`Recorded`]. What does not read is damage: it was written by `append`.

use sqlx::{FromRow, Row, postgres::PgRow};

use crate::contract::{envelope::Recorded, ids::StreamName};

impl FromRow<'_, PgRow> for Recorded {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let decision: &str = row.try_get("decision")?;
        Ok(Self {
            position: row.try_get("position")?,
            stream: stream(row)?,
            version: row.try_get("version")?,
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("type")?,
            data: row.try_get("data")?,
            decision: decision.parse().map_err(|_| damage("decision", decision))?,
            correlation_id: row.try_get("correlation_id")?,
            causation_id: row.try_get("causation_id")?,
            traceparent: row.try_get("traceparent")?,
            recorded_at: row.try_get("recorded_at")?,
        })
    }
}

pub(super) fn stream(row: &PgRow) -> sqlx::Result<StreamName> {
    let text = row.try_get("stream")?;
    StreamName::parse(text).ok_or_else(|| damage("stream", text))
}

pub(super) fn damage(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} has {value:?}").into())
}
