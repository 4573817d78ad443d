//! Many writers, aborts, stalls and killed connections: positions stay gapless, nothing is doubled, nothing is lost,
//! and a reader that goes by position jumps over nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use shared::{log::connect::Unfit, testing::short_or_long};
use sqlx::Connection;

use super::*;

/// Writers, batches of each, and events of a batch at most.
const SHORT: (u64, u64, i64) = (8, 20, 5);
/// Batches are larger: of 64 that append at once 63 are refused.
const LONG: (u64, u64, i64) = (64, 1_000_000 / 64 / 100, 199);

/// Inside the transaction, with the lock of all appends.
const SLOW_MS: u32 = 10;
const STALL_INSIDE_MS_MAX: u32 = 200;

/// How often each fault happened: none may be zero.
#[derive(Debug, Default)]
struct Counted {
    aborted: AtomicU64,
    stalled: AtomicU64,
    killed: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_gapless_whatever_happens_to_the_writers() {
    let (writers, batches, events_max) = short_or_long(SHORT, LONG);
    let url = database().await;
    let counted = Arc::new(Counted::default());
    let since = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(url.clone(), stop.clone()));
    let killer = tokio::spawn(kill(url.clone(), stop.clone(), counted.clone()));
    let writers = (0..writers)
        .map(|writer| tokio::spawn(write(url.clone(), writer, (batches, events_max), counted.clone())));
    let appended: Vec<Vec<Recorded>> =
        join_all(writers).await.into_iter().map(|writer| writer.unwrap()).collect();
    stop.store(true, Relaxed);
    killer.await.unwrap();
    let followed = follower.await.unwrap();

    let events = tail(&mut connect(&url).await).await;
    assert!(events.iter().map(|event| event.position).eq(1..=i64::try_from(events.len()).unwrap()));
    assert_eq!(followed, events, "what was read by position while they wrote is the table");
    for (writer, appended) in appended.iter().enumerate() {
        let name = stream(&format!("order-{writer}"));
        let stored: Vec<_> = events.iter().filter(|event| event.stream == name).cloned().collect();
        assert_eq!(
            &stored, appended,
            "what writer {writer} was told is what stands there, once and in order"
        );
    }
    println!("{} events in {:.1} s; {counted:?}", events.len(), since.elapsed().as_secs_f64());
    for (fault, count) in [
        ("aborted", &counted.aborted),
        ("stalled", &counted.stalled),
        ("killed", &counted.killed),
        ("refused", &counted.refused),
        ("unknown", &counted.unknown),
    ] {
        assert!(count.load(Relaxed) > 0, "no call was {fault}");
    }
}

/// One writer with a stream of its own. It returns what it was told is appended.
async fn write(
    url: String,
    writer: u64,
    (batches, events_max): (u64, i64),
    counted: Arc<Counted>,
) -> Vec<Recorded> {
    let mut random = SmallRng::seed_from_u64(writer);
    let name = format!("order-{writer}");
    let mut connection = writer_connection(&url).await;
    let mut appended: Vec<Recorded> = Vec::new();
    let mut seen = 0;
    let stall_ms_max = short_or_long(50, 2_000);
    for _ in 0..batches {
        let count = random.random_range(1..=events_max);
        let version = appended.len() as i64;
        let mut new: Vec<_> = (1..=count).map(|nth| event(0, &name, version + nth)).collect();
        loop {
            for (event, position) in new.iter_mut().zip(seen + 1..) {
                event.position = position;
            }
            let batch = events(seen, new.clone());
            if random.random_range(0..100) < 2 {
                // What it has read is old by then.
                counted.stalled.fetch_add(1, Relaxed);
                tokio::time::sleep(Duration::from_millis(random.random_range(0..stall_ms_max))).await;
            }
            let answer = match random.random_range(0..100) {
                0..10 => {
                    // Dies before its commit.
                    counted.aborted.fetch_add(1, Relaxed);
                    let answer = in_transaction(&mut connection, &batch, false, SLOW_MS).await;
                    answer.map(|answer| match answer {
                        Appended::Done { .. } => None,
                        other => Some(other),
                    })
                }
                10..13 => {
                    counted.stalled.fetch_add(1, Relaxed);
                    // One call in a hundred keeps all the others waiting.
                    let is_long = random.random_range(0..3) == 0;
                    let stall_ms =
                        if is_long { random.random_range(0..STALL_INSIDE_MS_MAX) } else { SLOW_MS };
                    in_transaction(&mut connection, &batch, true, stall_ms).await.map(Some)
                }
                _ => log::append(&mut connection, &batch).await.map(Some),
            };
            match answer {
                Ok(None) => {}
                Ok(Some(Appended::Done { .. } | Appended::DoneBefore { .. })) => break,
                Ok(Some(Appended::LogMoved { .. })) => {
                    counted.refused.fetch_add(1, Relaxed);
                    // Reading can be killed as well; then the next try is refused again.
                    if let Ok(end) = log::end(&mut connection).await {
                        seen = end;
                    }
                }
                Ok(Some(Appended::Fenced)) => panic!("nothing to fence"),
                Err(error) => {
                    assert!(error.is_infrastructure(), "{error:?}");
                    counted.unknown.fetch_add(1, Relaxed);
                    connection = writer_connection(&url).await;
                }
            }
        }
        seen += count;
        appended.extend(new);
    }
    appended
}

/// It is asked whether it takes writes, and can be killed while it is asked.
async fn writer_connection(url: &str) -> PgConnection {
    loop {
        match log::connect::connect(url, "writer").await.map_err(Unfit::after_start) {
            Ok(connection) => return connection,
            Err(error) => assert!(error.is_infrastructure(), "{error:?}"),
        }
    }
}

/// The call inside a transaction that is slow to commit, or never does.
async fn in_transaction(
    connection: &mut PgConnection,
    batch: &Append,
    commit: bool,
    stall_ms: u32,
) -> Result<Appended, log::StoreError> {
    let mut transaction = connection.begin().await?;
    let answer = log::append(&mut transaction, batch).await?;
    if matches!(answer, Appended::Done { .. }) {
        let stall = f64::from(stall_ms) / 1_000.0;
        sqlx::query("select pg_sleep($1)").bind(stall).execute(&mut *transaction).await?;
    }
    if commit {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(answer)
}

/// Reads by position, as the relay does, until the writers are done.
async fn follow(url: String, stop: Arc<AtomicBool>) -> Vec<Recorded> {
    let mut connection = connect(&url).await;
    let mut followed: Vec<Recorded> = Vec::new();
    loop {
        let last_look = stop.load(Relaxed);
        let after = followed.len() as i64;
        let new = log::tail(&mut connection, after, 100).await.unwrap();
        assert!(new.iter().map(|event| event.position).eq(after + 1..=after + new.len() as i64));
        if new.is_empty() && last_look {
            return followed;
        }
        followed.extend(new);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Terminates a writer's session in the middle of its call, again and again.
async fn kill(url: String, stop: Arc<AtomicBool>, counted: Arc<Counted>) {
    let mut connection = connect(&url).await;
    while !stop.load(Relaxed) {
        let killed: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid))
             from (
               select pid
               from pg_stat_activity
               where datname = current_database() and application_name = 'writer' and state = 'active'
               order by random()
               limit 1
             ) as victim",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        counted.killed.fetch_add(u64::try_from(killed).unwrap(), Relaxed);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test]
async fn a_call_that_waits_for_the_lock_without_its_client_doubles_nothing() {
    let url = database().await;
    let (mut holder, mut retry, mut watcher) =
        (connect(&url).await, connect(&url).await, connect(&url).await);
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *lock).await.unwrap();
    let batch = events(0, vec![event(1, "order-a", 1), event(2, "order-b", 1)]);
    let mut waiting = async |count: i64| {
        until(async || {
            let waits = "select count(*) from pg_locks
                         where locktype = 'advisory' and not granted
                           and database = (select oid from pg_database where datname = current_database())";
            sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watcher).await.unwrap() == count
        })
        .await;
    };
    let mut old = connect(&url).await;
    // The server would notice within a second, and then nothing were left of the call.
    sqlx::query("set client_connection_check_interval = 0").execute(&mut old).await.unwrap();
    let lost = tokio::spawn({
        let batch = batch.clone();
        async move { log::append(&mut old, &batch).await }
    });
    waiting(1).await;
    // The client dies while its call waits.
    lost.abort();
    assert!(lost.await.unwrap_err().is_cancelled());
    let again = tokio::spawn({
        let batch = batch.clone();
        async move { log::append(&mut retry, &batch).await.unwrap() }
    });
    waiting(2).await;
    lock.commit().await.unwrap();
    let answer = again.await.unwrap();
    assert!(matches!(answer, Appended::Done { .. } | Appended::DoneBefore { .. }), "{answer:?}");
    waiting(0).await;
    let mut connection = connect(&url).await;
    assert!(is_done_before(&append(&mut connection, &batch).await));
    assert_eq!(tail(&mut connection).await, batch.events);
}
