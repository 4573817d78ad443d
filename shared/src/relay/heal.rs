//! Taking back: the topics are a second copy of the log. Where they are ahead of it (a restored backup, a lost
//! standby), the service appends the events that its log lost from its own topics, before it consumes anything.
//!
//! Reading is here, deciding in [`plan`]. Nothing here writes.

pub mod plan;

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
};
use sqlx::PgConnection;

pub use plan::{Refusal, SeenEvent, plan};

use super::RelaySettings;
use crate::{
    broker::{
        Logged,
        message::copied,
        topics::{REQUEST_TIMEOUT, TopicsError, partitions_of},
    },
    contract::{
        envelope::{Mode, Raw, Recorded, decode},
        topics::Topic,
    },
    log::{self, Load, StoreError},
};

/// A relay that starts again repeats what was in flight and what its cursor had not saved: far less than this. So
/// the last so many positions can stand in any order at a topic's end, and what is before them is older.
const REPEATED_MAX: i64 = 20_000;
/// Events that are taken back at once, about; the caller appends them and asks again.
const TAKEN_BACK_MAX: usize = 50_000;
/// Messages of a partition that are read first, at least; four times as many each time that it was not enough.
const CHUNK_MIN: i64 = 500;
/// A broker that gives nothing for so long is away.
const SILENCE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// Do not start.
    #[error("the log and its topics do not agree: {0}")]
    Refused(#[from] Refusal),
    /// Wait and ask again.
    #[error("the topics cannot be read: {0}")]
    Broker(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the topics of this service have and its log does not: to be appended verbatim after the log's end, whole
/// decision by whole decision. Ask again after appending, until the answer is empty.
///
/// Another replica may append and publish all the while. What it published was in the log before, so the log's end
/// is read after the topics: what is past it then is past the log, and not merely past what it was when we began.
pub async fn missing_events(
    settings: &RelaySettings,
    connection: &mut PgConnection,
) -> Result<Vec<Recorded>, HealError> {
    let log_end = log::answered(log::end(connection)).await?;
    let tail = read(settings, log_end, Depth::Tail).await?;
    match decide(tail, connection).await {
        // It may stand further back than any relay repeats; before refusing, all is read.
        Err(HealError::Refused(Refusal::Missing { .. })) => {
            let whole = read(settings, log_end, Depth::Whole).await?;
            decide(whole, connection).await
        }
        other => other,
    }
}

async fn decide(seen: Seen, connection: &mut PgConnection) -> Result<Vec<Recorded>, HealError> {
    let log_end = log::answered(log::end(connection)).await?;
    let positions: BTreeSet<i64> =
        seen.events.iter().filter_map(|event| event.envelope.position).filter(|at| *at <= log_end).collect();
    let load = Load { positions: positions.into_iter().collect(), ..Load::default() };
    let own: HashMap<_, _> =
        log::answered(log::load(connection, &load)).await?.positions.into_iter().collect();
    Ok(plan(log_end, &own, seen.events, seen.end, TAKEN_BACK_MAX)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Back to where no relay of ours repeats.
    Tail,
    /// From the beginning.
    Whole,
}

struct Seen {
    events: Vec<SeenEvent>,
    /// The highest position on any topic.
    end: i64,
}

async fn read(settings: &RelaySettings, log_end: i64, depth: Depth) -> Result<Seen, HealError> {
    let settings = settings.clone();
    match tokio::task::spawn_blocking(move || read_blocking(&settings, log_end, depth)).await {
        Ok(seen) => seen,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn read_blocking(settings: &RelaySettings, log_end: i64, depth: Depth) -> Result<Seen, HealError> {
    let mut reader = settings.broker.reader(&settings.service);
    // A topic can end with a mark that is no message, so the last offset alone does not tell the end.
    reader.set("enable.partition.eof", "true");
    let consumer: BaseConsumer<Logged> = reader.create_with_context(Logged).map_err(broker)?;
    let mut places = Vec::new();
    for topic in &settings.topics {
        // A topic that is not there has nothing to give back; that it is not there is told elsewhere.
        let partitions = partitions_of(&settings.broker, topic.name()).map_err(unreachable)?.unwrap_or(0);
        places.extend((0..partitions).map(|partition| (*topic, partition)));
    }
    // Its share of them and a quarter more, as keys are spread evenly, but not quite.
    let share = REPEATED_MAX * 5 / 4 / (places.len() as i64).max(1);
    let source = format!("/fulfil/{}", settings.service);
    let tail = Tail { consumer: &consumer, source, log_end, chunk: share.max(CHUNK_MIN) };
    let mut seen = Seen { events: Vec::new(), end: 0 };
    for (topic, partition) in places {
        tail.read(topic, partition, depth, &mut seen)?;
    }
    Ok(seen)
}

struct Tail<'a> {
    consumer: &'a BaseConsumer<Logged>,
    source: String,
    log_end: i64,
    /// Of a partition, at first.
    chunk: i64,
}

impl Tail<'_> {
    /// Reads a partition backwards in growing chunks.
    fn read(&self, topic: Topic, partition: i32, depth: Depth, seen: &mut Seen) -> Result<(), HealError> {
        let (low, high) =
            self.consumer.fetch_watermarks(topic.name(), partition, REQUEST_TIMEOUT).map_err(broker)?;
        let (mut chunk, mut until) = (if depth == Depth::Whole { high - low } else { self.chunk }, high);
        while low < until {
            let from = (until - chunk).max(low);
            let oldest = self.read_chunk(topic, partition, from..until, seen)?;
            if oldest.is_some_and(|oldest| oldest <= self.log_end - REPEATED_MAX) {
                break;
            }
            (chunk, until) = (chunk * 4, from);
        }
        Ok(())
    }

    /// Reads the offsets and says the position of the first event of ours among them.
    fn read_chunk(
        &self,
        topic: Topic,
        partition: i32,
        offsets: std::ops::Range<i64>,
        seen: &mut Seen,
    ) -> Result<Option<i64>, HealError> {
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic.name(), partition, Offset::Offset(offsets.start))
            .map_err(broker)?;
        self.consumer.assign(&assignment).map_err(broker)?;
        let mut oldest = None;
        let mut heard_at = Instant::now();
        loop {
            let message = match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(oldest),
                // Informational; silence tells whether it was serious.
                Some(Err(_)) | None if heard_at.elapsed() < SILENCE_MAX => continue,
                Some(Err(error)) => return Err(broker(error)),
                None => return Err(HealError::Broker(format!("{} [{partition}] is silent", topic.name()))),
            };
            heard_at = Instant::now();
            let offset = message.offset();
            if offset >= offsets.end {
                return Ok(oldest);
            }
            if let Some(mut event) = copied(&message).and_then(|raw| self.ours(&raw)) {
                let position = event.envelope.position.unwrap_or_default();
                // The log has it, or another one there: the id tells.
                if position <= self.log_end {
                    event.envelope.data = String::new();
                }
                oldest.get_or_insert(position);
                seen.end = seen.end.max(position);
                // What is far ahead is read again when its turn comes.
                if position <= self.log_end + 2 * TAKEN_BACK_MAX as i64 {
                    seen.events.push(event);
                }
            }
            if offset + 1 >= offsets.end {
                return Ok(oldest);
            }
        }
    }

    /// An event that this service wrote. What others put on its topics says nothing about its log.
    fn ours(&self, raw: &Raw) -> Option<SeenEvent> {
        let envelope = decode(raw, Mode::Development).ok()?;
        if envelope.source != self.source || envelope.position.is_none() {
            return None;
        }
        let key = String::from_utf8(raw.key.as_ref()?.to_vec()).ok()?;
        Some(SeenEvent { topic: raw.topic, key, envelope })
    }
}

fn broker(error: KafkaError) -> HealError {
    HealError::Broker(error.to_string())
}

fn unreachable(error: TopicsError) -> HealError {
    HealError::Broker(error.to_string())
}
