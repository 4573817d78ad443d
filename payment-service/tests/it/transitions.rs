//! Every state times every message, by hand: eleven rows of nine cells. A cell is given, when, then; where its
//! outcome depends on more than the column says, it has a case for each.

use payment_service::domain::{
    ANSWER_WITHOUT_PAYMENT, Command, ENQUIRE, Payment, RECORD_CONTRADICTS, REVERSAL_REFUSED, Rejection,
    Stage, owes, record::Said,
};
use shared::{
    contract::payment::{Operation, Operation::*, PaymentEvent},
    decider::{Due, Owed, TaskChange},
};

use crate::given::*;

const COLUMNS: [&str; 9] = [
    "none",
    "requested",
    "authorized",
    "capture_requested",
    "captured",
    "capture_failed",
    "declined",
    "reversing",
    "closed",
];

/// `(given, when, then)`
type Case = (Vec<PaymentEvent>, Command, Then);
type Cell = Vec<Case>;

/// What a cell does. The default is that of "-".
#[derive(Debug, Clone, PartialEq, Default)]
struct Then {
    appended: Vec<PaymentEvent>,
    /// Owed by the state after it.
    owed: Option<Operation>,
    tasks: Vec<TaskChange>,
    counted: Option<&'static str>,
    rejected: Option<Rejection>,
}

struct Row {
    name: &'static str,
    cells: [Cell; 9],
}

fn nothing() -> Then {
    Then::default()
}

fn appends(event: PaymentEvent) -> Then {
    Then { appended: vec![event], ..nothing() }
}

fn enquire() -> Then {
    Then { tasks: vec![enquires()], ..nothing() }
}

fn rejects(rejection: Rejection) -> Then {
    Then { rejected: Some(rejection), ..nothing() }
}

impl Then {
    fn and_owes(self, operation: Operation) -> Self {
        Self { owed: Some(operation), ..self }
    }
    fn and_repeats(mut self, operation: Operation) -> Self {
        self.tasks.push(asks_again(operation));
        self.and_owes(operation)
    }
    fn and_counts(self, counted: &'static str) -> Self {
        Self { counted: Some(counted), ..self }
    }
}

// One way into each column, or all of them where they differ.

fn none() -> Vec<PaymentEvent> {
    vec![]
}
fn in_requested() -> Vec<PaymentEvent> {
    vec![requested()]
}
fn in_authorized() -> Vec<PaymentEvent> {
    vec![requested(), authorized()]
}
/// Amount zero: authorized without having been requested.
fn free_authorized() -> Vec<PaymentEvent> {
    vec![authorized()]
}
fn in_capture_requested() -> Vec<PaymentEvent> {
    vec![requested(), authorized(), capture_requested()]
}
fn in_captured() -> Vec<PaymentEvent> {
    vec![requested(), authorized(), capture_requested(), captured()]
}
fn free_captured() -> Vec<PaymentEvent> {
    vec![authorized(), captured()]
}
fn in_capture_failed() -> Vec<PaymentEvent> {
    vec![requested(), authorized(), capture_requested(), capture_failed()]
}
fn in_declined() -> Vec<PaymentEvent> {
    vec![requested(), declined()]
}
fn awaiting(operation: Operation) -> Vec<PaymentEvent> {
    let mut events = match operation {
        Authorize => in_requested(),
        Capture => in_capture_requested(),
        Void => in_authorized(),
        Refund => in_captured(),
    };
    events.push(reversal(operation));
    events
}
fn tombstone() -> Vec<PaymentEvent> {
    vec![abandoned()]
}
fn in_abandoned() -> Vec<PaymentEvent> {
    vec![requested(), reversal(Authorize), abandoned()]
}
fn in_voided() -> Vec<PaymentEvent> {
    vec![requested(), authorized(), reversal(Void), voided()]
}
fn in_refunded() -> Vec<PaymentEvent> {
    vec![requested(), authorized(), capture_requested(), captured(), reversal(Refund), refunded()]
}
fn all_reversing() -> Vec<Vec<PaymentEvent>> {
    Operation::ALL.into_iter().map(awaiting).collect()
}
fn all_closed() -> Vec<Vec<PaymentEvent>> {
    vec![tombstone(), in_abandoned(), in_voided(), in_refunded()]
}

fn cell(given: Vec<PaymentEvent>, when: &Command, then: Then) -> Cell {
    vec![(given, when.clone(), then)]
}

/// The same from each of these. Where an answer is awaited, it stays owed.
fn each(givens: Vec<Vec<PaymentEvent>>, when: &Command, then: Then) -> Cell {
    let case = |given: Vec<PaymentEvent>| {
        let owed = folded(&given).awaits();
        (given, when.clone(), Then { owed, ..then.clone() })
    };
    givens.into_iter().map(case).collect()
}

/// "-": nothing is appended.
fn dash(givens: Vec<Vec<PaymentEvent>>, when: &Command) -> Cell {
    each(givens, when, nothing())
}

fn stock_reserved() -> Row {
    let when = Command::RequestPayment { order_id: order(), amount: due() };
    let when_free = Command::RequestPayment { order_id: order(), amount: free() };
    Row {
        name: "StockReserved",
        cells: [
            vec![
                (none(), when.clone(), appends(requested()).and_owes(Authorize)),
                (none(), when_free.clone(), appends(authorized())),
            ],
            dash(vec![in_requested()], &when),
            [dash(vec![in_authorized()], &when), dash(vec![free_authorized()], &when_free)].concat(),
            dash(vec![in_capture_requested()], &when),
            [dash(vec![in_captured()], &when), dash(vec![free_captured()], &when_free)].concat(),
            dash(vec![in_capture_failed()], &when),
            dash(vec![in_declined()], &when),
            dash(all_reversing(), &when),
            dash(all_closed(), &when),
        ],
    }
}

fn order_confirmed() -> Row {
    let when = Command::CapturePayment { order_id: order() };
    Row {
        name: "OrderConfirmed",
        cells: [
            cell(none(), &when, rejects(Rejection::UnknownOrder)),
            cell(in_requested(), &when, rejects(Rejection::NotAuthorized).and_owes(Authorize)),
            vec![
                (in_authorized(), when.clone(), appends(capture_requested()).and_owes(Capture)),
                (free_authorized(), when.clone(), appends(captured())),
            ],
            dash(vec![in_capture_requested()], &when),
            dash(vec![in_captured(), free_captured()], &when),
            dash(vec![in_capture_failed()], &when),
            cell(in_declined(), &when, rejects(Rejection::NotAuthorized)),
            dash(all_reversing(), &when),
            dash(all_closed(), &when),
        ],
    }
}

fn order_cancelled() -> Row {
    let when = Command::ReversePayment { order_id: order() };
    Row {
        name: "OrderCancelled",
        cells: [
            cell(none(), &when, appends(abandoned())),
            cell(in_requested(), &when, appends(reversal(Authorize)).and_owes(Authorize)),
            vec![
                (in_authorized(), when.clone(), appends(reversal(Void)).and_owes(Void)),
                (free_authorized(), when.clone(), appends(voided())),
            ],
            cell(in_capture_requested(), &when, appends(reversal(Capture)).and_owes(Capture)),
            vec![
                (in_captured(), when.clone(), appends(reversal(Refund)).and_owes(Refund)),
                (free_captured(), when.clone(), appends(refunded())),
            ],
            cell(in_capture_failed(), &when, appends(reversal(Void)).and_owes(Void)),
            dash(vec![in_declined()], &when),
            dash(all_reversing(), &when),
            dash(all_closed(), &when),
        ],
    }
}

fn authorize_yes() -> Row {
    let when = answer(Authorize, yes());
    Row {
        name: "authorize: yes",
        cells: [
            cell(none(), &when, nothing().and_counts(ANSWER_WITHOUT_PAYMENT)),
            cell(in_requested(), &when, appends(authorized())),
            dash(vec![in_authorized(), free_authorized()], &when),
            dash(vec![in_capture_requested()], &when),
            dash(vec![in_captured(), free_captured()], &when),
            dash(vec![in_capture_failed()], &when),
            cell(in_declined(), &when, enquire()),
            [
                cell(awaiting(Authorize), &when, appends(reversal(Void)).and_owes(Void)),
                dash(vec![awaiting(Capture), awaiting(Void), awaiting(Refund)], &when),
            ]
            .concat(),
            [
                each(vec![tombstone(), in_abandoned()], &when, enquire()),
                // Undone already.
                dash(vec![in_voided(), in_refunded()], &when),
            ]
            .concat(),
        ],
    }
}

fn authorize_no() -> Row {
    let when = answer(Authorize, no());
    Row {
        name: "authorize: no, final",
        cells: [
            cell(none(), &when, nothing().and_counts(ANSWER_WITHOUT_PAYMENT)),
            cell(in_requested(), &when, appends(declined())),
            each(vec![in_authorized(), free_authorized()], &when, enquire()),
            each(vec![in_capture_requested()], &when, enquire()),
            each(vec![in_captured(), free_captured()], &when, enquire()),
            each(vec![in_capture_failed()], &when, enquire()),
            dash(vec![in_declined()], &when),
            [
                cell(awaiting(Authorize), &when, appends(abandoned())),
                each(vec![awaiting(Capture), awaiting(Void), awaiting(Refund)], &when, enquire()),
            ]
            .concat(),
            dash(all_closed(), &when),
        ],
    }
}

fn capture_yes() -> Row {
    let when = answer(Capture, yes());
    Row {
        name: "capture: yes",
        cells: [
            cell(none(), &when, nothing().and_counts(ANSWER_WITHOUT_PAYMENT)),
            each(vec![in_requested()], &when, enquire()),
            each(vec![in_authorized(), free_authorized()], &when, enquire()),
            cell(in_capture_requested(), &when, appends(captured())),
            dash(vec![in_captured(), free_captured()], &when),
            each(vec![in_capture_failed()], &when, enquire()),
            each(vec![in_declined()], &when, enquire()),
            [
                cell(awaiting(Capture), &when, appends(reversal(Refund)).and_owes(Refund)),
                dash(vec![awaiting(Refund)], &when),
                each(vec![awaiting(Authorize), awaiting(Void)], &when, enquire()),
            ]
            .concat(),
            [
                each(vec![tombstone(), in_abandoned(), in_voided()], &when, enquire()),
                // Undone already.
                dash(vec![in_refunded()], &when),
            ]
            .concat(),
        ],
    }
}

fn capture_no() -> Row {
    let when = answer(Capture, no());
    Row {
        name: "capture: no, final",
        cells: [
            cell(none(), &when, nothing().and_counts(ANSWER_WITHOUT_PAYMENT)),
            each(vec![in_requested()], &when, enquire()),
            each(vec![in_authorized(), free_authorized()], &when, enquire()),
            cell(in_capture_requested(), &when, appends(capture_failed())),
            each(vec![in_captured(), free_captured()], &when, enquire()),
            dash(vec![in_capture_failed()], &when),
            each(vec![in_declined()], &when, enquire()),
            [
                cell(awaiting(Capture), &when, appends(reversal(Void)).and_owes(Void)),
                dash(vec![awaiting(Authorize), awaiting(Void), awaiting(Refund)], &when),
            ]
            .concat(),
            dash(all_closed(), &when),
        ],
    }
}

fn undoing_done() -> Row {
    let (void, refund) = (answer(Void, yes()), answer(Refund, yes()));
    let both = |givens: Vec<Vec<PaymentEvent>>| [dash(givens.clone(), &void), dash(givens, &refund)].concat();
    let stray = nothing().and_counts(ANSWER_WITHOUT_PAYMENT);
    Row {
        name: "void or refund: done",
        cells: [
            [cell(none(), &void, stray.clone()), cell(none(), &refund, stray)].concat(),
            both(vec![in_requested()]),
            both(vec![in_authorized(), free_authorized()]),
            both(vec![in_capture_requested()]),
            both(vec![in_captured(), free_captured()]),
            both(vec![in_capture_failed()]),
            both(vec![in_declined()]),
            [
                cell(awaiting(Void), &void, appends(voided())),
                cell(awaiting(Refund), &refund, appends(refunded())),
                dash(vec![awaiting(Authorize), awaiting(Capture), awaiting(Refund)], &void),
                dash(vec![awaiting(Authorize), awaiting(Capture), awaiting(Void)], &refund),
            ]
            .concat(),
            both(all_closed()),
        ],
    }
}

fn undoing_refused() -> Row {
    let (void, refund) = (answer(Void, no()), answer(Refund, no()));
    let both = |givens: Vec<Vec<PaymentEvent>>| [dash(givens.clone(), &void), dash(givens, &refund)].concat();
    Row {
        name: "void or refund: refused",
        cells: [
            both(vec![none()]),
            both(vec![in_requested()]),
            both(vec![in_authorized(), free_authorized()]),
            both(vec![in_capture_requested()]),
            both(vec![in_captured(), free_captured()]),
            both(vec![in_capture_failed()]),
            both(vec![in_declined()]),
            [
                cell(awaiting(Void), &void, enquire().and_repeats(Void).and_counts(REVERSAL_REFUSED)),
                cell(awaiting(Refund), &refund, enquire().and_repeats(Refund).and_counts(REVERSAL_REFUSED)),
                // Only the answer that is awaited counts.
                dash(vec![awaiting(Authorize), awaiting(Capture), awaiting(Refund)], &void),
                dash(vec![awaiting(Authorize), awaiting(Capture), awaiting(Void)], &refund),
            ]
            .concat(),
            both(all_closed()),
        ],
    }
}

fn silent() -> Row {
    let all = |givens: Vec<Vec<PaymentEvent>>| -> Cell {
        Operation::ALL.into_iter().flat_map(|operation| dash(givens.clone(), &silence(operation))).collect()
    };
    let told = |mut given: Vec<PaymentEvent>, operation| {
        given.push(outcome_unknown(operation));
        given
    };
    let repeats = |operation| nothing().and_repeats(operation);
    Row {
        name: "silent",
        cells: [
            all(vec![none()]),
            [
                cell(
                    in_requested(),
                    &silence(Authorize),
                    appends(outcome_unknown(Authorize)).and_repeats(Authorize),
                ),
                cell(told(in_requested(), Authorize), &silence(Authorize), repeats(Authorize)),
                dash(vec![in_requested()], &silence(Capture)),
            ]
            .concat(),
            all(vec![in_authorized(), free_authorized()]),
            [
                cell(
                    in_capture_requested(),
                    &silence(Capture),
                    appends(outcome_unknown(Capture)).and_repeats(Capture),
                ),
                cell(told(in_capture_requested(), Capture), &silence(Capture), repeats(Capture)),
                dash(vec![in_capture_requested()], &silence(Authorize)),
            ]
            .concat(),
            all(vec![in_captured(), free_captured()]),
            all(vec![in_capture_failed()]),
            all(vec![in_declined()]),
            Operation::ALL
                .into_iter()
                .flat_map(|operation| {
                    let others: Vec<_> =
                        Operation::ALL.into_iter().filter(|other| *other != operation).collect();
                    [
                        cell(awaiting(operation), &silence(operation), repeats(operation)),
                        dash(others.into_iter().map(awaiting).collect(), &silence(operation)),
                    ]
                    .concat()
                })
                .collect(),
            all(all_closed()),
        ],
    }
}

fn provider_record() -> Row {
    let shows =
        |said: &[(Operation, Said)]| Command::TakeRecord { record: record(said), asked_at_version: 0 };
    let unknown = shows(&[]);
    let authorized_there = shows(&[(Authorize, yes())]);
    let declined_there = shows(&[(Authorize, no())]);
    let captured_there = shows(&[(Authorize, yes()), (Capture, yes())]);
    let capture_failed_there = shows(&[(Authorize, yes()), (Capture, no())]);
    let voided_there = shows(&[(Authorize, yes()), (Void, yes())]);
    let refunded_there = shows(&[(Authorize, yes()), (Capture, yes()), (Refund, yes())]);
    let case = |given: Vec<PaymentEvent>, when: &Command, then: Then| -> Case {
        (given, when.clone(), Then { tasks: vec![drops(ENQUIRE)], ..then })
    };
    let wrong = |then: Then| then.and_counts(RECORD_CONTRADICTS);
    let pays_back = |given: Vec<PaymentEvent>| -> Cell {
        vec![
            case(given.clone(), &unknown, nothing()),
            case(given.clone(), &declined_there, nothing()),
            case(given.clone(), &voided_there, nothing()),
            case(given.clone(), &refunded_there, nothing()),
            case(given.clone(), &authorized_there, wrong(appends(reversal(Void)).and_owes(Void))),
            case(given.clone(), &capture_failed_there, wrong(appends(reversal(Void)).and_owes(Void))),
            case(given, &captured_there, wrong(appends(reversal(Refund)).and_owes(Refund))),
        ]
    };
    Row {
        name: "the provider's record",
        cells: [
            vec![case(none(), &unknown, nothing()), case(none(), &captured_there, nothing())],
            vec![
                case(in_requested(), &unknown, nothing().and_owes(Authorize)),
                case(in_requested(), &authorized_there, appends(authorized())),
                case(in_requested(), &captured_there, appends(authorized())),
                case(in_requested(), &declined_there, appends(declined())),
            ],
            vec![
                case(in_authorized(), &authorized_there, nothing()),
                case(in_authorized(), &unknown, wrong(nothing())),
                case(in_authorized(), &captured_there, wrong(appends(captured()))),
                case(free_authorized(), &unknown, nothing()),
                case(free_authorized(), &captured_there, wrong(appends(captured()))),
            ],
            vec![
                case(in_capture_requested(), &unknown, nothing().and_owes(Capture)),
                case(in_capture_requested(), &authorized_there, nothing().and_owes(Capture)),
                case(in_capture_requested(), &captured_there, appends(captured())),
                case(in_capture_requested(), &capture_failed_there, appends(capture_failed())),
            ],
            vec![
                case(in_captured(), &captured_there, nothing()),
                case(in_captured(), &authorized_there, wrong(nothing())),
                case(in_captured(), &refunded_there, wrong(nothing())),
                case(free_captured(), &unknown, nothing()),
            ],
            vec![
                case(in_capture_failed(), &capture_failed_there, nothing()),
                case(in_capture_failed(), &unknown, nothing()),
                case(in_capture_failed(), &captured_there, wrong(appends(reversal(Refund)).and_owes(Refund))),
            ],
            pays_back(in_declined()),
            vec![
                case(awaiting(Authorize), &unknown, nothing().and_owes(Authorize)),
                case(awaiting(Authorize), &authorized_there, appends(reversal(Void)).and_owes(Void)),
                case(awaiting(Authorize), &declined_there, appends(abandoned())),
                case(awaiting(Capture), &authorized_there, nothing().and_owes(Capture)),
                case(awaiting(Capture), &captured_there, appends(reversal(Refund)).and_owes(Refund)),
                case(awaiting(Capture), &capture_failed_there, appends(reversal(Void)).and_owes(Void)),
                case(awaiting(Void), &authorized_there, nothing().and_owes(Void)),
                case(awaiting(Void), &voided_there, appends(voided())),
                case(awaiting(Void), &captured_there, wrong(appends(reversal(Refund)).and_owes(Refund))),
                case(awaiting(Void), &refunded_there, wrong(appends(reversal(Refund)).and_owes(Refund))),
                case(awaiting(Refund), &captured_there, nothing().and_owes(Refund)),
                case(awaiting(Refund), &refunded_there, appends(refunded())),
            ],
            all_closed().into_iter().flat_map(pays_back).collect(),
        ],
    }
}

fn table() -> Vec<Row> {
    vec![
        stock_reserved(),
        order_confirmed(),
        order_cancelled(),
        authorize_yes(),
        authorize_no(),
        capture_yes(),
        capture_no(),
        undoing_done(),
        undoing_refused(),
        silent(),
        provider_record(),
    ]
}

fn column(payment: &Payment) -> &'static str {
    match payment.stage {
        Stage::None => "none",
        Stage::Requested { .. } => "requested",
        Stage::Authorized => "authorized",
        Stage::CaptureRequested { .. } => "capture_requested",
        Stage::Captured => "captured",
        Stage::CaptureFailed => "capture_failed",
        Stage::Declined => "declined",
        Stage::Reversing { .. } => "reversing",
        Stage::Closed { .. } => "closed",
    }
}

fn done(given: &[PaymentEvent], when: &Command) -> Then {
    let payment = folded(given);
    match then(&payment, when) {
        Ok((after, decision)) => {
            assert!(decision.calls.is_empty(), "a call is made by its due task, not by {when:?}");
            assert!(decision.events.iter().all(|decided| decided.stream == stream() && decided.id.is_none()));
            Then {
                appended: decision.events.into_iter().map(|decided| decided.event).collect(),
                owed: after.awaits(),
                tasks: decision.tasks,
                counted: decision.counted,
                rejected: None,
            }
        }
        Err(rejection) => Then { owed: payment.awaits(), ..rejects(rejection) },
    }
}

fn check(row: Row) {
    for (name, cell) in COLUMNS.into_iter().zip(row.cells) {
        assert!(!cell.is_empty(), "{} x {name} has no case", row.name);
        for (given, when, expected) in cell {
            let payment = folded(&given);
            assert_eq!(column(&payment), name, "{} x {name}: {given:?} is another column", row.name);
            assert_eq!(
                done(&given, &when),
                expected,
                "{} x {name}: given {given:?}, when {when:?}",
                row.name
            );
        }
    }
}

macro_rules! rows {
    ($($(#[$doc:meta])* $test:ident: $row:ident,)+) => {
        $($(#[$doc])* #[test] fn $test() { check($row()); })+
    };
}
rows! {
    reserved_stock_requests_the_payment_once: stock_reserved,
    a_confirmed_order_captures_what_was_authorized: order_confirmed,
    a_cancelled_order_undoes_what_was_taken_or_may_have_been: order_cancelled,
    a_late_authorization_after_cancel_is_voided: authorize_yes,
    a_decline_takes_nothing: authorize_no,
    a_late_capture_after_cancel_is_refunded: capture_yes,
    a_failed_capture_leaves_the_authorization_to_be_voided: capture_no,
    an_undoing_that_is_done_is_the_receipt: undoing_done,
    a_refused_undoing_is_looked_into_and_asked_again_for_ever: undoing_refused,
    silence_is_never_a_decline: silent,
    the_record_of_the_provider_wins: provider_record,
}

#[test]
fn every_cell_of_the_table_is_here() {
    let rows = table();
    let cells = rows.iter().flat_map(|row| &row.cells).filter(|cell| !cell.is_empty()).count();
    assert_eq!((rows.len(), COLUMNS.len(), cells), (11, 9, 99));
}

#[test]
fn what_is_awaited_is_owed_at_once_and_nothing_else_is() {
    for row in table() {
        for (given, ..) in row.cells.into_iter().flatten() {
            let payment = folded(&given);
            let expected = payment.awaits().map(|operation| Owed { kind: operation.as_str(), due: Due::Now });
            assert_eq!(owes(&payment), expected);
        }
    }
}
