//! Compare and append: taken, refused, done before.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};
use shared::log::{Move, StoreError};
use sqlx::AssertSqlSafe;

use super::*;

fn step(from: Option<i64>, to: i64) -> Move {
    Move { topic: Topic::OrdersEvents, partition: 3, from, to }
}

#[tokio::test]
async fn what_is_read_back_equals_what_was_appended() {
    let mut connection = fresh().await;
    // JSON escapes NUL, so no text of an event has one.
    let text = "[^\\x00]{0,40}";
    let config = Config { rng_seed: RngSeed::Fixed(7), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let strategy = (text, text, prop::option::of(text), 1..=u16::MAX);
    let mut appended = Vec::new();
    for position in 1..=200 {
        let (event_type, data, traceparent, count) = strategy.new_tree(&mut runner).unwrap().current();
        appended.push(Recorded {
            event_type,
            data: serde_json::json!({ "text": data, "nul": "\0", "quotes": "'\"{}\\," }).to_string(),
            traceparent,
            decision: Part { index: count, count },
            ..event(position, "stock-A-1.b_c", position)
        });
    }
    done(&mut connection, &events(0, appended.clone())).await;
    assert_eq!(tail(&mut connection).await, appended);
    let encoded = |events: &[Recorded]| events.iter().map(|event| event.encode("x")).collect::<Vec<_>>();
    assert_eq!(encoded(&tail(&mut connection).await), encoded(&appended));
}

#[tokio::test]
async fn a_batch_that_was_decided_before_the_end_is_refused_and_writes_nothing() {
    let mut connection = fresh().await;
    done(&mut connection, &events(0, vec![event(1, "order-a", 1)])).await;
    let late = Append { moves: vec![step(None, 5)], ..events(0, vec![event(1, "order-b", 1)]) };
    assert_eq!(append(&mut connection, &late).await, Appended::LogMoved { end: 1 });
    // Nothing to append: that too was decided at 0.
    let nothing = Append { tasks: vec![owned_task("order-b", "deadline", time(0))], ..Append::default() };
    assert_eq!(append(&mut connection, &nothing).await, Appended::LogMoved { end: 1 });
    assert_eq!(log::end(&mut connection).await.unwrap(), 1);
    let elsewhere: i64 =
        sqlx::query_scalar("select (select count(*) from position) + (select count(*) from task)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(elsewhere, 0);
}

#[tokio::test]
async fn a_moved_position_fences_the_batch_even_where_the_log_moved_too() {
    let mut connection = fresh().await;
    let first = Append { moves: vec![step(None, 10)], ..events(0, vec![event(1, "order-a", 1)]) };
    done(&mut connection, &first).await;
    for (seen, zombie) in [(0, step(None, 7)), (1, step(None, 7)), (1, step(Some(9), 12))] {
        let zombie = Append { moves: vec![zombie], ..events(seen, vec![event(seen + 1, "order-b", 1)]) };
        assert_eq!(append(&mut connection, &zombie).await, Appended::Fenced);
    }
    let missing =
        Append { seen: 1, moves: vec![Move { partition: 4, ..step(Some(1), 2) }], ..Append::default() };
    assert_eq!(append(&mut connection, &missing).await, Appended::Fenced);
    done(&mut connection, &Append { seen: 1, moves: vec![step(Some(10), 11)], ..Append::default() }).await;
}

#[tokio::test]
async fn a_move_that_goes_nowhere_fences_and_changes_nothing() {
    let mut connection = fresh().await;
    let watch = |seen, at| Append { seen, moves: vec![step(at, at.unwrap_or(0))], ..Append::default() };
    done(&mut connection, &Append { moves: vec![step(None, 10)], ..Append::default() }).await;
    // Not told as "done before": there is nothing that it could have done.
    done(&mut connection, &watch(0, Some(10))).await;
    assert_eq!(append(&mut connection, &watch(0, Some(9))).await, Appended::Fenced);
    done(&mut connection, &Append { moves: vec![step(Some(10), 11)], ..Append::default() }).await;
    assert_eq!(append(&mut connection, &watch(0, Some(10))).await, Appended::Fenced);
}

#[tokio::test]
async fn the_same_call_again_is_done_before() {
    let mut connection = fresh().await;
    let with_events = Append {
        moves: vec![step(None, 10)],
        ..events(0, vec![event(1, "order-a", 1), event(2, "order-a", 2)])
    };
    done(&mut connection, &with_events).await;
    assert!(is_done_before(&append(&mut connection, &with_events).await));
    let without_events = Append { seen: 2, moves: vec![step(Some(10), 12)], ..Append::default() };
    done(&mut connection, &without_events).await;
    assert!(is_done_before(&append(&mut connection, &without_events).await));
    done(&mut connection, &events(2, vec![event(3, "order-b", 1)])).await;
    // Still so after others went on.
    assert!(is_done_before(&append(&mut connection, &with_events).await));
    assert!(is_done_before(&append(&mut connection, &without_events).await));
    assert_eq!(log::end(&mut connection).await.unwrap(), 3);
}

#[tokio::test]
async fn another_batch_that_begins_with_the_same_event_id_is_not_done_before() {
    let mut connection = fresh().await;
    let shared_event = event(1, "order-a", 1);
    // The new owner took one message, the zombie the same and another.
    let owner = Append { moves: vec![step(None, 1)], ..events(0, vec![shared_event.clone()]) };
    done(&mut connection, &owner).await;
    let zombie = Append {
        moves: vec![step(None, 2)],
        ..events(0, vec![shared_event.clone(), event(2, "order-b", 1)])
    };
    assert_eq!(append(&mut connection, &zombie).await, Appended::Fenced);
    // The second message of the zombie appends nothing, but its position is not done.
    let zombie = Append { moves: vec![step(None, 2)], ..events(0, vec![shared_event.clone()]) };
    assert_eq!(append(&mut connection, &zombie).await, Appended::Fenced);
    // Without positions: the same id, decided a moment later.
    let later = events(0, vec![Recorded { recorded_at: time(99), ..shared_event }]);
    assert_eq!(append(&mut connection, &later).await, Appended::LogMoved { end: 1 });
}

#[tokio::test]
async fn a_log_that_ends_before_what_was_seen_is_an_error() {
    let mut connection = fresh().await;
    done(&mut connection, &events(0, vec![event(1, "order-a", 1)])).await;
    let restored = log::append(&mut connection, &events(7, vec![event(8, "order-a", 8)])).await;
    assert!(matches!(restored, Err(StoreError::LogBehind { seen: 7, end: 1 })), "{restored:?}");
    let restored = log::append(&mut connection, &Append { seen: 2, ..Append::default() }).await;
    assert!(matches!(restored, Err(StoreError::LogBehind { seen: 2, end: 1 })), "{restored:?}");
}

#[tokio::test]
async fn a_log_with_another_event_where_one_was_seen_is_an_error() {
    let mut connection = fresh().await;
    let (ours, theirs) = (event(1, "order-a", 1), event(1, "order-b", 1));
    done(&mut connection, &events(0, vec![theirs])).await;
    // As long as what was seen, or longer by now.
    for next in 2..4 {
        let append = Append { seen_event: Some(ours.event_id), ..events(1, vec![event(2, "order-a", 2)]) };
        let promoted = log::append(&mut connection, &append).await;
        assert!(matches!(promoted, Err(StoreError::LogDiffers { seen: 1 })), "{promoted:?}");
        done(&mut connection, &events(next - 1, vec![event(next, "order-c", next - 1)])).await;
    }
}

#[tokio::test]
async fn the_database_refuses_to_change_events_and_dead_letters() {
    let mut connection = fresh().await;
    done(&mut connection, &events(0, vec![event(1, "order-a", 1)])).await;
    for table in ["event", "dead_letter"] {
        for change in [
            format!("update {table} set recorded_at = now()"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            let error = sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut connection).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
    }
    assert_eq!(log::end(&mut connection).await.unwrap(), 1);
}

#[tokio::test]
async fn a_stream_has_no_version_twice_and_a_refused_batch_leaves_no_hole() {
    let mut connection = fresh().await;
    done(&mut connection, &events(0, vec![event(1, "order-a", 1)])).await;
    let twice =
        log::append(&mut connection, &events(1, vec![event(2, "order-b", 1), event(3, "order-a", 1)])).await;
    assert!(matches!(twice, Err(StoreError::VersionTaken(_))), "{twice:?}");
    done(&mut connection, &events(1, vec![event(2, "order-a", 2)])).await;
    assert_eq!(tail(&mut connection).await.len(), 2);
}

#[tokio::test]
async fn a_reference_of_stock_counts_once() {
    let mut connection = fresh().await;
    let received = |position, version, event_type: &str| Recorded {
        event_id: Uuid::from_u128(5),
        event_type: event_type.into(),
        ..event(position, "stock-A", version)
    };
    done(&mut connection, &events(0, vec![received(1, 1, "fulfil.stock.received.v1")])).await;
    for other in ["fulfil.stock.received.v1", "fulfil.stock.adjusted.v1", "fulfil.stock.received.v2"] {
        let twice = log::append(&mut connection, &events(1, vec![received(2, 2, other)])).await;
        assert!(matches!(twice, Err(StoreError::Refused(_))), "{other}: {twice:?}");
    }
    // Elsewhere the id is told apart by the stream's state.
    done(&mut connection, &events(1, vec![received(2, 2, "fulfil.stock.allocated.v1")])).await;
}

#[tokio::test]
async fn a_value_that_the_database_does_not_take_is_a_messages_fault() {
    let mut connection = fresh().await;
    let nul = Recorded { traceparent: Some("\0".into()), ..event(1, "order-a", 1) };
    let error = log::append(&mut connection, &events(0, vec![nul])).await.unwrap_err();
    assert!(error.is_of_a_message() && !error.is_infrastructure(), "{error:?}");
    done(&mut connection, &events(0, vec![event(1, "order-a", 1)])).await;
}

#[tokio::test]
async fn what_moves_with_events_that_are_refused_does_not_move() {
    let mut connection = fresh().await;
    let place = (Topic::OrdersCommands, 3);
    let moves = vec![Move { topic: place.0, partition: place.1, from: None, to: 5 }];
    let nul = Recorded { traceparent: Some("\0".into()), ..event(1, "order-a", 1) };
    let refused = Append { moves, ..events(0, vec![nul]) };
    assert!(log::append(&mut connection, &refused).await.is_err());
    let [stands] = log::positions(&mut connection, &[place]).await.unwrap().try_into().unwrap();
    assert_eq!(stands.next, None, "its message would never come again");
}

#[tokio::test]
async fn the_answer_tells_the_databases_clock_in_milliseconds() {
    let mut connection = fresh().await;
    let clock = "select clock_timestamp()";
    let before: Timestamp = sqlx::query_scalar(clock).fetch_one(&mut connection).await.unwrap();
    let answer = append(&mut connection, &events(0, vec![event(1, "order-a", 1)])).await;
    let after: Timestamp = sqlx::query_scalar(clock).fetch_one(&mut connection).await.unwrap();
    let Appended::Done { now } = answer else { panic!("{answer:?}") };
    assert_eq!(now.timestamp_subsec_nanos() % 1_000_000, 0);
    assert!(before.timestamp_millis() <= now.timestamp_millis() && now <= after);
}
