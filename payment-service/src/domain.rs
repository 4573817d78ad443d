//! A payment: one charge for one order, asked of a provider that may be slow, silent, or contradict itself.
//!
//! Two rules carry it. Only the answer that is awaited counts; any other is nothing new, or a reason to ask for
//! the provider's record. And what was asked for may have happened, so a cancellation that comes while a call is
//! under way waits for its answer and undoes it. No I/O here, no clock, no ids.

pub mod record;
mod answer;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        ids::{OrderId, StreamName},
        money::Money,
        payment::{
            Operation, PaymentAbandoned, PaymentAuthorized, PaymentCaptureRequested, PaymentCaptured,
            PaymentEvent, PaymentRefunded, PaymentRequested, PaymentReversalRequested, PaymentVoided,
        },
    },
    decider::{Class, Decided, Decision, Due, Owed, Refusal, TaskChange},
};
use uuid::Uuid;

pub use self::answer::{differs, idempotency_key};
use self::{
    answer::{ask_for_record, call, take_answer, take_record, take_silence},
    record::{Record, Said},
};

/// The task that asks the provider for its record. The tasks that call an operation are named after it.
pub const ENQUIRE: &str = "enquire";

/// The provider answered for a payment of which we know nothing.
pub const ANSWER_WITHOUT_PAYMENT: &str = "answer-without-payment";
/// The provider will not give money back; asked again until it does.
pub const REVERSAL_REFUSED: &str = "reversal-refused";
/// The provider's record is against our state.
pub const RECORD_CONTRADICTS: &str = "payment-record-contradicts";

/// The fold of a payment's stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payment {
    /// `None` where the provider was never asked: an order of amount zero, or a tombstone.
    pub amount: Option<Money>,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    #[default]
    None,
    /// `silence_told`: the first silence is an event, the ones after it are not.
    Requested {
        silence_told: bool,
    },
    Authorized,
    CaptureRequested {
        silence_told: bool,
    },
    Captured,
    CaptureFailed,
    Declined,
    /// Cancelled, and this answer is still out: of a call that was under way, or of the undoing itself.
    Reversing {
        awaits: Operation,
    },
    Closed {
        how: Closing,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// Cancelled before it was ever requested: what comes later finds the payment closed.
    Tombstone,
    /// Nothing was taken.
    Abandoned,
    Voided,
    Refunded,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Stock is reserved: so much is due.
    RequestPayment { order_id: OrderId, amount: Money },
    /// The order is confirmed.
    CapturePayment { order_id: OrderId },
    /// The order is cancelled.
    ReversePayment { order_id: OrderId },
    /// A task is due: make the call, if its answer is still awaited.
    CallProvider { order_id: OrderId, operation: Operation, attempt: i32 },
    /// What the call brought.
    TakeAnswer { order_id: OrderId, operation: Operation, attempt: i32, answer: Answer },
    /// Somebody hints that something happened (a callback).
    Enquire { order_id: OrderId },
    /// A task is due: ask for the record.
    AskForRecord { order_id: OrderId, attempt: i32 },
    /// The record, and the version at which the payment stood when it was asked for.
    TakeRecord { record: Record, asked_at_version: i64 },
    /// The record was asked for in vain.
    RecordUnanswered { order_id: OrderId, attempt: i32 },
    /// Reconciliation read this record: enquire if it differs from what we have.
    CompareRecord { record: Record },
}

/// What a call brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    Said(Said),
    /// A timeout, 5xx, 429, a no that is not final: it may have happened or not.
    Silent,
}

/// What to ask the provider after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    Operation {
        order_id: OrderId,
        operation: Operation,
        /// With an authorization only: the other operations are about the whole charge.
        amount: Option<Money>,
        /// Of payment and operation, so that however often it is asked, it happens once.
        idempotency_key: Uuid,
        attempt: i32,
    },
    Enquire {
        order_id: OrderId,
        attempt: i32,
        asked_at_version: i64,
    },
}

/// Why a command is turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Confirmed before we heard that stock is reserved: the topics are not ordered among each other.
    UnknownOrder,
    /// A callback about a payment that we do not have.
    UnknownPayment,
    /// Confirmed although we never said that it is authorized.
    NotAuthorized,
}

/// How long to wait between calls that bring no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub retry_after_first: Duration,
    /// The wait doubles up to here.
    pub retry_after_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { retry_after_first: Duration::from_millis(500), retry_after_max: Duration::from_secs(60) }
    }
}

impl Limits {
    /// After the attempt of this number, counted from 1.
    pub fn retry_after(&self, attempt: i32) -> Duration {
        let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(20);
        self.retry_after_first.saturating_mul(1 << doublings).min(self.retry_after_max)
    }
}

impl Command {
    pub fn order_id(&self) -> OrderId {
        match self {
            Self::RequestPayment { order_id, .. }
            | Self::CapturePayment { order_id }
            | Self::ReversePayment { order_id }
            | Self::CallProvider { order_id, .. }
            | Self::TakeAnswer { order_id, .. }
            | Self::Enquire { order_id }
            | Self::AskForRecord { order_id, .. }
            | Self::RecordUnanswered { order_id, .. } => *order_id,
            Self::TakeRecord { record, .. } | Self::CompareRecord { record } => record.payment_id,
        }
    }
}

impl Payment {
    /// The one operation whose answer counts.
    pub fn awaits(&self) -> Option<Operation> {
        match self.stage {
            Stage::Requested { .. } => Some(Operation::Authorize),
            Stage::CaptureRequested { .. } => Some(Operation::Capture),
            Stage::Reversing { awaits } => Some(awaits),
            Stage::None
            | Stage::Authorized
            | Stage::Captured
            | Stage::CaptureFailed
            | Stage::Declined
            | Stage::Closed { .. } => None,
        }
    }

    /// An order of amount zero needs no call.
    fn is_free(&self) -> bool {
        self.amount.is_none()
    }
}

type Outcome = Result<Decision<PaymentEvent, Call>, Rejection>;

/// `version` is that of the payment's stream.
pub fn decide(payment: &Payment, version: i64, command: &Command, limits: &Limits) -> Outcome {
    let order_id = command.order_id();
    match command {
        Command::RequestPayment { amount, .. } => Ok(request(payment, order_id, *amount)),
        Command::CapturePayment { .. } => capture(payment, order_id),
        Command::ReversePayment { .. } => Ok(reverse(payment, order_id)),
        Command::CallProvider { operation, attempt, .. } => Ok(call(payment, order_id, *operation, *attempt)),
        Command::TakeAnswer { operation, answer: Answer::Said(said), attempt, .. } => {
            Ok(take_answer(payment, order_id, *operation, said, *attempt, limits))
        }
        Command::TakeAnswer { operation, answer: Answer::Silent, attempt, .. } => {
            Ok(take_silence(payment, order_id, *operation, *attempt, limits))
        }
        Command::Enquire { .. } if payment.stage == Stage::None => Err(Rejection::UnknownPayment),
        Command::Enquire { .. } => Ok(enquire(order_id)),
        Command::AskForRecord { attempt, .. } => Ok(ask_for_record(payment, order_id, version, *attempt)),
        Command::TakeRecord { record, asked_at_version } => {
            Ok(take_record(payment, order_id, record, *asked_at_version == version))
        }
        Command::RecordUnanswered { attempt, .. } => Ok(again(order_id, ENQUIRE, *attempt, limits)),
        Command::CompareRecord { record } if differs(payment, record) => Ok(enquire(order_id)),
        Command::CompareRecord { .. } => Ok(nothing()),
    }
}

pub fn evolve(payment: Payment, event: &PaymentEvent) -> Payment {
    let stage = match event {
        PaymentEvent::Requested(event) => {
            return Payment { amount: Some(event.amount), stage: Stage::Requested { silence_told: false } };
        }
        PaymentEvent::Authorized(_) => Stage::Authorized,
        PaymentEvent::Declined(_) => Stage::Declined,
        PaymentEvent::CaptureRequested(_) => Stage::CaptureRequested { silence_told: false },
        PaymentEvent::Captured(_) => Stage::Captured,
        PaymentEvent::CaptureFailed(_) => Stage::CaptureFailed,
        PaymentEvent::ReversalRequested(event) => Stage::Reversing { awaits: event.awaits },
        PaymentEvent::Voided(_) => Stage::Closed { how: Closing::Voided },
        PaymentEvent::Refunded(_) => Stage::Closed { how: Closing::Refunded },
        PaymentEvent::Abandoned(_) if payment.stage == Stage::None => {
            Stage::Closed { how: Closing::Tombstone }
        }
        PaymentEvent::Abandoned(_) => Stage::Closed { how: Closing::Abandoned },
        PaymentEvent::OutcomeUnknown(_) => match payment.stage {
            Stage::Requested { .. } => Stage::Requested { silence_told: true },
            Stage::CaptureRequested { .. } => Stage::CaptureRequested { silence_told: true },
            stage => stage,
        },
    };
    Payment { stage, ..payment }
}

/// A call whose answer is awaited is owed until the answer is in, whatever happens to this process.
pub fn owes(payment: &Payment) -> Option<Owed> {
    payment.awaits().map(|operation| Owed { kind: operation.as_str(), due: Due::Now })
}

fn request(payment: &Payment, order_id: OrderId, amount: Money) -> Decision<PaymentEvent, Call> {
    match payment.stage {
        Stage::None if amount.is_zero() => append(order_id, PaymentAuthorized { order_id }),
        Stage::None => append(order_id, PaymentRequested { order_id, amount }),
        // Requested before, or cancelled before it was requested.
        Stage::Requested { .. }
        | Stage::Authorized
        | Stage::CaptureRequested { .. }
        | Stage::Captured
        | Stage::CaptureFailed
        | Stage::Declined
        | Stage::Reversing { .. }
        | Stage::Closed { .. } => nothing(),
    }
}

fn capture(payment: &Payment, order_id: OrderId) -> Outcome {
    match payment.stage {
        Stage::None => Err(Rejection::UnknownOrder),
        // An order is confirmed by our PaymentAuthorized alone.
        Stage::Requested { .. } | Stage::Declined => Err(Rejection::NotAuthorized),
        Stage::Authorized if payment.is_free() => Ok(append(order_id, PaymentCaptured { order_id })),
        Stage::Authorized => Ok(append(order_id, PaymentCaptureRequested { order_id })),
        Stage::CaptureRequested { .. }
        | Stage::Captured
        | Stage::CaptureFailed
        | Stage::Reversing { .. }
        | Stage::Closed { .. } => Ok(nothing()),
    }
}

fn reverse(payment: &Payment, order_id: OrderId) -> Decision<PaymentEvent, Call> {
    match payment.stage {
        Stage::None => append(order_id, PaymentAbandoned { order_id }),
        // The call may have arrived: only its answer says what there is to undo.
        Stage::Requested { .. } => append(order_id, reversal(order_id, Operation::Authorize)),
        Stage::CaptureRequested { .. } => append(order_id, reversal(order_id, Operation::Capture)),
        Stage::Authorized if payment.is_free() => append(order_id, PaymentVoided { order_id }),
        Stage::Captured if payment.is_free() => append(order_id, PaymentRefunded { order_id }),
        Stage::Authorized | Stage::CaptureFailed => append(order_id, reversal(order_id, Operation::Void)),
        Stage::Captured => append(order_id, reversal(order_id, Operation::Refund)),
        // PaymentDeclined was the receipt.
        Stage::Declined => nothing(),
        Stage::Reversing { .. } | Stage::Closed { .. } => nothing(),
    }
}

fn reversal(order_id: OrderId, awaits: Operation) -> PaymentReversalRequested {
    PaymentReversalRequested { order_id, awaits }
}

fn nothing() -> Decision<PaymentEvent, Call> {
    Decision::default()
}

fn append(order_id: OrderId, event: impl Into<PaymentEvent>) -> Decision<PaymentEvent, Call> {
    let event = Decided { stream: StreamName::payment(order_id), event: event.into(), id: None };
    Decision { events: vec![event], ..nothing() }
}

fn enquire(order_id: OrderId) -> Decision<PaymentEvent, Call> {
    Decision { tasks: vec![enquire_now(order_id)], ..nothing() }
}

fn again(
    order_id: OrderId,
    kind: &'static str,
    attempt: i32,
    limits: &Limits,
) -> Decision<PaymentEvent, Call> {
    Decision { tasks: vec![repeat(order_id, kind, attempt, limits)], ..nothing() }
}

fn enquire_now(order_id: OrderId) -> TaskChange {
    TaskChange::Set { stream: StreamName::payment(order_id), kind: ENQUIRE, due: Due::Now, attempt: 1 }
}

fn repeat(order_id: OrderId, kind: &'static str, attempt: i32, limits: &Limits) -> TaskChange {
    TaskChange::Set {
        stream: StreamName::payment(order_id),
        kind,
        due: Due::After(limits.retry_after(attempt)),
        attempt: attempt.saturating_add(1),
    }
}

fn drop_task(order_id: OrderId, kind: &'static str) -> TaskChange {
    TaskChange::Drop { stream: StreamName::payment(order_id), kind }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let (class, code, detail) = match rejection {
            Rejection::UnknownOrder => {
                (Class::TooEarly, "unknown-order", "no stock was reserved for this order yet")
            }
            Rejection::UnknownPayment => (Class::TooEarly, "not-found", "there is no such payment"),
            Rejection::NotAuthorized => {
                (Class::Impossible, "payment-not-authorized", "confirmed, but the payment is not authorized")
            }
        };
        Self { class, code, detail: detail.to_owned() }
    }
}
