//! Connections for questions: kept, counted, and opened anew where their server is gone.

use std::time::{Duration, Instant};

use projector::read_model::reads::{Reading, Reads};
use shared::testing;
use sqlx::{Connection, PgConnection};

use crate::project::Database;

async fn server_process(reading: &mut Reading) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **reading).await.unwrap()
}

/// A slow machine makes it wait for longer than a question does.
async fn take(reads: &Reads) -> Reading {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match reads.take().await {
            Ok(reading) => return reading,
            Err(error) => assert!(error.is_infrastructure() && Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_one_that_was_lost_is_replaced() {
    let database = Database::new().await;
    // The first of the two is not there: as after a failover.
    let reads = Reads::new(&database.url.replacen('@', "@127.0.0.1:1,", 1));
    let mut first = server_process(&mut take(&reads).await).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        // One that answers late is replaced as well.
        let again = server_process(&mut take(&reads).await).await;
        if std::mem::replace(&mut first, again) == again {
            break;
        }
        assert!(Instant::now() < deadline, "each is another one");
    }

    let mut operator = PgConnection::connect(&database.url).await.unwrap();
    testing::be_patient(&mut operator).await;
    let terminated: bool = sqlx::query_scalar("select pg_terminate_backend($1, 10000)")
        .bind(first)
        .fetch_one(&mut operator)
        .await
        .unwrap();
    assert!(terminated);
    assert_ne!(server_process(&mut take(&reads).await).await, first);
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
    take(&reads).await;
}
