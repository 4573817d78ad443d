//! A walk over the three topics of one partition that have an order's id as their key, to given places: from their beginning, or
//! from somewhere on. An order is whole in such a part if it was recorded after the part began, since nothing is published
//! before it is recorded: all that is on the topics of it is in the part then, however often and late it was published.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use chrono::TimeDelta;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use shared::{
    broker::{self, BrokerSettings, Logged, copied, topics::REQUEST_TIMEOUT},
    contract::{
        Timestamp,
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
/// The clocks of brokers and of the services' databases may differ by that much.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);
/// A walk to which nothing comes for so long is given up: a topic is gone, or does not answer.
const STALLED: Duration = Duration::from_secs(60);

pub(super) struct Walk {
    consumer: BaseConsumer<Logged>,
    partition: i32,
    mode: Mode,
    next: Places,
    to: Places,
    /// For so long it has looked and nothing came.
    silent: Duration,
    pub(super) sample: Sample,
}

impl Walk {
    /// At an offset of orders.events, and at the same time in the others; 0: the whole. Blocks. `None` where the beginning of a
    /// topic is gone, so that nothing can be folded from there, or where it ends before one of these places, so that it is not the
    /// one that the view has read.
    pub(super) fn begin(
        broker: &BrokerSettings,
        partition: i32,
        mode: Mode,
        begin: i64,
        to: &Places,
        mut sample: Sample,
    ) -> anyhow::Result<Option<Self>> {
        let mut client = broker.reader(GROUP);
        client
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", QUEUED_KBYTES)
            .set("fetch.message.max.bytes", FETCHED_BYTES);
        let consumer: BaseConsumer<Logged> = client.create_with_context(Logged)?;
        let places = TOPICS.map(|topic| (topic, partition));
        let spans = broker::spans(&consumer, &places, REQUEST_TIMEOUT).context("the ends of the topics")?;
        let read_to = |topic: Topic| to.get(&topic).copied().unwrap_or(0);
        let is_fit = |topic: Topic| {
            let (low, end) = spans[&(topic, partition)];
            low == 0 && end >= read_to(topic)
        };
        if !TOPICS.into_iter().all(is_fit) {
            return Ok(None);
        }
        let mut next: Places = TOPICS.into_iter().map(|topic| (topic, 0)).collect();
        if begin > 0
            && let Some(since_ms) = stamp(&consumer, partition, begin)?
        {
            next = since(&consumer, partition, since_ms, to)?;
            next.insert(Topic::OrdersEvents, begin);
            let since = Timestamp::from_timestamp_millis(since_ms).context("a message is of no time")?;
            sample.only_since(since + CLOCKS_DIFFER);
        }
        Ok(Some(Self { consumer, partition, mode, to: next.clone(), next, silent: Duration::ZERO, sample }))
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
        let begun = Instant::now();
        let until = begun + patience;
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
        self.silent = if messages > 0 { Duration::ZERO } else { self.silent + begun.elapsed() };
        ensure!(
            self.is_there() || self.silent < STALLED,
            "nothing comes of what the view has read, from {:?} to {:?}",
            self.next,
            self.to
        );
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

/// In the two topics beside orders.events the first place whose message came at that time or later, or where the view stands if that
/// is before it.
fn since(
    consumer: &BaseConsumer<Logged>,
    partition: i32,
    since_ms: i64,
    to: &Places,
) -> anyhow::Result<Places> {
    let mut asked = TopicPartitionList::new();
    for topic in [Topic::InventoryEvents, Topic::PaymentsEvents] {
        asked.add_partition_offset(topic.name(), partition, Offset::Offset(since_ms))?;
    }
    let found = consumer.offsets_for_times(asked, REQUEST_TIMEOUT).context("offsets for a time")?;
    let mut places = Places::new();
    for element in found.elements() {
        element.error()?;
        let topic = Topic::parse(element.topic()).context("the broker tells of a topic that is not ours")?;
        let read_to = to.get(&topic).copied().unwrap_or(0);
        let place = match element.offset() {
            Offset::Offset(offset) => offset.min(read_to),
            Offset::End => read_to,
            other => bail!("{topic}[{partition}] at {since_ms} is {other:?}"),
        };
        places.insert(topic, place);
    }
    Ok(places)
}

/// When the message of orders.events at a place, or the next after it, came to the broker; `None` where there is none.
fn stamp(consumer: &BaseConsumer<Logged>, partition: i32, offset: i64) -> anyhow::Result<Option<i64>> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(Topic::OrdersEvents.name(), partition, Offset::Offset(offset))?;
    consumer.assign(&list)?;
    let until = Instant::now() + REQUEST_TIMEOUT;
    while Instant::now() < until {
        match consumer.poll(POLL) {
            Some(Ok(message)) => return Ok(message.timestamp().to_millis()),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            // The client goes on by itself.
            Some(Err(_)) | None => {}
        }
    }
    bail!("{}[{partition}]@{offset} does not come", Topic::OrdersEvents)
}

fn is_fatal(code: rdkafka::error::RDKafkaErrorCode) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
    matches!(code, AutoOffsetReset | OffsetOutOfRange)
}
