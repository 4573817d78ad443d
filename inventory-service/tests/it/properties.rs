//! What holds whatever comes, in whatever order, however often.

use std::collections::BTreeMap;

use inventory_service::{
    Inventory,
    domain::{InventoryEvent, Reservation},
};
use proptest::prelude::*;
use shared::{
    contract::{ids::StreamName, message::Message, stock::*},
    testing::memory::Memory,
};

use crate::given::*;

const SKUS: [&str; 3] = ["A", "B", "C"];
const ORDERS: std::ops::Range<u128> = 1..6;

fn message() -> impl Strategy<Value = Message> {
    let name = || prop::sample::select(&SKUS[..]);
    let reference = || prop::option::of(prop::sample::select(&["r1", "r2", "r3"][..]));
    let lines = prop::collection::vec((name(), 1..6_i64), 1..5);
    prop_oneof![
        2 => (name(), 1..20_i64, reference()).prop_map(|(name, n, reference)| receive(name, n, reference)),
        2 => (name(), (-9..9_i64).prop_filter("not 0", |n| *n != 0), reference())
            .prop_map(|(name, n, reference)| adjust(name, n, reference)),
        4 => (ORDERS, lines).prop_map(|(order, lines)| created(order, &lines)),
        3 => ORDERS.prop_map(confirmed),
        2 => ORDERS.prop_map(cancelled),
    ]
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    prop::collection::vec(message(), 0..60)
}

/// Received, adjusted and restocked, less what was shipped; and what the reservations hold.
fn audit(warehouse: &Memory<Inventory>) -> BTreeMap<&'static str, (i64, i64)> {
    let on_hand = |name: &str| {
        let of = |event: &InventoryEvent| match event {
            InventoryEvent::Stock(event) if event.sku().as_str() == name => match event {
                StockEvent::Received(event) => event.delta,
                StockEvent::Adjusted(event) => event.delta,
                StockEvent::Shipped(event) => event.delta,
                StockEvent::Allocated(_) | StockEvent::Deallocated(_) => 0,
            },
            _ => 0,
        };
        warehouse.log.iter().map(|logged| of(&logged.event)).sum::<i64>()
    };
    let reserved = |name: &str| {
        let states = ORDERS.map(|order| warehouse.state(&StreamName::reservation(order_id(order))));
        let held = states.flat_map(|state| match state.reservation() {
            Some(Reservation::Reserved { lines }) => lines.clone(),
            _ => vec![],
        });
        held.filter(|line| line.sku.as_str() == name).map(|line| line.quantity).sum::<i64>()
    };
    SKUS.into_iter().map(|name| (name, (on_hand(name), reserved(name)))).collect()
}

proptest! {
    #[test]
    fn stock_adds_up_after_every_message(messages in messages()) {
        let mut warehouse = given(&[]);
        for message in &messages {
            let _ = when(&mut warehouse, message);
            for (name, expected) in audit(&warehouse) {
                let (on_hand, reserved) = levels(&warehouse, name);
                prop_assert!(0 <= reserved && reserved <= on_hand);
                prop_assert_eq!((on_hand, reserved), expected);
            }
        }
    }

    #[test]
    fn whatever_comes_again_appends_nothing(messages in messages()) {
        let mut warehouse = given(&[]);
        for (number, message) in messages.iter().enumerate() {
            let id = uuid::Uuid::from_u128(1000 + number as u128);
            let first = tell(&mut warehouse, message, id);
            let length = warehouse.log.len();
            let again = tell(&mut warehouse, message, id);
            prop_assert_eq!(warehouse.log.len(), length);
            prop_assert_eq!(first.is_ok(), again.is_ok());
        }
    }

    /// A whole topic replayed at the end changes nothing.
    #[test]
    fn a_replay_of_everything_changes_nothing(messages in messages()) {
        let mut warehouse = given(&[]);
        let mut taken = vec![];
        for (number, message) in messages.iter().enumerate() {
            let id = uuid::Uuid::from_u128(1000 + number as u128);
            if tell(&mut warehouse, message, id).is_ok() {
                taken.push((message, id));
            }
        }
        let length = warehouse.log.len();
        for (message, id) in taken {
            prop_assert!(tell(&mut warehouse, message, id).is_ok());
        }
        prop_assert_eq!(warehouse.log.len(), length);
    }

    /// All lines of an order or none: a reservation that was rejected has touched no stock.
    #[test]
    fn an_order_is_reserved_whole_or_not_at_all(messages in messages()) {
        let mut warehouse = given(&[]);
        for message in &messages {
            let before = warehouse.log.len();
            let Ok(decision) = when(&mut warehouse, message) else { continue };
            let events: Vec<_> = decision.events.into_iter().map(|decided| decided.event).collect();
            match events.first() {
                Some(InventoryEvent::Reservation(ReservationEvent::Reserved(event))) => {
                    prop_assert_eq!(events.len(), 1 + event.lines.len());
                }
                Some(InventoryEvent::Reservation(ReservationEvent::Rejected(event))) => {
                    prop_assert_eq!(events.len(), 1);
                    prop_assert!(!event.shortages.is_empty());
                }
                _ => {}
            }
            prop_assert_eq!(warehouse.log.len(), before + events.len());
        }
    }
}
