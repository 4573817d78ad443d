//! One order, exhaustively: every interleaving of three services and a provider, breadth first.
//!
//! The order of messages is kept inside a topic and nowhere else; anything is delivered again at any time; the
//! provider's answers are late, repeated and contradict each other; cancel, deadline and a restored database come at
//! any moment. Each world is checked, and from each one leads a way to an end.

mod mixed;
mod actor;
mod world;
mod moves;
mod search;

use std::{sync::Mutex, time::Instant};

use shared::contract::{message::Message, order::OrderEvent, payment::PaymentEvent, stock::ReservationEvent};

use moves::{Bug, Scenario};
use search::{Found, Violation, explore};
use world::{INVENTORY, ORDERS, PAYMENTS};

use crate::{processors::on_all_processors, samples};

const PLAIN: Scenario = Scenario {
    name: "plain",
    unit_price_minor: 1999,
    in_stock: 10,
    adopted: false,
    unordered: false,
    contradicting: false,
    refusing: false,
    callbacks: false,
    restored: None,
};

fn scenarios() -> Vec<Scenario> {
    vec![
        PLAIN,
        Scenario { name: "out of stock", in_stock: 1, ..PLAIN },
        Scenario { name: "unordered topics", unordered: true, ..PLAIN },
        Scenario { name: "amount zero", unit_price_minor: 0, ..PLAIN },
        Scenario { name: "adopted", adopted: true, ..PLAIN },
        Scenario { name: "a provider that contradicts itself", contradicting: true, ..PLAIN },
        Scenario { name: "a provider that refuses to give back", refusing: true, ..PLAIN },
        Scenario { name: "callbacks at any time", callbacks: true, ..PLAIN },
        Scenario { name: "order-service restored", restored: Some(ORDERS), ..PLAIN },
        Scenario { name: "inventory-service restored", restored: Some(INVENTORY), ..PLAIN },
        Scenario { name: "payment-service restored", restored: Some(PAYMENTS), ..PLAIN },
    ]
}

#[test]
fn every_interleaving_of_one_order_ends_well() {
    let start = Instant::now();
    let todo = Mutex::new(scenarios());
    let found = Mutex::new(Vec::new());
    let work = || {
        // One that takes long is begun first.
        while let Some(scenario) = { todo.lock().expect("no panic").pop() } {
            let outcome = explore(scenario, None);
            found.lock().expect("no panic").push((scenario, outcome));
        }
    };
    on_all_processors(work);
    let mut worlds = 0;
    for (scenario, outcome) in found.into_inner().expect("no panic") {
        let Found { worlds: of_scenario, moves, completed, settled } =
            outcome.unwrap_or_else(|violation| panic!("{}", told(scenario, &violation)));
        println!(
            "{:38}{of_scenario:8} worlds,{moves:9} moves, ends: {completed} completed, {settled} settled",
            scenario.name
        );
        assert!(completed > 0 || scenario.in_stock < samples::QUANTITY, "{}: none completes", scenario.name);
        assert!(settled > 0, "{}: none settles", scenario.name);
        worlds += of_scenario;
    }
    println!("{worlds} worlds in {} ms", start.elapsed().as_millis());
}

fn told(scenario: Scenario, violation: &Violation) -> String {
    let trace = violation.trace.iter().enumerate();
    let trace: Vec<String> = trace.map(|(index, line)| format!("{:3}. {line}", index + 1)).collect();
    format!("{}: {}\n{}", scenario.name, violation.what, trace.join("\n"))
}

/// The net must have no holes: with a planted bug it finds something, and says how.
fn sees(scenario: Scenario, bug: Bug) {
    let violation = explore(scenario, Some(bug)).err().expect("a planted bug is seen");
    println!("{}", told(scenario, &violation));
    assert!(!violation.trace.is_empty());
}

/// While the topic keeps its order, OrderCreated is read before OrderCancelled.
#[test]
fn it_sees_a_missing_tombstone_of_the_reservation() {
    sees(
        Scenario { unordered: true, ..PLAIN },
        (INVENTORY, |version, message| {
            version == 0 && matches!(message, Message::Reservation(ReservationEvent::Released(_)))
        }),
    );
}

#[test]
fn it_sees_a_missing_tombstone_of_the_payment() {
    sees(
        PLAIN,
        (PAYMENTS, |version, message| {
            version == 0 && matches!(message, Message::Payment(PaymentEvent::Abandoned(_)))
        }),
    );
}

#[test]
fn it_sees_a_late_authorization_that_is_not_voided() {
    sees(
        PLAIN,
        (PAYMENTS, |_, message| {
            let Message::Payment(PaymentEvent::ReversalRequested(event)) = message else { return false };
            event.awaits == shared::contract::payment::Operation::Void
        }),
    );
}

#[test]
fn it_sees_an_order_that_forgets_to_settle() {
    sees(PLAIN, (ORDERS, |_, message| matches!(message, Message::Order(OrderEvent::Settled(_)))));
}
