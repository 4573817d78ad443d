//! Orders as the messages that made them, and the words of the tests.

use order_service::{COMPENSATION_OVERDUE, DEADLINE, Orders, PROGRESS_OVERDUE, domain::Command};
use shared::{
    contract::{
        Timestamp,
        envelope::Envelope,
        ids::{OrderId, StreamName},
        message::Message,
        money::{Currency, Money},
        order::*,
        payment::*,
        stock::*,
    },
    decider::{Decider, Decision, Refusal, Task, Told, Via},
    testing::memory::{Memory, told},
};
use uuid::Uuid;

pub(crate) type Outcome = Result<Decision<OrderEvent, std::convert::Infallible>, Refusal>;

/// What an order hears, and how.
#[derive(Debug, Clone)]
pub(crate) enum Incoming {
    Topic(Message),
    /// An event on our own topic that we did not write.
    Foreign(Message),
    Http(Command),
    Task(&'static str),
}

pub(crate) fn order_id() -> OrderId {
    OrderId::new(Uuid::from_u128(0x0198_f3c2)).unwrap()
}

pub(crate) fn stream() -> StreamName {
    StreamName::order(order_id())
}

pub(crate) fn now() -> Timestamp {
    "2026-11-24T10:02:11.034Z".parse().unwrap()
}

pub(crate) fn minutes(minutes: i64) -> chrono::Duration {
    chrono::Duration::minutes(minutes)
}

pub(crate) fn two_of(sku: &str) -> Line {
    Line { sku: sku.parse().unwrap(), quantity: 2, unit_price_minor: 1999 }
}

pub(crate) fn create() -> CreateOrder {
    CreateOrder {
        order_id: order_id(),
        user_id: "u1".parse().unwrap(),
        lines: vec![two_of("SKU-1")],
        amount: Money::new(3998, Currency::EUR),
        deadline_at: None,
    }
}

/// What order-service makes of [`create`].
pub(crate) fn created() -> OrderCreated {
    let CreateOrder { order_id, user_id, lines, amount, .. } = create();
    let deadline_at = Some(now() + minutes(15));
    OrderCreated { order_id, user_id, lines, amount, deadline_at, deadline_given: false }
}

/// What somebody else writes who means [`create`].
pub(crate) fn foreign(create: &CreateOrder) -> Incoming {
    let CreateOrder { order_id, user_id, lines, amount, deadline_at } = create.clone();
    let event = OrderCreated { order_id, user_id, lines, amount, deadline_at, deadline_given: false };
    Incoming::Foreign(Message::Order(event.into()))
}

pub(crate) fn cancel(by: Option<Canceller>) -> CancelOrder {
    CancelOrder { order_id: order_id(), reason: Some("changed my mind".into()), by }
}

pub(crate) fn topic(message: impl IntoMessage) -> Incoming {
    Incoming::Topic(message.into_message())
}

/// The messages that order-service hears, each of its family.
pub(crate) trait IntoMessage {
    fn into_message(self) -> Message;
}

macro_rules! into_message {
    ($($payload:ty => $family:ident,)+) => {
        $(impl IntoMessage for $payload {
            fn into_message(self) -> Message {
                Message::$family(self.into())
            }
        })+
    };
}
into_message!(
    CreateOrder => OrderCommand,
    CancelOrder => OrderCommand,
    StockRejected => Reservation,
    StockCommitted => Reservation,
    StockReleased => Reservation,
    StockRestocked => Reservation,
    PaymentAuthorized => Payment,
    PaymentDeclined => Payment,
    PaymentCaptured => Payment,
    PaymentCaptureFailed => Payment,
    PaymentVoided => Payment,
    PaymentRefunded => Payment,
    PaymentAbandoned => Payment,
);

pub(crate) fn stock_rejected() -> Incoming {
    topic(StockRejected { order_id: order_id(), shortages: vec![] })
}
pub(crate) fn stock_committed() -> Incoming {
    topic(StockCommitted { order_id: order_id() })
}
pub(crate) fn stock_returned() -> Vec<Incoming> {
    let (order_id, lines) = (order_id(), vec![]);
    vec![topic(StockReleased { order_id, lines: lines.clone() }), topic(StockRestocked { order_id, lines })]
}
pub(crate) fn payment_authorized() -> Incoming {
    topic(PaymentAuthorized { order_id: order_id() })
}
pub(crate) fn payment_declined() -> Incoming {
    topic(PaymentDeclined { order_id: order_id(), code: "insufficient-funds".into() })
}
pub(crate) fn payment_captured() -> Incoming {
    topic(PaymentCaptured { order_id: order_id() })
}
pub(crate) fn capture_failed() -> Incoming {
    topic(PaymentCaptureFailed { order_id: order_id(), code: "expired".into() })
}
pub(crate) fn payment_returned() -> Vec<Incoming> {
    let order_id = order_id();
    vec![
        topic(PaymentVoided { order_id }),
        topic(PaymentRefunded { order_id }),
        topic(PaymentAbandoned { order_id }),
    ]
}
pub(crate) fn deadline() -> Incoming {
    Incoming::Task(DEADLINE)
}
pub(crate) fn progress_overdue() -> Incoming {
    Incoming::Task(PROGRESS_OVERDUE)
}
pub(crate) fn compensation_overdue() -> Incoming {
    Incoming::Task(COMPENSATION_OVERDUE)
}

/// An order that went this way.
pub(crate) fn given(incoming: &[Incoming]) -> Memory<Orders> {
    let mut order = Memory::new(Orders::default());
    for incoming in incoming {
        when(&mut order, incoming).unwrap_or_else(|refusal| panic!("{incoming:?}: {refusal:?}"));
    }
    order
}

/// Tells it, at [`now`], under an id that is its own.
pub(crate) fn when(order: &mut Memory<Orders>, incoming: &Incoming) -> Outcome {
    let id = Uuid::from_u128(order.log.len() as u128 + 1);
    let told = told(id, now());
    let (command, told) = match incoming {
        Incoming::Topic(message) => (heard(&order.decider, message, Some(1)), told),
        Incoming::Foreign(message) => (heard(&order.decider, message, None), told),
        Incoming::Http(command) => (command.clone(), Told { via: Via::Http, ..told }),
        Incoming::Task(kind) => {
            let task = Task {
                id,
                stream: stream(),
                kind: (*kind).to_owned(),
                due_at: now(),
                attempt: 1,
                cause: Uuid::nil(),
                traceparent: None,
            };
            let command = order.decider.due(&task).expect("a task that order-service knows");
            (command, Told { via: Via::Task { attempt: 1 }, ..told })
        }
    };
    order.handle(&command, &told)
}

fn heard(orders: &Orders, message: &Message, position: Option<i64>) -> Command {
    orders.react(message, &envelope(message, position)).expect("a message that concerns order-service")
}

pub(crate) fn envelope(message: &Message, position: Option<i64>) -> Envelope {
    Envelope {
        id: Uuid::from_u128(7),
        source: "/fulfil/test".into(),
        message_type: message.message_type().into(),
        data: String::new(),
        time: None,
        correlation_id: None,
        causation_id: None,
        traceparent: None,
        sequence: position,
        position,
        decision: None,
    }
}

pub(crate) fn events(outcome: &Outcome) -> Vec<OrderEvent> {
    let decision = outcome.as_ref().expect("no refusal");
    decision.events.iter().map(|decided| decided.event.clone()).collect()
}
