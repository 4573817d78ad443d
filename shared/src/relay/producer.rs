//! The producer of the relay: what it was given, what came of it.
//!
//! It never flushes: delivery reports are counted as they come. After the first failure it is thrown away, and
//! whatever it had not sent with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rdkafka::{
    ClientContext, Message,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
};
use tokio::sync::Notify;

use super::machine::Entry;
use crate::{
    broker::{BrokerSettings, logged, topics::REQUEST_TIMEOUT},
    contract::topics::Topic,
    log::Lane,
};

/// The partition count of each topic that the relay writes.
pub(super) type Counts = BTreeMap<Topic, i32>;

/// The last acknowledged offset of each partition. Outlives the producers.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// Counts the producers, so that a late report of an older one is not taken for a step back.
    generation: u64,
    last: HashMap<(Topic, i32), i64>,
}

/// Gone with all that it was given and had not sent, when it is dropped.
pub(super) struct Producer {
    client: Arc<ThreadedProducer<Context>>,
    counts: Counts,
}

/// What came since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) acked: Vec<(Lane, i64)>,
    /// Acknowledged messages by partition.
    pub(super) sent: BTreeMap<(Topic, i32), u64>,
    pub(super) failure: Option<Failure>,
    /// The broker does not have any more what it acknowledged before.
    pub(super) lost: Option<(Topic, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another producer may do better.
    Producer(String),
    /// No producer will.
    Message { lane: Lane, reason: String },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// As much is under way as the client library holds: wait for reports.
    Full,
    Failed(Failure),
}

/// What the broker says about the topics.
#[derive(Debug)]
pub(super) enum Checked {
    All(Counts),
    Missing(Topic),
    Unreachable(String),
}

struct Context {
    reports: Mutex<Reports>,
    offsets: Arc<Mutex<Offsets>>,
    generation: u64,
    work: Arc<Notify>,
}

impl Producer {
    /// Blocks for as long as the broker takes to describe the topics.
    pub(super) fn build(
        settings: &BrokerSettings,
        topics: &[Topic],
        offsets: &Arc<Mutex<Offsets>>,
        work: &Arc<Notify>,
    ) -> Result<Self, Checked> {
        let generation = {
            let mut offsets = lock(offsets);
            offsets.generation += 1;
            offsets.generation
        };
        let (offsets, work) = (Arc::clone(offsets), Arc::clone(work));
        let context = Context { reports: Mutex::default(), offsets, generation, work };
        let client: ThreadedProducer<Context> = settings
            .producer()
            .create_with_context(context)
            .map_err(|error| Checked::Unreachable(error.to_string()))?;
        let mut producer = Self { client: Arc::new(client), counts: Counts::new() };
        match producer.checker(topics)() {
            Checked::All(counts) => {
                producer.counts = counts;
                Ok(producer)
            }
            other => Err(other),
        }
    }

    /// Asks the broker about the topics. Blocks when called.
    pub(super) fn checker(&self, topics: &[Topic]) -> impl FnOnce() -> Checked + Send + 'static {
        let (client, topics) = (Arc::clone(&self.client), topics.to_vec());
        move || {
            let mut counts = Counts::new();
            for topic in topics {
                match client.client().fetch_metadata(Some(topic.name()), REQUEST_TIMEOUT) {
                    Ok(metadata) => match metadata.topics().first().map(|found| found.partitions().len()) {
                        Some(count) if count > 0 => counts.insert(topic, count as i32),
                        _ => return Checked::Missing(topic),
                    },
                    Err(error) => return Checked::Unreachable(error.to_string()),
                };
            }
            Checked::All(counts)
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Where a message goes.
    pub(super) fn place(&self, lane: Lane, entry: &Entry) -> Result<(Topic, i32), Failure> {
        let topic = entry.record.topic;
        let Some(partitions) = self.counts.get(&topic) else {
            let reason = format!("topic {} is not one of this service", topic.name());
            return Err(Failure::Message { lane, reason: told(lane, entry.position, &reason) });
        };
        Ok((topic, entry.record.partition(*partitions)))
    }

    pub(super) fn send(&self, lane: Lane, entry: &Entry, partition: i32) -> Sent {
        let record = &entry.record;
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (name, value)| {
                headers.insert(Header { key: name, value: value.as_deref() })
            });
        let mut message = BaseRecord::with_opaque_to(record.topic.name(), opaque(lane, entry.position))
            .partition(partition)
            .headers(headers);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        let Err((error, _)) = self.client.send(message) else { return Sent::Yes };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Sent::Full,
            code => Sent::Failed(failure(lane, entry.position, record.topic.name(), code, &error)),
        }
    }

    pub(super) fn reports(&self) -> Reports {
        let mut reports = std::mem::take(&mut *self.client.context().reports());
        if reports.failure.is_none()
            && let Some((code, reason)) = self.client.client().fatal_error()
            // The report of the message at fault says more, and comes too.
            && code != RDKafkaErrorCode::GaplessGuarantee
        {
            reports.failure = Some(Failure::Producer(format!("{code}: {reason}")));
        }
        reports
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
        // Its destructor waits for the client library's threads.
        let client = Arc::clone(&self.client);
        let _ = thread::Builder::new().name("producer end".into()).spawn(move || drop(client));
    }
}

impl Context {
    fn reports(&self) -> MutexGuard<'_, Reports> {
        lock(&self.reports)
    }

    /// Where an acknowledged message stands. Offsets only grow, else the topic is not the one that it was.
    fn placed(&self, topic: Topic, partition: i32, offset: i64) -> Result<(), String> {
        let mut offsets = lock(&self.offsets);
        if offsets.generation != self.generation {
            return Ok(());
        }
        let last = offsets.last.entry((topic, partition)).or_insert(-1);
        if offset <= *last {
            return Err(format!(
                "{} [{partition}] took a message at offset {offset} after one at {last}: the topic was made anew, or \
                 the broker lost what it had acknowledged",
                topic.name()
            ));
        }
        *last = offset;
        Ok(())
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logged::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        logged::failed(&error, reason);
        // The relay asks whether it was fatal.
        self.work.notify_one();
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery_opaque: usize) {
        let (lane, position) = of_opaque(delivery_opaque);
        let mut reports = self.reports();
        match result {
            Ok(message) => {
                reports.acked.push((lane, position));
                if let Some(topic) = Topic::parse(message.topic()) {
                    *reports.sent.entry((topic, message.partition())).or_default() += 1;
                    // A retry that the broker had taken already is acknowledged without an offset.
                    if message.offset() >= 0
                        && let Err(lost) = self.placed(topic, message.partition(), message.offset())
                    {
                        reports.lost.get_or_insert((topic, lost));
                    }
                }
            }
            Err((error, message)) => {
                use RDKafkaErrorCode::{Fatal, GaplessGuarantee, PurgeInflight, PurgeQueue};
                let code = error.rdkafka_error_code();
                // Messages that fell with another one say nothing.
                if !matches!(code, Some(Fatal | GaplessGuarantee | PurgeInflight | PurgeQueue)) {
                    let found = failure(lane, position, message.topic(), code, error);
                    reports.failure.get_or_insert(found);
                }
            }
        }
        // One permit is kept while the relay is busy, so this is cheap.
        self.work.notify_one();
    }
}

fn failure(
    lane: Lane,
    position: i64,
    topic: &str,
    code: Option<RDKafkaErrorCode>,
    error: &KafkaError,
) -> Failure {
    let reason = match code {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            format!("the broker refuses it as too large: raise max.message.bytes of topic {topic}")
        }
        Some(RDKafkaErrorCode::InvalidRecord) => format!("topic {topic} refuses it: {error}"),
        _ => return Failure::Producer(format!("topic {topic}: {error}")),
    };
    Failure::Message { lane, reason: told(lane, position, &reason) }
}

fn told(lane: Lane, position: i64, reason: &str) -> String {
    match lane {
        Lane::Events => format!("the event at position {position} cannot be published: {reason}"),
        Lane::DeadLetters => format!("dead letter record {position} cannot be published: {reason}"),
    }
}

/// Lane and position in what a message carries through the client, without an allocation.
fn opaque(lane: Lane, position: i64) -> usize {
    (position as usize) << 1 | usize::from(lane == Lane::DeadLetters)
}

fn of_opaque(opaque: usize) -> (Lane, i64) {
    let lane = if opaque & 1 == 1 { Lane::DeadLetters } else { Lane::Events };
    (lane, (opaque >> 1) as i64)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
