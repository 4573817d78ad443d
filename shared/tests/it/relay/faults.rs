//! A broker that refuses, loses and comes back.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

use RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR__TRANSPORT as DISCONNECTED, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE,
    RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as NOT_ENOUGH_REPLICAS,
    RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER, RD_KAFKA_RESP_ERR_UNKNOWN as UNKNOWN,
    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as UNKNOWN_TOPIC,
};

#[tokio::test]
async fn failed_deliveries_lose_and_reorder_nothing() {
    let (mut database, broker, metrics) = (Database::new().await, Broker::new(), metrics());
    let relay = relay::start(database.settings(broker.settings()), metrics.clone());
    leads(&relay).await;
    // Some of these are retried by the client, the permanent ones cost the producer; all with requests behind them.
    for error in [UNKNOWN, NOT_ENOUGH_REPLICAS, DISCONNECTED, UNKNOWN, NOT_LEADER, UNKNOWN] {
        broker.cluster.request_errors(RDKafkaApiKey::Produce, &[NOT_ENOUGH_REPLICAS, error]);
        for _ in 0..20 {
            let events = database.append(40).await;
            relay.handle().committed(events);
        }
    }
    database.published().await;
    relay.stop(DEADLINE).await;

    assert!(counted(&metrics, "relay_delivery_failed") > 0, "no producer was lost");
    assert_complete(&broker.read(Topic::OrdersEvents), database.end);
}

/// A producer's first message to a partition: a broker takes any sequence number of a producer that it does not know.
/// Later ones it would refuse for their sequence numbers, which the mock cluster does not look at.
#[tokio::test]
async fn what_the_broker_finds_too_large_halts_the_relay_and_nothing_overtakes_it() {
    let (mut database, broker, metrics) = (Database::new().await, Broker::new(), metrics());
    let relay = relay::start(database.settings(broker.settings()), metrics.clone());
    leads(&relay).await;
    assert_eq!(metrics.relay_halted.get(), 0);
    broker.cluster.broker_round_trip_time(1, Duration::from_millis(50)).unwrap();
    broker.cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    for _ in 0..50 {
        let events = database.append(10).await;
        relay.handle().committed(events);
    }
    let handle = relay.handle();
    eventually("the relay halts", || matches!(handle.state(), State::Halted { .. })).await;
    let State::Halted { reason } = handle.state() else { unreachable!() };
    assert!(reason.contains("max.message.bytes of topic orders.events"), "{reason}");
    // Nobody tells the relay of these, and HTTP must hear that they wait.
    database.append(10).await;
    let waiting = database.end - database.cursor(log::Lane::Events).await;
    eventually("the backlog grows on", || handle.backlog() == waiting).await;
    assert_eq!(metrics.relay_halted.get(), 1);
    let oldest = metrics.relay_oldest_seconds.get();
    eventually("what waits grows older", || metrics.relay_oldest_seconds.get() > oldest.max(0.0)).await;
    assert!(metrics.relay_backlog.get() > 0);
    relay.stop(DEADLINE).await;
    // From here on another one may publish it, and this one would not know.
    assert_eq!((metrics.relay_backlog.get(), metrics.relay_oldest_seconds.get()), (0, 0.0));
    assert_eq!(metrics.relay_halted.get(), 1);

    broker.cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    // The next relay goes on after the limit was raised. Whatever had overtaken would be out of order now.
    let relay = relay::start(database.settings(broker.settings()), super::metrics());
    database.published().await;
    relay.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), database.end);
}

#[tokio::test]
async fn a_broker_that_goes_away_is_waited_for() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let relay = relay::start(database.settings(broker.settings()), metrics());
    leads(&relay).await;
    for _ in 0..3 {
        broker.cluster.broker_down(1).unwrap();
        for _ in 0..10 {
            let events = database.append(50).await;
            relay.handle().committed(events);
        }
        let (handle, end) = (relay.handle(), database.end);
        eventually("the backlog grows", || handle.backlog() > 0).await;
        assert!(handle.backlog() <= end);
        broker.cluster.broker_up(1).unwrap();
        database.published().await;
    }
    relay.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), database.end);
}

#[tokio::test]
async fn a_topic_that_is_gone_halts_the_relay() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    let relay = relay::start(database.settings(broker.settings()), metrics());
    leads(&relay).await;
    let events = database.append(10).await;
    relay.handle().committed(events);
    database.published().await;

    broker.cluster.topic_error("orders.events", UNKNOWN_TOPIC).unwrap();

    let handle = relay.handle();
    eventually("the relay halts", || matches!(handle.state(), State::Halted { .. })).await;
    let State::Halted { reason } = handle.state() else { unreachable!() };
    assert!(reason.contains("topic orders.events is gone"), "{reason}");
    relay.stop(DEADLINE).await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_yet_is_waited_for() {
    let (mut database, broker) = (Database::new().await, Broker::new());
    broker.cluster.topic_error("orders.events", UNKNOWN_TOPIC).unwrap();
    let relay = relay::start(database.settings(broker.settings()), metrics());
    let handle = relay.handle();
    let waits = |handle: &relay::RelayHandle| match handle.state() {
        State::Waiting { reason } => reason.contains("no topic orders.events"),
        _ => false,
    };
    eventually("it says what is missing", || waits(&handle)).await;
    broker.cluster.topic_error("orders.events", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    database.append(10).await;
    database.published().await;
    relay.stop(DEADLINE).await;
    assert_complete(&broker.read(Topic::OrdersEvents), 10);
}
