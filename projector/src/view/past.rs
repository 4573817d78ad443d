//! How an order stood after an event of its story: the fold of that event and of all that stand before it.

use std::collections::BTreeMap;

use shared::contract::{
    Timestamp,
    envelope::Envelope,
    ids::{OrderId, Sku},
    message::Message,
    money::Money,
    stock::StockEvent,
};

use super::{
    order::OrderRow,
    payment::{Payment, PaymentStatus},
    rows::{Fact, Rows},
    timeline::{Entry, Told},
};

#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    pub row: OrderRow,
    pub holdings: Holdings,
    pub at: Timestamp,
}

/// What of others' goods and of the customer's money an order has for now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    pub stock: BTreeMap<Sku, Pieces>,
    /// Authorized and neither captured nor given back.
    pub authorized: Option<Money>,
    pub captured: Option<Money>,
}

/// Of one sku.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pieces {
    pub reserved: i64,
    pub shipped: i64,
}

/// One after each event of the story.
pub fn pasts(id: OrderId, story: &[Told]) -> impl Iterator<Item = Past> {
    let (mut rows, mut holdings) = (Rows::default(), Holdings::default());
    let after = move |told: &Told| {
        let fact = fact(&told.entry);
        match &fact {
            Some(Fact { message: Message::Stock(event), .. }) => holdings.moved(event),
            // What could not be folded when it came cannot be now, and changed nothing then, either.
            Some(fact) => drop(rows.fold(fact)),
            None => {}
        }
        let row = rows.orders.get(&id).cloned().unwrap_or_else(|| OrderRow::new(id));
        holdings.paid(row.payment.state.as_ref());
        Past { row, holdings: holdings.clone(), at: told.entry.time }
    };
    story.iter().map(after)
}

fn fact(entry: &Entry) -> Option<Fact> {
    let message = Message::decode(&entry.event_type, &entry.data)?.ok()?;
    let envelope = Envelope {
        id: entry.event_id,
        source: entry.service.clone(),
        message_type: entry.event_type.clone(),
        data: entry.data.clone(),
        time: Some(entry.time),
        correlation_id: None,
        causation_id: entry.cause,
        traceparent: None,
        // As it came: what brings no position is by hand.
        sequence: entry.position.map(|_| entry.sequence),
        position: entry.position,
        decision: None,
    };
    Some(Fact { topic: entry.topic, envelope, message, heard_at: entry.time })
}

impl Holdings {
    fn moved(&mut self, event: &StockEvent) {
        let (on_hand, reserved) = event.deltas();
        let pieces = self.stock.entry(event.sku().clone()).or_default();
        pieces.reserved += reserved;
        pieces.shipped -= on_hand;
    }

    fn paid(&mut self, payment: Option<&Payment>) {
        use PaymentStatus::{
            Abandoned, Authorized, CaptureFailed, CaptureRequested, Captured, Declined, Refunded, Requested,
            Reversing, Voided,
        };
        let Some(payment) = payment else { return };
        match payment.status {
            // What is being given back is there until it is said to be back.
            Requested | Reversing => {}
            Authorized | CaptureRequested | CaptureFailed => self.authorized = payment.amount,
            Captured => (self.authorized, self.captured) = (None, payment.amount),
            Declined | Voided | Refunded | Abandoned => (self.authorized, self.captured) = (None, None),
        }
    }

    /// Whether nothing is left of what was held or taken.
    pub fn is_empty(&self) -> bool {
        let nothing = Pieces::default();
        self.authorized.is_none()
            && self.captured.is_none()
            && self.stock.values().all(|pieces| *pieces == nothing)
    }
}
