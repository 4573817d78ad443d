//! Reading topics from any place, without a group.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use shared::{
    broker::{
        self, BrokerSettings, Logged, copied,
        topics::{REQUEST_TIMEOUT, partitions_of},
    },
    contract::{envelope::Raw, topics::Topic},
};
use tokio::sync::mpsc;

use super::{CLIENT, From};
use crate::exit::{Exit, ended};

const POLL: Duration = Duration::from_millis(100);
const AHEAD_MESSAGES_MAX: usize = 1024;

/// A partition from where it is read to where it ended when the reader was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub low: i64,
    pub from: i64,
    pub end: i64,
}

pub struct Reader {
    consumer: BaseConsumer<Logged>,
    spans: HashMap<(Topic, i32), Span>,
    /// The next offset of partitions that are still behind where they ended.
    behind: HashMap<(Topic, i32), i64>,
}

/// What a followed reader hears.
#[derive(Debug)]
pub enum Heard {
    Message(Raw),
    /// All that was there at the start has been heard.
    CaughtUp,
    Failed(String),
}

impl Reader {
    /// Blocks while it asks the broker where everything is. `partition`: of each topic; all where `None`.
    pub fn open(
        broker: &BrokerSettings,
        topics: &[Topic],
        partition: Option<i32>,
        from: From,
    ) -> anyhow::Result<Self> {
        let consumer: BaseConsumer<Logged> = broker
            .reader(CLIENT)
            .create_with_context(Logged)
            .context("the Kafka client refuses its settings")?;
        let mut places = Vec::new();
        for topic in topics {
            let partitions = partitions_of(broker, topic.name())?.ok_or_else(|| {
                ended(Exit::NotFound, format!("there is no topic {topic}: fulfil topic ensure"))
            })?;
            match partition {
                Some(one) if one < partitions => places.push((*topic, one)),
                Some(one) => {
                    let text = format!("{topic} has no partition {one}: it has 0 to {}", partitions - 1);
                    return Err(ended(Exit::NotFound, text));
                }
                None => places.extend((0..partitions).map(|partition| (*topic, partition))),
            }
        }
        Self::assign(consumer, &places, from)
    }

    /// The same of single partitions.
    pub fn open_partitions(
        broker: &BrokerSettings,
        places: &[(Topic, i32)],
        from: From,
    ) -> anyhow::Result<Self> {
        let consumer: BaseConsumer<Logged> = broker
            .reader(CLIENT)
            .create_with_context(Logged)
            .context("the Kafka client refuses its settings")?;
        Self::assign(consumer, places, from)
    }

    fn assign(consumer: BaseConsumer<Logged>, places: &[(Topic, i32)], from: From) -> anyhow::Result<Self> {
        let since = since(&consumer, places, from)?;
        let mut spans = HashMap::new();
        let mut assignment = TopicPartitionList::new();
        let ends = broker::spans(&consumer, places, REQUEST_TIMEOUT).context("the ends of the topics")?;
        for (&(topic, partition), &(low, end)) in &ends {
            let from = match from {
                From::Start => low,
                From::End => end,
                From::Last(count) => (end - count).max(low),
                From::Offset(offset) => offset.clamp(low, end),
                From::Since(_) | From::Ago(_) => since.get(&(topic, partition)).copied().unwrap_or(end),
            };
            spans.insert((topic, partition), Span { low, from, end });
            assignment.add_partition_offset(topic.name(), partition, Offset::Offset(from))?;
        }
        consumer.assign(&assignment)?;
        let behind = spans.iter().filter(|(_, span)| span.from < span.end);
        let behind = behind.map(|(place, span)| (*place, span.from)).collect();
        Ok(Self { consumer, spans, behind })
    }

    pub fn spans(&self) -> &HashMap<(Topic, i32), Span> {
        &self.spans
    }

    /// Messages between where this reader began and where the topics ended then.
    pub fn backlog(&self) -> i64 {
        self.spans.values().map(|span| span.end - span.from).sum()
    }

    pub fn is_caught_up(&self) -> bool {
        self.behind.is_empty()
    }

    /// The next message within `wait`.
    pub fn next(&mut self, wait: Duration) -> anyhow::Result<Option<Raw>> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => {
                let Some(raw) = copied(&message) else { return Ok(None) };
                let place = (raw.topic, raw.partition);
                if let Some(next) = self.behind.get_mut(&place) {
                    *next = raw.offset + 1;
                    if *next >= self.spans[&place].end {
                        self.behind.remove(&place);
                    }
                }
                Ok(Some(raw))
            }
            Some(Err(error)) if is_end(&error) => {
                Err(error).context("a place on the topic is gone (retention): begin with -o start")
            }
            // The client goes on by itself; so do we.
            Some(Err(_)) => Ok(None),
        }
    }

    /// All that was there when it was opened, in the order of arrival at the broker.
    pub fn to_end(&mut self, limit: Duration) -> anyhow::Result<Vec<Raw>> {
        let deadline = Instant::now() + limit;
        let mut messages = Vec::new();
        while !self.is_caught_up() {
            match self.next(POLL)? {
                Some(raw) => {
                    let span = self.spans[&(raw.topic, raw.partition)];
                    if raw.offset < span.end {
                        messages.push(raw);
                    }
                }
                None if Instant::now() > deadline => {
                    return Err(ended(
                        Exit::Unreachable,
                        format!("Kafka stopped answering with {} partitions to go", self.behind.len()),
                    ));
                }
                None => {}
            }
        }
        sort_by_arrival(&mut messages);
        Ok(messages)
    }

    /// Goes on reading on a thread of its own until the receiver is dropped.
    pub fn follow(mut self) -> mpsc::Receiver<Heard> {
        let (sender, receiver) = mpsc::channel(AHEAD_MESSAGES_MAX);
        thread::spawn(move || {
            let mut told = false;
            loop {
                if !told && self.is_caught_up() {
                    told = true;
                    if sender.blocking_send(Heard::CaughtUp).is_err() {
                        return;
                    }
                }
                let heard = match self.next(POLL) {
                    Ok(Some(raw)) => Heard::Message(raw),
                    Ok(None) if sender.is_closed() => return,
                    Ok(None) => continue,
                    Err(error) => Heard::Failed(format!("{error:#}")),
                };
                let last = matches!(heard, Heard::Failed(_));
                if sender.blocking_send(heard).is_err() || last {
                    return;
                }
            }
        });
        receiver
    }
}

/// Arrival times are the broker's, so they are comparable over topics; within a partition the offset decides.
pub fn sort_by_arrival(messages: &mut [Raw]) {
    messages.sort_by_key(|raw| (raw.timestamp_ms, raw.topic, raw.partition, raw.offset));
}

fn since(
    consumer: &BaseConsumer<Logged>,
    places: &[(Topic, i32)],
    from: From,
) -> anyhow::Result<HashMap<(Topic, i32), i64>> {
    let at_ms = match from {
        From::Since(time) => time.timestamp_millis(),
        From::Ago(ago) => chrono::Utc::now().timestamp_millis() - ago.as_millis() as i64,
        _ => return Ok(HashMap::new()),
    };
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in places {
        asked.add_partition_offset(topic.name(), *partition, Offset::Offset(at_ms))?;
    }
    let found = consumer.offsets_for_times(asked, REQUEST_TIMEOUT).context("offsets for a time")?;
    let offsets = found.elements().into_iter().filter_map(|element| {
        let Offset::Offset(offset) = element.offset() else { return None };
        Some(((Topic::parse(element.topic())?, element.partition()), offset))
    });
    Ok(offsets.filter(|(_, offset)| *offset >= 0).collect())
}

fn is_end(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}
