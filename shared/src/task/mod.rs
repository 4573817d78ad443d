//! What a service owes itself: timers and calls. Rows of the table `task`, written with the events that cause
//! them, run by the replica that owns the partition of their key.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    contract::{
        Timestamp,
        ids::{self, StreamName},
        topics::partition_of,
    },
    decider::{Due, Task, Told, Via},
    log::OwnedTask,
};

/// Process what is held on a key, in order.
pub const RELEASE: &str = "release";
/// Give up on what was too early for too long.
pub const HOLD_LIMIT: &str = "hold-limit";
/// A task that failed, or that this build does not know, comes again after this, doubled with every attempt.
const RETRY_MS_FIRST: u64 = 500;
const RETRY_MS_MAX: u64 = 60_000;

/// At most one task of a kind per stream: the id is their name.
pub fn task_id(stream: &StreamName, kind: &str) -> Uuid {
    ids::named(&["task", stream.as_str(), kind])
}

/// The stream that tasks about a hold stand under. It has no events.
pub fn hold_stream(key: &str) -> Option<StreamName> {
    StreamName::parse(&format!("hold-{key}"))
}

/// For what a hold makes owed: nobody told it.
pub fn told_by_hold(group: &str, key: &str, at: Timestamp) -> Told {
    let id = ids::named(&["hold", group, key]);
    Told { id, at, via: Via::Task { attempt: 1 }, correlation_id: None, traceparent: None }
}

/// A task that what was told makes owed.
pub fn task(stream: StreamName, kind: &str, due: Due, attempt: i32, told: &Told) -> Task {
    let due_at = match due {
        Due::Now => told.at,
        Due::At(at) => at,
        Due::After(wait) => told.at + wait,
    };
    Task {
        id: task_id(&stream, kind),
        stream,
        kind: kind.to_owned(),
        due_at,
        attempt,
        cause: told.id,
        traceparent: told.traceparent.clone(),
    }
}

/// With the partition whose owner runs it.
pub fn owned(task: Task, partitions: i32) -> OwnedTask {
    let partition = partition_of(task.stream.key().as_bytes(), partitions);
    OwnedTask { task, partition }
}

/// When a task that failed comes again.
pub fn retry(task: &Task, now: Timestamp) -> Task {
    let doublings = task.attempt.clamp(0, 16) as u32;
    let wait_ms = (RETRY_MS_FIRST << doublings).min(RETRY_MS_MAX);
    Task {
        due_at: now + Duration::from_millis(wait_ms),
        attempt: task.attempt.saturating_add(1),
        ..task.clone()
    }
}
