//! The one way to write: compare and append, one statement, one round trip, one flush.
//!
//! What it compares and in which order stands in `migrations/0002_append.sql`. Nothing here decides or retries.

use std::collections::HashSet;

use sqlx::{PgConnection, Postgres, SqlSafeStr, postgres::PgArguments, query::QueryAs};
use uuid::Uuid;

use super::{Append, Appended, Letter, LetterChange, LetterRecord, OwnedTask, Snapshot, StoreError, headers};
use crate::contract::Timestamp;

/// Writes all of it or nothing.
///
/// After [`StoreError::Unavailable`] it is unknown whether it was committed: the same call again, on a new
/// connection, answers [`Appended::DoneBefore`] if it was. The future must be run to its end: dropped halfway it
/// leaves a connection that nobody knows the state of.
///
/// # Errors
/// [`StoreError::LogBehind`] where the log ends before `append.seen`, [`StoreError::LogDiffers`] where another event
/// than `append.seen_event` stands there.
///
/// # Panics
/// Where `append.events` are not numbered from `append.seen + 1`.
pub async fn append(connection: &mut PgConnection, append: &Append) -> Result<Appended, StoreError> {
    let answer = call(CALL, append).fetch_one(connection).await?;
    appended(append, answer)
}

/// The call of `append`: a query by the parameters $1 to $66 with one row.
pub const CALL: &str = include_str!("append.sql");

/// Outcome, end of the log, time.
pub type Answer = (String, i64, Timestamp);

/// A statement with [`CALL`] in it, which may have more parameters after those of the call.
pub fn call<'q>(sql: impl SqlSafeStr, append: &'q Append) -> QueryAs<'q, Postgres, Answer, PgArguments> {
    let Append {
        seen,
        seen_event,
        events,
        moves,
        held,
        unheld,
        letters,
        tasks,
        tasks_done,
        begun,
        snapshots,
    } = append;
    for (event, position) in events.iter().zip(seen + 1..) {
        assert_eq!(event.position, position, "events are numbered from the end that was seen");
    }
    let letters = first_deaths(letters);
    let tasks = last_of_each_task(tasks, begun);
    let snapshots = last_of_each_snapshot(snapshots);
    sqlx::query_as(sql)
        .bind(seen)
        .bind(seen_event)
        .bind(column(events, |event| event.stream.as_str()))
        .bind(column(events, |event| event.version))
        .bind(column(events, |event| event.event_id))
        .bind(column(events, |event| event.event_type.as_str()))
        .bind(column(events, |event| event.data.as_str()))
        .bind(column(events, |event| event.decision.to_string()))
        .bind(column(events, |event| event.correlation_id))
        .bind(column(events, |event| event.causation_id))
        .bind(column(events, |event| event.traceparent.as_deref()))
        .bind(column(events, |event| event.recorded_at))
        .bind(column(moves, |step| step.topic.name()))
        .bind(column(moves, |step| step.partition))
        .bind(column(moves, |step| step.from))
        .bind(column(moves, |step| step.to))
        .bind(unheld)
        .bind(column(held, |held| held.key.as_str()))
        .bind(column(held, |held| held.key_partition))
        .bind(column(held, |held| held.kind.as_str()))
        .bind(column(held, |held| held.raw.topic.name()))
        .bind(column(held, |held| held.raw.partition))
        .bind(column(held, |held| held.raw.offset))
        .bind(column(held, |held| held.raw.key.as_deref()))
        .bind(column(held, |held| held.raw.value.as_deref()))
        .bind(column(held, |held| headers::encode(&held.raw.headers)))
        .bind(column(held, |held| held.raw.timestamp_ms))
        .bind(column(held, |held| held.held_at))
        .bind(column(&letters, |record| record.letter_id))
        .bind(column(&letters, |record| status(record)))
        .bind(column(&letters, |record| record.recorded_at))
        .bind(column(&letters, |record| change(record).map(|(by, _)| by)))
        .bind(column(&letters, |record| change(record).map(|(_, reason)| reason)))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.group.as_str())))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.raw.topic.name())))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.raw.partition)))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.raw.offset)))
        .bind(column(&letters, |record| letter(record)?.raw.key.as_deref()))
        .bind(column(&letters, |record| value(record)))
        .bind(column(&letters, |record| headers::encode(&letter(record)?.raw.headers)))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.raw.timestamp_ms)))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.stage.as_str())))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.code.as_str())))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.message.as_str())))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.fingerprint.as_str())))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.delivery_count)))
        .bind(column(&letters, |record| letter(record).map(|letter| letter.build.as_str())))
        .bind(column(&letters, |record| letter(record)?.holds.as_ref().map(|(key, _)| key.as_str())))
        .bind(column(&letters, |record| letter(record)?.holds.as_ref().map(|(_, partition)| *partition)))
        .bind(column(tasks_done, |done| done.id))
        .bind(column(tasks_done, |done| done.run.as_ref().map(|run| run.due_at)))
        .bind(column(tasks_done, |done| done.run.as_ref().map(|run| run.attempt)))
        .bind(column(tasks_done, |done| done.run.as_ref().map(|run| run.cause)))
        .bind(column(&tasks, |(owned, _)| owned.task.id))
        .bind(column(&tasks, |(owned, _)| owned.partition))
        .bind(column(&tasks, |(owned, _)| owned.task.stream.as_str()))
        .bind(column(&tasks, |(owned, _)| owned.task.kind.as_str()))
        .bind(column(&tasks, |(owned, _)| owned.task.due_at))
        .bind(column(&tasks, |(owned, _)| owned.task.attempt))
        .bind(column(&tasks, |(owned, _)| owned.task.cause))
        .bind(column(&tasks, |(owned, _)| owned.task.traceparent.as_deref()))
        .bind(column(&tasks, |(_, releases)| *releases))
        .bind(column(&snapshots, |snapshot| snapshot.stream.as_str()))
        .bind(column(&snapshots, |snapshot| snapshot.fingerprint.as_str()))
        .bind(column(&snapshots, |snapshot| snapshot.version))
        .bind(column(&snapshots, |snapshot| snapshot.state.as_str()))
}

/// What the row says.
pub fn appended(append: &Append, (outcome, end, now): Answer) -> Result<Appended, StoreError> {
    let seen = append.seen;
    match outcome.as_str() {
        "done" => Ok(Appended::Done { now }),
        "done_before" => Ok(Appended::DoneBefore { now }),
        "log_moved" => Ok(Appended::LogMoved { end }),
        "fenced" => Ok(Appended::Fenced),
        "log_differs" => Err(StoreError::LogDiffers { seen }),
        "log_behind" => Err(StoreError::LogBehind { seen, end }),
        other => Err(StoreError::Corrupt(format!("append answered {other:?}"))),
    }
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

fn status(record: &LetterRecord) -> &'static str {
    match &record.what {
        LetterChange::Dead(_) => "dead",
        LetterChange::Status { status, .. } => status.as_str(),
    }
}

fn letter(record: &LetterRecord) -> Option<&Letter> {
    match &record.what {
        LetterChange::Dead(letter) => Some(letter),
        LetterChange::Status { .. } => None,
    }
}

fn change(record: &LetterRecord) -> Option<(&str, &str)> {
    match &record.what {
        LetterChange::Dead(_) => None,
        LetterChange::Status { by, reason, .. } => Some((by, reason)),
    }
}

/// The original one or, with a change, the mended one.
fn value(record: &LetterRecord) -> Option<&[u8]> {
    match &record.what {
        LetterChange::Dead(letter) => letter.raw.value.as_deref(),
        LetterChange::Status { mended, .. } => mended.as_deref(),
    }
}

// One statement cannot touch a row twice, so what a batch says twice is said once.

/// A letter dies once.
fn first_deaths(letters: &[LetterRecord]) -> Vec<&LetterRecord> {
    let mut dead = HashSet::new();
    letters
        .iter()
        .filter(|record| match record.what {
            LetterChange::Dead(_) => dead.insert(record.letter_id),
            LetterChange::Status { .. } => true,
        })
        .collect()
}

/// The last word on each task, with the key that it releases where it depends on one. A task that is set anyhow
/// goes before a release of the same id.
fn last_of_each_task<'a>(
    tasks: &'a [OwnedTask],
    begun: &'a [super::Begun],
) -> Vec<(&'a OwnedTask, Option<&'a str>)> {
    let mut known: HashSet<Uuid> = HashSet::new();
    let anyhow = tasks.iter().rev().map(|owned| (owned, None));
    let releases = begun.iter().map(|begun| (&begun.release, Some(begun.key.as_str())));
    anyhow.chain(releases).filter(|(owned, _)| known.insert(owned.task.id)).collect()
}

fn last_of_each_snapshot(snapshots: &[Snapshot]) -> Vec<&Snapshot> {
    let mut known = HashSet::new();
    let newest_first = snapshots.iter().rev();
    newest_first.filter(|snapshot| known.insert((&snapshot.stream, &snapshot.fingerprint))).collect()
}
