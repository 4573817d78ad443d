//! How far a group is behind, by what it committed. The services keep their positions in their databases and commit
//! them to Kafka only so that this can be asked.

use anyhow::Context;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use shared::{
    broker::{
        BrokerSettings, Logged, spans,
        topics::{REQUEST_TIMEOUT, partitions_of},
    },
    consumer::Place,
    contract::topics::Topic,
};

use super::CLIENT;

/// A partition that a group has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    pub topic: Topic,
    pub partition: i32,
    pub committed: i64,
    /// The offsets that the topic has, the second excluded.
    pub low: i64,
    pub end: i64,
}

impl Lag {
    pub fn messages(&self) -> i64 {
        (self.end - self.committed).max(0)
    }
}

/// The names of all groups that the broker knows. Blocks.
pub fn groups(broker: &BrokerSettings) -> anyhow::Result<Vec<String>> {
    let consumer: BaseConsumer<Logged> =
        broker.reader(CLIENT).create_with_context(Logged).context("the Kafka client refuses its settings")?;
    let list = consumer.fetch_group_list(None, REQUEST_TIMEOUT).context("the consumer groups")?;
    let mut names: Vec<String> = list.groups().iter().map(|group| group.name().to_owned()).collect();
    names.sort();
    Ok(names)
}

/// Blocks. Empty where the group never committed anything.
pub fn lag(broker: &BrokerSettings, group: &str) -> anyhow::Result<Vec<Lag>> {
    let consumer: BaseConsumer<Logged> =
        broker.reader(group).create_with_context(Logged).context("the Kafka client refuses its settings")?;
    let mut asked = TopicPartitionList::new();
    for topic in Topic::ALL {
        let partitions = partitions_of(broker, topic.name())?.unwrap_or(0);
        asked.add_partition_range(topic.name(), 0, partitions - 1);
    }
    let committed = consumer
        .committed_offsets(asked, REQUEST_TIMEOUT)
        .with_context(|| format!("the offsets of {group}"))?;
    let committed: Vec<_> = committed
        .elements()
        .into_iter()
        .filter_map(|element| match (Topic::parse(element.topic()), element.offset()) {
            (Some(topic), Offset::Offset(committed)) => Some(((topic, element.partition()), committed)),
            _ => None,
        })
        .collect();
    let places: Vec<_> = committed.iter().map(|(place, _)| *place).collect();
    let spans = spans(&consumer, &places, REQUEST_TIMEOUT).context("the ends of the topics")?;
    let lag = |((topic, partition), committed): (Place, i64)| {
        let (low, end) = spans[&(topic, partition)];
        Lag { topic, partition, committed, low, end }
    };
    Ok(committed.into_iter().map(lag).collect())
}
