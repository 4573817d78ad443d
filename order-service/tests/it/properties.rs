//! What holds whatever comes, in whatever order, however often.

use order_service::domain::{Command, Order};
use proptest::prelude::*;
use shared::decider::Class;

use crate::given::*;

fn incoming() -> impl Strategy<Value = Incoming> {
    let other = shared::contract::order::CreateOrder { lines: vec![two_of("SKU-2")], ..create() };
    let mut all = vec![
        topic(create()),
        topic(create()),
        topic(other),
        foreign(&create()),
        topic(cancel(None)),
        Incoming::Http(Command::Cancel(cancel(None))),
        stock_rejected(),
        stock_committed(),
        payment_authorized(),
        payment_authorized(),
        payment_declined(),
        payment_captured(),
        capture_failed(),
        deadline(),
        progress_overdue(),
        compensation_overdue(),
    ];
    all.extend(stock_returned());
    all.extend(payment_returned());
    prop::sample::select(all)
}

proptest! {
    #[test]
    fn an_order_ends_once_and_stays_there(messages in prop::collection::vec(incoming(), 0..40)) {
        let mut order = given(&[]);
        let mut ended: Option<&'static str> = None;
        for message in &messages {
            let _ = when(&mut order, message);
            let name = order.state(&stream()).name();
            match ended {
                Some(ended) => prop_assert_eq!(name, ended),
                None if ["completed", "settled"].contains(&name) => ended = Some(name),
                None => {}
            }
        }
    }

    #[test]
    fn whatever_comes_again_appends_nothing(messages in prop::collection::vec(incoming(), 0..40)) {
        let mut order = given(&[]);
        for message in &messages {
            let first = when(&mut order, message);
            let (length, state) = (order.log.len(), order.state(&stream()));
            let again = when(&mut order, message);
            prop_assert_eq!((order.log.len(), order.state(&stream())), (length, state));
            // What was taken is not turned down later, but for a customer who asks for what cannot be.
            if let (Ok(_), Err(refusal)) = (&first, &again) {
                prop_assert_eq!(refusal.class, Class::Refused);
            }
        }
    }

    #[test]
    fn a_refusal_and_an_empty_decision_change_nothing(messages in prop::collection::vec(incoming(), 0..40)) {
        let mut order = given(&[]);
        for message in &messages {
            let (length, state) = (order.log.len(), order.state(&stream()));
            match when(&mut order, message) {
                Ok(decision) => prop_assert_eq!(order.log.len(), length + decision.events.len()),
                Err(_) => prop_assert_eq!((order.log.len(), order.state(&stream())), (length, state)),
            }
        }
    }

    /// What an order is in its log: it begins once, and is confirmed before it completes.
    #[test]
    fn a_log_reads_as_one_story(messages in prop::collection::vec(incoming(), 0..40)) {
        let mut order = given(&[]);
        for message in &messages {
            let _ = when(&mut order, message);
        }
        use shared::contract::order::OrderEvent::*;
        let count = |of: fn(&shared::contract::order::OrderEvent) -> bool| {
            order.log.iter().filter(|logged| of(&logged.event)).count()
        };
        let (created, confirmed) = (count(|e| matches!(e, Created(_))), count(|e| matches!(e, Confirmed(_))));
        let (completed, cancelled) = (count(|e| matches!(e, Completed(_))), count(|e| matches!(e, Cancelled(_))));
        let settled = count(|e| matches!(e, Settled(_)));
        prop_assert!(created <= 1 && confirmed <= created && completed <= confirmed && settled <= cancelled);
        prop_assert!(completed + cancelled <= 1);
        prop_assert_eq!(order.log.is_empty(), order.state(&stream()) == Order::None);
    }
}
