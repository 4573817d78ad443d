//! Kafka as its clients see it: partitions that only grow, producers whose messages are on their way, groups.
//!
//! A producer's messages for one partition arrive in order, each once; what was on its way when the producer was thrown
//! away may arrive still, as a beginning of what it had been given.

use std::collections::{BTreeMap, VecDeque};

use rand::Rng;
use shared::{
    contract::{
        envelope::{Header, Headers, Raw},
        topics::Topic,
    },
    log::Lane,
    relay::machine::Entry,
};

use super::env::{Due, Env, Happens, Who};

pub(super) const PARTITIONS: i32 = 3;
/// Of one producer and partition, on their way at once.
const ON_THE_WAY_MAX: usize = 5;

pub(super) type Place = (Topic, i32);

#[derive(Default)]
pub(super) struct Broker {
    partitions: BTreeMap<Place, Vec<Message>>,
    pub(super) producers: Vec<Producer>,
    pub(super) away_until_ms: u64,
    /// By reading service and partition: nothing of it is seen before this time.
    pub(super) late_until_ms: BTreeMap<(usize, Place), u64>,
}

pub(super) struct Message {
    pub(super) raw: Raw,
    /// When it was appended.
    pub(super) at_ms: u64,
}

/// What the broker took, by one producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) producer: usize,
    pub(super) lane: Lane,
    pub(super) position: i64,
}

pub(super) struct Producer {
    who: Who,
    run: u32,
    /// Thrown away, or its process is gone: no more than what is on its way arrives.
    is_gone: bool,
    given: BTreeMap<Place, VecDeque<(Lane, Entry)>>,
}

impl Broker {
    pub(super) fn partition(&self, place: Place) -> &[Message] {
        self.partitions.get(&place).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn end(&self, place: Place) -> i64 {
        self.partition(place).len() as i64
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (Place, &[Message])> {
        self.partitions.iter().map(|(place, messages)| (*place, messages.as_slice()))
    }

    pub(super) fn write(
        &mut self,
        now_ms: u64,
        place: Place,
        key: Option<bytes::Bytes>,
        value: Option<bytes::Bytes>,
        headers: Vec<Header>,
    ) {
        let messages = self.partitions.entry(place).or_default();
        let (topic, partition) = place;
        let (offset, timestamp_ms) = (messages.len() as i64, now_ms as i64);
        let headers = Headers::Readable(headers);
        let raw = Raw { topic, partition, offset, key, value, headers, timestamp_ms };
        messages.push(Message { raw, at_ms: now_ms });
    }

    pub(super) fn new_producer(&mut self, who: Who, run: u32) -> usize {
        self.producers.push(Producer { who, run, is_gone: false, given: BTreeMap::new() });
        self.producers.len() - 1
    }
}

/// Gives a producer what it is to send, in this order. One that has failed takes nothing more.
pub(super) fn give(env: &mut Env, producer: usize, lane: Lane, entries: Vec<Entry>) {
    if env.broker.producers[producer].is_gone {
        return;
    }
    for entry in entries {
        let partition = (entry.record.topic, entry.record.partition(PARTITIONS));
        let given = env.broker.producers[producer].given.entry(partition).or_default();
        given.push_back((lane, entry));
        if given.len() == 1 {
            let wait_ms = env.delay_ms();
            env.at(env.now_ms + wait_ms, Due::Arrives { producer, partition });
        }
    }
}

/// The next message of a producer reaches the broker.
pub(super) fn arrive(env: &mut Env, producer: usize, partition: Place) {
    if env.now_ms < env.broker.away_until_ms {
        let until_ms = env.broker.away_until_ms;
        return env.at(until_ms, Due::Arrives { producer, partition });
    }
    let sender = &mut env.broker.producers[producer];
    let (who, run, is_gone) = (sender.who, sender.run, sender.is_gone);
    let Some(given) = sender.given.get_mut(&partition) else { return };
    let Some((lane, entry)) = given.pop_front() else { return };
    let more = !given.is_empty();
    if is_gone {
        env.faults.count("message of a dead producer arrived");
    } else if env.unlucky(env.trouble * 4) {
        // Not taken, and so neither is what comes after it: its sequence has a hole.
        env.faults.count("producer failed");
        env.broker.producers[producer].given.remove(&partition);
        discard(env, producer);
        let what = Happens::ProducerFailed { producer };
        return env.within(500, Due::To { who, run, what });
    }
    let record = entry.record;
    let known = || env.broker.partition(partition).iter().any(|message| message.raw.value == record.value);
    if record.value.is_some() && known() {
        env.faults.count("event published again");
    }
    let now_ms = env.now_ms;
    env.broker.write(now_ms, partition, record.key, record.value, record.headers);
    let mut back_ms = env.delay_ms();
    if env.unlucky(50) {
        env.faults.count("acknowledgement late");
        back_ms += env.rng.random_range(100..3_000);
    }
    let sent = Sent { producer, lane, position: entry.position };
    env.at(now_ms + back_ms, Due::To { who, run, what: Happens::Acked(sent) });
    if more {
        let wait_ms = env.delay_ms();
        env.at(env.now_ms + wait_ms, Due::Arrives { producer, partition });
    }
}

/// The producer is thrown away: of each partition only a beginning may still arrive, whenever it does.
pub(super) fn discard(env: &mut Env, producer: usize) {
    if std::mem::replace(&mut env.broker.producers[producer].is_gone, true) {
        return;
    }
    let arrives = env.rng.random_bool(0.5);
    let (left, wait_ms) = (env.rng.random_range(0..=ON_THE_WAY_MAX), env.rng.random_range(0..4_000));
    let mut partitions = Vec::new();
    for (partition, given) in &mut env.broker.producers[producer].given {
        given.truncate(if arrives { left } else { 0 });
        if !given.is_empty() {
            partitions.push(*partition);
        }
    }
    for partition in partitions {
        env.at(env.now_ms + wait_ms, Due::Arrives { producer, partition });
    }
}
