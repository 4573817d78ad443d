//! Receipts and adjustments: what counts once, what is refused, and the limits.

use inventory_service::{
    Inventory,
    domain::{Command, InventoryEvent, Receive, State, Stock},
};
use shared::{
    contract::{
        ids::{StreamName, named},
        limits::STOCK_LEVEL_MAX,
        message::{Event, Message},
        stock::*,
    },
    decider::{Class, Decider, Existing, Folded, FoldedStreams, Streams, fold},
    testing::memory::told,
};
use uuid::Uuid;

use crate::given::*;

#[test]
fn a_receipt_says_the_levels_after_it() {
    let mut warehouse = given(&[receive("A", 10, Some("r1"))]);
    let received = StockReceived {
        sku: sku("A"),
        delta: 5,
        on_hand: 15,
        reserved: 0,
        reason: ReceivedReason::Receipt,
        reference: Some("r2".into()),
        order_id: None,
    };
    let outcome = when(&mut warehouse, &receive("A", 5, Some("r2")));
    assert_eq!(events(&outcome), [InventoryEvent::Stock(received.into())]);
}

#[test]
fn the_same_reference_counts_once_and_its_event_id_is_made_of_it() {
    let mut warehouse = given(&[receive("A", 10, Some("r1")), adjust("A", -1, Some("a1"))]);
    assert_eq!(warehouse.log[0].id, named(&["stock-A", "r1"]));
    assert_eq!(warehouse.log[1].id, named(&["stock-A", "a1"]));
    assert_eq!(events(&when(&mut warehouse, &receive("A", 10, Some("r1")))), []);
    assert_eq!(events(&when(&mut warehouse, &adjust("A", -1, Some("a1")))), []);
    assert_eq!(levels(&warehouse, "A"), (9, 0));
}

#[test]
fn a_reference_is_that_of_one_sku() {
    let warehouse = given(&[receive("A", 10, Some("r1")), receive("B", 10, Some("r1"))]);
    assert_eq!((levels(&warehouse, "A"), levels(&warehouse, "B")), ((10, 0), (10, 0)));
}

#[test]
fn a_reference_that_comes_with_another_quantity_is_malformed() {
    for again in [receive("A", 11, Some("r1")), adjust("A", 10, Some("r1")), adjust("A", -10, Some("r1"))] {
        let mut warehouse = given(&[receive("A", 10, Some("r1"))]);
        let refusal = when(&mut warehouse, &again).unwrap_err();
        assert_eq!((refusal.class, refusal.code), (Class::Malformed, "idempotency-key-reused"), "{again:?}");
    }
    let mut warehouse = given(&[receive("A", 10, None), adjust("A", -1, Some("a1"))]);
    assert_eq!(
        when(&mut warehouse, &adjust("A", -2, Some("a1"))).unwrap_err().code,
        "idempotency-key-reused"
    );
}

/// A repeat is answered with what happened then, even where it could not happen now.
#[test]
fn a_reference_that_is_known_decides_before_any_other_rule() {
    let mut warehouse =
        given(&[receive("A", 10, Some("r1")), adjust("A", -6, Some("a1")), created(1, &[("A", 4)])]);
    assert_eq!(events(&when(&mut warehouse, &adjust("A", -6, Some("a1")))), []);
    assert_eq!(when(&mut warehouse, &adjust("A", -6, Some("a2"))).unwrap_err().code, "insufficient-stock");
}

#[test]
fn without_a_reference_the_message_itself_counts_once() {
    let mut warehouse = given(&[]);
    for _ in 0..2 {
        tell(&mut warehouse, &receive("A", 10, None), Uuid::from_u128(9)).unwrap();
    }
    assert_eq!(levels(&warehouse, "A"), (10, 0));
    tell(&mut warehouse, &receive("A", 10, None), Uuid::from_u128(10)).unwrap();
    assert_eq!(levels(&warehouse, "A"), (20, 0));
}

#[test]
fn an_adjustment_below_what_is_reserved_is_refused() {
    let mut warehouse = given(&[receive("A", 10, None), created(1, &[("A", 4)])]);
    let refusal = when(&mut warehouse, &adjust("A", -7, None)).unwrap_err();
    assert_eq!((refusal.class, refusal.code), (Class::Refused, "insufficient-stock"));
    when(&mut warehouse, &adjust("A", -6, None)).unwrap();
    assert_eq!(levels(&warehouse, "A"), (4, 4));
}

#[test]
fn a_sku_that_nobody_knows_has_nothing() {
    let mut warehouse = given(&[]);
    assert_eq!(when(&mut warehouse, &adjust("A", -1, None)).unwrap_err().code, "insufficient-stock");
    when(&mut warehouse, &adjust("A", 3, None)).unwrap();
    assert_eq!(levels(&warehouse, "A"), (3, 0));
}

#[test]
fn levels_end_at_their_limit_and_never_overflow() {
    let full = Stock { on_hand: STOCK_LEVEL_MAX, reserved: 0 };
    let stream = StreamName::stock(&sku("A"));
    let states = FoldedStreams::from_iter([(stream, Folded { version: 1, state: State::Stock(full) })]);
    for message in [receive("A", 1, None), adjust("A", 1, None)] {
        let command = Inventory.react(&message, &envelope(&message, Uuid::from_u128(9), None)).unwrap();
        let streams = Streams::<State, InventoryEvent>::new(&states, None);
        let refusal = Inventory.decide(&streams, &command, &told(Uuid::from_u128(9), now())).unwrap_err();
        assert_eq!((refusal.class, refusal.code), (Class::Malformed, "limit"));
    }
    let huge = Command::Receive(Receive { sku: sku("A"), quantity: i64::MAX, reference: "r".into() });
    let streams = Streams::<State, InventoryEvent>::new(&states, None);
    assert_eq!(
        Inventory.decide(&streams, &huge, &told(Uuid::from_u128(9), now())).unwrap_err().code,
        "limit"
    );
}

/// The engine answers with what happened then.
#[test]
fn a_repeat_over_http_is_already_so() {
    let mut warehouse = given(&[]);
    let receipt = Command::Receive(Receive { sku: sku("A"), quantity: 3, reference: "r1".into() });
    assert_eq!(events(&ask(&mut warehouse, &receipt)).len(), 1);
    assert_eq!(events(&ask(&mut warehouse, &receipt)), []);
    let existing =
        Existing { stream: StreamName::stock(&sku("A")), version: 1, event: warehouse.log[0].event.clone() };
    assert_eq!(Inventory.identity(&receipt, &told(Uuid::nil(), now())), Some(warehouse.log[0].id));
    assert_eq!(existing.event.event_type(), "fulfil.stock.received.v1");
}

#[test]
fn an_order_that_order_service_did_not_write_is_skipped() {
    let message = created(1, &[("A", 1)]);
    assert_eq!(Inventory.react(&message, &envelope(&message, Uuid::from_u128(9), None)), None);
    assert!(Inventory.react(&message, &envelope(&message, Uuid::from_u128(9), Some(1))).is_some());
}

#[test]
fn only_stocks_have_snapshots() {
    assert!(Inventory.snapshots(&StreamName::stock(&sku("A"))));
    assert!(!Inventory.snapshots(&StreamName::reservation(order_id(1))));
}

/// A change here needs another `FINGERPRINT`: older snapshots must not be read as if they were newer ones.
#[test]
fn the_fold_is_the_one_that_its_fingerprint_names() {
    let warehouse = given(&[receive("A", 10, None), created(1, &[("A", 4)])]);
    let json = |stream| serde_json::to_string(&warehouse.state(&stream)).unwrap();
    assert_eq!(Inventory::FINGERPRINT, "inventory-1");
    assert_eq!(json(StreamName::stock(&sku("A"))), r#"{"Stock":{"on_hand":10,"reserved":4}}"#);
    assert_eq!(
        json(StreamName::reservation(order_id(1))),
        r#"{"Reservation":{"Reserved":{"lines":[{"sku":"A","quantity":4}]}}}"#
    );
}

#[test]
fn both_families_of_events_read_back_from_the_log() {
    let warehouse = given(&[receive("A", 10, None), created(1, &[("A", 4)]), confirmed(1)]);
    for logged in &warehouse.log {
        let read = InventoryEvent::decode(logged.event.event_type(), &logged.event.data());
        assert_eq!(read, Some(Ok(logged.event.clone())));
    }
    assert_eq!(InventoryEvent::decode("fulfil.order.confirmed.v1", "{}"), None);
    let stock = StreamName::stock(&sku("A"));
    let events = warehouse.log.iter().filter(|logged| logged.stream == stock).map(|logged| &logged.event);
    assert_eq!(fold(&Inventory, State::None, events), warehouse.state(&stock));
}

#[test]
fn nothing_of_the_saga_but_orders_concerns_inventory() {
    let others = [
        Message::Reservation(StockCommitted { order_id: order_id(1) }.into()),
        Message::Payment(shared::contract::payment::PaymentAuthorized { order_id: order_id(1) }.into()),
        Message::Order(shared::contract::order::OrderCompleted { order_id: order_id(1) }.into()),
    ];
    for message in others {
        assert_eq!(Inventory.react(&message, &envelope(&message, Uuid::from_u128(9), Some(1))), None);
    }
}
