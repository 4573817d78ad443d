//! What clients were told, against the logs.

use serde_json::json;
use shared::http::Token;

use super::{CANCELLED, COMPLETED, QUIET, append, broken, merged, order, publish, stock, world};
use crate::audit::{Answer, Asked, Told, World, audit};

const STRANGER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f99";

fn told(id: &str, answer: Answer) -> Told {
    Told { asked: Asked::Order { order_id: order(id) }, answer, token: None }
}

fn receipt(reference: &str, answer: Answer) -> Told {
    let asked = Asked::Stock { sku: "A".parse().unwrap(), reference: reference.to_owned() };
    Told { asked, answer, token: None }
}

fn with(told: impl IntoIterator<Item = Told>) -> World {
    World { told: told.into_iter().collect(), ..world() }
}

/// Nothing came of it, and once more of it than of what the world has.
fn with_receipts(references: &[&str], told: Told) -> World {
    let mut world = with([told]);
    let log = world.log_mut("inventory-service");
    for (index, reference) in references.iter().enumerate() {
        let on_hand = 10 + index;
        let received = json!({"delta": 1, "on_hand": on_hand, "reserved": 0, "reason": "receipt"});
        stock(log, "received", merged(received, json!({"reference": reference})));
    }
    publish(&mut world);
    world
}

#[test]
fn what_clients_were_told_and_is_so_is_no_violation() {
    let token = Some(Token::new(format_stream(COMPLETED), 1));
    let told = [
        Told { token, ..told(COMPLETED, Answer::Ok) },
        told(CANCELLED, Answer::Unknown),
        told(STRANGER, Answer::Refused),
        receipt("r-1", Answer::Unknown),
    ];
    assert_eq!(audit(&with(told), &QUIET), []);
    assert_eq!(audit(&with_receipts(&["r-1"], receipt("r-1", Answer::Ok)), &QUIET), []);
}

#[test]
fn an_order_that_was_accepted_and_is_not_there_is_seen() {
    broken(&with([told(STRANGER, Answer::Ok)]), 8, STRANGER);
}

#[test]
fn an_order_that_was_refused_and_is_there_is_seen_unless_it_was_asked_for_before() {
    broken(&with([told(COMPLETED, Answer::Refused)]), 8, COMPLETED);
    let again = [told(COMPLETED, Answer::Unknown), told(COMPLETED, Answer::Refused)];
    assert_eq!(audit(&with(again), &QUIET), []);
}

#[test]
fn an_order_that_exists_twice_is_seen_whatever_was_answered() {
    for answer in [Answer::Ok, Answer::Unknown] {
        let mut world = with([told(COMPLETED, answer)]);
        let log = world.log_mut("order-service");
        let created = serde_json::from_str(&log.events[0].data).unwrap();
        append(log, &format!("order-{COMPLETED}"), "order.created.v2", created);
        publish(&mut world);
        let found = audit(&world, &QUIET);
        let is_it = |invariant| found.iter().any(|found| found.invariant == invariant);
        assert!(is_it(8) && is_it(3), "{found:#?}");
    }
}

#[test]
fn a_receipt_that_was_accepted_and_is_lost_or_doubled_is_seen() {
    broken(&with([receipt("r-1", Answer::Ok)]), 8, "A r-1");
    broken(&with_receipts(&["r-1", "r-1"], receipt("r-1", Answer::Ok)), 8, "A r-1");
    broken(&with_receipts(&["r-1", "r-1"], receipt("r-1", Answer::Unknown)), 8, "A r-1");
    broken(&with_receipts(&["r-1"], receipt("r-1", Answer::Refused)), 8, "A r-1");
}

#[test]
fn a_cancel_that_was_accepted_and_came_to_nothing_is_seen() {
    let cancel = |id| {
        let asked = Asked::Cancel { order_id: order(id) };
        Told { asked, answer: Answer::Ok, token: None }
    };
    assert_eq!(audit(&with([cancel(CANCELLED), cancel(CANCELLED)]), &QUIET), []);
    broken(&with([cancel(COMPLETED)]), 8, &format!("cancel of {COMPLETED}"));
}

#[test]
fn a_token_of_a_version_that_no_log_has_is_seen() {
    let token = Some(Token::new(format_stream(COMPLETED), 99));
    broken(&with([Told { token, ..told(COMPLETED, Answer::Ok) }]), 8, COMPLETED);
}

fn format_stream(id: &str) -> shared::contract::ids::StreamName {
    shared::contract::ids::StreamName::order(order(id))
}
