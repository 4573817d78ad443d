//! The database restarted, killed, cut off and away, for minutes. Short it is one of the faults of the chaos driver.

use std::time::{Duration, Instant};

use e2e::system::{Edge, Load, Loading, Mix, System};
use nix::sys::signal::Signal;
use shared::testing::short_or_long;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

const SEED: u64 = 8;
const ORDERS_A_WAVE: usize = 10;
const WAVE_EVERY: Duration = Duration::from_millis(500);
const TERMINATED_EVERY: Duration = Duration::from_secs(1);
const RESTARTED_EVERY: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make long"]
async fn a_database_that_is_restarted_killed_and_away_for_minutes_doubles_and_buries_nothing() {
    let Some(mut system) = System::of_its_own("-database-away", Default::default()).await else { return };
    system.scale(2).await;
    let edge = Edge::of(&system);
    let load = Load::new(SEED, Mix { poison_per_mille: 0, ..Mix::default() });
    load.stock(&edge).await;
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE_EVERY);

    let mut terminated = 0;
    for _ in 0..short_or_long(5, 120) {
        terminated += terminate_connections(&system).await;
        sleep(TERMINATED_EVERY).await;
    }
    let mut servers = vec![system.status.postgres_pid];
    for _ in 0..short_or_long(1, 9) {
        system.restart("postgres").await;
        servers.push(system.status.postgres_pid);
        sleep(RESTARTED_EVERY).await;
    }
    for away in [0, 5, short_or_long(10, 120)].map(Duration::from_secs) {
        system.signal(system.status.postgres_pid.unwrap(), Signal::SIGKILL);
        sleep(away).await;
        system.restart("postgres").await;
        servers.push(system.status.postgres_pid);
        sleep(RESTARTED_EVERY).await;
    }
    let load = loading.stop().await;
    let since = Instant::now();
    // No dead letter among it, but of a cancel whose order nobody has taken.
    system.all_accounted_for(&load).await;
    println!(
        "{terminated} connections terminated, {} servers one after the other; {} orders accepted, {} not answered, all \
         ended {:.1} s after the load did",
        servers.len(),
        load.journal.accepted.len(),
        load.journal.unknown.len(),
        since.elapsed().as_secs_f64()
    );
    assert!(terminated > 0);
    servers.sort_unstable();
    assert!(servers.windows(2).all(|two| two[0] != two[1]), "each was another server: {servers:?}");
    system.scale(1).await;
    system.adds_up_with(&load.journal.told).await;
}

/// How many there were.
async fn terminate_connections(system: &System) -> i64 {
    let url = format!("postgres://postgres@{}/postgres", system.status.postgres);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where usename <> 'postgres' and datname <> 'postgres'";
    sqlx::query_scalar(terminate).fetch_one(&mut connection).await.unwrap()
}
