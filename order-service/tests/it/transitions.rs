//! Every state times every message, by hand: fourteen rows of six cells. A cell says what follows; where that
//! depends on more than row and column say, it has a case for each.

use order_service::{COMPENSATION_OVERDUE, DEADLINE, PROGRESS_OVERDUE, domain::Command};
use shared::{
    contract::order::{CancelReason, CancelStage, CancelledBy, Canceller, OrderEvent, Step, *},
    decider::{Class, Decider, Decision, Due, TaskChange},
};

use crate::given::*;

const ROWS: usize = 14;
const COLUMNS: [&str; 6] = ["none", "created", "confirmed", "completed", "cancelled", "settled"];

/// What follows.
#[derive(Debug, Clone, PartialEq)]
enum Then {
    /// "-"
    Nothing,
    Happens(OrderEvent),
    /// Counted and shown, and the task comes again.
    Renewed(&'static str),
    Refused(Class, &'static str),
}
use Then::{Happens, Nothing, Renewed};

const HOLD: Then = Then::Refused(Class::TooEarly, "unknown-order");
const BUG: Then = Then::Refused(Class::Impossible, "contradiction");
const REUSED: Then = Then::Refused(Class::Malformed, "idempotency-key-reused");
const TOO_FAR: Then = Then::Refused(Class::Malformed, "deadline-too-far");
const ORDER_STATE: Then = Then::Refused(Class::Refused, "order-state");

enum Cell {
    /// For every incoming message of the row, from every variant of the column.
    Always(Then),
    /// For every incoming message of the row, one for each variant of the column.
    Each(Vec<Then>),
    /// For these messages instead.
    By(Vec<(Incoming, Cell)>),
}
use Cell::{Always, By, Each};

struct Row {
    name: &'static str,
    incoming: Vec<Incoming>,
    cells: [Cell; COLUMNS.len()],
}

/// The ways into each column.
fn variants(column: usize) -> Vec<Vec<Incoming>> {
    let created = vec![topic(create())];
    let then = |before: &[Incoming], more: &[Incoming]| [before, more].concat();
    let confirmed = then(&created, &[payment_authorized()]);
    let completed = then(&confirmed, &[payment_captured(), stock_committed()]);
    let cancelled = then(&created, &[topic(cancel(None))]);
    let (stock, payment) = (stock_returned()[0].clone(), payment_returned()[0].clone());
    match COLUMNS[column] {
        "none" => vec![vec![]],
        "created" => vec![created],
        "confirmed" => vec![
            confirmed.clone(),
            then(&confirmed, &[stock_committed()]),
            then(&confirmed, &[payment_captured()]),
        ],
        "completed" => vec![completed.clone(), then(&completed, &[topic(cancel(None))])],
        "cancelled" => vec![
            cancelled.clone(),
            then(&cancelled, std::slice::from_ref(&stock)),
            then(&cancelled, std::slice::from_ref(&payment)),
            then(&confirmed, &[capture_failed()]),
            // What cancelled it is a receipt.
            then(&created, &[stock_rejected()]),
            then(&created, &[payment_declined()]),
        ],
        _ => vec![then(&cancelled, &[stock, payment])],
    }
}

fn happened(event: impl Into<OrderEvent>) -> Then {
    Happens(event.into())
}
fn confirmed() -> Then {
    happened(OrderConfirmed { order_id: order_id() })
}
fn progressed(step: Step) -> Then {
    happened(OrderProgressed { order_id: order_id(), step })
}
fn completed() -> Then {
    happened(OrderCompleted { order_id: order_id() })
}
fn settled() -> Then {
    happened(OrderSettled { order_id: order_id() })
}
fn cancelled(reason: CancelReason, stage: CancelStage) -> Then {
    happened(OrderCancelled { order_id: order_id(), reason, by: CancelledBy::System, note: None, stage })
}
fn cancelled_by(by: Canceller, stage: CancelStage) -> Then {
    let (reason, by) = match by {
        Canceller::Customer => (CancelReason::Customer, CancelledBy::Customer),
        Canceller::Operator => (CancelReason::Operator, CancelledBy::Operator),
    };
    let note = Some("changed my mind".into());
    happened(OrderCancelled { order_id: order_id(), reason, by, note, stage })
}
fn cancellation_rejected() -> Then {
    happened(OrderCancellationRejected { order_id: order_id(), reason: CancellationRejection::Completed })
}
/// The receipts of a cancelled order, by the variants of its column.
fn receipt(step: Step) -> Cell {
    let (first, nothing) = (progressed(step), Nothing);
    Each(match step {
        Step::StockReturned => vec![first.clone(), nothing.clone(), settled(), first, nothing, settled()],
        _ => vec![first.clone(), settled(), nothing.clone(), first, settled(), nothing],
    })
}

fn row(name: &'static str, incoming: &[Incoming], cells: [Cell; COLUMNS.len()]) -> Row {
    Row { name, incoming: incoming.to_vec(), cells }
}

fn table() -> [Row; ROWS] {
    let http = |command: &CreateOrder| Incoming::Http(Command::Create(command.clone()));
    let other = CreateOrder { lines: vec![two_of("SKU-2")], ..create() };
    let another_deadline = CreateOrder { deadline_at: Some(now() + minutes(15)), ..create() };
    let too_far = CreateOrder { deadline_at: Some(now() + minutes(24 * 60 + 1)), ..create() };
    // What is "same" in every column but the first.
    let repeated = || {
        By(vec![
            (topic(create()), Always(Nothing)),
            (http(&create()), Always(Nothing)),
            (topic(other.clone()), Always(REUSED)),
            (http(&other), Always(REUSED)),
            (topic(another_deadline.clone()), Always(REUSED)),
        ])
    };
    let adopted_again = || {
        By(vec![
            (foreign(&create()), Always(Nothing)),
            (foreign(&other), Always(REUSED)),
            (foreign(&another_deadline), Always(REUSED)),
        ])
    };
    let asked = |by| [topic(cancel(by)), Incoming::Http(Command::Cancel(cancel(by)))];
    let cancelled_on_demand = |stage| {
        let (customer, operator) = (Canceller::Customer, Canceller::Operator);
        let cases = [(None, customer), (Some(customer), customer), (Some(operator), operator)];
        let cases = cases
            .into_iter()
            .flat_map(|(by, who)| asked(by).map(|incoming| (incoming, Always(cancelled_by(who, stage)))));
        By(cases.collect())
    };
    [
        row(
            "CreateOrder",
            &[topic(create()), http(&create())],
            [
                By(vec![
                    (topic(create()), Always(happened(created()))),
                    (http(&create()), Always(happened(created()))),
                    (topic(too_far.clone()), Always(TOO_FAR)),
                    (http(&too_far), Always(TOO_FAR)),
                ]),
                repeated(),
                repeated(),
                repeated(),
                repeated(),
                repeated(),
            ],
        ),
        row(
            "OrderCreated, foreign",
            &[foreign(&create())],
            [
                By(vec![
                    (foreign(&create()), Always(happened(created()))),
                    (foreign(&too_far), Always(TOO_FAR)),
                ]),
                adopted_again(),
                adopted_again(),
                adopted_again(),
                adopted_again(),
                adopted_again(),
            ],
        ),
        row(
            "CancelOrder",
            &asked(None),
            [
                // Over HTTP too early is 404.
                Always(HOLD),
                cancelled_on_demand(CancelStage::Created),
                cancelled_on_demand(CancelStage::Confirmed),
                By(vec![
                    (topic(cancel(None)), Each(vec![cancellation_rejected(), Nothing])),
                    (Incoming::Http(Command::Cancel(cancel(None))), Always(ORDER_STATE)),
                ]),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "StockRejected",
            &[stock_rejected()],
            [
                Always(HOLD),
                Always(cancelled(CancelReason::OutOfStock, CancelStage::Created)),
                Always(BUG),
                Always(BUG),
                receipt(Step::StockReturned),
                Always(Nothing),
            ],
        ),
        row(
            "PaymentAuthorized",
            &[payment_authorized()],
            [
                Always(HOLD),
                Always(confirmed()),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "PaymentDeclined",
            &[payment_declined()],
            [
                Always(HOLD),
                Always(cancelled(CancelReason::PaymentDeclined, CancelStage::Created)),
                Always(BUG),
                Always(BUG),
                receipt(Step::PaymentReturned),
                Always(Nothing),
            ],
        ),
        row(
            "StockCommitted",
            &[stock_committed()],
            [
                Always(HOLD),
                Always(BUG),
                Each(vec![progressed(Step::StockCommitted), Nothing, completed()]),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "PaymentCaptured",
            &[payment_captured()],
            [
                Always(HOLD),
                Always(BUG),
                Each(vec![progressed(Step::PaymentCaptured), completed(), Nothing]),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "PaymentCaptureFailed",
            &[capture_failed()],
            [
                Always(HOLD),
                Always(BUG),
                Always(cancelled(CancelReason::CaptureFailed, CancelStage::Confirmed)),
                Always(BUG),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "StockReleased, StockRestocked",
            &stock_returned(),
            [
                Always(HOLD),
                Always(BUG),
                Always(BUG),
                Always(BUG),
                receipt(Step::StockReturned),
                Always(Nothing),
            ],
        ),
        row(
            "PaymentVoided, PaymentRefunded, PaymentAbandoned",
            &payment_returned(),
            [
                Always(HOLD),
                Always(BUG),
                Always(BUG),
                Always(BUG),
                receipt(Step::PaymentReturned),
                Always(Nothing),
            ],
        ),
        row(
            "deadline task",
            &[deadline()],
            [
                Always(Nothing),
                Always(cancelled(CancelReason::Deadline, CancelStage::Created)),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "progress-overdue task",
            &[progress_overdue()],
            [
                Always(Nothing),
                Always(Nothing),
                Always(Renewed(PROGRESS_OVERDUE)),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
            ],
        ),
        row(
            "compensation-overdue task",
            &[compensation_overdue()],
            [
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
                Always(Nothing),
                Always(Renewed(COMPENSATION_OVERDUE)),
                Always(Nothing),
            ],
        ),
    ]
}

#[test]
fn every_cell_of_the_order_table_holds() {
    let table = table();
    for row in &table {
        for (column, cell) in row.cells.iter().enumerate() {
            let place = format!("{} x {}", row.name, COLUMNS[column]);
            check(&place, cell, &row.incoming, &variants(column));
        }
    }
    let cells: usize = table.iter().map(|row| row.cells.len()).sum();
    assert_eq!(cells, 14 * 6, "fourteen messages, six states");
}

fn check(place: &str, cell: &Cell, incoming: &[Incoming], variants: &[Vec<Incoming>]) {
    match cell {
        By(cases) => {
            for (incoming, cell) in cases {
                check(place, cell, std::slice::from_ref(incoming), variants);
            }
        }
        Always(then) => {
            for (before, incoming) in product(variants, incoming) {
                check_case(place, before, incoming, then);
            }
        }
        Each(thens) => {
            assert_eq!(thens.len(), variants.len(), "{place}: one for each variant");
            for (before, then) in variants.iter().zip(thens) {
                for incoming in incoming {
                    check_case(place, before, incoming, then);
                }
            }
        }
    }
}

fn product<'a, A, B>(left: &'a [A], right: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    left.iter().flat_map(move |a| right.iter().map(move |b| (a, b)))
}

/// Given, when, then; and then it comes again.
fn check_case(place: &str, before: &[Incoming], incoming: &Incoming, then: &Then) {
    let mut order = given(before);
    let (log_before, state_before) = (order.log.len(), order.state(&stream()));
    let outcome = when(&mut order, incoming);
    let context = format!("{place}, after {before:?}, {incoming:?}");
    match then {
        Nothing => {
            let decision = outcome.unwrap_or_else(|refusal| panic!("{context}: {refusal:?}"));
            assert_eq!(decision, Decision::default(), "{context}");
        }
        Happens(event) => {
            assert_eq!(events(&outcome), std::slice::from_ref(event), "{context}");
            let again = when(&mut order, incoming);
            if !matches!((incoming, &again), (Incoming::Http(_), Err(_))) {
                assert_eq!(events(&again), [], "{context}, again");
            }
            return;
        }
        Renewed(kind) => {
            let decision = outcome.unwrap_or_else(|refusal| panic!("{context}: {refusal:?}"));
            assert_eq!((decision.events.len(), decision.counted), (0, Some(*kind)), "{context}");
            let due = Due::After(std::time::Duration::from_secs(300));
            let renewed = TaskChange::Set { stream: stream(), kind, due, attempt: 2 };
            assert_eq!(decision.tasks, [renewed], "{context}");
        }
        Then::Refused(class, code) => {
            let refusal = outcome.expect_err(&context);
            assert_eq!((refusal.class, refusal.code), (*class, *code), "{context}");
        }
    }
    assert_eq!((order.log.len(), order.state(&stream())), (log_before, state_before), "{context}");
}

/// What each column owes itself, so that no wait is without an end.
#[test]
fn a_state_that_waits_owes_a_task_and_a_final_one_owes_none() {
    let owed = [&[][..], &[DEADLINE], &[PROGRESS_OVERDUE], &[], &[COMPENSATION_OVERDUE], &[]];
    for (column, owed) in owed.into_iter().enumerate() {
        for before in variants(column) {
            let order = given(&before);
            let kinds: Vec<_> = order.tasks.keys().map(|(_, kind)| kind.as_str()).collect();
            assert_eq!(kinds, owed, "{} after {before:?}", COLUMNS[column]);
            assert_eq!(order.state(&stream()).name(), COLUMNS[column]);
        }
    }
}

#[test]
fn only_the_deadline_waits_for_what_may_still_be_on_a_topic() {
    assert_eq!(order_service::Orders::WAITS_FOR_BACKLOG, [DEADLINE]);
}
