//! Since when the first message waits that a group has not read.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaResult,
};

use super::{BrokerSettings, Logged};
use crate::{consumer::Place, contract::topics::Topic};

const POLL: Duration = Duration::from_millis(50);

/// When the message at each offset came to the broker, in milliseconds. Blocks. One that is missing could not be read in time.
/// The group names the client; nothing is committed.
pub fn waiting_since(
    broker: &BrokerSettings,
    group: &str,
    behind: &[(Place, i64)],
    deadline: Instant,
) -> KafkaResult<HashMap<Place, i64>> {
    let mut since = HashMap::new();
    if behind.is_empty() {
        return Ok(since);
    }
    let consumer: BaseConsumer<Logged> = broker.reader(group).create_with_context(Logged)?;
    let mut assignment = TopicPartitionList::new();
    for ((topic, partition), offset) in behind {
        assignment.add_partition_offset(topic.name(), *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&assignment)?;
    while since.len() < behind.len() && Instant::now() < deadline {
        // The client goes on by itself after an error.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        let (Some(topic), Some(at_ms)) = (Topic::parse(message.topic()), message.timestamp().to_millis())
        else {
            continue;
        };
        since.entry((topic, message.partition())).or_insert(at_ms);
        // The rest of a long backlog is not read.
        let mut read = TopicPartitionList::new();
        read.add_partition(message.topic(), message.partition());
        consumer.pause(&read)?;
    }
    Ok(since)
}
