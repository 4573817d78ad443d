//! Connections for questions: kept, counted, and opened anew where their server is gone.

use projector::read_model::reads::{Reading, Reads};
use sqlx::{Connection, PgConnection};

use crate::project::Database;

async fn server_process(reading: &mut Reading) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **reading).await.unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_and_one_that_was_lost_is_replaced() {
    let database = Database::new().await;
    // The first of the two is not there: as after a failover.
    let reads = Reads::new(&database.url.replacen('@', "@127.0.0.1:1,", 1));
    let mut reading = reads.take().await.unwrap();
    let first = server_process(&mut reading).await;
    drop(reading);
    let mut reading = reads.take().await.unwrap();
    assert_eq!(server_process(&mut reading).await, first);
    drop(reading);

    let mut operator = PgConnection::connect(&database.url).await.unwrap();
    let terminated: bool = sqlx::query_scalar("select pg_terminate_backend($1, 10000)")
        .bind(first)
        .fetch_one(&mut operator)
        .await
        .unwrap();
    assert!(terminated);
    let mut reading = reads.take().await.unwrap();
    assert_ne!(server_process(&mut reading).await, first);
}

#[tokio::test]
async fn questions_past_the_limit_wait_for_their_turn() {
    let database = Database::new().await;
    let reads = Reads::new(&database.url);
    let mut taken = Vec::new();
    let refused = loop {
        match reads.take().await {
            Ok(reading) => taken.push(reading),
            Err(error) => break error,
        }
        assert!(taken.len() < 100, "there is no limit");
    };
    assert!(refused.is_infrastructure(), "{refused}");
    taken.pop();
    reads.take().await.unwrap();
}
