//! The order as the view shows it: the fold of its own stream, beside those of its reservation and its payment.

use serde::{Deserialize, Serialize};
use shared::contract::{
    Timestamp,
    ids::{OrderId, UserId},
    money::Money,
    order::{CancelReason, CancelStage, CancelledBy, Line, OrderCreated, OrderEvent, Step as Progress},
};

use super::{payment::Payment, source::Source, stock::Reservation};

/// One row of the order view. Its three sources arrive over three topics in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderRow {
    pub order_id: OrderId,
    pub order: Source<Order>,
    pub reservation: Source<Reservation>,
    pub payment: Source<Payment>,
    /// An event that no service of ours wrote claimed something about this order, so it may contradict itself.
    pub foreign: bool,
}

/// What order-service has told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub user_id: UserId,
    pub lines: Vec<Line>,
    pub amount: Money,
    pub created_at: Timestamp,
    pub deadline_at: Option<Timestamp>,
    pub stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Stage {
    Created,
    Confirmed {
        at: Timestamp,
        steps: Vec<Progress>,
    },
    Completed {
        at: Timestamp,
    },
    Cancelled {
        at: Timestamp,
        #[serde(flatten)]
        cancellation: Cancellation,
        steps: Vec<Progress>,
    },
    Settled {
        at: Timestamp,
        #[serde(flatten)]
        cancellation: Cancellation,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    pub reason: CancelReason,
    pub by: CancelledBy,
    pub note: Option<String>,
    /// How far the order was.
    pub from: CancelStage,
}

/// The statuses that a query can ask for, in the order of an order's life.
pub const STATUSES: [&str; 5] = ["created", "confirmed", "completed", "cancelled", "settled"];

/// Those of an order that something is awaited of.
pub const OPEN: [&str; 3] = ["created", "confirmed", "cancelled"];

impl Stage {
    pub fn status(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Confirmed { .. } => "confirmed",
            Self::Completed { .. } => "completed",
            Self::Cancelled { .. } => "cancelled",
            Self::Settled { .. } => "settled",
        }
    }

    pub fn cancellation(&self) -> Option<&Cancellation> {
        match self {
            Self::Cancelled { cancellation, .. } | Self::Settled { cancellation, .. } => Some(cancellation),
            Self::Created | Self::Confirmed { .. } | Self::Completed { .. } => None,
        }
    }

    pub fn reason(&self) -> Option<CancelReason> {
        self.cancellation().map(|cancellation| cancellation.reason)
    }

    /// How an order ended: completed, or why it was cancelled. `None` while something of it is awaited.
    pub fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Created | Self::Confirmed { .. } | Self::Cancelled { .. } => None,
            Self::Completed { .. } => Some("completed"),
            Self::Settled { cancellation, .. } => Some(reason_name(cancellation.reason)),
        }
    }
}

/// As it is on the wire.
pub fn reason_name(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::OutOfStock => "out_of_stock",
        CancelReason::PaymentDeclined => "payment_declined",
        CancelReason::Customer => "customer",
        CancelReason::Deadline => "deadline",
        CancelReason::CaptureFailed => "capture_failed",
        CancelReason::Operator => "operator",
    }
}

impl OrderRow {
    pub fn new(order_id: OrderId) -> Self {
        Self {
            order_id,
            order: Source::default(),
            reservation: Source::default(),
            payment: Source::default(),
            foreign: false,
        }
    }

    /// By what order-service told.
    pub fn has_ended(&self) -> bool {
        let stage = self.order.state.as_ref().map(|order| &order.stage);
        matches!(stage, Some(Stage::Completed { .. } | Stage::Settled { .. }))
    }

    /// The newest time of the three sources, so that it is the same however they were interleaved.
    pub fn updated_at(&self) -> Option<Timestamp> {
        [self.order.at, self.reservation.at, self.payment.at].into_iter().flatten().max()
    }
}

/// `None` where the state does not allow the event. Beyond "the first is OrderCreated and no other is" the view
/// obeys: whether a story makes sense is for its writer and for the invariants.
pub fn evolve(state: Option<Order>, event: &OrderEvent, at: Timestamp) -> Option<Order> {
    let order = match (state, event) {
        (None, OrderEvent::Created(created)) => return Some(begin(created, at)),
        (None, _) | (Some(_), OrderEvent::Created(_)) => return None,
        (Some(order), _) => order,
    };
    let stage = match (order.stage, event) {
        (_, OrderEvent::Created(_)) => return None,
        (_, OrderEvent::Confirmed(_)) => Stage::Confirmed { at, steps: Vec::new() },
        (Stage::Confirmed { at, mut steps }, OrderEvent::Progressed(progressed)) => {
            steps.push(progressed.step);
            Stage::Confirmed { at, steps }
        }
        (Stage::Cancelled { at, cancellation, mut steps }, OrderEvent::Progressed(progressed)) => {
            steps.push(progressed.step);
            Stage::Cancelled { at, cancellation, steps }
        }
        (stage, OrderEvent::Progressed(_) | OrderEvent::CancellationRejected(_)) => stage,
        (stage @ Stage::Completed { .. }, OrderEvent::Completed(_)) => stage,
        (_, OrderEvent::Completed(_)) => Stage::Completed { at },
        (_, OrderEvent::Cancelled(cancelled)) => Stage::Cancelled {
            at,
            cancellation: Cancellation {
                reason: cancelled.reason,
                by: cancelled.by,
                note: cancelled.note.clone(),
                from: cancelled.stage,
            },
            steps: Vec::new(),
        },
        (Stage::Cancelled { cancellation, .. }, OrderEvent::Settled(_)) => {
            Stage::Settled { at, cancellation }
        }
        (stage @ Stage::Settled { .. }, OrderEvent::Settled(_)) => stage,
        // Settled is told of a cancelled order only.
        (Stage::Created | Stage::Confirmed { .. } | Stage::Completed { .. }, OrderEvent::Settled(_)) => {
            return None;
        }
    };
    Some(Order { stage, ..order })
}

fn begin(created: &OrderCreated, at: Timestamp) -> Order {
    Order {
        user_id: created.user_id.clone(),
        lines: created.lines.clone(),
        amount: created.amount,
        created_at: at,
        deadline_at: created.deadline_at,
        stage: Stage::Created,
    }
}
