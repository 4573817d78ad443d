//! Without faults.

use super::*;

#[tokio::test]
async fn what_leaves_from_memory_and_from_the_table_is_equal() {
    let mut database = Database::new().await;
    let (from_memory, from_table) = (Broker::new(), Broker::new());
    let relay = relay::start(database.settings(from_memory.settings()), metrics());
    leads(&relay).await;
    for size in [1, 7, 100] {
        let events = database.append(size).await;
        relay.handle().committed(events);
    }
    database.published().await;
    relay.stop(DEADLINE).await;

    sqlx::query("update relay set cursor = 0").execute(&mut database.connection).await.unwrap();
    let relay = relay::start(database.settings(from_table.settings()), metrics());
    database.published().await;
    relay.stop(DEADLINE).await;

    let published = from_memory.read(Topic::OrdersEvents);
    assert_complete(&published, database.end);
    assert_eq!(published.len(), database.end as usize, "each once");
    assert_eq!(published, from_table.read(Topic::OrdersEvents));
}

#[tokio::test]
async fn what_others_committed_is_found_in_the_table() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let relay = relay::start(database.settings(broker.settings()), metrics());
    leads(&relay).await;
    for round in 0..20 {
        let events = database.append(3).await;
        if round % 3 == 0 {
            relay.handle().committed(events);
        }
    }
    database.published().await;
    relay.stop(DEADLINE).await;
    let published = broker.read(Topic::OrdersEvents);
    assert_complete(&published, 60);
    assert_eq!(published.len(), 60);
}

#[tokio::test]
async fn a_backlog_is_counted_and_drained_in_order() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    for _ in 0..5 {
        database.append(2_000).await;
    }
    broker.cluster.broker_down(1).unwrap();
    let relay = relay::start(database.settings(broker.settings()), metrics());
    let handle = relay.handle();
    eventually("the backlog is counted", || handle.backlog() == 10_000).await;

    broker.cluster.broker_up(1).unwrap();
    database.published().await;
    eventually("the backlog is gone", || handle.backlog() == 0).await;
    relay.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), 10_000);
}

#[tokio::test]
async fn a_stopped_relay_has_published_what_was_committed_before() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let relay = relay::start(database.settings(broker.settings()), metrics());
    leads(&relay).await;
    database.append(500).await;
    relay.stop(DEADLINE).await;
    assert_eq!(database.cursor(log::Lane::Events).await, 500);
    assert_complete(&broker.read(Topic::OrdersEvents), 500);
}

#[tokio::test]
async fn every_message_of_a_real_broker_is_where_its_key_belongs() {
    // The topics are shared with other tests: the keys are ours.
    let settings = BrokerSettings::new(testing::kafka());
    shared::broker::topics::ensure_topics(&settings, PARTITIONS, 1).await.unwrap();
    let mut database = Database::new().await;
    let order = Uuid::now_v7();
    let mut events: Vec<_> = (1..=10).map(|position| database.event(position)).collect();
    for (index, event) in events.iter_mut().enumerate() {
        event.stream = StreamName::parse(&format!("order-{order}")).unwrap();
        event.version = index as i64 + 1;
    }
    let append = Append { events, ..Append::default() };
    log::append(&mut database.connection, &append).await.unwrap();
    database.end = 10;
    let relay = relay::start(database.settings(settings.clone()), metrics());
    database.published().await;
    relay.stop(DEADLINE).await;

    let key = order.to_string();
    let ours: Vec<_> = read(&settings, Topic::OrdersEvents)
        .into_iter()
        .filter(|message| message.key.as_deref() == Some(key.as_bytes()))
        .collect();
    assert_eq!(ours.iter().map(Published::position).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    let partition = shared::contract::topics::partition_of(key.as_bytes(), PARTITIONS);
    assert!(ours.iter().all(|message| message.partition == partition));
}
