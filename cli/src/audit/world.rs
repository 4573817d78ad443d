//! What the checks look at: plain data, loaded once.

use std::collections::{BTreeMap, HashMap, HashSet};

use payment_service::domain::record::Record;
use projector::read_model::whole::View;
use shared::{
    contract::{
        Timestamp,
        envelope::{Envelope, Mode, Raw, Recorded, decode},
        ids::OrderId,
        message::Message,
        order::OrderEvent,
        payment::PaymentEvent,
        stock::{ReservationEvent, StockEvent},
        topics::Topic,
    },
    log::{HeldRow, Snapshot, StoredLetter},
};

use super::{Told, view::behind};

#[derive(Clone, Debug, Default)]
pub struct World {
    pub services: Vec<ServiceLog>,
    /// All messages of the topics, in the order of each partition.
    pub messages: Vec<Raw>,
    /// `None` where the provider was not asked.
    pub provider: Option<Vec<Record>>,
    /// `None` where there is no projector.
    pub view: Option<View>,
    /// What clients were told, where somebody wrote that down.
    pub told: Vec<Told>,
    pub now: Timestamp,
}

/// A database.
#[derive(Clone, Debug, Default)]
pub struct ServiceLog {
    pub service: String,
    pub events: Vec<Recorded>,
    /// Up to which position the relay has published.
    pub published: i64,
    pub letters: Vec<StoredLetter>,
    /// Messages that wait.
    pub held: Vec<HeldRow>,
    /// Stored folds, of this build's form.
    pub snapshots: Vec<Snapshot>,
}

/// A message on a topic as one of ours.
pub(super) struct Read<'a> {
    pub(super) raw: &'a Raw,
    pub(super) envelope: Envelope,
}

impl World {
    /// Whether every order has ended, every event is out and the view has it. What cannot end by itself is not waited for.
    pub fn is_quiet(&self) -> bool {
        let ended = |events: &Vec<OrderEvent>| {
            events.iter().any(|event| matches!(event, OrderEvent::Completed(_) | OrderEvent::Settled(_)))
        };
        let out = |log: &ServiceLog| log.published >= log.events.len() as i64;
        let seen = |view: &View| behind(self, view).next().is_none();
        self.orders().values().all(ended)
            && self.services.iter().all(out)
            && self.view.as_ref().is_none_or(seen)
    }

    /// Every event that reads as one of its type, with its place.
    pub(super) fn events(&self) -> impl Iterator<Item = (&Recorded, Message)> {
        self.services.iter().flat_map(|service| &service.events).filter_map(|recorded| {
            Some((recorded, Message::decode(&recorded.event_type, &recorded.data)?.ok()?))
        })
    }

    pub(super) fn orders(&self) -> BTreeMap<OrderId, Vec<OrderEvent>> {
        let mut orders: BTreeMap<OrderId, Vec<OrderEvent>> = BTreeMap::new();
        for (_, message) in self.events() {
            if let Message::Order(event) = message {
                orders.entry(event.order_id()).or_default().push(event);
            }
        }
        orders
    }

    pub(super) fn reservations(&self) -> HashMap<OrderId, Vec<ReservationEvent>> {
        let mut reservations: HashMap<OrderId, Vec<ReservationEvent>> = HashMap::new();
        for (_, message) in self.events() {
            if let Message::Reservation(event) = message {
                reservations.entry(event.order_id()).or_default().push(event);
            }
        }
        reservations
    }

    pub(super) fn payments(&self) -> HashMap<OrderId, Vec<PaymentEvent>> {
        let mut payments: HashMap<OrderId, Vec<PaymentEvent>> = HashMap::new();
        for (_, message) in self.events() {
            if let Message::Payment(event) = message {
                payments.entry(event.order_id()).or_default().push(event);
            }
        }
        payments
    }

    pub(super) fn stocks(&self) -> BTreeMap<String, Vec<StockEvent>> {
        let mut stocks: BTreeMap<String, Vec<StockEvent>> = BTreeMap::new();
        for (_, message) in self.events() {
            if let Message::Stock(event) = message {
                stocks.entry(event.sku().to_string()).or_default().push(event);
            }
        }
        stocks
    }

    /// The messages of event topics that read as such.
    pub(super) fn published(&self) -> impl Iterator<Item = Read<'_>> {
        self.messages
            .iter()
            .filter(|raw| raw.topic.is_events())
            .filter_map(|raw| decode(raw, Mode::Development).ok().map(|envelope| Read { raw, envelope }))
    }

    /// Orders that an event from outside was about: what became of them is whoever sent it's affair. An order that
    /// was created by hand is adopted and is one of ours.
    pub(super) fn touched_by_others(&self) -> HashSet<OrderId> {
        let foreign = self.published().filter(|read| read.envelope.position.is_none());
        let orders = foreign.filter_map(|read| {
            match Message::decode(&read.envelope.message_type, &read.envelope.data)?.ok()? {
                Message::Order(OrderEvent::Created(_)) => None,
                Message::Order(event) => Some(event.order_id()),
                Message::Reservation(event) => Some(event.order_id()),
                Message::Payment(event) => Some(event.order_id()),
                _ => None,
            }
        });
        orders.collect()
    }

    pub(super) fn on(&self, topic: Topic) -> impl Iterator<Item = &Raw> {
        self.messages.iter().filter(move |raw| raw.topic == topic)
    }
}
