//! The relay on a real Postgres: what it publishes, to the client library's mock cluster where the broker must fail.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::Headers as _,
    mocking::MockCluster,
    producer::DefaultProducerContext,
};
use shared::{
    broker::BrokerSettings,
    contract::{
        Timestamp,
        envelope::{Header, Headers, Part, Recorded},
        ids::StreamName,
        topics::Topic,
    },
    log::{self, Append, Appended},
    relay::{self, Relay, RelaySettings, State},
    telemetry::{Metrics, metrics::WhatLabel},
    testing,
};
use sqlx::PgConnection;
use uuid::Uuid;

mod publish;
mod faults;
mod lead;
mod letters;
mod heal;

const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(120);
const SERVICE: &str = "order-service";

/// A broker of our own with the topics that order-service writes. Its messages go with it.
struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    fn new() -> Self {
        crate::show_logs();
        let cluster = MockCluster::new(1).unwrap();
        for topic in [Topic::OrdersEvents, Topic::DeadLetters] {
            cluster.create_topic(topic.name(), PARTITIONS, 1).unwrap();
        }
        Self { cluster }
    }

    fn settings(&self) -> BrokerSettings {
        BrokerSettings::new(self.cluster.bootstrap_servers())
    }

    /// All that stands on a topic, partition by partition.
    fn read(&self, topic: Topic) -> Vec<Published> {
        read(&self.settings(), topic)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    partition: i32,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<Header>,
}

impl Published {
    fn position(&self) -> i64 {
        self.header("ce_position").unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.iter().rev().find(|(header, _)| header == name)?.1.as_ref()?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }
}

fn read(settings: &BrokerSettings, topic: Topic) -> Vec<Published> {
    let consumer: BaseConsumer = settings.reader("test").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut ends = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let (low, high) = consumer.fetch_watermarks(topic.name(), partition, DEADLINE).unwrap();
        if low < high {
            assignment.add_partition_offset(topic.name(), partition, Offset::Offset(low)).unwrap();
            ends.insert(partition, high);
        }
    }
    consumer.assign(&assignment).unwrap();
    let mut published = Vec::new();
    while !ends.is_empty() {
        let message = consumer.poll(DEADLINE).unwrap().unwrap();
        let partition = message.partition();
        if ends.get(&partition).is_some_and(|end| message.offset() + 1 >= *end) {
            ends.remove(&partition);
        }
        let owned = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let headers = message.headers().map_or(Vec::new(), |headers| {
            headers.iter().map(|header| (Headers::name(header.key), header.value.map(owned))).collect()
        });
        published.push(Published {
            partition,
            key: message.key().map(owned),
            value: message.payload().map(owned),
            headers,
        });
    }
    published.sort_by_key(|message| message.partition);
    published
}

/// A log with order-service's tables, and a connection to append with.
struct Database {
    url: String,
    connection: PgConnection,
    end: i64,
    versions: BTreeMap<String, i64>,
}

impl Database {
    async fn new() -> Self {
        let url = testing::database().await;
        log::connect::migrate(&url).await.unwrap();
        let mut connection = log::connect::connect(&url, "test").await.unwrap();
        testing::be_patient(&mut connection).await;
        Self { url, connection, end: 0, versions: BTreeMap::new() }
    }

    /// Commits so many events of a few orders and gives them back.
    async fn append(&mut self, count: usize) -> Vec<Recorded> {
        let events: Vec<_> = (1..=count as i64).map(|index| self.event(self.end + index)).collect();
        let append = Append { seen: self.end, events: events.clone(), ..Append::default() };
        let answer = log::append(&mut self.connection, &append).await.unwrap();
        assert!(matches!(answer, Appended::Done { .. }), "{answer:?}");
        self.end += count as i64;
        events
    }

    fn event(&mut self, position: i64) -> Recorded {
        let order = Uuid::from_u128(1 + position as u128 % 5);
        let stream = format!("order-{order}");
        let version = self.versions.entry(stream.clone()).and_modify(|version| *version += 1).or_insert(1);
        Recorded {
            position,
            stream: StreamName::parse(&stream).unwrap(),
            version: *version,
            event_id: Uuid::now_v7(),
            event_type: "fulfil.order.confirmed.v1".into(),
            data: format!(r#"{{"order_id":"{order}","note":"ä \" {position}"}}"#),
            decision: Part { index: 1, count: 1 },
            correlation_id: Uuid::now_v7(),
            causation_id: Uuid::now_v7(),
            traceparent: (position % 2 == 0)
                .then(|| "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            recorded_at: Timestamp::from_timestamp_millis(1_790_000_000_000 + position).unwrap(),
        }
    }

    async fn cursor(&mut self, lane: log::Lane) -> i64 {
        log::cursor(&mut self.connection, lane).await.unwrap()
    }

    /// Waits until all that was appended is acknowledged and the cursor says so.
    async fn published(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.cursor(log::Lane::Events).await < self.end {
            assert!(
                Instant::now() < deadline,
                "the cursor is at {} of {}",
                self.cursor(log::Lane::Events).await,
                self.end
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn settings(&self, broker: BrokerSettings) -> RelaySettings {
        RelaySettings {
            service: SERVICE.into(),
            database_url: self.url.clone(),
            broker,
            topics: vec![Topic::OrdersEvents],
        }
    }
}

fn metrics() -> Metrics {
    Metrics::new(SERVICE, "test")
}

fn counted(metrics: &Metrics, what: &'static str) -> u64 {
    metrics.counted.get_or_create(&WhatLabel { what }).get()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn leads(relay: &Relay) {
    let handle = relay.handle();
    eventually("the relay publishes", || handle.state() == State::Publishing).await;
}

/// Every position is there, and the first appearances of each key are in order.
fn assert_complete(published: &[Published], end: i64) {
    let mut first: BTreeMap<Option<Bytes>, Vec<i64>> = BTreeMap::new();
    for message in published {
        let positions = first.entry(message.key.clone()).or_default();
        if !positions.contains(&message.position()) {
            positions.push(message.position());
        }
    }
    for (key, positions) in &first {
        assert!(positions.is_sorted(), "first appearances of {key:?} are out of order: {positions:?}");
    }
    let mut all: Vec<_> = first.into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (1..=end).collect::<Vec<_>>());
}
