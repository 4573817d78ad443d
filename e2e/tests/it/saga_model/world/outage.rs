//! Processes that die and databases that are restored.

use rand::Rng;
use shared::{
    contract::Timestamp,
    decider::{Decider, Task},
    testing::memory::Memory,
};

use super::{Bug, Due, INVENTORY, ORDERS, PAYMENTS, READERS, World};

impl World {
    pub(super) fn crash(&mut self, service: usize, down_ms: u64) {
        self.faults.count("crash");
        if down_ms > 15 * 60_000 {
            self.faults.count("down past the deadline");
        }
        let until_ms = self.now_ms + down_ms;
        self.down_until_ms[service] = self.down_until_ms[service].max(until_ms);
        self.at(until_ms, Due::Restart { service });
        if service == PAYMENTS {
            self.run += 1;
        }
    }

    /// The relay begins at its cursor, which may lag; due tasks are found in the database.
    pub(super) fn restart(&mut self, service: usize) {
        if self.is_down(service) {
            return;
        }
        let published = self.topics[service].len();
        let again = self.rng.random_range(0..=10_usize).min(published);
        for index in published - again..published {
            self.faults.count("events published again");
            for reader in READERS[service] {
                let at_ms = self.now_ms + self.rng.random_range(0..100);
                self.at(at_ms, Due::Delivery { reader: *reader, topic: service, index });
            }
        }
        if self.bug == Some(Bug::ForgetsTasks) {
            return;
        }
        let tasks: Vec<Task> = match service {
            ORDERS => self.orders.tasks.values().cloned().collect(),
            PAYMENTS => self.payments.tasks.values().cloned().collect(),
            _ => vec![],
        };
        self.keep(service, tasks);
    }

    /// A backup that has less than the topics: the log is taken back whole, positions, holds and tasks are older.
    pub(super) fn restore(&mut self, service: usize) -> Result<(), String> {
        self.faults.count("database restored");
        let now = self.now();
        let lost = if self.bug == Some(Bug::TakesNothingBack) { 20 } else { 0 };
        match service {
            ORDERS => restored(&mut self.orders, lost, now)?,
            INVENTORY => restored(&mut self.inventory, lost, now)?,
            _ => {
                restored(&mut self.payments, lost, now)?;
                self.run += 1;
            }
        }
        self.held[service].clear();
        let set = match service {
            ORDERS => std::mem::take(&mut self.orders.set),
            _ => std::mem::take(&mut self.payments.set),
        };
        self.keep(service, set);
        for (topic, readers) in READERS.iter().enumerate() {
            if readers.contains(&service) {
                let from = self.rng.random_range(0..=self.topics[topic].len());
                for index in from..self.topics[topic].len() {
                    self.send(service, topic, index);
                }
            }
        }
        Ok(())
    }
}

/// The log again, its last events lost. The state of every stream is the fold of its events.
pub(super) fn restored<D: Decider<State: PartialEq> + Clone>(
    memory: &mut Memory<D>,
    lost: usize,
    now: Timestamp,
) -> Result<(), String> {
    let restored = memory.restored(memory.log.len().saturating_sub(lost), now);
    if lost == 0 && restored.states() != memory.states() {
        return Err(format!("{}: the states are not the fold of the log", D::NAME));
    }
    *memory = restored;
    Ok(())
}
