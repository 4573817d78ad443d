//! A world that is right, and every way to break it that a check is there for.

mod fold;
mod told;
mod view;

use bytes::Bytes;
use payment_service::domain::record::{Record, Said};
use serde_json::{Value, json};
use shared::{
    contract::{
        Timestamp,
        dead_letter::{dead_letter_id, header},
        envelope::{Headers, Mode, Part, Raw, Recorded},
        ids::{OrderId, StreamName, named},
        money::{Currency, Money},
        topics::Topic,
    },
    log::{Held, HeldRow, HoldKind, Letter, LetterStatus, Stage, StoredLetter},
};

use super::{Rules, ServiceLog, Violation, World, audit};

pub(super) const COMPLETED: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";
pub(super) const CANCELLED: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f02";
const QUIET: Rules = Rules { quiet: true, mode: Mode::Development, letters: Some(1) };

fn order(id: &str) -> OrderId {
    id.parse().unwrap()
}

/// One order that was completed, one that was cancelled after its money was set aside, and one dead letter.
pub(super) fn world() -> World {
    let mut order_log = log("order-service");
    let mut inventory = log("inventory-service");
    let mut payment = log("payment-service");
    let eur = json!({"minor": 1000, "currency": "EUR"});
    stock(
        &mut inventory,
        "received",
        json!({"delta": 10, "on_hand": 10, "reserved": 0, "reason": "receipt"}),
    );
    for (id, reserved) in [(COMPLETED, 1), (CANCELLED, 1)] {
        let of = |data: Value| merged(json!({"order_id": id}), data);
        let lines = json!([{"sku": "A", "quantity": 1, "unit_price_minor": 1000}]);
        let created =
            json!({"user_id": "u", "lines": lines, "amount": eur, "deadline_at": "2026-11-24T10:15:00Z"});
        append(&mut order_log, &format!("order-{id}"), "order.created.v2", of(created));
        let held = json!({"lines": [{"sku": "A", "quantity": 1}]});
        append(
            &mut inventory,
            &format!("reservation-{id}"),
            "stock.reserved.v1",
            of(merged(held.clone(), json!({"amount": eur}))),
        );
        let on_hand = if id == COMPLETED { 10 } else { 9 };
        stock(&mut inventory, "allocated", of(json!({"delta": 1, "on_hand": on_hand, "reserved": reserved})));
        append(&mut payment, &format!("payment-{id}"), "payment.requested.v1", of(json!({"amount": eur})));
        append(&mut payment, &format!("payment-{id}"), "payment.authorized.v1", of(json!({})));
        let mut tell =
            |name: &str, data: Value| append(&mut order_log, &format!("order-{id}"), name, of(data));
        if id == COMPLETED {
            tell("order.confirmed.v1", json!({}));
            tell("order.progressed.v1", json!({"step": "stock_committed"}));
            tell("order.completed.v1", json!({}));
            append(&mut inventory, &format!("reservation-{id}"), "stock.committed.v1", of(json!({})));
            stock(&mut inventory, "shipped", of(json!({"delta": -1, "on_hand": 9, "reserved": 0})));
            append(&mut payment, &format!("payment-{id}"), "payment.capture-requested.v1", of(json!({})));
            append(&mut payment, &format!("payment-{id}"), "payment.captured.v1", of(json!({})));
        } else {
            tell("order.cancelled.v1", json!({"reason": "customer", "by": "customer", "stage": "created"}));
            tell("order.progressed.v1", json!({"step": "stock_returned"}));
            tell("order.settled.v1", json!({}));
            append(&mut inventory, &format!("reservation-{id}"), "stock.released.v1", of(held));
            stock(&mut inventory, "deallocated", of(json!({"delta": -1, "on_hand": 9, "reserved": 0})));
            append(
                &mut payment,
                &format!("payment-{id}"),
                "payment.reversal-requested.v1",
                of(json!({"awaits": "void"})),
            );
            append(&mut payment, &format!("payment-{id}"), "payment.voided.v1", of(json!({})));
        }
    }
    let poison = Raw {
        topic: Topic::OrdersCommands,
        partition: 1,
        offset: 5,
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(b"hello")),
        headers: Headers::Readable(vec![("shop".into(), Some(Bytes::from_static(b"web")))]),
        timestamp_ms: 0,
    };
    order_log.letters.push(letter(&poison));
    let mut world = World {
        services: vec![order_log, inventory, payment],
        messages: Vec::new(),
        provider: Some(vec![record(COMPLETED, true), record(CANCELLED, false)]),
        now: "2026-11-24T10:03:00Z".parse().unwrap(),
        ..World::default()
    };
    publish(&mut world);
    world.messages.push(on_dead_letters(&poison));
    world.messages.push(poison);
    world
}

pub(super) fn log(service: &str) -> ServiceLog {
    ServiceLog { service: service.to_owned(), ..ServiceLog::default() }
}

pub(super) fn append(log: &mut ServiceLog, stream: &str, name: &str, data: Value) {
    let position = log.events.len() as i64 + 1;
    let version = log.events.iter().filter(|event| event.stream.as_str() == stream).count() as i64 + 1;
    log.events.push(Recorded {
        position,
        stream: StreamName::parse(stream).unwrap(),
        version,
        event_id: named(&[&log.service, &position.to_string()]),
        event_type: format!("fulfil.{name}"),
        data: data.to_string(),
        decision: Part { index: 1, count: 1 },
        correlation_id: named(&["correlation"]),
        causation_id: named(&["cause"]),
        traceparent: None,
        recorded_at: Timestamp::UNIX_EPOCH,
    });
    log.published = position;
}

pub(super) fn stock(log: &mut ServiceLog, name: &str, data: Value) {
    append(log, "stock-A", &format!("stock.{name}.v1"), merged(json!({"sku": "A"}), data));
}

pub(super) fn merged(mut a: Value, b: Value) -> Value {
    a.as_object_mut().unwrap().extend(b.as_object().unwrap().clone());
    a
}

fn record(id: &str, captured: bool) -> Record {
    Record {
        amount: Some(Money::new(1000, Currency::EUR)),
        authorize: Some(Said::Yes),
        capture: captured.then_some(Said::Yes),
        void: (!captured).then_some(Said::Yes),
        charges: 1,
        ..Record::nothing(order(id))
    }
}

fn letter(raw: &Raw) -> StoredLetter {
    StoredLetter {
        letter_id: dead_letter_id("order-service", raw.topic.name(), raw.partition, raw.offset),
        letter: Letter {
            group: "order-service".into(),
            raw: raw.clone(),
            stage: Stage::Decode,
            code: "invalid-json".into(),
            message: "expected value".into(),
            fingerprint: "f".into(),
            delivery_count: 1,
            build: "b".into(),
            holds: None,
        },
        redrives: 0,
        status: None,
    }
}

fn on_dead_letters(raw: &Raw) -> Raw {
    let id = dead_letter_id("order-service", raw.topic.name(), raw.partition, raw.offset);
    let Headers::Readable(mut headers) = raw.headers.clone() else { panic!() };
    headers.push((header::TOPIC.into(), Some(raw.topic.name().into())));
    headers.push((header::ID.into(), Some(id.to_string().into())));
    Raw {
        topic: Topic::DeadLetters,
        partition: 0,
        offset: 0,
        headers: Headers::Readable(headers),
        ..raw.clone()
    }
}

/// All events on their topics, each order and sku on a partition.
fn publish(world: &mut World) {
    world.messages.retain(|raw| !raw.topic.is_events());
    let published =
        world.services.iter().flat_map(|log| log.events.iter().map(|event| raw(&log.service, event)));
    let published: Vec<Raw> = published.collect();
    world.messages.extend(published);
}

fn raw(service: &str, event: &Recorded) -> Raw {
    let outgoing = event.encode(service).unwrap();
    Raw {
        topic: outgoing.topic,
        partition: 0,
        offset: event.position,
        key: Some(outgoing.key),
        value: outgoing.value,
        headers: Headers::Readable(outgoing.headers),
        timestamp_ms: 0,
    }
}

impl World {
    fn log_mut(&mut self, service: &str) -> &mut ServiceLog {
        self.services.iter_mut().find(|log| log.service == service).unwrap()
    }

    /// Changes the payload of the first event of a type, in the log and on the topic.
    fn edit(&mut self, service: &str, name: &str, change: impl Fn(&mut Value)) {
        let event_type = format!("fulfil.{name}");
        let log = self.log_mut(service);
        let event = log.events.iter_mut().find(|event| event.event_type == event_type).unwrap();
        let mut data = serde_json::from_str(&event.data).unwrap();
        change(&mut data);
        event.data = data.to_string();
        publish(self);
    }

    /// Takes an event out as if it had never been, so that only the meaning is broken.
    fn without(&mut self, service: &str, name: &str, id: &str) {
        let event_type = format!("fulfil.{name}");
        let log = self.log_mut(service);
        let kept: Vec<Recorded> = std::mem::take(&mut log.events)
            .into_iter()
            .filter(|event| !(event.event_type == event_type && event.data.contains(id)))
            .collect();
        for event in kept {
            append(
                log,
                event.stream.as_str(),
                &event.event_type[7..],
                serde_json::from_str(&event.data).unwrap(),
            );
        }
        publish(self);
    }
}

/// Exactly this invariant is broken, about this subject.
fn broken(world: &World, invariant: u8, subject: &str) -> Vec<Violation> {
    let found = audit(world, &QUIET);
    assert!(
        found.iter().any(|found| found.invariant == invariant && found.subject.contains(subject)),
        "{found:#?}"
    );
    assert!(found.iter().all(|found| found.invariant == invariant), "{found:#?}");
    found
}

#[test]
fn a_world_that_is_right_has_no_violation() {
    assert_eq!(audit(&world(), &QUIET), []);
    assert_eq!(audit(&world(), &Rules::default()), []);
    assert_eq!(audit(&World::default(), &Rules::default()), []);
}

#[test]
fn levels_that_their_history_does_not_make_are_seen() {
    let mut world = world();
    world.edit("inventory-service", "stock.received.v1", |data| data["delta"] = 11.into());
    broken(&world, 1, "A");
}

#[test]
fn a_reservation_without_its_allocation_is_seen() {
    let mut world = world();
    // Reserved for ever: neither the release nor its stock event happened.
    world.without("inventory-service", "stock.deallocated.v1", CANCELLED);
    broken(&world, 1, "A");
}

#[test]
fn more_reserved_than_there_is_is_seen() {
    let mut world = world();
    world.edit("inventory-service", "stock.received.v1", |data| {
        data["delta"] = 0.into();
        data["on_hand"] = 0.into();
    });
    let found = audit(&world, &QUIET);
    assert!(found.iter().any(|found| found.invariant == 1), "{found:#?}");
}

#[test]
fn a_completed_order_without_its_money_is_seen() {
    let mut world = world();
    world.without("payment-service", "payment.captured.v1", COMPLETED);
    world.provider.as_mut().unwrap()[0].capture = None;
    broken(&world, 2, COMPLETED);
}

#[test]
fn a_completed_order_without_its_goods_is_seen() {
    let mut world = world();
    world.without("inventory-service", "stock.committed.v1", COMPLETED);
    let found = audit(&world, &QUIET);
    assert!(found.iter().any(|found| found.invariant == 2 && found.subject == COMPLETED), "{found:#?}");
}

#[test]
fn a_settled_order_whose_money_was_never_returned_is_seen() {
    let mut world = world();
    world.without("payment-service", "payment.voided.v1", CANCELLED);
    world.provider.as_mut().unwrap()[1].void = None;
    let found = audit(&world, &QUIET);
    assert!(found.iter().any(|found| found.invariant == 2 && found.subject == CANCELLED), "{found:#?}");
}

#[test]
fn an_order_that_does_not_end_is_seen_when_all_is_quiet_or_its_time_is_over() {
    let mut world = world();
    world.without("order-service", "order.settled.v1", CANCELLED);
    broken(&world, 3, CANCELLED);
    assert_eq!(audit(&world, &Rules::default()), [], "it still has time");
    world.now = "2026-11-24T10:20:01Z".parse().unwrap();
    assert_eq!(audit(&world, &Rules::default()).len(), 1);
}

#[test]
fn an_order_that_ends_twice_is_seen() {
    let mut world = world();
    let log = world.log_mut("order-service");
    append(log, &format!("order-{COMPLETED}"), "order.settled.v1", json!({"order_id": COMPLETED}));
    publish(&mut world);
    let found = audit(&world, &QUIET);
    assert!(
        found.iter().any(|found| found.invariant == 3 && found.detail == "completed and cancelled"),
        "{found:#?}"
    );
}

#[test]
fn a_second_charge_is_seen() {
    let mut world = world();
    world.provider.as_mut().unwrap()[0].charges = 2;
    broken(&world, 4, COMPLETED);
}

#[test]
fn books_that_differ_are_seen() {
    let mut unpaid = world();
    unpaid.provider.as_mut().unwrap()[0].capture = None;
    broken(&unpaid, 4, COMPLETED);
    let mut dearer = world();
    dearer.provider.as_mut().unwrap()[0].amount = Some(Money::new(999, Currency::EUR));
    broken(&dearer, 4, COMPLETED);
    let mut unknown = world();
    let stranger = "0198f3c2-5a10-7c31-9d44-0a4be1c25f99";
    unknown.provider.as_mut().unwrap().push(record(stranger, true));
    broken(&unknown, 4, stranger);
}

#[test]
fn a_hole_in_the_positions_is_seen() {
    let mut world = world();
    let log = world.log_mut("payment-service");
    for event in log.events.iter_mut().skip(3) {
        event.position += 1;
    }
    publish(&mut world);
    let found = audit(&world, &QUIET);
    assert!(
        found.iter().any(|found| found.invariant == 5 && found.detail.contains("position 5 where 4")),
        "{found:#?}"
    );
}

#[test]
fn a_version_that_is_missing_is_seen() {
    let mut world = world();
    world.log_mut("order-service").events[1].version = 7;
    publish(&mut world);
    let found = audit(&world, &QUIET);
    assert!(
        found.iter().any(|found| found.invariant == 5 && found.detail.contains("version 7")),
        "{found:#?}"
    );
}

#[test]
fn an_event_that_was_never_published_is_seen_and_one_that_is_on_its_way_is_not() {
    let mut world = world();
    let last = world.log_mut("order-service").events.len() as i64;
    world.messages.retain(|raw| !(raw.topic == Topic::OrdersEvents && raw.offset == last));
    broken(&world, 5, CANCELLED);
    world.log_mut("order-service").published = last - 1;
    assert_eq!(audit(&world, &Rules::default()), []);
}

#[test]
fn events_that_first_appear_out_of_order_are_seen_and_repeats_are_not() {
    let mut repeated = world();
    let again = repeated.messages[0].clone();
    repeated.messages.push(Raw { offset: 1000, ..again });
    assert_eq!(audit(&repeated, &QUIET), []);
    let mut swapped = world();
    let of_topic: Vec<usize> = (0..swapped.messages.len())
        .filter(|index| swapped.messages[*index].topic == Topic::OrdersEvents)
        .take(2)
        .collect();
    swapped.messages.swap(of_topic[0], of_topic[1]);
    broken(&swapped, 5, COMPLETED);
}

#[test]
fn a_topic_that_says_something_else_than_the_log_is_seen() {
    let mut edited = world();
    let log = edited.log_mut("order-service");
    log.events[0].data = log.events[0].data.replace("\"u\"", "\"other\"");
    broken(&edited, 5, COMPLETED);
    let mut lost = world();
    let log = lost.log_mut("payment-service");
    log.events.truncate(log.events.len() - 1);
    let found = audit(&lost, &QUIET);
    assert!(
        found.iter().any(|found| found.invariant == 5 && found.detail.contains("its log ends at")),
        "{found:#?}"
    );
}

#[test]
fn a_dead_letter_with_other_bytes_is_seen() {
    let mut world = world();
    world.log_mut("order-service").letters[0].letter.raw.value = Some(Bytes::from_static(b"hullo"));
    broken(&world, 7, "");
}

#[test]
fn a_dead_letter_that_lost_a_header_on_its_way_is_seen() {
    let mut world = world();
    let record = world.messages.iter_mut().find(|raw| raw.topic == Topic::DeadLetters).unwrap();
    let Headers::Readable(headers) = &mut record.headers else { panic!() };
    headers.retain(|(name, _)| name != "shop");
    broken(&world, 7, "");
}

#[test]
fn a_dead_letter_that_is_not_on_the_topic_is_seen() {
    let mut world = world();
    world.messages.retain(|raw| raw.topic != Topic::DeadLetters);
    broken(&world, 7, "");
}

#[test]
fn a_dead_letter_with_a_status_among_its_own_headers_is_on_the_topic() {
    let mut world = world();
    let status = (header::STATUS.into(), Some(Bytes::from_static(b"redriven")));
    let letters = world.messages.iter_mut().filter(|raw| !raw.topic.is_events());
    let add = |raw: &mut Raw| {
        let Headers::Readable(headers) = &mut raw.headers else { panic!() };
        headers.insert(0, status.clone());
    };
    letters.for_each(add);
    add(&mut world.log_mut("order-service").letters[0].letter.raw);
    assert_eq!(audit(&world, &QUIET), []);
}

#[test]
fn a_good_message_among_the_dead_is_seen() {
    let mut world = world();
    let good =
        Bytes::from(json!({"type": "fulfil.order.cancel.v1", "data": {"order_id": COMPLETED}}).to_string());
    for raw in world.messages.iter_mut().filter(|raw| !raw.topic.is_events()) {
        (raw.key, raw.value) = (Some(Bytes::from_static(COMPLETED.as_bytes())), Some(good.clone()));
    }
    let letter = &mut world.log_mut("order-service").letters[0].letter.raw;
    (letter.key, letter.value) = (Some(Bytes::from_static(COMPLETED.as_bytes())), Some(good));
    broken(&world, 7, "");
    world.log_mut("order-service").letters[0].letter.code = "deadline-too-far".into();
    assert_eq!(audit(&world, &QUIET), [], "its bytes are good, its time was not");
}

#[test]
fn a_lost_dead_letter_and_one_too_many_are_seen() {
    let mut world = world();
    world.log_mut("order-service").letters.clear();
    broken(&world, 7, "dead letters");
}

#[test]
fn a_message_that_waits_behind_a_letter_that_is_done_with_is_seen() {
    let mut world = world();
    let raw = world.messages[0].clone();
    let log = world.log_mut("order-service");
    let held_at = Timestamp::UNIX_EPOCH;
    let held = Held { key: COMPLETED.into(), key_partition: 0, kind: HoldKind::Behind, raw, held_at };
    log.held.push(HeldRow { id: 1, held });
    log.letters[0].letter.holds = Some((COMPLETED.into(), 0));
    assert_eq!(audit(&world, &QUIET), [], "the letter is open");
    world.log_mut("order-service").letters[0].status = Some(LetterStatus::Discarded);
    broken(&world, 7, COMPLETED);
}
