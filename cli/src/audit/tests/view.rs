//! The view, against a fold of the topics.

use bytes::Bytes;
use projector::{
    intake::{self, Heard, READS},
    read_model::whole::{Copies, View},
    view::{letter::LetterRow, order::OrderRow, stock::StockRow},
};
use shared::{
    contract::{
        dead_letter::{dead_letter_id, header},
        envelope::{Headers, Mode, Raw},
        ids::named,
        topics::Topic,
    },
    log::{Stage, StoredLetter},
};

use super::{COMPLETED, QUIET, broken, letter, log, order, world};
use crate::audit::{Rules, World, audit};

/// A world with a view that has read all of it, as the projector makes it.
fn viewed() -> World {
    let mut world = world();
    let dead = world.messages.iter_mut().find(|raw| raw.topic == Topic::DeadLetters).unwrap();
    let Headers::Readable(headers) = &mut dead.headers else { panic!() };
    for (name, text) in [
        (header::PARTITION, "1"),
        (header::OFFSET, "5"),
        (header::GROUP, "order-service"),
        (header::STAGE, "decode"),
        (header::CODE, "invalid-json"),
        (header::FAILED_AT, "2026-11-24T10:02:11.034Z"),
    ] {
        headers.push((name.into(), Some(Bytes::from_static(text.as_bytes()))));
    }
    let mut view = View::default();
    for raw in world.messages.iter().filter(|raw| READS.contains(&raw.topic)) {
        view.positions.insert((raw.topic, raw.partition), raw.offset + 1);
        match intake::read(raw, Mode::Development).unwrap() {
            Heard::Event(fact) => drop(view.rows.fold(&fact).unwrap()),
            Heard::Letter(id, record) => view.rows.fold_letter(id, &record),
            Heard::Command(..) | Heard::NotOurs => {}
        }
    }
    for row in view.rows.orders.values() {
        let state = row.order.state.as_ref().unwrap();
        let copies = Copies {
            status: Some(state.stage.status().into()),
            user_id: Some("u".into()),
            created_at: Some(state.created_at),
        };
        view.copies.insert(row.order_id, copies);
        view.wanted.insert(("A".parse().unwrap(), state.created_at, row.order_id));
    }
    world.view = Some(view);
    world
}

fn view(world: &mut World) -> &mut View {
    world.view.as_mut().unwrap()
}

fn completed(world: &mut World) -> &mut OrderRow {
    view(world).rows.orders.get_mut(&order(COMPLETED)).unwrap()
}

/// What is said of the only thing that is wrong.
fn said(world: &World, subject: &str) -> String {
    let found = broken(world, 6, subject);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].detail.clone()
}

#[test]
fn a_view_that_is_the_fold_of_the_topics_is_right() {
    let world = viewed();
    assert_eq!(audit(&world, &QUIET), []);
    assert!(world.is_quiet());
}

#[test]
fn an_order_with_another_state_is_seen_with_both() {
    let mut world = viewed();
    completed(&mut world).order.state.as_mut().unwrap().amount.minor = 999;
    let said = said(&world, COMPLETED);
    assert!(said.starts_with("order_view.order_state is ") && said.contains("999"), "{said}");
    assert!(said.contains("the topics make") && said.contains("1000"), "{said}");
}

#[test]
fn an_order_with_another_payment_or_reservation_is_seen() {
    let mut unpaid = viewed();
    completed(&mut unpaid).payment.version = 3;
    assert_eq!(said(&unpaid, COMPLETED), "order_view.payment_version is 3, and the topics make 4");
    let mut unreserved = viewed();
    completed(&mut unreserved).reservation.state = None;
    assert!(said(&unreserved, COMPLETED).starts_with("order_view.reservation_state is null"));
}

#[test]
fn an_order_that_calls_itself_foreign_is_seen() {
    let mut world = viewed();
    completed(&mut world).foreign = true;
    assert_eq!(said(&world, COMPLETED), "order_view.foreign is true, and the topics make false");
}

#[test]
fn a_column_that_says_something_else_than_its_state_is_seen() {
    let mut world = viewed();
    view(&mut world).copies.get_mut(&order(COMPLETED)).unwrap().status = Some("created".into());
    assert_eq!(said(&world, COMPLETED), r#"order_view.status is "created", and the topics make "completed""#);
}

#[test]
fn an_order_that_is_missing_and_one_that_nobody_made_are_seen() {
    let mut missing = viewed();
    view(&mut missing).rows.orders.remove(&order(COMPLETED));
    assert_eq!(said(&missing, COMPLETED), "order_view has no row of it, the topics have");
    let mut made_up = viewed();
    let stranger = order("0198f3c2-5a10-7c31-9d44-0a4be1c25f99");
    view(&mut made_up).rows.orders.insert(stranger, OrderRow::new(stranger));
    assert_eq!(said(&made_up, &stranger.to_string()), "order_view has it, and the topics do not");
}

#[test]
fn an_order_that_cannot_be_found_by_its_sku_is_seen() {
    let mut world = viewed();
    view(&mut world).wanted.pop_first();
    assert!(said(&world, "").starts_with("order_sku has no row of A"));
}

#[test]
fn levels_that_the_topics_do_not_make_are_seen() {
    let mut world = viewed();
    let rows = &mut view(&mut world).rows;
    let row: &mut StockRow = rows.stocks.values_mut().next().unwrap();
    row.levels.state.as_mut().unwrap().on_hand = 8;
    assert_eq!(said(&world, "A"), "stock_view.on_hand is 8, and the topics make 9");
}

#[test]
fn sums_that_the_orders_do_not_make_are_seen() {
    let mut world = viewed();
    let sold = view(&mut world).rows.sales.values_mut().next().unwrap();
    sold.orders += 1;
    let made = sold.orders - 1;
    let detail = format!("sale.orders is {}, and the topics make {made}", made + 1);
    assert_eq!(said(&world, "all skus ever EUR"), detail);
    let mut uncounted = viewed();
    view(&mut uncounted).rows.pace.clear();
    let found = audit(&uncounted, &QUIET);
    assert!(
        !found.is_empty() && found.iter().all(|found| found.detail.starts_with("pace has no row of it")),
        "{found:#?}"
    );
}

#[test]
fn a_dead_letter_that_the_topics_do_not_have_so_is_seen() {
    let mut world = viewed();
    let row: &mut LetterRow = view(&mut world).rows.letters.values_mut().next().unwrap();
    row.redrives = 4;
    assert_eq!(said(&world, ""), "dead_letter_view.redrives is 4, and the topics make 0");
}

#[test]
fn a_timeline_that_counts_wrong_or_forgets_is_seen() {
    let mut counted = viewed();
    view(&mut counted).rows.timeline.values_mut().next().unwrap().deliveries = 2;
    assert_eq!(said(&counted, COMPLETED), "timeline.deliveries is 2, and the topics make 1");
    let mut forgotten = viewed();
    view(&mut forgotten).rows.timeline.pop_first();
    assert_eq!(said(&forgotten, COMPLETED), "timeline has no row of it, the topics have");
}

#[test]
fn a_view_is_compared_as_far_as_it_has_read_and_must_have_read_all_when_all_is_quiet() {
    let mut behind = viewed();
    view(&mut behind).positions.clear();
    let rows = &mut view(&mut behind).rows;
    (rows.orders, rows.stocks) = Default::default();
    (rows.letters, rows.timeline) = Default::default();
    (rows.sales, rows.pace) = Default::default();
    view(&mut behind).wanted.clear();
    assert_eq!(audit(&behind, &Rules::default()), []);
    assert!(!behind.is_quiet());
    let found = broken(&behind, 6, "the view is behind");
    assert!(found[0].detail.contains("is read up to 0 and ends at"), "{found:#?}");
}

/// The first event of the completed order came once more under a version that leaves a gap.
fn with_gap() -> (World, Raw) {
    let mut world = viewed();
    let log = world.log_mut("order-service").clone();
    let mut event = log.events[0].clone();
    event.version = 40;
    event.event_id = named(&["gap"]);
    let raw = Raw { offset: 100, ..super::raw("nobody", &event) };
    world.messages.push(raw.clone());
    view(&mut world).positions.insert((raw.topic, raw.partition), 101);
    (world, raw)
}

#[test]
fn what_cannot_be_folded_and_was_not_buried_is_seen() {
    let (world, _) = with_gap();
    let said = said(&world, "orders.events[0]@100");
    assert!(said.starts_with("cannot be folded and is no dead letter"), "{said}");
}

#[test]
fn keys_on_which_the_projector_buried_a_message_are_left_out() {
    let (mut world, raw) = with_gap();
    let id = dead_letter_id("projector", raw.topic.name(), raw.partition, raw.offset);
    let mut stored: StoredLetter = letter(&raw);
    stored.letter_id = id;
    stored.letter.group = "projector".into();
    stored.letter.stage = Stage::Decide;
    stored.letter.holds = Some((COMPLETED.into(), 0));
    let mut projector = log("projector");
    projector.letters.push(stored);
    world.services.push(projector);
    completed(&mut world).payment.version = 3;
    let found = audit(&world, &QUIET);
    assert!(found.iter().all(|found| found.invariant != 6), "{found:#?}");
}
