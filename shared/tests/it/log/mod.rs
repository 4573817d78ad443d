//! The log on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that fails says so")]

use shared::{
    contract::{
        Timestamp,
        envelope::{Headers, Part, Raw, Recorded},
        ids::StreamName,
        topics::Topic,
    },
    decider::Task,
    log::{self, Append, Appended, OwnedTask},
    testing,
};
use sqlx::PgConnection;
use uuid::Uuid;

mod append;
mod race;
mod snapshot_held;
mod load;
mod hold;
mod letter;
mod task;
mod position;
mod store;
mod connect;
mod model;

/// A fresh database with the log's tables.
async fn database() -> String {
    let url = testing::database().await;
    log::connect::migrate(&url).await.unwrap();
    url
}

async fn connect(url: &str) -> PgConnection {
    let mut connection = log::connect::connect(url, "test").await.unwrap();
    testing::be_patient(&mut connection).await;
    connection
}

async fn fresh() -> PgConnection {
    connect(&database().await).await
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_timestamp_millis(1_790_000_000_000 + milliseconds).unwrap()
}

fn stream(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

fn event(position: i64, stream_name: &str, version: i64) -> Recorded {
    Recorded {
        position,
        stream: stream(stream_name),
        version,
        event_id: Uuid::now_v7(),
        event_type: "fulfil.order.confirmed.v1".into(),
        data: format!(r#"{{"order_id":"{stream_name}"}}"#),
        decision: Part { index: 1, count: 1 },
        correlation_id: Uuid::now_v7(),
        causation_id: Uuid::now_v7(),
        traceparent: None,
        recorded_at: time(position),
    }
}

fn events(seen: i64, events: Vec<Recorded>) -> Append {
    Append { seen, events, ..Append::default() }
}

fn raw(offset: i64) -> Raw {
    Raw {
        topic: Topic::PaymentsEvents,
        partition: 2,
        offset,
        key: Some("key".into()),
        value: Some("{}".into()),
        headers: Headers::Readable(vec![]),
        timestamp_ms: 1_790_000_000_000,
    }
}

fn owned_task(stream_name: &str, kind: &str, due_at: Timestamp) -> OwnedTask {
    let id = shared::contract::ids::named(&[stream_name, kind]);
    let task = Task {
        id,
        stream: stream(stream_name),
        kind: kind.into(),
        due_at,
        attempt: 1,
        cause: Uuid::now_v7(),
        traceparent: Some(format!("00-{}-00f067aa0ba902b7-01", id.simple())),
    };
    OwnedTask { task, partition: 1 }
}

async fn append(connection: &mut PgConnection, append: &Append) -> Appended {
    log::append(connection, append).await.unwrap()
}

/// Appends what must be taken.
async fn done(connection: &mut PgConnection, batch: &Append) {
    let answer = append(connection, batch).await;
    assert!(matches!(answer, Appended::Done { .. }), "{answer:?}");
}

fn is_done_before(answer: &Appended) -> bool {
    matches!(answer, Appended::DoneBefore { .. })
}

async fn tail(connection: &mut PgConnection) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    loop {
        let after = all.last().map_or(0, |event| event.position);
        let page = log::tail(connection, after, 10_000).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Waits for a condition.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "it did not become so");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
