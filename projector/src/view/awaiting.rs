//! What an order waits for, from whom, and until when: derived from its row at the moment of the question.

use std::time::Duration;

use shared::contract::{Timestamp, order::Step};

use super::{
    letter::{Letter, LetterRow},
    order::{Order, OrderRow, Stage},
    payment::{Payment, PaymentStatus},
    stock::Reservation,
};
use crate::intake::GROUP;

/// Limits that no event carries: the same settings as order-service has.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From confirmed to completed.
    pub completion: Duration,
    /// From cancelled to settled.
    pub compensation: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaiting {
    /// Events of which one will come: `StockReserved|StockRejected`.
    pub what: &'static str,
    pub from: &'static str,
    pub until: Option<Timestamp>,
    pub overdue: bool,
}

const ORDER: &str = "order-service";
const INVENTORY: &str = "inventory-service";
const PAYMENT: &str = "payment-service";

/// Empty once the order has ended, and while nobody has told that it exists.
pub fn awaiting(row: &OrderRow, limits: &Limits, now: Timestamp) -> Vec<Awaiting> {
    let Some(order) = &row.order.state else { return Vec::new() };
    let (reservation, payment) = (row.reservation.state.as_ref(), row.payment.state.as_ref());
    let awaited = match &order.stage {
        Stage::Created => to_be_confirmed(reservation, payment),
        Stage::Confirmed { steps, .. } => to_be_completed(reservation, payment, steps),
        Stage::Cancelled { steps, .. } => to_be_settled(order, reservation, payment, steps),
        Stage::Completed { .. } | Stage::Settled { .. } => return Vec::new(),
    };
    let (until, overdue) = (limits.until(order), limits.is_overdue(order, now));
    awaited.into_iter().map(|(what, from)| Awaiting { what, from, until, overdue }).collect()
}

impl Awaiting {
    /// The letter of the order behind which it is held: of the service that it is awaited from, or of the projector, which
    /// would not show it. Of several the first.
    pub fn held_behind<'a>(&self, letters: &'a [LetterRow]) -> Option<&'a LetterRow> {
        let holds = |letter: &Letter| letter.holds() && [self.from, GROUP].contains(&&*letter.group);
        letters.iter().find(|row| row.letter.as_ref().is_some_and(holds))
    }
}

impl Limits {
    /// When the stage that an order is in should be over. `None` where it may last.
    fn until(&self, order: &Order) -> Option<Timestamp> {
        match &order.stage {
            Stage::Created => order.deadline_at,
            Stage::Confirmed { at, .. } => Some(*at + self.completion),
            Stage::Cancelled { at, .. } => Some(*at + self.compensation),
            Stage::Completed { .. } | Stage::Settled { .. } => None,
        }
    }

    pub fn is_overdue(&self, order: &Order, now: Timestamp) -> bool {
        self.until(order).is_some_and(|until| until < now)
    }
}

type Awaited = Vec<(&'static str, &'static str)>;

fn to_be_confirmed(reservation: Option<&Reservation>, payment: Option<&Payment>) -> Awaited {
    match (reservation, payment.map(|payment| payment.status)) {
        (Some(Reservation::Rejected { .. }), _) | (_, Some(PaymentStatus::Declined)) => {
            vec![("OrderCancelled", ORDER)]
        }
        (_, Some(PaymentStatus::Authorized)) => vec![("OrderConfirmed", ORDER)],
        (None, None) => vec![("StockReserved|StockRejected", INVENTORY)],
        (Some(_), _) | (None, Some(_)) => vec![("PaymentAuthorized|PaymentDeclined", PAYMENT)],
    }
}

fn to_be_completed(reservation: Option<&Reservation>, payment: Option<&Payment>, steps: &[Step]) -> Awaited {
    let status = payment.map(|payment| payment.status);
    if status == Some(PaymentStatus::CaptureFailed) {
        return vec![("OrderCancelled", ORDER)];
    }
    let mut awaited = Vec::new();
    let committed = matches!(reservation, Some(Reservation::Committed { .. }));
    if !committed && !steps.contains(&Step::StockCommitted) {
        awaited.push(("StockCommitted", INVENTORY));
    }
    if status != Some(PaymentStatus::Captured) && !steps.contains(&Step::PaymentCaptured) {
        awaited.push(("PaymentCaptured|PaymentCaptureFailed", PAYMENT));
    }
    or_the_order(awaited, "OrderCompleted")
}

fn to_be_settled(
    order: &Order,
    reservation: Option<&Reservation>,
    payment: Option<&Payment>,
    steps: &[Step],
) -> Awaited {
    use shared::contract::order::CancelReason::{OutOfStock, PaymentDeclined};
    let mut awaited = Vec::new();
    // The rejection or the decline that cancelled an order was the receipt of its side.
    let reason = order.stage.reason();
    let stock_returned = reason == Some(OutOfStock)
        || steps.contains(&Step::StockReturned)
        || reservation.is_some_and(Reservation::is_over);
    if !stock_returned {
        awaited.push(match reservation {
            Some(Reservation::Committed { .. }) => ("StockRestocked", INVENTORY),
            _ => ("StockReleased|StockRestocked", INVENTORY),
        });
    }
    let payment_returned = reason == Some(PaymentDeclined)
        || steps.contains(&Step::PaymentReturned)
        || payment.is_some_and(|payment| payment.status.is_returned());
    if !payment_returned {
        awaited.push(("PaymentVoided|PaymentRefunded|PaymentAbandoned", PAYMENT));
    }
    or_the_order(awaited, "OrderSettled")
}

/// Both sides have told: what is missing is that order-service heard it.
fn or_the_order(awaited: Awaited, end: &'static str) -> Awaited {
    if awaited.is_empty() { vec![(end, ORDER)] } else { awaited }
}
