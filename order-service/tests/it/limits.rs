//! Deadlines, and what "the same order" means.

use order_service::{DEADLINE, Orders, PROGRESS_OVERDUE, domain::Order};
use shared::{
    contract::{message::Message, order::*},
    decider::{Decider, fold},
};

use crate::given::*;

#[test]
fn a_deadline_that_nobody_named_is_fifteen_minutes_after_the_decision() {
    let order = given(&[topic(create())]);
    assert_eq!(order.tasks[&(stream(), DEADLINE.to_owned())].due_at, now() + minutes(15));
}

#[test]
fn a_deadline_that_was_named_is_kept_to_the_millisecond() {
    let at = now() + minutes(2) + chrono::Duration::microseconds(7);
    let named = CreateOrder { deadline_at: Some(at), ..create() };
    let mut order = given(&[topic(named.clone())]);
    let OrderEvent::Created(created) = &order.log[0].event else { panic!("{:?}", order.log) };
    assert_eq!((created.deadline_at, created.deadline_given), (Some(now() + minutes(2)), true));
    assert_eq!(events(&when(&mut order, &topic(named))), [], "the same command again");
    assert_eq!(when(&mut order, &topic(create())).unwrap_err().code, "idempotency-key-reused");
}

#[test]
fn a_deadline_a_day_ahead_is_the_last_that_is_taken() {
    let named = CreateOrder { deadline_at: Some(now() + minutes(24 * 60)), ..create() };
    assert_eq!(given(&[topic(named)]).log.len(), 1);
}

#[test]
fn an_order_of_others_may_come_as_command_and_as_event_and_is_one() {
    let mut order = given(&[foreign(&create())]);
    assert_eq!(events(&when(&mut order, &topic(create()))), []);
    assert_eq!(events(&when(&mut order, &foreign(&create()))), []);
}

#[test]
fn our_own_events_are_not_heard_as_those_of_others() {
    let order = given(&[topic(create()), payment_authorized(), stock_committed(), payment_captured()]);
    for logged in &order.log {
        let message = Message::Order(logged.event.clone());
        assert_eq!(order.decider.react(&message, &envelope(&message, Some(1))), None);
    }
}

#[test]
fn a_confirmed_order_owes_no_deadline_any_more() {
    let order = given(&[topic(create()), payment_authorized()]);
    let kinds: Vec<_> = order.tasks.keys().map(|(_, kind)| kind.as_str()).collect();
    assert_eq!(kinds, [PROGRESS_OVERDUE]);
}

/// Snapshots and restarts rely on it: the state is the fold of the events and nothing else.
#[test]
fn the_state_is_the_fold_of_the_log_and_reads_back_from_json() {
    let order = given(&[topic(create()), topic(cancel(None)), stock_returned()[0].clone()]);
    let folded = fold(&Orders::default(), Order::None, order.log.iter().map(|logged| &logged.event));
    assert_eq!(folded, order.state(&stream()));
    let text = serde_json::to_string(&folded).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), folded);
}

/// A change here needs another `FINGERPRINT`: older snapshots must not be read as if they were newer ones.
#[test]
fn the_fold_is_the_one_that_its_fingerprint_names() {
    let order = given(&[topic(create()), payment_authorized(), stock_committed()]);
    let text = serde_json::to_string(&order.state(&stream())).unwrap();
    let content = r#"{"user_id":"u1","lines":[{"sku":"SKU-1","quantity":2,"unit_price_minor":1999}],"amount":{"minor":3998,"currency":"EUR"},"deadline_at":null}"#;
    let expected =
        format!(r#"{{"Confirmed":{{"content":{content},"stock_committed":true,"payment_captured":false}}}}"#);
    assert_eq!((Orders::FINGERPRINT, text), ("order-1", expected));
}
