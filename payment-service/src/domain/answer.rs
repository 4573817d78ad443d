//! What comes back from the provider, and what it makes of the payment.
//!
//! Only the answer that is awaited counts. Any other says nothing new, or contradicts what we have: then the
//! provider's record decides, if nothing was appended to the payment since it was asked for.

use shared::{
    contract::{
        ids::{OrderId, named},
        payment::{
            Operation, PaymentAbandoned, PaymentAuthorized, PaymentCaptureFailed, PaymentCaptured,
            PaymentDeclined, PaymentEvent, PaymentOutcomeUnknown, PaymentRefunded, PaymentVoided,
        },
    },
    decider::Decision,
};
use uuid::Uuid;

use super::{
    ANSWER_WITHOUT_PAYMENT, Call, Closing, ENQUIRE, Limits, Payment, RECORD_CONTRADICTS, REVERSAL_REFUSED,
    Stage, again, append, drop_task, enquire, enquire_now, nothing,
    record::{Held, Record, Said},
    repeat, reversal,
};

/// Whether an enquiry would bring something: this record changes our state or is against it.
pub fn differs(payment: &Payment, record: &Record) -> bool {
    made_good(payment, record).is_some() || contradicts(payment, record)
}

pub(super) fn call(
    payment: &Payment,
    order_id: OrderId,
    operation: Operation,
    attempt: i32,
) -> Decision<PaymentEvent, Call> {
    if payment.awaits() != Some(operation) {
        return Decision { tasks: vec![drop_task(order_id, operation.as_str())], ..nothing() };
    }
    let call = Call::Operation {
        order_id,
        operation,
        amount: payment.amount.filter(|_| operation == Operation::Authorize),
        idempotency_key: idempotency_key(order_id, operation),
        attempt,
    };
    Decision { calls: vec![call], ..nothing() }
}

/// The same for ever, also after a restore: a repeated call happens once.
pub fn idempotency_key(order_id: OrderId, operation: Operation) -> Uuid {
    named(&["payment", &order_id.to_string(), operation.as_str()])
}

pub(super) fn take_answer(
    payment: &Payment,
    order_id: OrderId,
    operation: Operation,
    said: &Said,
    attempt: i32,
    limits: &Limits,
) -> Decision<PaymentEvent, Call> {
    if payment.awaits() == Some(operation) {
        return match awaited(payment, order_id, operation, said) {
            Some(event) => append(order_id, event),
            // Whoever refuses to give back may do so because it stands otherwise than we think: look, and insist.
            None => Decision {
                tasks: vec![enquire_now(order_id), repeat(order_id, operation.as_str(), attempt, limits)],
                counted: Some(REVERSAL_REFUSED),
                ..nothing()
            },
        };
    }
    unawaited(payment, order_id, operation, said)
}

/// What the awaited answer makes. `None`: an undoing was refused.
fn awaited(payment: &Payment, order_id: OrderId, operation: Operation, said: &Said) -> Option<PaymentEvent> {
    let cancelled = matches!(payment.stage, Stage::Reversing { .. });
    let event = match (operation, said) {
        (Operation::Authorize, Said::Yes) if cancelled => reversal(order_id, Operation::Void).into(),
        (Operation::Authorize, Said::Yes) => PaymentAuthorized { order_id }.into(),
        (Operation::Authorize, Said::No { .. }) if cancelled => PaymentAbandoned { order_id }.into(),
        (Operation::Authorize, Said::No { code }) => PaymentDeclined { order_id, code: code.clone() }.into(),
        (Operation::Capture, Said::Yes) if cancelled => reversal(order_id, Operation::Refund).into(),
        (Operation::Capture, Said::Yes) => PaymentCaptured { order_id }.into(),
        (Operation::Capture, Said::No { .. }) if cancelled => reversal(order_id, Operation::Void).into(),
        (Operation::Capture, Said::No { code }) => {
            PaymentCaptureFailed { order_id, code: code.clone() }.into()
        }
        (Operation::Void, Said::Yes) => PaymentVoided { order_id }.into(),
        (Operation::Refund, Said::Yes) => PaymentRefunded { order_id }.into(),
        (Operation::Void | Operation::Refund, Said::No { .. }) => return None,
    };
    Some(event)
}

/// An answer that is not awaited says nothing new, or contradicts what we have: then the record decides.
fn unawaited(
    payment: &Payment,
    order_id: OrderId,
    operation: Operation,
    said: &Said,
) -> Decision<PaymentEvent, Call> {
    let contradiction = match (operation, said) {
        (Operation::Void | Operation::Refund, Said::No { .. }) => false,
        _ if payment.stage == Stage::None => {
            return Decision { counted: Some(ANSWER_WITHOUT_PAYMENT), ..nothing() };
        }
        (Operation::Void | Operation::Refund, Said::Yes) => false,
        (Operation::Authorize, Said::Yes) => match payment.stage {
            Stage::Declined => true,
            // Where it was voided or refunded this yes is undone already.
            Stage::Closed { how } => matches!(how, Closing::Tombstone | Closing::Abandoned),
            Stage::None
            | Stage::Requested { .. }
            | Stage::Authorized
            | Stage::CaptureRequested { .. }
            | Stage::Captured
            | Stage::CaptureFailed
            | Stage::Reversing { .. } => false,
        },
        (Operation::Authorize, Said::No { .. }) => match payment.stage {
            Stage::Authorized
            | Stage::CaptureRequested { .. }
            | Stage::Captured
            | Stage::CaptureFailed
            | Stage::Reversing { .. } => true,
            Stage::None | Stage::Requested { .. } | Stage::Declined | Stage::Closed { .. } => false,
        },
        (Operation::Capture, Said::Yes) => match payment.stage {
            Stage::Requested { .. } | Stage::Authorized | Stage::CaptureFailed | Stage::Declined => true,
            Stage::Reversing { awaits } => awaits != Operation::Refund,
            Stage::Closed { how } => how != Closing::Refunded,
            Stage::None | Stage::CaptureRequested { .. } | Stage::Captured => false,
        },
        (Operation::Capture, Said::No { .. }) => match payment.stage {
            Stage::Requested { .. } | Stage::Authorized | Stage::Captured | Stage::Declined => true,
            Stage::None
            | Stage::CaptureRequested { .. }
            | Stage::CaptureFailed
            | Stage::Reversing { .. }
            | Stage::Closed { .. } => false,
        },
    };
    if contradiction { enquire(order_id) } else { nothing() }
}

/// Silence is never a no: ask again with the same key.
pub(super) fn take_silence(
    payment: &Payment,
    order_id: OrderId,
    operation: Operation,
    attempt: i32,
    limits: &Limits,
) -> Decision<PaymentEvent, Call> {
    if payment.awaits() != Some(operation) {
        return nothing();
    }
    let again = again(order_id, operation.as_str(), attempt, limits);
    match payment.stage {
        Stage::Requested { silence_told: false } | Stage::CaptureRequested { silence_told: false } => {
            let unknown = PaymentOutcomeUnknown { order_id, operation, attempt };
            Decision { tasks: again.tasks, ..append(order_id, unknown) }
        }
        _ => again,
    }
}

pub(super) fn ask_for_record(
    payment: &Payment,
    order_id: OrderId,
    version: i64,
    attempt: i32,
) -> Decision<PaymentEvent, Call> {
    if payment.stage == Stage::None {
        return Decision { tasks: vec![drop_task(order_id, ENQUIRE)], ..nothing() };
    }
    Decision { calls: vec![Call::Enquire { order_id, attempt, asked_at_version: version }], ..nothing() }
}

/// The record wins if nothing was appended to the payment since it was asked for.
pub(super) fn take_record(
    payment: &Payment,
    order_id: OrderId,
    record: &Record,
    newest: bool,
) -> Decision<PaymentEvent, Call> {
    if !newest {
        return enquire(order_id);
    }
    let decision = made_good(payment, record).map_or_else(nothing, |event| append(order_id, event));
    Decision {
        tasks: vec![drop_task(order_id, ENQUIRE)],
        counted: contradicts(payment, record).then_some(RECORD_CONTRADICTS),
        ..decision
    }
}

/// What the provider's record makes of the payment.
fn made_good(payment: &Payment, record: &Record) -> Option<PaymentEvent> {
    let order_id = record.payment_id;
    let undoing = |operation| PaymentEvent::from(reversal(order_id, operation));
    match payment.stage {
        Stage::None | Stage::Captured => None,
        Stage::Authorized => {
            record.shows(Operation::Capture).then(|| PaymentEvent::from(PaymentCaptured { order_id }))
        }
        Stage::CaptureFailed => record.shows(Operation::Capture).then(|| undoing(Operation::Refund)),
        Stage::Declined | Stage::Closed { .. } => match record.held() {
            Held::Nothing => None,
            Held::Authorized => Some(undoing(Operation::Void)),
            Held::Captured => Some(undoing(Operation::Refund)),
        },
        Stage::Reversing { awaits: Operation::Void } if record.shows(Operation::Capture) => {
            Some(undoing(Operation::Refund))
        }
        Stage::Requested { .. } | Stage::CaptureRequested { .. } | Stage::Reversing { .. } => {
            let operation = payment.awaits()?;
            awaited(payment, order_id, operation, record.said(operation)?)
        }
    }
}

/// Whether the record is against our state. While an answer is awaited it may be ahead of us.
fn contradicts(payment: &Payment, record: &Record) -> bool {
    let held = record.held();
    match payment.stage {
        Stage::None | Stage::Requested { .. } | Stage::CaptureRequested { .. } => false,
        Stage::Authorized | Stage::Captured if payment.is_free() => held != Held::Nothing,
        Stage::Authorized => held != Held::Authorized || record.amount != payment.amount,
        Stage::Captured => held != Held::Captured || record.amount != payment.amount,
        Stage::CaptureFailed => held == Held::Captured,
        Stage::Reversing { awaits } => awaits == Operation::Void && record.shows(Operation::Capture),
        Stage::Declined | Stage::Closed { .. } => held != Held::Nothing,
    }
}
