//! The topics from where a second view stands: first in the order in which the broker took the messages, so that what
//! belongs to one order comes together, and from their ends on as they come.
//!
//! Without a group: all partitions of all topics, on a thread of its own that also decodes.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, base_consumer::PartitionQueue},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use shared::{
    broker::{BrokerSettings, Logged, copied, topics::REQUEST_TIMEOUT},
    consumer::{Place, Position},
    contract::{
        envelope::{Mode, Raw},
        topics::Topic,
    },
};
use tokio::sync::mpsc;

use super::Letters;
use crate::project::batch::Taken;

/// Messages committed together, at most: enough that a batch hardly costs more than they do. One is read, one waits, one is
/// folded and one written, so 5,000 took 130 MB where this takes some 95 and is as fast.
const BATCH_MAX: usize = 2_000;
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Read ahead of what is folded.
const BATCHES_AHEAD: usize = 1;
/// Of each partition: there may be some hundred of them.
const QUEUED_KBYTES: &str = "256";
/// More than a batch of ours: of one that is larger a fetch brings nothing, but for the first partition that it asks for.
const FETCHED_BYTES: &str = "327680";
/// Of all partitions together.
const FETCHED_BYTES_MAX: &str = "4194304";
/// A fetch from partitions that are at their ends must not keep the next one waiting, from those that are not.
const FETCH_WAIT_MS: &str = "5";
/// How long one wait for a message takes, at most, and how long the first of a batch waits for more.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) enum Heard {
    Messages(Vec<Taken>),
    /// Every partition was read to where it ended at some moment since the start: to these offsets. Said once.
    AtTheEnds(Vec<(Place, i64)>),
    /// The broker does not answer; it is tried again.
    Away(String),
    /// It cannot go on.
    Failed(String),
}

/// Reads until the receiver is dropped.
pub(super) fn start(
    broker: &BrokerSettings,
    positions: Vec<Position>,
    decided: Arc<RwLock<Letters>>,
    mode: Mode,
) -> anyhow::Result<mpsc::Receiver<Heard>> {
    let mut client = broker.reader(crate::intake::GROUP);
    let follower = client.clone();
    client
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", QUEUED_KBYTES)
        .set("fetch.message.max.bytes", FETCHED_BYTES)
        .set("fetch.max.bytes", FETCHED_BYTES_MAX)
        .set("fetch.wait.max.ms", FETCH_WAIT_MS);
    let (sender, heard) = mpsc::channel(BATCHES_AHEAD);
    std::thread::Builder::new()
        .name("rebuild".into())
        .spawn(move || {
            let mut out =
                Out { sender, decided, mode, messages: Vec::new(), bytes: 0, since: Instant::now() };
            let told = match read(&client, &follower, positions, &mut out) {
                Ok(()) | Err(Stop::Gone) => return,
                Err(Stop::Away(why)) => Heard::Away(why),
                Err(Stop::Failed(why)) => Heard::Failed(why),
            };
            let _ = out.sender.blocking_send(told);
        })
        .context("starting the thread that reads")?;
    Ok(heard)
}

enum Stop {
    /// Nobody listens any more.
    Gone,
    /// The broker does not answer; it is tried again.
    Away(String),
    Failed(String),
}

impl From<KafkaError> for Stop {
    fn from(error: KafkaError) -> Self {
        Self::Away(error.to_string())
    }
}

fn read(
    client: &ClientConfig,
    follower: &ClientConfig,
    positions: Vec<Position>,
    out: &mut Out,
) -> Result<(), Stop> {
    let next = begin(client, positions)?;
    let next = in_order(client, next, out)?;
    out.tell()?;
    out.sender.blocking_send(Heard::AtTheEnds(next.clone())).map_err(|_| Stop::Gone)?;
    // Another client: queues that were split stay so.
    let consumer: BaseConsumer<Logged> = follower.create_with_context(Logged)?;
    assign(&consumer, &next)?;
    loop {
        if let Some(raw) = message(consumer.poll(POLL))?.message() {
            out.push(raw)?;
        }
        out.tell_if_late()?;
    }
}

/// Where to begin. Of a topic with a retention what is gone was read by the view that serves, and is taken over from it.
fn begin(client: &ClientConfig, positions: Vec<Position>) -> Result<Vec<(Place, i64)>, Stop> {
    let consumer: BaseConsumer<Logged> = client.create_with_context(Logged)?;
    let begin = |Position { place, next }| {
        let (topic, partition): Place = place;
        let (low, end) = consumer.fetch_watermarks(topic.name(), partition, REQUEST_TIMEOUT)?;
        let is_kept_for_weeks = topic == Topic::DeadLetters;
        match next.map(|next| if is_kept_for_weeks { next.max(low) } else { next }) {
            None => Ok((place, low)),
            Some(next) if (low..=end).contains(&next) => Ok((place, next)),
            Some(next) => {
                let why =
                    format!("{topic}[{partition}] has {low} to {end}, and the second view goes on at {next}");
                Err(Stop::Failed(why))
            }
        }
    };
    positions.into_iter().map(begin).collect()
}

/// Merges the partitions until each was at its end. Answers where each goes on.
fn in_order(
    client: &ClientConfig,
    mut next: Vec<(Place, i64)>,
    out: &mut Out,
) -> Result<Vec<(Place, i64)>, Stop> {
    let consumer: Arc<BaseConsumer<Logged>> = Arc::new(client.create_with_context(Logged)?);
    // Split before anything is assigned: what came between the two would be in the common queue, and lost.
    let mut queues: Vec<PartitionQueue<Logged>> = Vec::with_capacity(next.len());
    for ((topic, partition), _) in &next {
        let queue = consumer.split_partition_queue(topic.name(), *partition);
        queues.push(queue.ok_or_else(|| Stop::Failed(format!("{topic}[{partition}] has no queue")))?);
    }
    assign(&consumer, &next)?;
    let mut heads: Vec<Option<Raw>> = next.iter().map(|_| None).collect();
    // By the broker's time, which is comparable over all of them.
    let mut times: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    let mut missing: Vec<usize> = (0..queues.len()).collect();
    loop {
        while let Some(&index) = missing.last() {
            let mut polled = message(queues[index].poll(Duration::ZERO))?;
            if let Polled::Nothing = polled {
                out.tell_if_late()?;
                // Callbacks and errors of the client.
                message(consumer.poll(Duration::ZERO))?;
                polled = message(queues[index].poll(POLL))?;
            }
            match polled {
                Polled::Nothing => continue,
                Polled::End => {}
                Polled::Message(raw) => {
                    times.push(Reverse((raw.timestamp_ms, index)));
                    heads[index] = Some(raw);
                }
            }
            missing.pop();
        }
        let Some(Reverse((_, index))) = times.pop() else { return Ok(next) };
        if let Some(raw) = heads[index].take() {
            next[index].1 = raw.offset + 1;
            out.push(raw)?;
        }
        missing.push(index);
    }
}

fn assign(consumer: &BaseConsumer<Logged>, next: &[(Place, i64)]) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in next {
        list.add_partition_offset(topic.name(), *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&list)
}

enum Polled {
    Message(Raw),
    End,
    Nothing,
}

impl Polled {
    fn message(self) -> Option<Raw> {
        match self {
            Self::Message(raw) => Some(raw),
            Self::End | Self::Nothing => None,
        }
    }
}

/// Errors are informational: the client goes on by itself. But for a place that its topic does not have.
fn message(polled: Option<Result<BorrowedMessage<'_>, KafkaError>>) -> Result<Polled, Stop> {
    match polled {
        None => Ok(Polled::Nothing),
        Some(Ok(message)) => Ok(copied(&message).map_or(Polled::Nothing, Polled::Message)),
        Some(Err(KafkaError::PartitionEOF(_))) => Ok(Polled::End),
        Some(Err(error)) => match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                // Whoever begins again finds out which, and whether that matters.
                Err(Stop::Away(format!("a topic does not have any more what was to be read next: {error}")))
            }
            _ => Ok(Polled::Nothing),
        },
    }
}

/// What is told next.
struct Out {
    sender: mpsc::Sender<Heard>,
    decided: Arc<RwLock<Letters>>,
    mode: Mode,
    messages: Vec<Taken>,
    bytes: usize,
    /// When the first of them came.
    since: Instant,
}

impl Out {
    fn push(&mut self, raw: Raw) -> Result<(), Stop> {
        if self.messages.is_empty() {
            self.since = Instant::now();
        }
        self.bytes += raw.bytes();
        let decided = self.decided.read().unwrap_or_else(PoisonError::into_inner);
        self.messages.push(decided.read(raw, self.mode));
        drop(decided);
        match self.messages.len() >= BATCH_MAX || self.bytes >= BATCH_BYTES_MAX {
            true => self.tell(),
            false => Ok(()),
        }
    }

    fn tell_if_late(&mut self) -> Result<(), Stop> {
        match self.since.elapsed() >= POLL {
            true => self.tell(),
            false => Ok(()),
        }
    }

    fn tell(&mut self) -> Result<(), Stop> {
        if self.messages.is_empty() {
            // Also notices that nobody listens.
            return if self.sender.is_closed() { Err(Stop::Gone) } else { Ok(()) };
        }
        self.bytes = 0;
        let messages = std::mem::take(&mut self.messages);
        self.sender.blocking_send(Heard::Messages(messages)).map_err(|_| Stop::Gone)
    }
}
