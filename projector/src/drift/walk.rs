//! A walk over the three topics of one partition that have an order's id as their key, from their beginning to given places.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use shared::{
    broker::{BrokerSettings, Logged, copied, topics::REQUEST_TIMEOUT},
    contract::{
        envelope::{Mode, Raw},
        ids::OrderId,
        topics::Topic,
    },
};
use uuid::Uuid;

use super::sample::Sample;
use crate::intake::{self, GROUP, Heard};

pub(super) const TOPICS: [Topic; 3] = [Topic::OrdersEvents, Topic::InventoryEvents, Topic::PaymentsEvents];

/// Next offsets.
pub(super) type Places = HashMap<Topic, i64>;

/// Read ahead of what is folded.
const QUEUED_KBYTES: &str = "256";
const FETCHED_BYTES: &str = "327680";
const POLL: Duration = Duration::from_millis(20);

pub(super) struct Walk {
    consumer: BaseConsumer<Logged>,
    partition: i32,
    mode: Mode,
    next: Places,
    to: Places,
    pub(super) sample: Sample,
}

impl Walk {
    /// Blocks. `None` where the beginning of a topic is gone: nothing can be folded from there.
    pub(super) fn begin(
        broker: &BrokerSettings,
        partition: i32,
        mode: Mode,
        sample: Sample,
    ) -> anyhow::Result<Option<Self>> {
        let mut client = broker.reader(GROUP);
        client
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", QUEUED_KBYTES)
            .set("fetch.message.max.bytes", FETCHED_BYTES);
        let consumer: BaseConsumer<Logged> = client.create_with_context(Logged)?;
        for topic in TOPICS {
            let low = consumer.fetch_watermarks(topic.name(), partition, REQUEST_TIMEOUT);
            if low.with_context(|| format!("the ends of {topic}[{partition}]"))?.0 > 0 {
                return Ok(None);
            }
        }
        let next: Places = TOPICS.into_iter().map(|topic| (topic, 0)).collect();
        Ok(Some(Self { consumer, partition, mode, to: next.clone(), next, sample }))
    }

    /// Goes on from where it is. False where it is beyond one of these places.
    pub(super) fn go_on(&mut self, to: Places) -> anyhow::Result<bool> {
        let mut list = TopicPartitionList::new();
        for topic in TOPICS {
            let (next, to) = (self.next[&topic], to.get(&topic).copied().unwrap_or(0));
            if next > to {
                return Ok(false);
            }
            if next < to {
                list.add_partition_offset(topic.name(), self.partition, Offset::Offset(next))?;
            }
        }
        self.consumer.assign(&list)?;
        self.to = to;
        Ok(true)
    }

    pub(super) fn is_there(&self) -> bool {
        TOPICS.iter().all(|topic| self.next[topic] >= self.to.get(topic).copied().unwrap_or(0))
    }

    /// So many messages at most, for so long at most. Blocks.
    pub(super) fn step(&mut self, messages_max: usize, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        let mut messages = 0;
        while messages < messages_max && Instant::now() < until && !self.is_there() {
            // What was fetched is gone from the client's queue whether it is folded or not.
            let raw = match self.consumer.poll(POLL) {
                None => continue,
                Some(Ok(message)) => copied(&message),
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.reached()?;
                    continue;
                }
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_fatal) => {
                    bail!("the topics do not have any more what was to be read next: {error}");
                }
                // The client goes on by itself.
                Some(Err(_)) => continue,
            };
            messages += 1;
            if let Some(raw) = raw {
                self.take(&raw);
            }
        }
        Ok(())
    }

    fn take(&mut self, raw: &Raw) {
        let to = self.to.get(&raw.topic).copied().unwrap_or(0);
        // Beyond: it comes again where the walk goes on.
        if raw.offset >= to {
            self.next.insert(raw.topic, to);
            return;
        }
        self.next.insert(raw.topic, raw.offset + 1);
        let key = raw.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let id = key.and_then(|key| Uuid::try_parse(key).ok()).and_then(OrderId::new);
        let Some(id) = id.filter(|id| self.sample.wants(*id)) else { return };
        match intake::read(raw, self.mode) {
            Ok(Heard::Event(fact)) if fact.order_id() == Some(id) => self.sample.fold(id, &fact),
            // As in the view, it is a dead letter and touches nothing. But what is newer waits there.
            Err(intake::Unread::Newer { .. }) => self.sample.odd(id),
            Ok(_) | Err(_) => {}
        }
    }

    /// There may be no message right before a place: what stands there is the log's own.
    fn reached(&mut self) -> anyhow::Result<()> {
        for place in self.consumer.position()?.elements() {
            let Some(topic) = Topic::parse(place.topic()) else { continue };
            if let (Offset::Offset(next), Some(known)) = (place.offset(), self.next.get_mut(&topic)) {
                *known = next.max(*known).min(self.to.get(&topic).copied().unwrap_or(0)).max(*known);
            }
        }
        Ok(())
    }
}

fn is_fatal(code: rdkafka::error::RDKafkaErrorCode) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
    matches!(code, AutoOffsetReset | OffsetOutOfRange)
}
