//! One command of one service: decided, appended, published, checked.

use inventory_service::domain as inventory;
use order_service::{Orders, domain as order};
use payment_service::domain as payment;
use rand::Rng;
use shared::{
    contract::{Timestamp, ids::StreamName, message::Message, order::OrderEvent},
    decider::{Class, Decider, Decision, Refusal, Task, Told, Via},
    testing::memory::Memory,
};

use super::{Bug, Due, INVENTORY, ORDERS, PAYMENTS, SERVICES, TOPICS, TOUCHED_LAST_MS, World};
use crate::saga_model::audit;

pub(super) enum Command {
    Order(order::Command),
    Inventory(inventory::Command),
    Payment(payment::Command),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Done,
    TooEarly,
}

impl World {
    /// One command of one service: decided, appended, published, checked.
    pub(super) fn take(
        &mut self,
        command: Command,
        told: Option<&Told>,
        task: Option<&Task>,
        foreign: bool,
    ) -> Result<Taken, String> {
        let now = self.now();
        match command {
            Command::Order(command) => {
                let stream = StreamName::order(command.order_id());
                self.cells.order(&self.orders.state(&stream), &command, foreign);
                let (from, via) = (self.orders.log.len(), told.map(|told| told.via));
                let outcome = handle(&mut self.orders, &command, told, task, now);
                if let Err(refusal) = outcome {
                    return self.refused(ORDERS, &stream, &refusal, via);
                }
                let new: Vec<_> = self.orders.log[from..].to_vec();
                for logged in new {
                    let position = self.orders.log.len() as i64;
                    if !self.is_touched(&stream) {
                        audit::of_order(&logged.event, &self.inventory, &self.payments, &self.books)?;
                    }
                    if matches!(logged.event, OrderEvent::CancellationRejected(_)) {
                        self.faults.count("order cancelled after its end");
                    }
                    self.began(ORDERS, logged.version, command.order_id().uuid().as_u128());
                    self.publish(ORDERS, Message::Order(logged.event), Some((logged.id, position)));
                }
                let set = std::mem::take(&mut self.orders.set);
                self.keep(ORDERS, set);
            }
            Command::Inventory(command) => {
                let stream = command.stream();
                self.cells.reservation(&self.inventory.state(&stream), &command);
                let (from, via) = (self.inventory.log.len(), told.map(|told| told.via));
                let outcome = handle(&mut self.inventory, &command, told, task, now);
                if let Err(refusal) = outcome {
                    return self.refused(INVENTORY, &stream, &refusal, via);
                }
                let logged = self.inventory.log[from..].to_vec();
                let events: Vec<_> = logged.iter().map(|logged| logged.event.clone()).collect();
                self.audit.of_inventory(&self.inventory, &events)?;
                for logged in logged {
                    let position = self.inventory.log.len() as i64;
                    if let inventory::InventoryEvent::Reservation(event) = logged.event {
                        self.began(INVENTORY, logged.version, event.order_id().uuid().as_u128());
                        self.publish(INVENTORY, Message::Reservation(event), Some((logged.id, position)));
                    }
                }
            }
            Command::Payment(command) => {
                let stream = StreamName::payment(command.order_id());
                self.cells.payment(&self.payments.state(&stream), &command);
                let (from, via) = (self.payments.log.len(), told.map(|told| told.via));
                let decision = match handle(&mut self.payments, &command, told, task, now) {
                    Ok(decision) => decision,
                    Err(refusal) => return self.refused(PAYMENTS, &stream, &refusal, via),
                };
                let new: Vec<_> = self.payments.log[from..].to_vec();
                for logged in new {
                    let position = self.payments.log.len() as i64;
                    self.began(PAYMENTS, logged.version, command.order_id().uuid().as_u128());
                    self.publish(PAYMENTS, Message::Payment(logged.event), Some((logged.id, position)));
                }
                let set = std::mem::take(&mut self.payments.set);
                self.keep(PAYMENTS, set);
                for (call, task) in decision.calls.into_iter().zip(task) {
                    let (run, task) = (self.run, task.clone());
                    self.later(50, Due::Call { call, task, run });
                }
            }
        }
        Ok(Taken::Done)
    }

    fn refused(
        &mut self,
        service: usize,
        stream: &StreamName,
        refusal: &Refusal,
        via: Option<Via>,
    ) -> Result<Taken, String> {
        match (refusal.class, refusal.code) {
            // Dead-lettered, and the letter discarded.
            (Class::Impossible, _) if self.is_touched(stream) => {
                self.faults.count("what cannot be, after an event by hand");
            }
            // Over HTTP it is 404.
            (Class::TooEarly, _) if via == Some(Via::Topic) => return Ok(Taken::TooEarly),
            (Class::TooEarly, _) => {}
            (Class::Malformed, "idempotency-key-reused") => self.faults.count("other content under one id"),
            (Class::Refused, "insufficient-stock") => self.faults.count("adjustment refused"),
            (Class::Refused, "order-state") => self.faults.count("order cancelled after its end"),
            _ => return Err(format!("{} refuses: {refusal:?}", SERVICES[service])),
        }
        Ok(Taken::Done)
    }

    /// What was too early for a stream is not so any more.
    fn began(&mut self, service: usize, version: i64, key: u128) {
        if version == 1 && self.held[service].contains_key(&key) {
            self.later(200, Due::Release { reader: service, key });
        }
    }

    pub(super) fn keep(&mut self, service: usize, tasks: Vec<Task>) {
        for task in tasks {
            let due_ms = task.due_at.timestamp_millis() as u64;
            let lag_ms = self.rng.random_range(0..50);
            self.at(due_ms + lag_ms, Due::Task { service, task });
        }
    }

    pub(super) fn task(&mut self, service: usize, task: Task) -> Result<(), String> {
        let place = (task.stream.clone(), task.kind.clone());
        let current = match service {
            ORDERS => self.orders.tasks.get(&place),
            _ => self.payments.tasks.get(&place),
        };
        if current != Some(&task) {
            // It was in the inbox already when it was dropped.
            if !self.rng.random_ratio(1, 10) {
                return Ok(());
            }
            self.faults.count("task that was done already");
        }
        if self.now_ms > TOUCHED_LAST_MS && self.is_touched(&task.stream) {
            return Ok(());
        }
        if self.is_down(service) {
            if self.bug != Some(Bug::ForgetsTasks) {
                self.at(self.down_until_ms[service], Due::Task { service, task });
            }
            return Ok(());
        }
        let command = match service {
            ORDERS => self.orders.decider.due(&task).map(Command::Order),
            _ => self.payments.decider.due(&task).map(Command::Payment),
        };
        let command = command.ok_or("a task of nobody")?;
        if let (Command::Order(command), true) = (&command, self.patient)
            && Orders::WAITS_FOR_BACKLOG.contains(&task.kind.as_str())
        {
            let key = command.order_id().uuid().as_u128();
            let read_ms = (0..TOPICS).filter_map(|topic| self.arrives_ms[ORDERS].get(&(topic, key))).max();
            if let Some(read_ms) = read_ms.copied().filter(|read_ms| *read_ms >= self.now_ms) {
                self.at(read_ms + 1, Due::Task { service, task });
                return Ok(());
            }
        }
        self.take(command, None, Some(&task), false).map(drop)
    }
}

fn handle<D: Decider>(
    memory: &mut Memory<D>,
    command: &D::Command,
    told: Option<&Told>,
    task: Option<&Task>,
    now: Timestamp,
) -> Result<Decision<D::Event, D::Call>, Refusal> {
    match (task, told) {
        (Some(task), _) => memory.run(task, command, now),
        (None, Some(told)) => memory.handle(command, told),
        (None, None) => panic!("nobody says {command:?}"),
    }
}
