//! Streams with an expected version.

use shared::log::{NewEvent, StoreError};

use super::*;

fn new(data: &str) -> NewEvent {
    NewEvent {
        event_id: Uuid::now_v7(),
        event_type: "fulfil.order.created.v2".into(),
        data: data.into(),
        correlation_id: Uuid::nil(),
        causation_id: Uuid::nil(),
        traceparent: None,
    }
}

#[tokio::test]
async fn a_stream_takes_events_only_at_its_version() {
    let mut connection = fresh().await;
    let (a, b) = (stream("order-a"), stream("order-b"));
    let created = [new("{}"), new("[]")];
    let recorded = log::append_to_stream(&mut connection, &a, 0, &created).await.unwrap();
    assert_eq!(recorded.iter().map(|event| event.decision.to_string()).collect::<Vec<_>>(), ["1/2", "2/2"]);
    log::append_to_stream(&mut connection, &b, 0, &[new("1")]).await.unwrap();
    let third = log::append_to_stream(&mut connection, &a, 2, &[new("2")]).await.unwrap();
    assert_eq!((third[0].position, third[0].version), (4, 3));
    for expected in [0, 1, 2, 4] {
        let wrong = log::append_to_stream(&mut connection, &a, expected, &[new("3")]).await;
        assert!(
            matches!(&wrong, Err(StoreError::WrongVersion { actual: 3, expected: e, .. }) if *e == expected),
            "{wrong:?}"
        );
    }
    // The same again is answered as the first time.
    assert_eq!(log::append_to_stream(&mut connection, &a, 0, &created).await.unwrap(), recorded);
    assert_eq!(log::stream_version(&mut connection, &a).await.unwrap(), 3);
    assert_eq!(log::stream_version(&mut connection, &stream("order-x")).await.unwrap(), 0);
    assert_eq!(log::read_stream(&mut connection, &a, 2, 1).await.unwrap(), recorded[1..]);
    assert_eq!(log::read_log(&mut connection, 2, 2).await.unwrap()[0], recorded[1]);
    assert_eq!(tail(&mut connection).await.len(), 4);
}

#[tokio::test]
async fn of_many_who_expect_the_same_version_one_is_taken() {
    let url = database().await;
    let tries = (0..8).map(|_| async {
        let mut connection = connect(&url).await;
        let mut wins = 0;
        for version in 0..20 {
            match log::append_to_stream(&mut connection, &stream("order-a"), version, &[new("{}")]).await {
                Ok(_) => wins += 1,
                Err(StoreError::WrongVersion { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        wins
    });
    let wins: i32 = futures_util::future::join_all(tries).await.into_iter().sum();
    let events = tail(&mut connect(&url).await).await;
    let versions: Vec<_> = events.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
    assert_eq!(wins, 20);
}
