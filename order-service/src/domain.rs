//! The order: the referee of its own fate. Confirm, cancel and deadline race in its log, and whoever is appended
//! first wins.
//!
//! Nothing here waits, reads a clock or makes an id: both come in with the command.

use std::time::Duration;

use chrono::SubsecRound;
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        Timestamp,
        ids::{OrderId, UserId},
        limits::DEADLINE_HOURS_MAX,
        money::Money,
        order::*,
    },
    decider::{Class, Refusal, Told, Via},
};

/// What has become of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    #[default]
    None,
    Created {
        content: Content,
        deadline_at: Option<Timestamp>,
    },
    /// Paid for and reserved; which of its two steps are done.
    Confirmed {
        content: Content,
        stock_committed: bool,
        payment_captured: bool,
    },
    Completed {
        content: Content,
        cancellation_rejected: bool,
    },
    /// Which of its two receipts are in.
    Cancelled {
        content: Content,
        stock_returned: bool,
        payment_returned: bool,
    },
    Settled {
        content: Content,
    },
}

/// What was ordered, in the words of who ordered: a repeat with the same content is no second order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    user_id: UserId,
    lines: Vec<Line>,
    amount: Money,
    /// `None` where the default was taken.
    deadline_at: Option<Timestamp>,
}

/// What an order is asked, and what it is told by others and by its own tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create(CreateOrder),
    Cancel(CancelOrder),
    StockRejected(OrderId),
    PaymentAuthorized(OrderId),
    PaymentDeclined(OrderId),
    StockCommitted(OrderId),
    PaymentCaptured(OrderId),
    PaymentCaptureFailed(OrderId),
    /// Released or restocked: the receipt of inventory.
    StockReturned(OrderId),
    /// Voided, refunded or abandoned: the receipt of payment.
    PaymentReturned(OrderId),
    DeadlineReached(OrderId),
    ProgressOverdue(OrderId),
    CompensationOverdue(OrderId),
}

/// Why an order turns a command down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("nobody has created this order yet")]
    Unknown,
    #[error("another order was created under this id")]
    OtherContent,
    #[error("a deadline is at most {DEADLINE_HOURS_MAX} hours ahead")]
    DeadlineTooFar,
    #[error("a completed order is not cancelled")]
    Completed,
    /// Somebody tells what cannot have happened.
    #[error("no order that is {0} can be told this")]
    Contradiction(&'static str),
}

/// `deadline` is how long an order may take whose creator named no deadline.
pub fn decide(
    order: &Order,
    command: &Command,
    told: &Told,
    deadline: Duration,
) -> Result<Vec<OrderEvent>, Rejection> {
    use Command::*;
    match command {
        Create(create) => created(order, create, told, deadline),
        Cancel(cancel) => cancelled_on_demand(order, cancel, told.via),
        DeadlineReached(id) => Ok(match order {
            Order::Created { .. } => vec![cancelled(*id, CancelReason::Deadline, CancelStage::Created)],
            _ => vec![],
        }),
        // Nothing is cancelled by them: the money may be on its way. That they are counted is not the order's.
        ProgressOverdue(_) | CompensationOverdue(_) => Ok(vec![]),
        StockRejected(id) => declined(order, *id, CancelReason::OutOfStock),
        PaymentDeclined(id) => declined(order, *id, CancelReason::PaymentDeclined),
        PaymentAuthorized(id) => match order {
            Order::None => Err(Rejection::Unknown),
            Order::Created { .. } => Ok(vec![OrderConfirmed { order_id: *id }.into()]),
            // After a cancel its reversal is on its way.
            Order::Confirmed { .. }
            | Order::Completed { .. }
            | Order::Cancelled { .. }
            | Order::Settled { .. } => Ok(vec![]),
        },
        StockCommitted(id) => progressed(order, *id, Step::StockCommitted),
        PaymentCaptured(id) => progressed(order, *id, Step::PaymentCaptured),
        PaymentCaptureFailed(id) => match order {
            Order::None => Err(Rejection::Unknown),
            Order::Confirmed { .. } => {
                Ok(vec![cancelled(*id, CancelReason::CaptureFailed, CancelStage::Confirmed)])
            }
            Order::Created { .. } | Order::Completed { .. } => Err(Rejection::Contradiction(order.name())),
            // PaymentVoided will follow, and that is the receipt.
            Order::Cancelled { .. } | Order::Settled { .. } => Ok(vec![]),
        },
        StockReturned(id) => returned(order, *id, Step::StockReturned),
        PaymentReturned(id) => returned(order, *id, Step::PaymentReturned),
    }
}

/// Obeys: an event happened, whatever one would have thought of it.
pub fn evolve(order: Order, event: &OrderEvent) -> Order {
    match event {
        OrderEvent::Created(event) => {
            Order::Created { content: Content::of_event(event), deadline_at: event.deadline_at }
        }
        OrderEvent::Confirmed(_) => order.then(|content| Order::Confirmed {
            content,
            stock_committed: false,
            payment_captured: false,
        }),
        OrderEvent::Progressed(event) => order.progressed(event.step),
        OrderEvent::Completed(_) => {
            order.then(|content| Order::Completed { content, cancellation_rejected: false })
        }
        // What cancels an order can be a receipt itself.
        OrderEvent::Cancelled(event) => order.then(|content| Order::Cancelled {
            content,
            stock_returned: event.reason == CancelReason::OutOfStock,
            payment_returned: event.reason == CancelReason::PaymentDeclined,
        }),
        OrderEvent::Settled(_) => order.then(|content| Order::Settled { content }),
        OrderEvent::CancellationRejected(_) => {
            order.then(|content| Order::Completed { content, cancellation_rejected: true })
        }
    }
}

fn created(
    order: &Order,
    create: &CreateOrder,
    told: &Told,
    deadline: Duration,
) -> Result<Vec<OrderEvent>, Rejection> {
    match order.content() {
        Some(content) if *content == Content::of_command(create) => return Ok(vec![]),
        Some(_) => return Err(Rejection::OtherContent),
        None => {}
    }
    if create.deadline_at.is_some_and(|at| at > told.at + chrono::Duration::hours(DEADLINE_HOURS_MAX)) {
        return Err(Rejection::DeadlineTooFar);
    }
    let created = OrderCreated {
        order_id: create.order_id,
        user_id: create.user_id.clone(),
        lines: create.lines.clone(),
        amount: create.amount,
        deadline_at: Some(milliseconds(create.deadline_at.unwrap_or(told.at + deadline))),
        deadline_given: create.deadline_at.is_some(),
    };
    Ok(vec![created.into()])
}

fn cancelled_on_demand(order: &Order, cancel: &CancelOrder, via: Via) -> Result<Vec<OrderEvent>, Rejection> {
    let (reason, by) = match cancel.by.unwrap_or(Canceller::Customer) {
        Canceller::Customer => (CancelReason::Customer, CancelledBy::Customer),
        Canceller::Operator => (CancelReason::Operator, CancelledBy::Operator),
    };
    let order_id = cancel.order_id;
    let cancelled = |stage| OrderCancelled { order_id, reason, by, note: cancel.reason.clone(), stage };
    match (order, via) {
        (Order::None, _) => Err(Rejection::Unknown),
        (Order::Created { .. }, _) => Ok(vec![cancelled(CancelStage::Created).into()]),
        (Order::Confirmed { .. }, _) => Ok(vec![cancelled(CancelStage::Confirmed).into()]),
        (Order::Completed { .. }, Via::Http) => Err(Rejection::Completed),
        (Order::Completed { cancellation_rejected: true, .. }, _) => Ok(vec![]),
        // Whoever asked on a topic has no other way to learn it.
        (Order::Completed { .. }, _) => {
            Ok(vec![OrderCancellationRejected { order_id, reason: CancellationRejection::Completed }.into()])
        }
        (Order::Cancelled { .. } | Order::Settled { .. }, _) => Ok(vec![]),
    }
}

/// A no of inventory or payment cancels the order, and is the receipt of who said it.
fn declined(order: &Order, id: OrderId, reason: CancelReason) -> Result<Vec<OrderEvent>, Rejection> {
    match order {
        Order::Created { .. } => Ok(vec![cancelled(id, reason, CancelStage::Created)]),
        _ if reason == CancelReason::OutOfStock => returned(order, id, Step::StockReturned),
        _ => returned(order, id, Step::PaymentReturned),
    }
}

/// A step of a confirmed order: it completes with the second.
fn progressed(order: &Order, order_id: OrderId, step: Step) -> Result<Vec<OrderEvent>, Rejection> {
    match order {
        Order::None => Err(Rejection::Unknown),
        Order::Created { .. } => Err(Rejection::Contradiction(order.name())),
        Order::Confirmed { stock_committed, payment_captured, .. } => {
            let (done, other) = match step {
                Step::StockCommitted => (*stock_committed, *payment_captured),
                _ => (*payment_captured, *stock_committed),
            };
            Ok(match (done, other) {
                (true, _) => vec![],
                (false, false) => vec![OrderProgressed { order_id, step }.into()],
                (false, true) => vec![OrderCompleted { order_id }.into()],
            })
        }
        // After a cancel the restock or refund will follow.
        Order::Completed { .. } | Order::Cancelled { .. } | Order::Settled { .. } => Ok(vec![]),
    }
}

/// A receipt of a cancelled order: it is settled with the second.
fn returned(order: &Order, order_id: OrderId, step: Step) -> Result<Vec<OrderEvent>, Rejection> {
    match order {
        Order::None => Err(Rejection::Unknown),
        Order::Created { .. } | Order::Confirmed { .. } | Order::Completed { .. } => {
            Err(Rejection::Contradiction(order.name()))
        }
        Order::Cancelled { stock_returned, payment_returned, .. } => {
            let (done, other) = match step {
                Step::StockReturned => (*stock_returned, *payment_returned),
                _ => (*payment_returned, *stock_returned),
            };
            Ok(match (done, other) {
                (true, _) => vec![],
                (false, false) => vec![OrderProgressed { order_id, step }.into()],
                (false, true) => vec![OrderSettled { order_id }.into()],
            })
        }
        Order::Settled { .. } => Ok(vec![]),
    }
}

fn cancelled(order_id: OrderId, reason: CancelReason, stage: CancelStage) -> OrderEvent {
    OrderCancelled { order_id, reason, by: CancelledBy::System, note: None, stage }.into()
}

/// Times are kept to the millisecond, so that they read back as they were written.
fn milliseconds(time: Timestamp) -> Timestamp {
    time.trunc_subsecs(3)
}

impl Content {
    fn of_command(create: &CreateOrder) -> Self {
        Self {
            user_id: create.user_id.clone(),
            lines: create.lines.clone(),
            amount: create.amount,
            deadline_at: create.deadline_at.map(milliseconds),
        }
    }

    fn of_event(created: &OrderCreated) -> Self {
        Self {
            user_id: created.user_id.clone(),
            lines: created.lines.clone(),
            amount: created.amount,
            deadline_at: created.deadline_at.filter(|_| created.deadline_given),
        }
    }
}

impl Order {
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Created { .. } => "created",
            Self::Confirmed { .. } => "confirmed",
            Self::Completed { .. } => "completed",
            Self::Cancelled { .. } => "cancelled",
            Self::Settled { .. } => "settled",
        }
    }

    pub fn content(&self) -> Option<&Content> {
        match self {
            Self::None => None,
            Self::Created { content, .. }
            | Self::Confirmed { content, .. }
            | Self::Completed { content, .. }
            | Self::Cancelled { content, .. }
            | Self::Settled { content } => Some(content),
        }
    }

    /// The next state of the same order. A stream begins with what was ordered, so there is one.
    fn then(self, next: impl FnOnce(Content) -> Self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Created { content, .. }
            | Self::Confirmed { content, .. }
            | Self::Completed { content, .. }
            | Self::Cancelled { content, .. }
            | Self::Settled { content } => next(content),
        }
    }

    fn progressed(mut self, step: Step) -> Self {
        match (&mut self, step) {
            (Self::Confirmed { stock_committed, .. }, Step::StockCommitted) => *stock_committed = true,
            (Self::Confirmed { payment_captured, .. }, Step::PaymentCaptured) => *payment_captured = true,
            (Self::Cancelled { stock_returned, .. }, Step::StockReturned) => *stock_returned = true,
            (Self::Cancelled { payment_returned, .. }, Step::PaymentReturned) => *payment_returned = true,
            (
                _,
                Step::StockCommitted | Step::PaymentCaptured | Step::StockReturned | Step::PaymentReturned,
            ) => {}
        }
        self
    }
}

impl Command {
    pub fn order_id(&self) -> OrderId {
        match self {
            Self::Create(create) => create.order_id,
            Self::Cancel(cancel) => cancel.order_id,
            Self::StockRejected(id)
            | Self::PaymentAuthorized(id)
            | Self::PaymentDeclined(id)
            | Self::StockCommitted(id)
            | Self::PaymentCaptured(id)
            | Self::PaymentCaptureFailed(id)
            | Self::StockReturned(id)
            | Self::PaymentReturned(id)
            | Self::DeadlineReached(id)
            | Self::ProgressOverdue(id)
            | Self::CompensationOverdue(id) => *id,
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let (class, code) = match rejection {
            Rejection::Unknown => (Class::TooEarly, "unknown-order"),
            Rejection::OtherContent => (Class::Malformed, "idempotency-key-reused"),
            Rejection::DeadlineTooFar => (Class::Malformed, "deadline-too-far"),
            Rejection::Completed => (Class::Refused, "order-state"),
            Rejection::Contradiction(_) => (Class::Impossible, "contradiction"),
        };
        Self { class, code, detail: rejection.to_string() }
    }
}
