//! The event store as others know it: streams with an expected version, over the same log and the same `append`.
//! For tools, tests and programs without an engine; a service's own commands go through the unit of work.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Append, Appended, StoreError, append, tail};
use crate::contract::{
    Timestamp,
    envelope::{Part, Recorded},
    ids::StreamName,
};

/// An event before it has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub event_id: Uuid,
    pub event_type: String,
    /// JSON.
    pub data: String,
    pub correlation_id: Uuid,
    pub causation_id: Uuid,
    pub traceparent: Option<String>,
}

/// What fits the part numbers of one decision.
pub const DECISION_EVENTS_MAX: usize = u16::MAX as usize;

/// Appends one decision to a stream that is at `expected_version` (0: it has no event). The same events again are
/// answered as the first time.
///
/// # Errors
/// [`StoreError::WrongVersion`] where the stream is elsewhere.
///
/// # Panics
/// With more than [`DECISION_EVENTS_MAX`] events: they are one decision.
pub async fn append_to_stream(
    connection: &mut PgConnection,
    stream: &StreamName,
    expected_version: i64,
    events: &[NewEvent],
) -> Result<Vec<Recorded>, StoreError> {
    assert!(events.len() <= DECISION_EVENTS_MAX, "a decision has at most {DECISION_EVENTS_MAX} events");
    loop {
        let (seen, version, now) = stand(connection, stream).await?;
        if version != expected_version {
            let limit = i64::try_from(events.len()).unwrap_or(i64::MAX);
            let there = read_stream(connection, stream, expected_version + 1, limit).await?;
            let ids = |there: &[Recorded]| there.iter().map(|event| event.event_id).collect::<Vec<_>>();
            if !events.is_empty()
                && ids(&there) == events.iter().map(|event| event.event_id).collect::<Vec<_>>()
            {
                return Ok(there);
            }
            let (stream, expected) = (stream.clone(), expected_version);
            return Err(StoreError::WrongVersion { stream, expected, actual: version });
        }
        let recorded = record(stream, seen, version, now, events);
        let batch = Append { seen, events: recorded.clone(), ..Append::default() };
        match append(connection, &batch).await? {
            Appended::Done { .. } | Appended::DoneBefore { .. } => return Ok(recorded),
            // Somebody appended in between, perhaps to another stream.
            Appended::LogMoved { .. } => {}
            Appended::Fenced => {
                return Err(StoreError::Corrupt("a batch without positions was fenced".into()));
            }
        }
    }
}

/// The events of a stream from a version on, in order.
pub async fn read_stream(
    connection: &mut PgConnection,
    stream: &StreamName,
    from_version: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    let events = sqlx::query_as(
        "select
           position, stream, version, event_id, type, data, decision,
           correlation_id, causation_id, traceparent, recorded_at
         from event
         where stream = $1 and version >= $2
         order by version
         limit $3",
    )
    .bind(stream.as_str())
    .bind(from_version)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(events)
}

/// 0 where the stream has no event.
pub async fn stream_version(connection: &mut PgConnection, stream: &StreamName) -> Result<i64, StoreError> {
    let (_, version, _) = stand(connection, stream).await?;
    Ok(version)
}

/// The log from a position on, in order.
pub async fn read_log(
    connection: &mut PgConnection,
    from_position: i64,
    limit: i64,
) -> Result<Vec<Recorded>, StoreError> {
    tail(connection, from_position - 1, limit).await
}

/// The end of the log, the version of the stream there, and the database's clock.
async fn stand(
    connection: &mut PgConnection,
    stream: &StreamName,
) -> Result<(i64, i64, Timestamp), StoreError> {
    let stand = sqlx::query_as(
        "select
           (select coalesce(max(position), 0) from event),
           (select coalesce(max(version), 0) from event where stream = $1),
           date_trunc('milliseconds', clock_timestamp())",
    )
    .bind(stream.as_str())
    .fetch_one(connection)
    .await?;
    Ok(stand)
}

fn record(
    stream: &StreamName,
    seen: i64,
    version: i64,
    now: Timestamp,
    events: &[NewEvent],
) -> Vec<Recorded> {
    let count = events.len() as u16;
    let place = events.iter().zip(1..=count);
    let recorded = place.map(|(event, index)| Recorded {
        position: seen + i64::from(index),
        stream: stream.clone(),
        version: version + i64::from(index),
        event_id: event.event_id,
        event_type: event.event_type.clone(),
        data: event.data.clone(),
        decision: Part { index, count },
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        traceparent: event.traceparent.clone(),
        recorded_at: now,
    });
    recorded.collect()
}
