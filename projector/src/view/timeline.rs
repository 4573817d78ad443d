//! The timeline of an order: every event about it over all topics, causes before their effects.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use shared::contract::{Timestamp, ids::OrderId, topics::Topic};
use uuid::Uuid;

/// One event of an order. Stock events belong to the order that they name.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub order_id: OrderId,
    pub topic: Topic,
    /// The order id, or the sku of a stock event: with the topic it names the stream.
    pub key: String,
    /// The stream version; 0 for an event that no service of ours wrote.
    pub sequence: i64,
    pub event_id: Uuid,
    pub event_type: String,
    /// Who wrote it: `inventory-service`.
    pub service: String,
    pub time: Timestamp,
    pub position: Option<i64>,
    pub cause: Option<Uuid>,
    pub data: String,
    /// How often it was on its topic; above one, the rest were duplicates.
    pub deliveries: i64,
}

/// What makes an entry the same one.
pub type EntryId = (OrderId, Topic, i64, Uuid);

impl Entry {
    pub fn id(&self) -> EntryId {
        (self.order_id, self.topic, self.sequence, self.event_id)
    }

    /// The same one again. Of two that are not equal, which nobody's but foreign ones are, the lesser is told, so that their
    /// order does not matter.
    pub fn again(&mut self, other: Entry) {
        let deliveries = self.deliveries + other.deliveries;
        if (other.time, &other.data) < (self.time, &self.data) {
            *self = other;
        }
        self.deliveries = deliveries;
    }
}

/// An entry at its place in the story, with the time since its cause where that is part of the story.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub entry: Entry,
    pub latency_ms: Option<i64>,
}

/// Puts entries in the order in which they must have happened: by time, but never before their cause and never
/// before the version before them. Clocks alone would not do: milliseconds are coarse and services have several.
pub fn story(entries: Vec<Entry>) -> Vec<Told> {
    let times: HashMap<Uuid, Timestamp> = entries.iter().map(|entry| (entry.event_id, entry.time)).collect();
    let mut order = causal_order(&entries);
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    order
        .drain(..)
        .filter_map(|index| entries[index].take())
        .map(|entry| {
            let since = entry.cause.and_then(|cause| times.get(&cause));
            let latency_ms = since.map(|since| (entry.time - since).num_milliseconds());
            Told { entry, latency_ms }
        })
        .collect()
}

fn causal_order(entries: &[Entry]) -> Vec<usize> {
    let rank = |index: usize| {
        let entry = &entries[index];
        Reverse((entry.time, entry.topic, entry.sequence, entry.key.as_str(), entry.event_id, index))
    };
    let (mut waits_for, mut followers) = (vec![0_usize; entries.len()], vec![Vec::new(); entries.len()]);
    for (index, before) in (0..entries.len()).flat_map(|index| befores(entries, index)) {
        waits_for[index] += 1;
        followers[before].push(index);
    }
    let mut ready: BinaryHeap<_> =
        (0..entries.len()).filter(|&index| waits_for[index] == 0).map(rank).collect();
    let mut order = Vec::with_capacity(entries.len());
    while let Some(Reverse((.., index))) = ready.pop() {
        order.push(index);
        for &follower in &followers[index] {
            waits_for[follower] -= 1;
            if waits_for[follower] == 0 {
                ready.push(rank(follower));
            }
        }
    }
    // Events by hand can claim to cause each other. They are shown all the same, at the end.
    order.extend((0..entries.len()).filter(|&index| waits_for[index] > 0));
    order
}

/// What must stand before an entry: its cause, and the newest entry of its stream that is older.
fn befores(entries: &[Entry], index: usize) -> Vec<(usize, usize)> {
    let entry = &entries[index];
    let cause = entry
        .cause
        .and_then(|cause| entries.iter().position(|other| other.event_id == cause))
        .filter(|&cause| cause != index);
    let older = |other: &Entry| {
        other.topic == entry.topic && other.key == entry.key && (1..entry.sequence).contains(&other.sequence)
    };
    let previous = entries.iter().enumerate().filter(|(_, other)| older(other));
    let previous = previous.max_by_key(|(_, other)| other.sequence).map(|(index, _)| index);
    cause.into_iter().chain(previous).map(|before| (index, before)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(topic: Topic, sequence: i64, id: u128, cause: u128, ms: i64) -> Entry {
        Entry {
            order_id: OrderId::new(Uuid::from_u128(1)).unwrap(),
            topic,
            key: "1".into(),
            sequence,
            event_id: Uuid::from_u128(id),
            event_type: String::new(),
            service: String::new(),
            time: Timestamp::from_timestamp_millis(ms).unwrap(),
            position: None,
            cause: Some(Uuid::from_u128(cause)),
            data: String::new(),
            deliveries: 1,
        }
    }

    fn ids(entries: Vec<Entry>) -> Vec<u128> {
        story(entries).iter().map(|told| told.entry.event_id.as_u128()).collect()
    }

    #[test]
    fn a_cause_stands_before_its_effect_even_when_a_clock_says_otherwise() {
        let created = entry(Topic::OrdersEvents, 1, 1, 900, 50);
        let reserved = entry(Topic::InventoryEvents, 1, 2, 1, 40);
        let requested = entry(Topic::PaymentsEvents, 1, 3, 2, 45);
        let told = story(vec![requested.clone(), reserved.clone(), created.clone()]);
        let order: Vec<u128> = told.iter().map(|told| told.entry.event_id.as_u128()).collect();
        assert_eq!(order, [1, 2, 3]);
        let latencies: Vec<_> = told.iter().map(|told| told.latency_ms).collect();
        assert_eq!(latencies, [None, Some(-10), Some(5)], "the cause of the first is not in the story");
    }

    #[test]
    fn versions_of_a_stream_keep_their_order_within_a_millisecond() {
        let confirmed = entry(Topic::OrdersEvents, 2, 20, 900, 5);
        let cancelled = entry(Topic::OrdersEvents, 3, 3, 901, 5);
        assert_eq!(ids(vec![cancelled, confirmed]), [20, 3]);
    }

    #[test]
    fn an_event_that_comes_again_is_counted_in_any_order() {
        let (early, late) =
            (entry(Topic::OrdersEvents, 0, 1, 900, 5), entry(Topic::OrdersEvents, 0, 1, 900, 6));
        let (mut one, mut other) = (early.clone(), late.clone());
        one.again(late);
        other.again(early.clone());
        assert_eq!((&one, one.deliveries, one.time), (&other, 2, early.time));
    }

    #[test]
    fn events_that_claim_to_cause_each_other_are_still_shown() {
        let (one, two) = (entry(Topic::OrdersEvents, 0, 1, 2, 1), entry(Topic::OrdersEvents, 0, 2, 1, 2));
        assert_eq!(ids(vec![two, one]).len(), 2);
    }
}
