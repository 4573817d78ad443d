//! Columns as the types of the contract. What does not read is damage: `append` wrote it.

use sqlx::{FromRow, Row, postgres::PgRow};

use super::headers;
use crate::contract::{
    envelope::{Raw, Recorded},
    ids::StreamName,
    topics::Topic,
};

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

/// The message that a hold or a letter keeps.
pub(super) fn raw(row: &PgRow) -> sqlx::Result<Raw> {
    let topic = row.try_get("topic")?;
    let bytes = |column| row.try_get::<Option<Vec<u8>>, _>(column);
    Ok(Raw {
        topic: Topic::parse(topic).ok_or_else(|| damage("topic", topic))?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        key: bytes("message_key")?.map(Into::into),
        value: bytes("value")?.map(Into::into),
        headers: headers::decode(bytes("headers")?).ok_or_else(|| damage("headers", "other bytes"))?,
        timestamp_ms: row.try_get("timestamp_ms")?,
    })
}

pub(super) fn damage(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} has {value:?}").into())
}
