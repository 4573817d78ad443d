//! Invariant 1. Per sku: 0 <= reserved <= on hand; what came in less what left is on hand; what is reserved is what
//! reservations hold. All of it is in one database, so it holds at any moment.

use std::collections::BTreeMap;

use shared::contract::stock::{ReservationEvent, StockEvent};

use super::{Violation, World, violation};

pub(super) fn check(world: &World) -> Vec<Violation> {
    let mut found = Vec::new();
    let held = held(world);
    let mut skus: Vec<String> = held.keys().cloned().collect();
    let stocks = world.stocks();
    skus.extend(stocks.keys().cloned());
    skus.sort();
    skus.dedup();
    for sku in skus {
        let events = stocks.get(&sku).map(Vec::as_slice).unwrap_or_default();
        let (mut on_hand, mut reserved) = (0_i64, 0_i64);
        for event in events {
            let (more_on_hand, more_reserved) = event.deltas();
            on_hand += more_on_hand;
            reserved += more_reserved;
            let said = event.levels();
            if said != (on_hand, reserved) {
                let detail = format!(
                    "after {} it says {} on hand and {} reserved, but its history makes {on_hand} and {reserved}",
                    name(event),
                    said.0,
                    said.1
                );
                found.push(violation(1, &sku, detail));
                (on_hand, reserved) = said;
            }
            if !(0 <= reserved && reserved <= on_hand) {
                found.push(violation(1, &sku, format!("{reserved} reserved of {on_hand} on hand")));
            }
        }
        let by_reservations = held.get(&sku).copied().unwrap_or_default();
        if reserved != by_reservations {
            found.push(violation(
                1,
                &sku,
                format!("{reserved} reserved, but reservations hold {by_reservations}"),
            ));
        }
    }
    found
}

/// Per sku, what reservations hold now.
fn held(world: &World) -> BTreeMap<String, i64> {
    let mut held: BTreeMap<String, i64> = BTreeMap::new();
    for events in world.reservations().into_values() {
        let mut lines = Vec::new();
        for event in events {
            match event {
                ReservationEvent::Reserved(reserved) => lines = reserved.lines,
                ReservationEvent::Committed(_)
                | ReservationEvent::Rejected(_)
                | ReservationEvent::Released(_)
                | ReservationEvent::Restocked(_) => lines.clear(),
            }
        }
        for line in lines {
            *held.entry(line.sku.to_string()).or_default() += line.quantity;
        }
    }
    held
}

fn name(event: &StockEvent) -> &'static str {
    match event {
        StockEvent::Received(_) => "StockReceived",
        StockEvent::Adjusted(_) => "StockAdjusted",
        StockEvent::Allocated(_) => "StockAllocated",
        StockEvent::Deallocated(_) => "StockDeallocated",
        StockEvent::Shipped(_) => "StockShipped",
    }
}
