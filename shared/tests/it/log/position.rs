//! Positions, the traces that a deadly message leaves, and the relay's cursors.

use shared::log::{Attempt, GivenUp, Lane, Move, StoredPosition};

use super::*;

const PLACE: (Topic, i32) = (Topic::OrdersEvents, 3);

async fn stored(connection: &mut PgConnection) -> StoredPosition {
    log::positions(connection, &[PLACE]).await.unwrap()[0]
}

fn step(from: Option<i64>, to: i64) -> Append {
    let moves = vec![Move { topic: PLACE.0, partition: PLACE.1, from, to }];
    Append { moves, ..Append::default() }
}

#[tokio::test]
async fn positions_come_as_asked_also_where_there_are_none() {
    let mut connection = fresh().await;
    done(&mut connection, &step(None, 5)).await;
    let places = [(Topic::PaymentsEvents, 3), PLACE, (Topic::OrdersEvents, 4)];
    let read = log::positions(&mut connection, &places).await.unwrap();
    assert_eq!(read.iter().map(|stored| (stored.topic, stored.partition)).collect::<Vec<_>>(), places);
    assert_eq!(read.iter().map(|stored| stored.next).collect::<Vec<_>>(), [None, Some(5), None]);
}

#[tokio::test]
async fn starts_and_attempts_count_until_a_message_is_done() {
    let mut connection = fresh().await;
    let (topic, partition) = PLACE;
    // Before the group has a position: the first message of a topic can be the deadly one.
    for before in [0, 1] {
        log::count_start(&mut connection, topic, partition, before).await.unwrap();
        assert_eq!(stored(&mut connection).await.starts, before + 1);
        // The answer was lost, so it is said again: nobody died meanwhile.
        log::count_start(&mut connection, topic, partition, before).await.unwrap();
        assert_eq!(stored(&mut connection).await.starts, before + 1);
    }
    for (offset, before) in [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0)] {
        log::count_attempt(&mut connection, topic, partition, offset, before).await.unwrap();
        let attempt = Some(Attempt { offset, attempts: before + 1 });
        assert_eq!(stored(&mut connection).await.attempt, attempt);
    }
    let expected = StoredPosition {
        topic,
        partition,
        next: None,
        starts: 2,
        attempt: Some(Attempt { offset: 1, attempts: 1 }),
    };
    assert_eq!(stored(&mut connection).await, expected);
    done(&mut connection, &step(None, 1)).await;
    assert_eq!(
        stored(&mut connection).await,
        StoredPosition { next: Some(1), starts: 0, attempt: None, ..expected }
    );
    // One that only compares sets nothing back.
    log::count_start(&mut connection, topic, partition, 0).await.unwrap();
    done(&mut connection, &step(Some(1), 1)).await;
    assert_eq!(stored(&mut connection).await.starts, 1);
}

#[tokio::test]
async fn the_relays_cursors_go_only_forward() {
    let mut connection = fresh().await;
    for (to, moved) in [(5, true), (4, false), (5, false), (9, true)] {
        assert_eq!(log::advance_cursor(&mut connection, Lane::Events, to).await.unwrap(), moved);
    }
    assert_eq!(log::cursor(&mut connection, Lane::Events).await.unwrap(), 9);
    assert_eq!(log::cursor(&mut connection, Lane::DeadLetters).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_topic_has_lost_is_given_up_all_of_it_or_nothing() {
    let mut connection = fresh().await;
    let other = (Topic::OrdersEvents, 4);
    done(&mut connection, &step(None, 7)).await;
    let moves = vec![Move { topic: other.0, partition: other.1, from: None, to: 9 }];
    done(&mut connection, &Append { moves, ..Append::default() }).await;
    log::count_start(&mut connection, PLACE.0, PLACE.1, 0).await.unwrap();
    let both = [PLACE, other];
    let next = async |connection: &mut PgConnection| {
        let stored = log::positions(connection, &both).await.unwrap();
        (stored[0].next, stored[1].next)
    };
    let moved = log::give_up(&mut connection, &both, &[7, 8], &[20, 30]).await.unwrap();
    assert_eq!((moved, next(&mut connection).await), (GivenUp::Moved, (Some(7), Some(9))));
    // The answer may be lost, and it is said again.
    for _ in 0..2 {
        let given_up = log::give_up(&mut connection, &both, &[7, 9], &[20, 30]).await.unwrap();
        assert_eq!((given_up, next(&mut connection).await), (GivenUp::Done, (Some(20), Some(30))));
        assert_eq!(stored(&mut connection).await.starts, 0);
    }
}

/// A message is known by its offset.
#[tokio::test]
async fn a_topic_goes_back_only_where_no_offset_that_is_known_comes_again() {
    let mut connection = fresh().await;
    let (there, letters) = (raw(5), vec![super::letter::dead(5)]);
    let place = (there.topic, there.partition);
    let moves = vec![Move { topic: place.0, partition: place.1, from: None, to: 8 }];
    done(&mut connection, &Append { moves, letters, ..Append::default() }).await;
    let mut give_up =
        async |from: i64, to: i64| log::give_up(&mut connection, &[place], &[from], &[to]).await;
    assert_eq!(give_up(8, 0).await.unwrap(), GivenUp::ComesAgain(1));
    assert_eq!(give_up(8, 5).await.unwrap(), GivenUp::ComesAgain(1));
    assert_eq!(give_up(8, 6).await.unwrap(), GivenUp::Done);
    assert_eq!(give_up(6, 10).await.unwrap(), GivenUp::Done);
}
