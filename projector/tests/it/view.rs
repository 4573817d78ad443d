//! The fold without a database: any interleaving and any duplicates make the same rows.

use std::time::Duration;

use projector::{
    intake::{self, Unread},
    view::{
        awaiting::{Limits, awaiting},
        funnel::{Funnel, Lost},
        invariant::{Broken, of_unread},
        order::{OrderRow, reason_name},
        pace,
        past::{Pieces, pasts},
        payment::PaymentStatus,
        rows::{Fact, Rows},
        sale,
        source::Step,
        timeline::story,
    },
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use shared::contract::{
    Timestamp,
    envelope::{self, Mode, Raw, encode_manual},
    ids::OrderId,
    limits::STOCK_LEVEL_MAX,
    message::Message,
    order::{CancelReason, CancelStage, CancelledBy, OrderCancelled, OrderCompleted, OrderConfirmed},
    payment::{PaymentDeclined, PaymentRefunded},
    stock::{StockEvent, StockRestocked},
    topics::Topic,
};
use uuid::Uuid;

use crate::sagas::{PATHS, Path, World, interleave, place, world};

fn fact(raw: &Raw) -> Fact {
    let envelope = envelope::decode(raw, Mode::Development).unwrap();
    let message = Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap();
    let heard_at = Timestamp::from_timestamp_millis(raw.timestamp_ms).unwrap();
    Fact { topic: raw.topic, envelope, message, heard_at }
}

fn fold(messages: &[Raw]) -> Rows {
    let mut rows = Rows::default();
    for raw in messages {
        rows.fold(&fact(raw)).unwrap();
    }
    rows
}

fn without_counts(mut rows: Rows) -> Rows {
    rows.timeline.values_mut().for_each(|entry| entry.deliveries = 1);
    rows
}

fn by_hand(order_id: OrderId) -> envelope::Outgoing {
    let declined = Message::Payment(PaymentDeclined { order_id, code: "by-hand".into() }.into());
    let (id, key) = (Uuid::from_u128(77), order_id.to_string());
    encode_manual(Topic::PaymentsEvents, &declined, id, &key, "/somebody", Timestamp::UNIX_EPOCH, None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn after_its_last_event_an_order_stood_as_it_stands_and_has_what_it_ended_with(seed: u64, shuffle: u64) {
        let (world, paths) = world(seed, 8);
        let mut rng = StdRng::seed_from_u64(shuffle);
        let rows = fold(&interleave(&world.with_repeats(&mut rng), &mut rng));
        for (id, path) in paths {
            let told = story(rows.timeline.values().filter(|entry| entry.order_id == id).cloned().collect());
            let all: Vec<_> = pasts(id, &told).collect();
            prop_assert_eq!(all.len(), told.len());
            let (first, last) = (all.first().unwrap(), all.last().unwrap());
            prop_assert_eq!((&last.row, last.at), (&rows.orders[&id], told.last().unwrap().entry.time));
            prop_assert_eq!(first.row.order.version, 1, "the story begins with OrderCreated");
            prop_assert!(first.holdings.is_empty());
            let order = last.row.order.state.as_ref().unwrap();
            match path {
                Path::Completed | Path::SilentThenYes => {
                    prop_assert_eq!(last.holdings.captured, Some(order.amount));
                    for line in &order.lines {
                        let sent = Pieces { reserved: 0, shipped: line.quantity };
                        prop_assert_eq!(last.holdings.stock[&line.sku], sent);
                    }
                }
                Path::Open | Path::Silent => prop_assert!(last.holdings.stock.values().all(|pieces| pieces.reserved > 0)),
                _ => prop_assert!(last.holdings.is_empty(), "{:?}: {:?}", path, last.holdings),
            }
        }
    }

    #[test]
    fn any_interleaving_with_duplicates_makes_the_same_rows(seed: u64, one: u64, other: u64) {
        let (mut world, orders) = world(seed, 12);
        world.plant(by_hand(orders[0].0));
        let sent = world.with_repeats(&mut StdRng::seed_from_u64(one));
        let first = fold(&interleave(&sent, &mut StdRng::seed_from_u64(one)));
        let second = fold(&interleave(&sent, &mut StdRng::seed_from_u64(other)));
        prop_assert_eq!(&first, &second);
        let told = || first.orders.values().filter_map(|row| row.order.state.as_ref());
        prop_assert_eq!(&first.sales, &sale::sums(told()), "each completed order is sold once");
        prop_assert_eq!(&first.pace, &pace::sums(told()), "each order is counted once");
        prop_assert_eq!(&first.broken, &[], "what is right is no alarm in any order");
        prop_assert_eq!(without_counts(first), fold(&world.in_order()));
    }
}

/// One order down a path, and its row.
fn played(path: Path) -> (World, OrderRow) {
    let (mut world, _) = world(1, 0);
    let id = OrderId::new(Uuid::from_u128(5)).unwrap();
    world.order(id, path, &["SKU-1".parse().unwrap()], 1);
    let row = fold(&world.in_order()).orders.remove(&id).unwrap();
    (world, row)
}

#[test]
fn every_path_ends_in_its_status_and_awaits_nothing() {
    let limits = Limits { completion: Duration::from_secs(300), compensation: Duration::from_secs(300) };
    let mut rows = Rows::default();
    let sku = ["SKU-1".parse().unwrap()];
    for (number, path) in PATHS.into_iter().enumerate() {
        let (mut world, _) = world(1, 0);
        let id = OrderId::new(Uuid::from_u128(number as u128 + 1)).unwrap();
        world.order(id, path, &sku, 2);
        rows.stocks.clear();
        for raw in world.in_order() {
            rows.fold(&fact(&raw)).unwrap();
        }
        let row = &rows.orders[&id];
        let order = row.order.state.as_ref().unwrap();
        let expected = match path {
            Path::Completed | Path::SilentThenYes => ("completed", None),
            Path::Open | Path::Silent => ("created", None),
            Path::OutOfStock => ("settled", Some("out_of_stock")),
            Path::Declined => ("settled", Some("payment_declined")),
            Path::CancelledBeforeAnything | Path::CancelledWhilePaying => ("settled", Some("customer")),
            Path::SilentThenCancelled(reason) => ("settled", Some(reason_name(reason))),
            Path::CaptureFailed => ("settled", Some("capture_failed")),
            Path::CancelledAfterCapture => ("settled", Some("operator")),
        };
        let reason = order.stage.reason().map(|reason| serde_json::to_value(reason).unwrap());
        let reason = reason.as_ref().and_then(|reason| reason.as_str());
        assert_eq!((order.stage.status(), reason), expected, "{path:?}");
        assert_eq!(awaiting(row, &limits, order.created_at).is_empty(), path != Path::Open, "{path:?}");
    }
}

#[test]
fn what_is_awaited_follows_the_order_at_every_event() {
    let (world, _) = played(Path::Completed);
    let limits = Limits { completion: Duration::from_secs(300), compensation: Duration::from_secs(300) };
    let mut messages = world.in_order();
    messages.retain(|raw| raw.topic != Topic::InventoryStock);
    messages.sort_by_key(|raw| fact(raw).envelope.time);
    let mut rows = Rows::default();
    let awaited: Vec<String> = messages
        .iter()
        .map(|raw| {
            rows.fold(&fact(raw)).unwrap();
            let row = rows.orders.values().next().unwrap();
            let far = Timestamp::from_timestamp_millis(i64::MAX / 2_000_000).unwrap();
            let awaited = awaiting(row, &limits, far);
            assert!(awaited.iter().all(|one| one.overdue && one.until.is_some()));
            awaited.iter().map(|one| one.what).collect::<Vec<_>>().join(" and ")
        })
        .collect();
    assert_eq!(
        awaited,
        [
            "StockReserved|StockRejected",
            "PaymentAuthorized|PaymentDeclined",
            "PaymentAuthorized|PaymentDeclined",
            "OrderConfirmed",
            "StockCommitted and PaymentCaptured|PaymentCaptureFailed",
            "PaymentCaptured|PaymentCaptureFailed",
            "PaymentCaptured|PaymentCaptureFailed",
            "OrderCompleted",
            "OrderCompleted",
            "",
        ]
    );
}

#[test]
fn a_silent_provider_shows_until_it_answers() {
    let (world, row) = played(Path::SilentThenYes);
    assert_eq!(row.payment.state.unwrap().silent, None);
    let until_silence: Vec<Raw> = world
        .in_order()
        .into_iter()
        .filter(|raw| raw.topic != Topic::PaymentsEvents || raw.offset < 2)
        .collect();
    let mut rows = Rows::default();
    until_silence.iter().filter(|raw| raw.topic == Topic::PaymentsEvents).for_each(|raw| {
        rows.fold(&fact(raw)).unwrap();
    });
    let payment = rows.orders.values().next().unwrap().payment.state.clone().unwrap();
    assert_eq!((payment.status, payment.silent.is_some()), (PaymentStatus::Requested, true));
}

#[test]
fn an_event_by_hand_is_shown_and_marks_the_order_and_is_not_folded() {
    let (mut world, before) = played(Path::Completed);
    world.plant(by_hand(before.order_id));
    let rows = fold(&world.in_order());
    let row = &rows.orders[&before.order_id];
    assert!(row.foreign && !before.foreign);
    assert_eq!((&row.order, &row.payment), (&before.order, &before.payment));
    let shown = rows.timeline.values().filter(|entry| entry.sequence == 0).collect::<Vec<_>>();
    assert_eq!((shown.len(), shown[0].service.as_str()), (1, "/somebody"));
}

#[test]
fn an_order_created_by_hand_is_adopted_so_it_is_not_suspect() {
    let (world, before) = played(Path::Completed);
    let own = world.in_order().into_iter().find(|raw| raw.topic == Topic::OrdersEvents).unwrap();
    let Message::Order(event) = fact(&own).message else { panic!("not an order event") };
    let (id, key) = (Uuid::from_u128(78), before.order_id.to_string());
    let message = Message::Order(event);
    let by_hand =
        encode_manual(Topic::OrdersEvents, &message, id, &key, "/somebody", Timestamp::UNIX_EPOCH, None);
    let mut rows = Rows::default();
    assert_eq!(rows.fold(&fact(&place([by_hand])[0])), Ok(Step::Duplicate));
    assert_eq!(rows.fold(&fact(&own)), Ok(Step::Applied));
    assert!(!rows.orders[&before.order_id].foreign);
    assert_eq!(rows.timeline.len(), 2);
}

#[test]
fn a_missing_version_fails_and_leaves_no_trace() {
    let (world, row) = played(Path::Completed);
    let own: Vec<Raw> = world.in_order().into_iter().filter(|raw| raw.topic == Topic::OrdersEvents).collect();
    let mut rows = Rows::default();
    rows.fold(&fact(&own[0])).unwrap();
    let before = rows.clone();
    let failed = rows.fold(&fact(&own[2])).unwrap_err();
    assert_eq!(failed.code(), "version-gap");
    assert_eq!(rows, before);
    let mut rows = Rows::default();
    for (sequence, event) in [
        (1, Message::Order(OrderConfirmed { order_id: row.order_id }.into())),
        (1, Message::Order(OrderCompleted { order_id: row.order_id }.into())),
    ] {
        let mut fact = fact(&own[0]);
        fact.message = event;
        fact.envelope.sequence = Some(sequence);
        assert_eq!(rows.fold(&fact).unwrap_err().code(), "impossible-event");
        assert!(rows.changed.is_empty() && rows.timeline.is_empty());
    }
}

/// A completed order, and one more event of it by a service of ours that no right service would write.
fn with_one_more(topic: Topic, message: impl FnOnce(OrderId) -> Message) -> Rows {
    let (world, row) = played(Path::Completed);
    let mut rows = fold(&world.in_order());
    assert_eq!(rows.broken, []);
    let last = world.in_order().into_iter().rfind(|raw| raw.topic == topic).unwrap();
    let mut fact = fact(&last);
    fact.message = message(row.order_id);
    fact.envelope.sequence = fact.envelope.sequence.map(|sequence| sequence + 1);
    fact.envelope.id = Uuid::from_u128(79);
    rows.fold(&fact).unwrap();
    // A repeat is no second violation.
    rows.fold(&fact).unwrap();
    rows
}

#[test]
fn an_order_that_is_completed_and_cancelled_is_an_alarm() {
    let rows = with_one_more(Topic::OrdersEvents, |order_id| {
        let (reason, by, stage) = (CancelReason::Operator, CancelledBy::Operator, CancelStage::Confirmed);
        Message::Order(OrderCancelled { order_id, reason, by, note: None, stage }.into())
    });
    assert_eq!(rows.broken, [Broken::CompletedAndCancelled]);
}

#[test]
fn a_completed_order_whose_goods_or_money_went_back_is_an_alarm() {
    let rows = with_one_more(Topic::InventoryEvents, |order_id| {
        Message::Reservation(StockRestocked { order_id, lines: Vec::new() }.into())
    });
    assert_eq!(rows.broken, [Broken::CompletedWithoutGoods]);
    let refunded = |order_id| Message::Payment(PaymentRefunded { order_id }.into());
    let rows = with_one_more(Topic::PaymentsEvents, refunded);
    assert_eq!(rows.broken, [Broken::CompletedWithoutMoney]);
}

#[test]
fn levels_that_do_not_add_up_are_an_alarm_and_are_not_taken() {
    let (world, _) = played(Path::Completed);
    let stock: Vec<Raw> =
        world.in_order().into_iter().filter(|raw| raw.topic == Topic::InventoryStock).collect();
    let mut rows = Rows::default();
    let mut received = fact(&stock[0]);
    let Message::Stock(StockEvent::Received(event)) = &mut received.message else { panic!("not a receipt") };
    event.on_hand += 1;
    assert_eq!(rows.fold(&received).unwrap_err().code(), "impossible-event");
    assert_eq!(rows.broken, [Broken::StockSum]);
}

#[test]
fn levels_out_of_bounds_are_an_alarm_where_a_service_of_ours_wrote_them() {
    let (mut world, row) = played(Path::Completed);
    world.plant(by_hand(row.order_id));
    let all = world.in_order();
    let ours = all.iter().find(|raw| raw.topic == Topic::InventoryStock).unwrap();
    // As it is read with this field as something else.
    let unread = |field: &str, other: Value| {
        let mut value: Value = serde_json::from_slice(ours.value.as_deref().unwrap()).unwrap();
        *value.pointer_mut(field).unwrap() = other;
        let raw = Raw { value: Some(value.to_string().into()), ..ours.clone() };
        match intake::read(&raw, Mode::Production) {
            Err(Unread::Malformed(_, malformed)) => malformed,
            other => panic!("{other:?}"),
        }
    };
    let malformed = unread("/data/on_hand", json!(STOCK_LEVEL_MAX + 1));
    assert_eq!(of_unread(ours, &malformed), Some(Broken::StockBounds));
    assert_eq!(of_unread(ours, &unread("/data/sku", json!("a b"))), None);
    let foreign = Raw { topic: Topic::InventoryStock, ..all.last().unwrap().clone() };
    assert_eq!(of_unread(&foreign, &malformed), None);
}

#[test]
fn the_funnel_counts_how_far_each_order_came_and_why_it_was_lost() {
    let (mut world, _) = world(1, 0);
    for (number, path) in PATHS.into_iter().enumerate() {
        world.order(
            OrderId::new(Uuid::from_u128(1 + number as u128)).unwrap(),
            path,
            &["SKU-1".parse().unwrap()],
            2,
        );
    }
    let rows = fold(&world.in_order());
    let (funnel, lost) = (Funnel::of(rows.orders.values()), Lost::of(rows.orders.values()));
    assert_eq!(funnel.created, PATHS.len() as i64);
    let steps = [funnel.created, funnel.reserved, funnel.authorized, funnel.confirmed, funnel.completed];
    assert!(steps.is_sorted_by(|one, next| one >= next), "{steps:?}");
    // Completed, completed after a silence, and both that were cancelled behind their confirmation.
    assert_eq!((funnel.confirmed, funnel.completed), (4, 2), "{funnel:?}");
    assert_eq!(
        lost.iter().map(|lost| lost.orders).sum::<i64>(),
        PATHS.len() as i64 - 3,
        "all but those and the open one: {lost:?}"
    );
    let one = |reason| lost.iter().any(|lost| lost.reason == reason && lost.orders == 1);
    assert!(one("out_of_stock") && one("payment_declined"), "{lost:?}");
}
