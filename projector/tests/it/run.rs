//! The loop with a real Kafka client against a broker in memory: from the topics into the tables.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use projector::{intake::READS, project};
use rand::{SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    mocking::MockCluster,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use shared::{
    broker::BrokerSettings,
    consumer::{
        Consumer, ConsumerSettings, console,
        operator::{Partition, Refused, Standing},
    },
    contract::{envelope::Raw, topics::Topic},
    http::Readiness,
    process, shutdown,
};
use tokio::time::sleep;

use crate::{
    project::{Database, take_all},
    sagas::{PARTITIONS, interleave, world},
};

fn broker() -> MockCluster<'static, DefaultProducerContext> {
    let broker = MockCluster::new(1).unwrap();
    for topic in READS {
        broker.create_topic(topic.name(), PARTITIONS, 1).unwrap();
    }
    broker
}

pub(crate) fn publish(bootstrap: &str, messages: &[Raw]) {
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("acks", "all").create().unwrap();
    for raw in messages {
        let shared::contract::envelope::Headers::Readable(headers) = &raw.headers else { unreachable!() };
        let headers = headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: value.as_deref() })
        });
        let mut record =
            BaseRecord::<[u8], [u8]>::to(raw.topic.name()).partition(raw.partition).headers(headers);
        record.key = raw.key.as_deref();
        record.payload = raw.value.as_deref();
        record.timestamp = Some(raw.timestamp_ms);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(120)).unwrap();
}

#[tokio::test]
async fn what_is_on_the_topics_comes_into_the_view_and_a_restart_goes_on() {
    let broker = broker();
    let bootstrap = broker.bootstrap_servers();
    let (world, _) = world(21, 20);
    let sent = world.with_repeats(&mut StdRng::seed_from_u64(2));
    let mut messages = interleave(&sent, &mut StdRng::seed_from_u64(2));
    let malformed = Raw { value: Some("{".into()), topic: Topic::PaymentsEvents, ..messages[0].clone() };
    messages.insert(10, malformed);
    let (first, second) = messages.split_at(messages.len() / 2);

    let mut database = Database::new().await;
    for part in [first, second] {
        publish(&bootstrap, part);
        let projection = database.unassigned();
        let (trigger, token) = shutdown::manual();
        let settings = BrokerSettings::new(bootstrap.clone());
        let client = settings.consumer("projector", "one");
        let settings =
            ConsumerSettings { client, topics: READS.to_vec(), begins: Vec::new(), messages_max: 100 };
        let (consumer, heard) = Consumer::start(settings).unwrap();
        let (readiness, letters) = (Readiness::new(&[process::PARTITIONS]), AtomicUsize::new(0));
        let (_console, operator) = console();
        let wake = || letters.store(1, Ordering::Relaxed);
        let running = project::run(projection, &consumer, heard, operator, wake, &readiness, &token);
        let done = async {
            let deadline = Instant::now() + Duration::from_secs(120);
            let wanted = if part == first { first.len() } else { messages.len() };
            while database.taken().await < wanted as i64 {
                assert!(Instant::now() < deadline, "{} of {wanted}", database.taken().await);
                sleep(Duration::from_millis(50)).await;
            }
            trigger.stop();
        };
        let (result, ()) = tokio::join!(running, done);
        result.unwrap();
        assert!(readiness.is_ready());
        assert_eq!(letters.load(Ordering::Relaxed) > 0, part == first, "the relay is woken for letters only");
        consumer.stop(Duration::from_secs(5)).await;
    }
    assert_eq!(database.rows("select code from dead_letter").await, [r#"{"code":"invalid-json"}"#]);

    let mut whole = Database::new().await;
    take_all(&mut whole.projection().await, interleave(&sent, &mut StdRng::seed_from_u64(9))).await;
    assert_eq!(database.view().await, whole.view().await);
}

/// Else a replica whose partition went to another one would never be ready again.
#[tokio::test]
async fn an_assignment_takes_back_the_suspicion_of_data_loss() {
    let broker = broker();
    let bootstrap = broker.bootstrap_servers();
    let (world, _) = world(22, 5);
    let messages = world.in_order();
    publish(&bootstrap, &messages);
    let mut database = Database::new().await;
    let (topic, partition) = (messages[0].topic, messages[0].partition);
    let there = messages.iter().filter(|raw| (raw.topic, raw.partition) == (topic, partition)).count();
    sqlx::query("insert into position (topic, partition, next) values ($1, $2, $3)")
        .bind(topic.name())
        .bind(partition)
        .bind(there as i64 + 1)
        .execute(&mut database.connection)
        .await
        .unwrap();

    let (trigger, token) = shutdown::manual();
    let client = BrokerSettings::new(bootstrap.clone()).consumer("projector", "one");
    let settings = ConsumerSettings { client, topics: READS.to_vec(), begins: Vec::new(), messages_max: 100 };
    let (consumer, heard) = Consumer::start(settings).unwrap();
    let readiness = Readiness::new(&[process::PARTITIONS]);
    let (_console, operator) = console();
    let running = project::run(database.unassigned(), &consumer, heard, operator, || (), &readiness, &token);
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !holds() {
            assert!(Instant::now() < deadline, "never {what}: {:?}", readiness.missing());
            sleep(Duration::from_millis(50)).await;
        }
    };
    let done = async {
        let suspects = || {
            readiness.missing().get(process::TOPICS).is_some_and(|why| why.starts_with("DATA_LOSS_SUSPECTED"))
        };
        until("suspected", &suspects).await;
        // Now the topic has the position.
        publish(&bootstrap, &messages);
        consumer.reassign();
        until("ready", &|| readiness.is_ready()).await;
        trigger.stop();
    };
    let (result, ()) = tokio::join!(running, done);
    result.unwrap();
    consumer.stop(Duration::from_secs(5)).await;
}

/// The pause after too much poison, and a position that its topic has not: each waits for a person.
#[tokio::test]
async fn an_operator_ends_the_pause_and_gives_up_what_a_topic_has_lost() {
    let broker = broker();
    let bootstrap = broker.bootstrap_servers();
    let (world, _) = world(23, 5);
    let messages = world.in_order();
    let malformed = Raw { value: Some("{".into()), topic: Topic::PaymentsEvents, ..messages[0].clone() };
    publish(&bootstrap, &vec![malformed; 600]);
    publish(&bootstrap, &messages);
    let mut database = Database::new().await;
    let lost = (Topic::OrdersEvents, 0);
    sqlx::query("insert into position (topic, partition, next) values ($1, $2, 1000000)")
        .bind(lost.0.name())
        .bind(lost.1)
        .execute(&mut database.connection)
        .await
        .unwrap();

    let (trigger, token) = shutdown::manual();
    let client = BrokerSettings::new(bootstrap.clone()).consumer("projector", "one");
    let settings = ConsumerSettings { client, topics: READS.to_vec(), begins: Vec::new(), messages_max: 100 };
    let (consumer, heard) = Consumer::start(settings).unwrap();
    let readiness = Readiness::new(&[process::PARTITIONS]);
    let (console, operator) = console();
    let running = project::run(database.unassigned(), &consumer, heard, operator, || (), &readiness, &token);
    let until = async |what: &str, holds: &dyn Fn(&Standing) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let standing = console.stand().await.unwrap();
            if holds(&standing) {
                return;
            }
            assert!(Instant::now() < deadline, "never {what}: {standing:?}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let why = |standing: &Standing| {
        let mut found = standing.partitions.iter().filter_map(|of| of.suspected.clone());
        found.next()
    };
    let done = async {
        until("paused", &|standing| standing.paused_ms > 0).await;
        until("suspected", &|standing| why(standing).is_some()).await;
        let elsewhere = (Topic::OrdersEvents, 1);
        let refused = console.resume(vec![lost, elsewhere]).await.unwrap();
        assert_eq!(refused, Err(Refused::NotSuspected(elsewhere)));
        until("left as it was", &|standing| standing.paused_ms > 0 && why(standing).is_some()).await;
        let resumed = console.resume(vec![lost]).await.unwrap().unwrap();
        assert_eq!((resumed.accepted[0].from, resumed.accepted[0].to), (1_000_000, 0));
        // Too little poison is left for another pause.
        assert!(console.resume(Vec::new()).await.unwrap().unwrap().paused);
        assert_eq!(console.stand().await.unwrap().paused_ms, 0);
        let is_read = |standing: &Standing| {
            let position = |of: &Partition| of.end.is_none_or(|end| of.next.unwrap_or(0) >= end);
            why(standing).is_none() && standing.partitions.iter().all(position)
        };
        let wanted = messages.len() as i64 + 600;
        let deadline = Instant::now() + Duration::from_secs(120);
        while database.taken().await < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted}", database.taken().await);
            sleep(Duration::from_millis(50)).await;
        }
        until("read", &is_read).await;
        trigger.stop();
    };
    let (result, ()) = tokio::join!(running, done);
    result.unwrap();
    consumer.stop(Duration::from_secs(5)).await;
}
