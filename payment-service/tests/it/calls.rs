//! What a due task asks of the provider, and when a record counts.

use payment_service::{
    Payments,
    domain::{Call, Command, ENQUIRE, Limits, Rejection, decide, idempotency_key},
};
use proptest::prelude::*;
use shared::{
    contract::payment::Operation,
    decider::{Decider, Due, Task, TaskChange},
};
use uuid::Uuid;

use crate::given::*;

fn due_task(kind: &str, attempt: i32) -> Option<Command> {
    Payments::default().due(&Task {
        id: Uuid::nil(),
        stream: stream(),
        kind: kind.into(),
        due_at: Default::default(),
        attempt,
        cause: Uuid::nil(),
        traceparent: None,
    })
}

#[test]
fn a_due_task_calls_while_its_answer_is_awaited() {
    let payment = folded(&[requested()]);
    let (after, decision) = then(&payment, &due_task("authorize", 3).unwrap()).unwrap();
    let call = Call::Operation {
        order_id: order(),
        operation: Operation::Authorize,
        amount: Some(due()),
        idempotency_key: idempotency_key(order(), Operation::Authorize),
        attempt: 3,
    };
    assert_eq!((decision.calls, decision.events, decision.tasks), (vec![call], vec![], vec![]));
    assert_eq!(after, payment);
}

#[test]
fn a_due_task_whose_answer_is_in_goes_away() {
    let (_, decision) =
        then(&folded(&[requested(), authorized()]), &due_task("authorize", 1).unwrap()).unwrap();
    assert_eq!((decision.calls, decision.tasks), (vec![], vec![drops("authorize")]));
}

#[test]
fn only_an_authorization_names_the_amount() {
    for (given, operation) in [
        (vec![requested(), authorized(), capture_requested()], Operation::Capture),
        (vec![requested(), authorized(), reversal(Operation::Void)], Operation::Void),
        // After a tombstone nobody knows the amount any more.
        (vec![abandoned(), reversal(Operation::Refund)], Operation::Refund),
    ] {
        let (_, decision) = then(&folded(&given), &due_task(operation.as_str(), 1).unwrap()).unwrap();
        let Some(Call::Operation { amount, operation: called, .. }) = decision.calls.first() else {
            panic!("no call for {operation:?}")
        };
        assert_eq!((*amount, *called), (None, operation));
    }
}

#[test]
fn a_key_belongs_to_one_operation_of_one_payment_for_ever() {
    let keys: std::collections::HashSet<_> =
        Operation::ALL.into_iter().map(|operation| idempotency_key(order(), operation)).collect();
    assert_eq!(keys.len(), 4);
    assert_eq!(
        idempotency_key(order(), Operation::Authorize).to_string(),
        "c7d82fbb-b59e-53b3-b5ee-f4d9e94af47b",
        "another key for the same call is a second charge"
    );
}

#[test]
fn a_task_of_another_kind_is_not_ours() {
    assert_eq!(due_task("deadline", 1), None);
}

#[test]
fn a_callback_for_an_unknown_payment_is_refused() {
    let callback = Command::Enquire { order_id: order() };
    assert_eq!(then(&folded(&[]), &callback).unwrap_err(), Rejection::UnknownPayment);
    let (_, decision) = then(&folded(&[abandoned()]), &callback).unwrap();
    assert_eq!(decision.tasks, vec![enquires()]);
}

#[test]
fn an_enquiry_remembers_the_version_at_which_it_was_asked() {
    let payment = folded(&[requested()]);
    let decision = decide(&payment, 7, &due_task(ENQUIRE, 2).unwrap(), &Limits::default()).unwrap();
    let call = Call::Enquire { order_id: order(), attempt: 2, asked_at_version: 7 };
    assert_eq!((decision.calls, decision.events), (vec![call], vec![]));
}

#[test]
fn a_record_that_was_asked_for_before_the_last_event_is_asked_for_again() {
    let record = record(&[(Operation::Authorize, yes())]);
    let old = Command::TakeRecord { record, asked_at_version: 1 };
    let decision = decide(&folded(&[abandoned()]), 2, &old, &Limits::default()).unwrap();
    assert_eq!((decision.events, decision.tasks, decision.counted), (vec![], vec![enquires()], None));
}

#[test]
fn an_enquiry_without_an_answer_is_made_again_later() {
    let unanswered = Command::RecordUnanswered { order_id: order(), attempt: 2 };
    let (_, decision) = then(&folded(&[requested()]), &unanswered).unwrap();
    let later = Due::After(Limits::default().retry_after(2));
    assert_eq!(
        decision.tasks,
        vec![TaskChange::Set { stream: stream(), kind: ENQUIRE, due: later, attempt: 3 }]
    );
}

#[test]
fn reconciliation_enquires_only_where_the_record_differs() {
    let compare = |given: &[_], said: &[_]| {
        let (_, decision) = then(&folded(given), &Command::CompareRecord { record: record(said) }).unwrap();
        assert!(decision.events.is_empty() && decision.counted.is_none());
        decision.tasks
    };
    let charged = [(Operation::Authorize, yes()), (Operation::Capture, yes())];
    assert_eq!(compare(&[requested(), authorized(), capture_requested(), captured()], &charged), vec![]);
    assert_eq!(compare(&[abandoned()], &charged), vec![enquires()]);
    assert_eq!(compare(&[], &charged), vec![], "an order that is still to be read from the topics");
}

proptest! {
    #[test]
    fn the_wait_grows_to_its_limit_and_no_further(attempt in 1..i32::MAX) {
        let limits = Limits::default();
        let (wait, next) = (limits.retry_after(attempt), limits.retry_after(attempt.saturating_add(1)));
        prop_assert!(limits.retry_after_first <= wait && wait <= next && next <= limits.retry_after_max);
    }
}
