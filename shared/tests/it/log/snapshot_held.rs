//! Appends while another session holds a snapshot, as a dump does: what is updated all the time leaves dead versions
//! behind that nothing may clean away.

use std::time::{Duration, Instant};

use shared::{
    log::{DoneTask, Move},
    testing::{is_long, short_or_long},
};
use sqlx::Connection;

use super::*;

const EVENTS: i64 = 10;
const TASKS: usize = 5;
/// Of what was done without the snapshot.
const RATIO_MIN: f64 = 0.5;

/// A service at work: each append moves a position, and ends the tasks that the one before made.
struct Work {
    connection: PgConnection,
    appends: i64,
    tasks: Vec<OwnedTask>,
}

#[tokio::test]
async fn appends_go_on_while_a_snapshot_is_held_and_are_as_fast_as_before_when_it_is_gone() {
    let url = database().await;
    let mut work = Work { connection: connect(&url).await, appends: 0, tasks: Vec::new() };
    let (around, held) =
        (Duration::from_secs(short_or_long(2, 60)), Duration::from_secs(short_or_long(6, 600)));
    // The plans and the files are there; what comes first is slower for other reasons.
    work.on(around / 2).await;
    let before = work.on(around).await;

    let mut dump = connect(&url).await;
    let mut snapshot = dump.begin().await.unwrap();
    sqlx::raw_sql("set transaction isolation level repeatable read").execute(&mut *snapshot).await.unwrap();
    // The role's limit is for the services; a dump has none.
    sqlx::raw_sql("set local idle_in_transaction_session_timeout = 0").execute(&mut *snapshot).await.unwrap();
    let at_its_begin = count(&mut snapshot).await;
    work.on((held - around) / 2).await;
    // As autovacuum does sooner or later: statistics of a table that is nothing but old versions.
    sqlx::raw_sql("analyze position; analyze task").execute(&mut work.connection).await.unwrap();
    work.on((held - around) / 2).await;
    let while_held = work.on(around).await;
    assert_eq!(count(&mut snapshot).await, at_its_begin, "the snapshot was held");
    let dead = dead_versions(&mut work.connection).await;
    assert!(dead > 0, "nothing was kept for the snapshot");
    snapshot.rollback().await.unwrap();
    let after = work.on(around).await;

    println!(
        "appends/s: {before:.0} before, {while_held:.0} at the end of {} s of a snapshot ({dead} dead versions of \
         positions and tasks), {after:.0} after it",
        held.as_secs()
    );
    assert!(while_held > 0.0 && after > 0.0);
    if is_long() {
        // The servers of the gate are shared with other tests, and its seconds are few.
        let expected = before.min(after);
        assert!(while_held >= RATIO_MIN * expected, "{while_held:.0} appends/s of {expected:.0}");
        assert!(after >= RATIO_MIN * before, "it did not recover: {after:.0} appends/s of {before:.0}");
    }
    let (count, end): (i64, i64) = sqlx::query_as("select count(*), max(position) from event")
        .fetch_one(&mut work.connection)
        .await
        .unwrap();
    assert_eq!((count, end), (work.appends * EVENTS, work.appends * EVENTS), "gapless");
}

impl Work {
    /// Appends a second, over some time.
    async fn on(&mut self, time: Duration) -> f64 {
        let (since, before) = (Instant::now(), self.appends);
        while since.elapsed() < time {
            self.append().await;
        }
        (self.appends - before) as f64 / since.elapsed().as_secs_f64()
    }

    async fn append(&mut self) {
        let seen = self.appends * EVENTS;
        let name = format!("order-{}", self.appends);
        let new = (1..=EVENTS).map(|nth| event(seen + nth, &name, nth)).collect();
        let step = |partition| Move {
            topic: Topic::OrdersEvents,
            partition,
            from: (self.appends > 0).then_some(seen),
            to: seen + EVENTS,
        };
        let tasks: Vec<OwnedTask> =
            (0..TASKS).map(|kind| owned_task(&name, &format!("kind-{kind}"), time(seen))).collect();
        let batch = Append {
            moves: (0..4).map(step).collect(),
            tasks_done: self.tasks.iter().map(|owned| DoneTask { id: owned.task.id, run: None }).collect(),
            tasks: tasks.clone(),
            ..events(seen, new)
        };
        done(&mut self.connection, &batch).await;
        self.tasks = tasks;
        self.appends += 1;
    }
}

async fn count(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from event").fetch_one(connection).await.unwrap()
}

/// What the server has counted so far; it tells a second late.
async fn dead_versions(connection: &mut PgConnection) -> i64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let counted =
            "select sum(n_dead_tup)::bigint from pg_stat_user_tables where relname in ('position', 'task')";
        let dead: i64 = sqlx::query_scalar(counted).fetch_one(&mut *connection).await.unwrap();
        if dead > 0 || Instant::now() > deadline {
            return dead;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
