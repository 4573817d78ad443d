//! Every state times every message, by hand: three rows of six cells. The warehouse has 10 of A and 5 of B; the
//! order is for 2 of A, 3 of B and again 4 of A.

use inventory_service::{
    Inventory,
    domain::{InventoryEvent, Reservation, State},
};
use shared::{
    contract::{
        ids::StreamName,
        message::Message,
        money::{Currency, Money},
        stock::*,
    },
    decider::{Class, Decider, Decision},
};

use crate::given::*;

const COLUMNS: [&str; 6] = ["none", "reserved", "committed", "rejected", "released", "restocked"];
const ORDER: u128 = 1;
const LINES: [(&str, i64); 3] = [("A", 2), ("B", 3), ("A", 4)];
/// The lines of the order, each sku once.
const SUMMED: [(&str, i64); 2] = [("A", 6), ("B", 3)];

#[derive(Debug)]
enum Cell {
    /// "-"
    Nothing,
    Happens(Vec<InventoryEvent>),
    Refused(Class, &'static str),
    /// For these ways into the column.
    Given(Vec<(Vec<Message>, Cell)>),
}
use Cell::{Given, Happens, Nothing};

const HOLD: Cell = Cell::Refused(Class::TooEarly, "unknown-order");
const BUG: Cell = Cell::Refused(Class::Impossible, "contradiction");

fn stocked() -> Vec<Message> {
    vec![receive("A", 10, Some("r1")), receive("B", 5, Some("r1"))]
}

/// The ways into each column.
fn variants(column: &str) -> Vec<Vec<Message>> {
    let then = |before: Vec<Message>, more: Vec<Message>| [before, more].concat();
    let order = || created(ORDER, &LINES);
    let reserved = || then(stocked(), vec![order()]);
    let committed = || then(reserved(), vec![confirmed(ORDER)]);
    match column {
        "none" => vec![stocked()],
        "reserved" => vec![reserved()],
        "committed" => vec![committed()],
        "rejected" => vec![vec![receive("A", 10, Some("r1")), order()]],
        "released" => {
            // Given back, and the tombstone.
            vec![then(reserved(), vec![cancelled(ORDER)]), then(stocked(), vec![cancelled(ORDER)])]
        }
        _ => vec![then(committed(), vec![cancelled(ORDER)])],
    }
}

fn order() -> shared::contract::ids::OrderId {
    order_id(ORDER)
}

fn about_the_order(event: impl Into<ReservationEvent>) -> InventoryEvent {
    InventoryEvent::Reservation(event.into())
}

fn of_stock(event: impl Into<StockEvent>) -> InventoryEvent {
    InventoryEvent::Stock(event.into())
}

fn reserved() -> Vec<InventoryEvent> {
    let allocated = |name, delta, on_hand| {
        of_stock(StockAllocated { sku: sku(name), order_id: order(), delta, on_hand, reserved: delta })
    };
    let amount = Money::new(900, Currency::EUR);
    vec![
        about_the_order(StockReserved { order_id: order(), lines: lines(&SUMMED), amount }),
        allocated("A", 6, 10),
        allocated("B", 3, 5),
    ]
}

fn rejected(shortages: &[(&str, i64, i64)]) -> Vec<InventoryEvent> {
    let shortages = shortages.iter().map(|(name, requested, available)| Shortage {
        sku: sku(name),
        requested: *requested,
        available: *available,
    });
    vec![about_the_order(StockRejected { order_id: order(), shortages: shortages.collect() })]
}

fn committed() -> Vec<InventoryEvent> {
    let shipped = |name, delta, on_hand| {
        of_stock(StockShipped { sku: sku(name), order_id: order(), delta, on_hand, reserved: 0 })
    };
    vec![about_the_order(StockCommitted { order_id: order() }), shipped("A", -6, 4), shipped("B", -3, 2)]
}

fn tombstone() -> Vec<InventoryEvent> {
    vec![about_the_order(StockReleased { order_id: order(), lines: vec![] })]
}

fn released() -> Vec<InventoryEvent> {
    let deallocated = |name, delta, on_hand| {
        of_stock(StockDeallocated { sku: sku(name), order_id: order(), delta, on_hand, reserved: 0 })
    };
    vec![
        about_the_order(StockReleased { order_id: order(), lines: lines(&SUMMED) }),
        deallocated("A", -6, 10),
        deallocated("B", -3, 5),
    ]
}

fn restocked() -> Vec<InventoryEvent> {
    let returned = |name, delta, on_hand| {
        of_stock(StockReceived {
            sku: sku(name),
            delta,
            on_hand,
            reserved: 0,
            reason: ReceivedReason::Restock,
            reference: None,
            order_id: Some(order()),
        })
    };
    vec![
        about_the_order(StockRestocked { order_id: order(), lines: lines(&SUMMED) }),
        returned("A", 6, 10),
        returned("B", 3, 5),
    ]
}

fn table() -> [(&'static str, Message, [Cell; COLUMNS.len()]); 3] {
    let short_of_b = vec![receive("A", 10, None), receive("B", 2, None)];
    let short_of_both = vec![receive("A", 5, None)];
    [
        (
            "OrderCreated",
            created(ORDER, &LINES),
            [
                Given(vec![
                    (stocked(), Happens(reserved())),
                    (short_of_b, Happens(rejected(&[("B", 3, 2)]))),
                    (short_of_both, Happens(rejected(&[("A", 6, 5), ("B", 3, 0)]))),
                ]),
                Nothing,
                Nothing,
                Nothing,
                Nothing,
                Nothing,
            ],
        ),
        ("OrderConfirmed", confirmed(ORDER), [HOLD, Happens(committed()), Nothing, BUG, Nothing, Nothing]),
        (
            "OrderCancelled",
            cancelled(ORDER),
            [Happens(tombstone()), Happens(released()), Happens(restocked()), Nothing, Nothing, Nothing],
        ),
    ]
}

#[test]
fn every_cell_of_the_reservation_table_holds() {
    let table = table();
    for (row, incoming, cells) in &table {
        for (column, cell) in COLUMNS.into_iter().zip(cells) {
            let place = format!("{row} x {column}");
            match cell {
                Given(cases) => cases.iter().for_each(|(before, cell)| check(&place, before, incoming, cell)),
                cell => variants(column).iter().for_each(|before| check(&place, before, incoming, cell)),
            }
        }
    }
    let cells: usize = table.iter().map(|(_, _, cells)| cells.len()).sum();
    assert_eq!(cells, 3 * 6, "three messages, six states");
}

/// Given, when, then; and then it comes again.
fn check(place: &str, before: &[Message], incoming: &Message, cell: &Cell) {
    let mut warehouse = given(before);
    let length = warehouse.log.len();
    let outcome = when(&mut warehouse, incoming);
    match cell {
        Happens(expected) => {
            assert_eq!(events(&outcome), *expected, "{place}");
            let again = when(&mut warehouse, incoming);
            assert_eq!(events(&again), [], "{place}, again");
            // Each event stands in the stream that it is about, the reservation's first.
            let streams: Vec<_> = warehouse.log[length..].iter().map(|logged| &logged.stream).collect();
            assert_eq!(streams[0], &StreamName::reservation(order()), "{place}");
            assert_eq!(warehouse.log.len(), length + expected.len(), "{place}");
            return;
        }
        Nothing => {
            let decision = outcome.unwrap_or_else(|refusal| panic!("{place}: {refusal:?}"));
            assert_eq!(decision, Decision::default(), "{place}");
        }
        Cell::Refused(class, code) => {
            let refusal = outcome.expect_err(place);
            assert_eq!((refusal.class, refusal.code), (*class, *code), "{place}");
        }
        Given(_) => panic!("{place}: a case of a case"),
    }
    assert_eq!(warehouse.log.len(), length, "{place}");
}

#[test]
fn a_rejected_reservation_is_kept_in_memory_until_its_order_is_cancelled() {
    let goes_on = |reservation| {
        Inventory.goes_on(&StreamName::reservation(order_id(ORDER)), &State::Reservation(reservation))
    };
    assert!(goes_on(Reservation::Rejected) && goes_on(Reservation::Reserved { lines: vec![] }));
    assert!(!goes_on(Reservation::Released) && !goes_on(Reservation::Committed { lines: vec![] }));
}
