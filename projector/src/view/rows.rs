//! The rows that a batch touches, and the fold of one message onto them.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use chrono::TimeDelta;
use shared::contract::{
    Timestamp,
    envelope::Envelope,
    ids::{OrderId, Sku, StreamName},
    message::Message,
    order::OrderEvent,
    topics::Topic,
};
use uuid::Uuid;

use super::{
    invariant::{self, Broken},
    letter::{LetterRecord, LetterRow},
    order::{self, OrderRow},
    pace::{self, Pace},
    payment,
    sale::{self, Sales},
    source::{Failed, Step},
    stock::{self, StockRow},
    timeline::{Entry, EntryId},
};

/// An event that was read from a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub topic: Topic,
    pub envelope: Envelope,
    pub message: Message,
    /// When the broker took it: the time of an event that brings none.
    pub heard_at: Timestamp,
}

/// What of the view a message is folded onto.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowId {
    Order(OrderId),
    Stock(Sku),
    Letter(Uuid),
}

/// Rows as they are loaded, folded and written back. Sorted, so that two writers lock them in one order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub orders: BTreeMap<OrderId, OrderRow>,
    pub stocks: BTreeMap<Sku, StockRow>,
    pub letters: BTreeMap<Uuid, LetterRow>,
    /// Only what is new: entries are added and never read back by the fold.
    pub timeline: BTreeMap<EntryId, Entry>,
    /// Rows that differ from what was loaded.
    pub changed: BTreeSet<RowId>,
    /// By whose events the orders among them differ: one source of a row changes at a time, and only that is written.
    pub sources: BTreeSet<(OrderId, Topic)>,
    /// Orders whose first event is among what was folded.
    pub begun: BTreeSet<OrderId>,
    /// By what the counters of sales change.
    pub sales: Sales,
    /// By what the counters of orders a minute change.
    pub pace: Pace,
    /// Invariants that were broken by what was folded, each time.
    pub broken: Vec<Broken>,
    /// Orders that ended by what was folded.
    pub ended: BTreeMap<OrderId, Ended>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Of few values: a label of the metrics.
    pub outcome: &'static str,
    /// From its creation, by the times of the events.
    pub after: TimeDelta,
}

/// How a row stood before a fact.
#[derive(Default)]
struct Seen {
    broken: Vec<Broken>,
    stage: Option<order::Stage>,
}

impl Fact {
    pub fn row(&self) -> Option<RowId> {
        match &self.message {
            Message::Order(event) => Some(RowId::Order(event.order_id())),
            Message::Reservation(event) => Some(RowId::Order(event.order_id())),
            Message::Payment(event) => Some(RowId::Order(event.order_id())),
            Message::Stock(event) => Some(RowId::Stock(event.sku().clone())),
            Message::OrderCommand(_) | Message::StockCommand(_) | Message::DeadLetterCommand(_) => None,
        }
    }

    /// The stream and version that it makes visible; `None` for an event that no service of ours wrote.
    pub fn version(&self) -> Option<(StreamName, i64)> {
        let stream = match &self.message {
            Message::Order(event) => StreamName::order(event.order_id()),
            Message::Reservation(event) => StreamName::reservation(event.order_id()),
            Message::Payment(event) => StreamName::payment(event.order_id()),
            Message::Stock(event) => StreamName::stock(event.sku()),
            Message::OrderCommand(_) | Message::StockCommand(_) | Message::DeadLetterCommand(_) => {
                return None;
            }
        };
        self.position_and_sequence().map(|(_, sequence)| (stream, sequence))
    }

    /// Only our services set them, and both of them.
    fn position_and_sequence(&self) -> Option<(i64, i64)> {
        self.envelope.position.zip(self.envelope.sequence)
    }

    pub fn time(&self) -> Timestamp {
        self.envelope.time.unwrap_or(self.heard_at)
    }

    /// Whose it is, also where it is an event of a sku.
    pub fn order_id(&self) -> Option<OrderId> {
        match &self.message {
            Message::Stock(event) => stock::order_of(event),
            Message::Order(event) => Some(event.order_id()),
            Message::Reservation(event) => Some(event.order_id()),
            Message::Payment(event) => Some(event.order_id()),
            Message::OrderCommand(_) | Message::StockCommand(_) | Message::DeadLetterCommand(_) => None,
        }
    }

    pub fn sku(&self) -> Option<&Sku> {
        if let Message::Stock(event) = &self.message { Some(event.sku()) } else { None }
    }

    /// Who wrote it: `inventory-service`.
    pub fn service(&self) -> &str {
        let source = self.envelope.source.as_str();
        source.strip_prefix("/fulfil/").unwrap_or(source)
    }

    fn entry(&self) -> Option<Entry> {
        let order_id = self.order_id()?;
        let numbers = self.position_and_sequence();
        Some(Entry {
            order_id,
            topic: self.topic,
            key: self.message.key()?,
            sequence: numbers.map_or(0, |(_, sequence)| sequence),
            event_id: self.envelope.id,
            event_type: self.envelope.message_type.clone(),
            service: self.service().to_owned(),
            time: self.time(),
            position: numbers.map(|(position, _)| position),
            cause: self.envelope.causation_id,
            data: self.envelope.data.clone(),
            deliveries: 1,
        })
    }
}

impl Rows {
    /// Folds one event. A failed one leaves no trace.
    pub fn fold(&mut self, fact: &Fact) -> Result<Step, Failed> {
        let step = match fact.position_and_sequence() {
            Some((_, sequence)) => self.fold_ours(fact, sequence)?,
            None => self.fold_foreign(fact),
        };
        if let Some(entry) = fact.entry() {
            match self.timeline.entry(entry.id()) {
                btree_map::Entry::Vacant(place) => drop(place.insert(entry)),
                btree_map::Entry::Occupied(mut known) => known.get_mut().again(entry),
            }
        }
        Ok(step)
    }

    pub fn fold_letter(&mut self, id: Uuid, record: &LetterRecord) {
        self.letters.entry(id).or_insert_with(|| LetterRow::new(id)).fold(record);
        self.changed.insert(RowId::Letter(id));
    }

    fn fold_ours(&mut self, fact: &Fact, version: i64) -> Result<Step, Failed> {
        let (at, event_type) = (fact.time(), fact.envelope.message_type.as_str());
        let before = self.seen(fact);
        let step = match &fact.message {
            Message::Order(event) => {
                let id = event.order_id();
                self.order(id).order.apply(
                    || StreamName::order(id),
                    event_type,
                    version,
                    at,
                    |state| order::evolve(state, event, at),
                )
            }
            Message::Reservation(event) => {
                let id = event.order_id();
                self.order(id).reservation.apply(
                    || StreamName::reservation(id),
                    event_type,
                    version,
                    at,
                    |state| stock::evolve(state, event),
                )
            }
            Message::Payment(event) => {
                let id = event.order_id();
                self.order(id).payment.apply(
                    || StreamName::payment(id),
                    event_type,
                    version,
                    at,
                    |state| payment::evolve(state, event),
                )
            }
            Message::Stock(event) => {
                let sku = event.sku();
                let row = self.stocks.entry(sku.clone()).or_insert_with(|| StockRow::new(sku.clone()));
                let step = row.levels.apply(
                    || StreamName::stock(sku),
                    event_type,
                    version,
                    at,
                    |state| stock::evolve_levels(state, event),
                );
                if let Err(Failed::Impossible { .. }) = &step {
                    self.broken.push(Broken::StockSum);
                }
                step
            }
            // Commands are not folded; nobody reads their topics here.
            Message::OrderCommand(_) | Message::StockCommand(_) | Message::DeadLetterCommand(_) => {
                return Ok(Step::Duplicate);
            }
        }?;
        if step == Step::Applied {
            self.watch(fact, &before);
            self.count(fact, &before);
            let row = fact.row();
            if let Some(RowId::Order(id)) = row {
                self.sources.insert((id, fact.topic));
            }
            self.changed.extend(row);
            if let Message::Order(OrderEvent::Created(created)) = &fact.message {
                self.begun.insert(created.order_id);
            }
        }
        Ok(step)
    }

    /// An event by hand is shown and not folded. One that order-service adopts does not make the order suspect:
    /// what it claims is decided like any other order.
    fn fold_foreign(&mut self, fact: &Fact) -> Step {
        let Some(RowId::Order(id)) = fact.row() else { return Step::Duplicate };
        if matches!(&fact.message, Message::Order(OrderEvent::Created(_))) {
            return Step::Duplicate;
        }
        let row = self.order(id);
        if row.foreign {
            return Step::Duplicate;
        }
        row.foreign = true;
        self.changed.insert(RowId::Order(id));
        Step::Applied
    }

    /// What the row of a fact breaks already, and how far its order is.
    fn seen(&self, fact: &Fact) -> Seen {
        let Some(RowId::Order(id)) = fact.row() else { return Seen::default() };
        self.orders.get(&id).map_or_else(Seen::default, |row| Seen {
            broken: invariant::of_order(row),
            stage: row.order.state.as_ref().map(|order| order.stage.clone()),
        })
    }

    /// Counts what a fact has broken and was whole before it, and the order that it has ended.
    fn watch(&mut self, fact: &Fact, before: &Seen) {
        let Some(RowId::Order(id)) = fact.row() else { return };
        let Some(row) = self.orders.get(&id) else { return };
        let now = invariant::of_order(row).into_iter();
        self.broken.extend(now.filter(|broken| !before.broken.contains(broken)));
        let stage = row.order.state.as_ref().map(|order| &order.stage);
        let end =
            before.stage.as_ref().zip(stage).and_then(|(before, after)| invariant::of_end(before, after));
        self.broken.extend(end);
        let had_ended = before.stage.as_ref().is_some_and(|stage| stage.outcome().is_some());
        let order = row.order.state.as_ref().filter(|_| !had_ended);
        self.ended.extend(order.and_then(|order| {
            Some((id, Ended { outcome: order.stage.outcome()?, after: fact.time() - order.created_at }))
        }));
    }

    /// Counts what the order's own event changes.
    fn count(&mut self, fact: &Fact, before: &Seen) {
        let Message::Order(event) = &fact.message else { return };
        let order = self.orders.get(&event.order_id()).and_then(|row| row.order.state.as_ref());
        if let Some(order) = order {
            sale::step(&mut self.sales, before.stage.as_ref(), order);
            pace::step(&mut self.pace, before.stage.as_ref(), order);
        }
    }

    fn order(&mut self, id: OrderId) -> &mut OrderRow {
        self.orders.entry(id).or_insert_with(|| OrderRow::new(id))
    }
}
