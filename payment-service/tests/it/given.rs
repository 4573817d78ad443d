//! Payments as the events that made them, and the words of the tests.

use payment_service::{
    Payments,
    domain::{
        Answer, Call, Command, ENQUIRE, Limits, Payment, Rejection, decide, evolve,
        record::{Record, Said},
    },
};
use shared::{
    contract::{
        ids::{OrderId, StreamName},
        money::{Currency, Money},
        payment::*,
    },
    decider::{Decision, Due, TaskChange, fold},
};
use uuid::Uuid;

pub(crate) fn order() -> OrderId {
    OrderId::new(Uuid::from_u128(0x0198_f3c2)).expect("is not nil")
}

pub(crate) fn due() -> Money {
    Money::new(3998, Currency::EUR)
}

pub(crate) fn free() -> Money {
    Money::new(0, Currency::EUR)
}

pub(crate) fn yes() -> Said {
    Said::Yes
}

pub(crate) fn no() -> Said {
    Said::No { code: "insufficient-funds".into() }
}

pub(crate) fn answer(operation: Operation, said: Said) -> Command {
    Command::TakeAnswer { order_id: order(), operation, attempt: 1, answer: Answer::Said(said) }
}

pub(crate) fn silence(operation: Operation) -> Command {
    Command::TakeAnswer { order_id: order(), operation, attempt: 1, answer: Answer::Silent }
}

/// A record in which these operations were answered.
pub(crate) fn record(said: &[(Operation, Said)]) -> Record {
    let find = |operation| said.iter().find(|(of, _)| *of == operation).map(|(_, said)| said.clone());
    let authorize = find(Operation::Authorize);
    Record {
        amount: authorize.as_ref().map(|_| due()),
        charges: u32::from(authorize == Some(Said::Yes)),
        authorize,
        capture: find(Operation::Capture),
        void: find(Operation::Void),
        refund: find(Operation::Refund),
        ..Record::nothing(order())
    }
}

pub(crate) fn stream() -> StreamName {
    StreamName::payment(order())
}

pub(crate) fn folded(events: &[PaymentEvent]) -> Payment {
    fold(&Payments::default(), Payment::default(), events)
}

/// Decides, and folds what was decided: the state after the command.
pub(crate) fn then(
    payment: &Payment,
    command: &Command,
) -> Result<(Payment, Decision<PaymentEvent, Call>), Rejection> {
    let decision = decide(payment, 0, command, &Limits::default())?;
    let after =
        decision.events.iter().fold(payment.clone(), |payment, decided| evolve(payment, &decided.event));
    Ok((after, decision))
}

pub(crate) fn enquires() -> TaskChange {
    TaskChange::Set { stream: stream(), kind: ENQUIRE, due: Due::Now, attempt: 1 }
}

pub(crate) fn drops(kind: &'static str) -> TaskChange {
    TaskChange::Drop { stream: stream(), kind }
}

pub(crate) fn asks_again(operation: Operation) -> TaskChange {
    let due = Due::After(Limits::default().retry_after(1));
    TaskChange::Set { stream: stream(), kind: operation.as_str(), due, attempt: 2 }
}

// The events, as short as the table writes them.

pub(crate) fn requested() -> PaymentEvent {
    PaymentRequested { order_id: order(), amount: due() }.into()
}
pub(crate) fn authorized() -> PaymentEvent {
    PaymentAuthorized { order_id: order() }.into()
}
pub(crate) fn declined() -> PaymentEvent {
    PaymentDeclined { order_id: order(), code: "insufficient-funds".into() }.into()
}
pub(crate) fn capture_requested() -> PaymentEvent {
    PaymentCaptureRequested { order_id: order() }.into()
}
pub(crate) fn captured() -> PaymentEvent {
    PaymentCaptured { order_id: order() }.into()
}
pub(crate) fn capture_failed() -> PaymentEvent {
    PaymentCaptureFailed { order_id: order(), code: "insufficient-funds".into() }.into()
}
pub(crate) fn reversal(awaits: Operation) -> PaymentEvent {
    PaymentReversalRequested { order_id: order(), awaits }.into()
}
pub(crate) fn voided() -> PaymentEvent {
    PaymentVoided { order_id: order() }.into()
}
pub(crate) fn refunded() -> PaymentEvent {
    PaymentRefunded { order_id: order() }.into()
}
pub(crate) fn abandoned() -> PaymentEvent {
    PaymentAbandoned { order_id: order() }.into()
}
pub(crate) fn outcome_unknown(operation: Operation) -> PaymentEvent {
    PaymentOutcomeUnknown { order_id: order(), operation, attempt: 1 }.into()
}
