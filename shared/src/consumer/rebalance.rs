//! Which partitions are ours: the client's callbacks, which ask the loop where to go on, and the membership in the group.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::Context;
use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::KafkaError,
    statistics::Partition,
    types::RDKafkaRespErr,
};
use tracing::{error, info, warn};

use super::{
    Suspicion,
    heard::{Change, Place, Position, Teller},
};
use crate::contract::topics::Topic;

pub(super) const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// The loop answers between two batches. Past this we let the group go on without an answer.
const REVOKE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Between the polling loop and the rebalance callback, both on the same thread.
pub(super) struct Shared {
    pub(super) teller: Teller,
    /// How often partitions were assigned or revoked.
    pub(super) assignments: AtomicU64,
    pub(super) assigned: Mutex<Vec<Place>>,
    /// Whether the topics that begin something wait.
    pub(super) holds_back: AtomicBool,
    /// Its partitions went in good order, and it has not been given others yet.
    pub(super) is_between: AtomicBool,
    /// Where the partitions of our topics ended when the client last looked.
    pub(super) ends: Mutex<HashMap<Place, i64>>,
}

impl Shared {
    pub(super) fn new(teller: Teller) -> Self {
        Self {
            teller,
            assignments: AtomicU64::new(0),
            assigned: Mutex::new(Vec::new()),
            holds_back: AtomicBool::new(false),
            is_between: AtomicBool::new(true),
            ends: Mutex::new(HashMap::new()),
        }
    }
}

/// What the client calls back with, from inside `poll`.
pub(super) struct Rebalance {
    shared: Arc<Shared>,
}

impl ClientContext for Rebalance {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        use rdkafka::config::RDKafkaLogLevel as Level;
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error => {
                error!(facility, "kafka: {message}")
            }
            Level::Warning => warn!(facility, "kafka: {message}"),
            _ => tracing::debug!(facility, "kafka: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let Ok(mut ends) = self.shared.ends.lock() else { return };
        ends.clear();
        for (name, topic) in &statistics.topics {
            let Some(topic_of_ours) = Topic::parse(name) else { continue };
            // Of what was never fetched it says less than nothing.
            let is_known = |partition: &&Partition| partition.partition >= 0 && partition.hi_offset >= 0;
            let known = topic.partitions.values().filter(is_known);
            ends.extend(known.map(|partition| ((topic_of_ours, partition.partition), partition.hi_offset)));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Informational: the client goes on by itself. A fatal error is seen by `poll`.
        warn!(%error, "kafka: {reason}");
    }
}

impl ConsumerContext for Rebalance {
    /// Overriding this makes every assign and unassign ours (the protocol is eager: `range`).
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let result = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let places = places(partitions);
            info!(partitions = places.len(), "partitions assigned");
            assign(consumer, &self.shared, places)
        } else {
            let (reply, done) = mpsc::sync_channel(1);
            // With the loop gone there is nobody to wait for.
            if self.shared.teller.changes.blocking_send(Change::Revoked { reply }).is_ok() {
                let _ = done.recv_timeout(REVOKE_WAIT_MAX);
            }
            set_assigned(&self.shared, Vec::new());
            self.shared.is_between.store(consumer.client().fatal_error().is_none(), Ordering::Relaxed);
            info!("partitions revoked");
            consumer.unassign()
        };
        if let Err(error) = result {
            error!(%error, "the rebalance failed");
        }
    }
}

/// A new member of the group, by the same name.
pub(super) fn join(
    client: &ClientConfig,
    topics: &[Topic],
    shared: &Arc<Shared>,
) -> anyhow::Result<BaseConsumer<Rebalance>> {
    let context = Rebalance { shared: Arc::clone(shared) };
    let consumer: BaseConsumer<Rebalance> =
        client.create_with_context(context).context("creating the Kafka consumer")?;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name()).collect();
    consumer.subscribe(&names).context("subscribing")?;
    Ok(consumer)
}

/// Asks the loop where to go on, checks that the topic still has it, and fetches from there.
pub(super) fn assign(
    consumer: &BaseConsumer<Rebalance>,
    shared: &Shared,
    places: Vec<Place>,
) -> Result<(), KafkaError> {
    let (reply, positions) = mpsc::sync_channel(1);
    if shared.teller.changes.blocking_send(Change::Assigned { places: places.clone(), reply }).is_err() {
        return consumer.unassign();
    }
    // The loop answers as soon as the database does; while that is away the group waits with us.
    let positions = positions.recv().unwrap_or_default();
    let mut list = TopicPartitionList::new();
    for Position { place, next } in positions {
        let offset = match next {
            None => Offset::Beginning,
            Some(next) => match consumer.fetch_watermarks(place.0.name(), place.1, BROKER_TIMEOUT) {
                Ok((low, high)) if next < low || next > high => {
                    let suspicion = Suspicion { place, next, low, high };
                    error!("{suspicion}");
                    let _ = shared.teller.changes.blocking_send(Change::DataLossSuspected(suspicion));
                    continue;
                }
                // Unknown ends: `auto.offset.reset=error` tells us later.
                _ => Offset::Offset(next),
            },
        };
        list.add_partition_offset(place.0.name(), place.1, offset)?;
    }
    set_assigned(shared, places);
    shared.is_between.store(false, Ordering::Relaxed);
    consumer.assign(&list)?;
    // A partition that was paused when it was taken from us is still paused when it comes back.
    consumer.resume(&list)
}

fn set_assigned(shared: &Shared, places: Vec<Place>) {
    shared.assignments.fetch_add(1, Ordering::Relaxed);
    if let Ok(mut assigned) = shared.assigned.lock() {
        *assigned = places;
    }
}

fn places(partitions: &TopicPartitionList) -> Vec<Place> {
    let mut places: Vec<Place> = partitions
        .elements()
        .iter()
        .filter_map(|element| Some((Topic::parse(element.topic())?, element.partition())))
        .collect();
    places.sort_unstable();
    places
}
