//! The topics: what is published arrives in the order of its key, late and again.

use rand::Rng;
use shared::{contract::message::Message, decider::Decider, testing::memory::told};
use uuid::Uuid;

use super::{
    Bug, Due, INVENTORY, ORDERS, READERS, World,
    decide::{Command, Taken},
};
use crate::{saga_model::traffic, samples};

/// A message on a topic.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) message: Message,
    pub(super) key: u128,
    pub(super) id: Uuid,
    pub(super) position: Option<i64>,
}

impl World {
    /// With the id and position of a service of ours, or by somebody else.
    pub(super) fn publish(&mut self, topic: usize, message: Message, ours: Option<(Uuid, i64)>) {
        let key = match &message {
            Message::StockCommand(command) => traffic::number_of(command.sku()) as u128,
            Message::Order(event) => event.order_id().uuid().as_u128(),
            Message::OrderCommand(command) => command.order_id().uuid().as_u128(),
            Message::Reservation(event) => event.order_id().uuid().as_u128(),
            Message::Payment(event) => event.order_id().uuid().as_u128(),
            Message::Stock(_) | Message::DeadLetterCommand(_) => return,
        };
        let (id, position) = ours.map_or_else(|| (self.id(), None), |(id, position)| (id, Some(position)));
        let index = self.topics[topic].len();
        self.topics[topic].push(Published { message, key, id, position });
        for reader in READERS[topic] {
            self.send(*reader, topic, index);
        }
    }

    /// In the order of the topic and key.
    pub(super) fn send(&mut self, reader: usize, topic: usize, index: usize) {
        let key = self.topics[topic][index].key;
        let wait_ms = match self.rng.random_range(0..1000) {
            0..=4 => {
                self.faults.count("late by minutes");
                self.rng.random_range(1..20 * 60_000)
            }
            5..=50 => self.rng.random_range(1..5_000),
            _ => self.rng.random_range(1..100),
        };
        let arrives_ms = self.arrives_ms[reader].entry((topic, key)).or_default();
        *arrives_ms = (*arrives_ms).max(self.now_ms + wait_ms);
        let at_ms = *arrives_ms;
        self.at(at_ms, Due::Delivery { reader, topic, index });
        if self.rng.random_ratio(1, 5) {
            self.again(reader, topic, index, at_ms);
        }
    }

    /// Once more, at any time, whatever was read since.
    pub(super) fn again(&mut self, reader: usize, topic: usize, index: usize, first_ms: u64) {
        self.faults.count("delivered again");
        let spread = [10, 1_000, 100_000, 4_000_000][self.rng.random_range(0..4)];
        let wait_ms = self.rng.random_range(0..spread);
        self.at(first_ms + wait_ms, Due::Delivery { reader, topic, index });
    }

    pub(super) fn deliver(&mut self, reader: usize, topic: usize, index: usize) -> Result<(), String> {
        if self.bug == Some(Bug::SkipsMessages) && self.rng.random_ratio(1, 100) {
            return Ok(());
        }
        let published = &self.topics[topic][index];
        let envelope = samples::envelope(&published.message, published.position);
        let envelope = shared::contract::envelope::Envelope { id: published.id, ..envelope };
        let (key, foreign) = (published.key, published.position.is_none() && topic == ORDERS);
        let told = told(published.id, self.now());
        let command = match reader {
            ORDERS => self.orders.decider.react(&published.message, &envelope).map(Command::Order),
            INVENTORY => self.inventory.decider.react(&published.message, &envelope).map(Command::Inventory),
            _ => self.payments.decider.react(&published.message, &envelope).map(Command::Payment),
        };
        let Some(command) = command else { return Ok(()) };
        if self.take(command, Some(&told), None, foreign)? == Taken::TooEarly {
            self.faults.count("too early, held");
            let held = self.held[reader].entry(key).or_default();
            if self.bug != Some(Bug::DropsWhatIsTooEarly) && !held.contains(&(topic, index)) {
                held.push((topic, index));
            }
        }
        Ok(())
    }
}
