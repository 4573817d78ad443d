//! What the unit of work does with each class of message, over a model of the database.

mod begun;
pub(crate) mod sample;

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;
use uuid::Uuid;

use self::sample::{Command, DEADLINE, PANICS, Sample};
use super::{Execute, ExecuteSettings, Input, Outcome, Step};
use crate::{
    consumer::Position,
    contract::{
        Timestamp,
        dead_letter::{DeadLetterCommand, RedriveDeadLetter},
        envelope::{self, Headers, Mode, Raw},
        ids::OrderId,
        message::Message,
        order::{CancelOrder, CreateOrder, OrderCommand},
        payment::{PaymentAuthorized, PaymentCaptured, PaymentEvent},
        topics::{Topic, partition_of},
    },
    engine::inbox::{Answer, Asked, Unanswered},
    log::{HoldKind, LetterChange, LetterStatus, OwnedTask},
    task,
    testing::store::Store,
};

const PARTITIONS: i32 = 4;
const HOLD_LIMIT: Duration = Duration::from_secs(600);

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
}

fn order(number: u128) -> OrderId {
    OrderId::new(Uuid::from_u128(number)).unwrap()
}

/// Topics of which the next offset is what was written, and one process that reads them.
struct World {
    model: Store,
    execute: Execute<Sample>,
    offsets: std::collections::HashMap<(Topic, i32), i64>,
    written: u128,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            model: Store::default(),
            execute: process(0),
            offsets: std::collections::HashMap::new(),
            written: 0,
        };
        world.assign();
        world
    }

    /// As after a start: positions and holds from the database.
    fn assign(&mut self) {
        let topics =
            [Topic::OrdersCommands, Topic::PaymentsEvents, Topic::OrdersEvents, Topic::DeadLettersCommands];
        let places =
            topics.into_iter().flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)));
        let positions: Vec<Position> =
            places.map(|place| Position { place, next: self.model.positions.get(&place).copied() }).collect();
        let held = self.model.held_keys(&(0..PARTITIONS).collect::<Vec<_>>());
        self.execute.assign(&positions, &held);
    }

    fn raw(&mut self, topic: Topic, key: &str, value: String) -> Raw {
        let partition = partition_of(key.as_bytes(), PARTITIONS);
        let offset = self.offsets.entry((topic, partition)).or_default();
        *offset += 1;
        Raw {
            topic,
            partition,
            offset: *offset - 1,
            key: Some(key.to_owned().into()),
            value: Some(value.into()),
            headers: Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        }
    }

    fn write(&mut self, topic: Topic, message: &Message, key: &str) -> Raw {
        self.written += 1;
        let id = Uuid::from_u128(self.written << 64);
        let outgoing = envelope::encode_manual(topic, message, id, key, "/test", now(), None);
        let value = String::from_utf8(outgoing.value.unwrap().to_vec()).unwrap();
        self.raw(topic, key, value)
    }

    fn create(&mut self, id: OrderId) -> Raw {
        self.create_for(id, "u1")
    }

    fn create_for(&mut self, id: OrderId, user: &str) -> Raw {
        let line = serde_json::json!([{"sku": "SKU-1", "quantity": 1, "unit_price_minor": 5}]);
        let create = CreateOrder {
            order_id: id,
            user_id: user.parse().unwrap(),
            lines: serde_json::from_value(line).unwrap(),
            amount: "0.05EUR".parse().unwrap(),
            deadline_at: None,
        };
        let message = Message::OrderCommand(OrderCommand::Create(create));
        self.write(Topic::OrdersCommands, &message, &id.to_string())
    }

    fn cancel(&mut self, id: OrderId) -> Raw {
        let cancel = OrderCommand::Cancel(CancelOrder { order_id: id, reason: None, by: None });
        self.write(Topic::OrdersCommands, &Message::OrderCommand(cancel), &id.to_string())
    }

    fn authorized(&mut self, id: OrderId) -> Raw {
        let event = Message::Payment(PaymentEvent::Authorized(PaymentAuthorized { order_id: id }));
        self.write(Topic::PaymentsEvents, &event, &id.to_string())
    }

    /// Concerns nobody here.
    fn captured(&mut self, id: OrderId) -> Raw {
        let event = Message::Payment(PaymentEvent::Captured(PaymentCaptured { order_id: id }));
        self.write(Topic::PaymentsEvents, &event, &id.to_string())
    }

    fn redrive(&mut self, letter_id: Uuid, value: Option<&[u8]>, key: &str) -> Raw {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let redrive = RedriveDeadLetter {
            dead_letter_id: letter_id,
            group: "order-service".to_owned(),
            value_base64: value.map(|value| STANDARD.encode(value)),
            by: "me".to_owned(),
            reason: "mended".to_owned(),
        };
        let message = Message::DeadLetterCommand(DeadLetterCommand::Redrive(redrive));
        self.write(Topic::DeadLettersCommands, &message, key)
    }

    fn take(&mut self, messages: Vec<Raw>) -> Outcome<Sample> {
        self.run(messages.into_iter().map(Input::Message).collect())
    }

    fn run(&mut self, inputs: Vec<Input<Sample>>) -> Outcome<Sample> {
        self.model.run(&mut self.execute, inputs, now(), |_| {})
    }

    /// Runs the tasks of a kind, whenever they are due.
    fn run_tasks(&mut self, kind: &str, at: Timestamp) -> Outcome<Sample> {
        let due: Vec<OwnedTask> =
            self.model.tasks.values().filter(|owned| owned.task.kind == kind).cloned().collect();
        assert!(!due.is_empty(), "no task {kind}");
        let inputs = due.into_iter().map(|owned| Input::Task(owned.task)).collect();
        self.model.run(&mut self.execute, inputs, at, |_| {})
    }

    fn types(&self) -> Vec<&str> {
        let short = |text: &'_ str| -> &'static str {
            match text {
                "fulfil.order.created.v2" => "created",
                "fulfil.order.confirmed.v1" => "confirmed",
                "fulfil.order.cancelled.v1" => "cancelled",
                _ => "other",
            }
        };
        self.model.log.iter().map(|event| short(&event.event_type)).collect()
    }

    fn letter_ids(&self) -> Vec<Uuid> {
        let dead = self.model.letters.iter().filter(|record| matches!(record.what, LetterChange::Dead(_)));
        dead.map(|record| record.letter_id).collect()
    }
}

pub(super) fn process(seen: i64) -> Execute<Sample> {
    let settings = ExecuteSettings {
        mode: Mode::Development,
        partitions: PARTITIONS,
        hold_limit: HOLD_LIMIT,
        cache_streams_max: 100,
        snapshot_every: 100,
    };
    Execute::new(Arc::new(Sample), settings, (seen, None))
}

#[test]
fn a_batch_is_decided_in_order_and_appended_once() {
    let mut world = World::new();
    let batch = vec![
        world.create(order(1)),
        world.authorized(order(1)),
        world.create(order(2)),
        world.cancel(order(2)),
    ];
    let outcome = world.take(batch);
    assert_eq!(world.types(), ["created", "confirmed", "created", "cancelled"]);
    assert_eq!((outcome.messages, outcome.attempts), (4, 1));
    assert_eq!(world.execute.seen(), 4);
}

#[test]
fn a_message_that_comes_again_changes_nothing() {
    let mut world = World::new();
    let (create, again) = (world.create(order(1)), world.create(order(1)));
    world.take(vec![create.clone()]);
    let outcome = world.take(vec![create, again]);
    assert_eq!(world.types(), ["created"]);
    assert_eq!(
        (outcome.messages, outcome.duplicates),
        (1, 1),
        "the same offset is not taken, the same content is"
    );
}

#[test]
fn a_batch_of_which_nothing_is_made_can_wait_and_comes_to_the_same() {
    let mut world = World::new();
    let (create, again) = (world.create(order(1)), world.create(order(1)));
    let authorized = world.authorized(order(1));
    world.take(vec![create]);
    let begin = |world: &mut World, messages: &[Raw]| {
        let inputs = messages.iter().cloned().map(Input::Message).collect();
        assert!(matches!(world.execute.begin(inputs, now()), Step::Append(_)), "all of it is cached");
    };
    begin(&mut world, std::slice::from_ref(&again));
    let waiting = world.execute.withdraw().unwrap();
    assert!(matches!(&waiting[..], [Input::Message(raw)] if raw.offset == again.offset));
    assert!(world.execute.withdraw().is_none(), "it was given back");
    let place = (again.topic, again.partition);
    let next = |world: &World| world.execute.positions().find(|(known, _)| *known == place).unwrap().1;
    assert_eq!(next(&world), Some(again.offset), "it is as if it had not come");
    let outcome = world.run(waiting.into_iter().chain([Input::Message(authorized)]).collect());
    assert_eq!((outcome.messages, outcome.duplicates), (2, 0));
    assert_eq!(world.types(), ["created", "confirmed"]);
    assert_eq!(next(&world), Some(again.offset + 1));
}

#[test]
fn a_batch_of_which_something_is_made_or_for_which_somebody_waits_does_not_wait() {
    let mut world = World::new();
    let (create, cancel) = (world.create(order(1)), world.cancel(order(2)));
    let (reply, _answer) = oneshot::channel();
    // Nothing is made of it either, but somebody wants to be told.
    let command = Command::Authorized(order(3));
    let asked = Input::Asked(Asked { id: Uuid::from_u128(9), command, traceparent: None, reply });
    let many = (0..=50).map(|_| Input::Message(world.captured(order(4)))).collect();
    for inputs in [vec![Input::Message(create)], vec![Input::Message(cancel)], vec![asked], many] {
        let mut step = world.execute.begin(inputs, now());
        if let Step::Load(load) = step {
            step = world.execute.loaded(world.model.load(&load));
        }
        assert!(matches!(step, Step::Append(_)));
        assert!(world.execute.withdraw().is_none());
    }
}

#[test]
fn what_others_append_is_folded_before_the_batch_is_decided_again() {
    let mut world = World::new();
    let create = world.create(order(1));
    world.take(vec![create]);
    // Another replica confirms the order, between our decision and our append.
    let mut other = World::new();
    other.model = world.model.clone();
    other.execute = process(1);
    other.assign();
    let authorized = other.authorized(order(1));
    other.take(vec![authorized]);
    let theirs = other.model.log[1].clone();

    let cancel = world.cancel(order(1));
    let mut first = true;
    let outcome = world.model.run(&mut world.execute, vec![Input::Message(cancel)], now(), |model| {
        if std::mem::take(&mut first) {
            model.push(theirs.clone()).unwrap();
        }
    });
    assert_eq!(outcome.attempts, 2);
    assert_eq!(world.types(), ["created", "confirmed"], "the cancel came too late");
    assert_eq!(codes(&outcome), ["order-state"]);
}

#[test]
fn a_refused_append_leaves_no_trace_in_the_cache() {
    let mut world = World::new();
    let create = world.create(order(1));
    let place = (create.topic, create.partition);
    let outcome = world.model.run(&mut world.execute, vec![Input::Message(create.clone())], now(), |model| {
        model.positions.insert(place, 7);
    });
    assert!(outcome.fenced && world.model.log.is_empty());
    world.model.positions.remove(&place);
    world.assign();
    world.take(vec![create]);
    assert_eq!(world.types(), ["created"], "decided anew, not taken for done");
}

#[test]
fn what_is_too_early_waits_for_its_cause_and_then_comes_in_order() {
    let mut world = World::new();
    let (authorized, cancel) = (world.authorized(order(1)), world.cancel(order(1)));
    world.take(vec![authorized, cancel]);
    assert!(world.types().is_empty());
    assert_eq!(world.model.held.iter().map(|row| row.held.kind).collect::<Vec<_>>(), [HoldKind::TooEarly; 2]);
    let create = world.create(order(1));
    let outcome = world.take(vec![create]);
    assert_eq!(outcome.due.len(), 1, "the release is due at once");
    world.run_tasks(task::RELEASE, now());
    assert_eq!(world.types(), ["created", "confirmed"]);
    assert!(world.model.held.is_empty());
    assert_eq!(world.model.tasks.values().filter(|owned| owned.task.kind != DEADLINE).count(), 0);
    assert_eq!(world.execute.held_keys(), 0);
}

#[test]
fn the_cause_in_the_same_batch_releases_too() {
    let mut world = World::new();
    let batch = vec![world.authorized(order(1)), world.create(order(1))];
    world.take(batch);
    world.run_tasks(task::RELEASE, now());
    assert_eq!(world.types(), ["created", "confirmed"]);
}

#[test]
fn what_is_too_early_for_too_long_is_a_dead_letter_that_holds_nobody() {
    let mut world = World::new();
    let cancel = world.cancel(order(1));
    world.take(vec![cancel]);
    world.run_tasks(task::HOLD_LIMIT, now() + Duration::from_secs(599));
    assert_eq!(world.model.held.len(), 1, "not yet");
    let outcome = world.run_tasks(task::HOLD_LIMIT, now() + HOLD_LIMIT);
    assert_eq!(codes(&outcome), ["unknown-order"]);
    assert!(world.model.held.is_empty() && world.model.tasks.is_empty());
    let create = world.create(order(1));
    world.take(vec![create]);
    assert_eq!(world.types(), ["created"]);
}

#[test]
fn a_message_that_no_state_allows_holds_its_key_until_it_is_redriven() {
    let mut world = World::new();
    let batch = vec![world.create(order(1)), world.cancel(order(1)), world.authorized(order(1))];
    world.take(batch);
    let [letter_id] = world.letter_ids()[..] else { panic!("one letter") };
    // Everything later on the key waits, also what would do nothing; other keys flow.
    let later = vec![world.create(order(1)), world.cancel(order(1)), world.create(order(2))];
    world.take(later);
    assert_eq!(world.model.held.iter().map(|row| row.held.kind).collect::<Vec<_>>(), [HoldKind::Behind; 2]);
    assert_eq!(world.types(), ["created", "cancelled", "created"]);

    // As it is it fails again, and the key waits on.
    let key = order(1).to_string();
    let redrive = world.redrive(letter_id, None, &key);
    world.take(vec![redrive]);
    assert_eq!(world.model.letter(letter_id).unwrap().status, Some(LetterStatus::FailedAgain));
    assert_eq!(world.model.held.len(), 2);

    // Mended, it is done, and the followers go on.
    let mended = world.captured(order(1)).value.unwrap();
    let redrive = world.redrive(letter_id, Some(&mended), &key);
    let waiting = world.cancel(order(1));
    world.take(vec![redrive, waiting]);
    assert_eq!(world.model.letter(letter_id).unwrap().status, Some(LetterStatus::Redriven));
    let tried = world.model.letters.iter().map(|record| match &record.what {
        LetterChange::Status { mended, .. } => mended.clone(),
        LetterChange::Dead(_) => None,
    });
    assert_eq!(tried.collect::<Vec<_>>(), [None, None, Some(mended)], "what was done with a letter is kept");
    assert_eq!(world.model.held.len(), 3, "who comes before the release queues behind the others");
    world.run_tasks(task::RELEASE, now());
    assert!(world.model.held.is_empty());
    assert_eq!(world.execute.held_keys(), 0);
}

#[test]
fn a_hold_survives_a_restart() {
    let mut world = World::new();
    let batch = vec![world.create(order(1)), world.cancel(order(1)), world.authorized(order(1))];
    world.take(batch);
    world.execute = process(world.model.log.len() as i64);
    world.assign();
    let later = world.create(order(1));
    world.take(vec![later]);
    assert_eq!(world.model.held.len(), 1);
}

#[test]
fn a_redrive_that_fails_three_times_parks_the_letter_and_one_that_is_done_changes_nothing() {
    let mut world = World::new();
    let batch = vec![world.create(order(1)), world.cancel(order(1)), world.authorized(order(1))];
    world.take(batch);
    let letter_id = world.letter_ids()[0];
    let key = order(1).to_string();
    for expected in [LetterStatus::FailedAgain, LetterStatus::FailedAgain, LetterStatus::Parked] {
        let redrive = world.redrive(letter_id, None, &key);
        world.take(vec![redrive]);
        assert_eq!(world.model.letter(letter_id).unwrap().status, Some(expected));
    }
    let mended = world.captured(order(1)).value.unwrap();
    let twice = vec![world.redrive(letter_id, Some(&mended), &key), world.redrive(letter_id, None, &key)];
    world.take(twice);
    assert_eq!(world.model.letter(letter_id).unwrap().status, Some(LetterStatus::Redriven));
    assert_eq!(world.model.letters.len(), 5, "dead, three failures, one redrive");
}

#[test]
fn malformed_messages_are_dead_letters_that_hold_nobody() {
    let mut world = World::new();
    let key = order(1).to_string();
    let bad = world.raw(Topic::OrdersCommands, &key, "{\"type\":".to_owned());
    let (unknown, create) = (
        world.raw(
            Topic::OrdersCommands,
            &key,
            r#"{"specversion":"1.0","type":"fulfil.order.sing.v1","data":{}}"#.into(),
        ),
        world.create(order(1)),
    );
    let outcome = world.take(vec![bad.clone(), unknown, create]);
    assert_eq!(codes(&outcome), ["invalid-json", "unknown-type"]);
    assert_eq!(world.types(), ["created"]);
    let LetterChange::Dead(letter) = &world.model.letters[0].what else { panic!() };
    assert_eq!(letter.raw, bad, "bytes untouched");
}

#[test]
fn a_panic_is_one_message_s_failure() {
    let mut world = World::new();
    let batch = vec![world.create_for(order(1), PANICS), world.create(order(1)), world.create(order(2))];
    let outcome = world.take(batch);
    assert_eq!(codes(&outcome), ["panicked"]);
    assert_eq!(world.model.held.len(), 1, "its key waits");
    assert_eq!(world.types(), ["created"], "the others flow");
}

#[test]
fn a_newer_type_is_held_without_a_letter() {
    let mut world = World::new();
    let key = order(1).to_string();
    let value = r#"{"specversion":"1.0","id":"x","source":"/fulfil/payment-service","type":"fulfil.payment.insured.v1",
        "position":"00000000000000000009","sequence":"0000000001","data":{}}"#;
    let newer = world.raw(Topic::PaymentsEvents, &key, value.to_owned());
    let create = world.create(order(1));
    let outcome = world.take(vec![newer, create]);
    assert!(outcome.poison.is_empty());
    let kinds: Vec<_> = world.model.held.iter().map(|row| row.held.kind).collect();
    assert_eq!(kinds, [HoldKind::Newer, HoldKind::Behind]);
}

/// A command is written by anybody: what nobody knows must not hold a key without limit.
#[test]
fn an_unknown_command_that_claims_a_position_holds_nobody() {
    let mut world = World::new();
    let key = order(1).to_string();
    let value = r#"{"specversion":"1.0","id":"x","source":"/nobody","type":"fulfil.order.hidden.v1",
        "position":"00000000000000000009","sequence":"0000000001","data":{}}"#;
    let unknown = world.raw(Topic::OrdersCommands, &key, value.to_owned());
    let create = world.create(order(1));
    let outcome = world.take(vec![unknown, create]);
    assert_eq!((outcome.poison.len(), world.model.held.len()), (1, 0));
    assert_eq!(world.types(), ["created"]);
}

fn codes(outcome: &Outcome<Sample>) -> Vec<&str> {
    outcome.poison.iter().map(|poison| poison.code.as_str()).collect()
}

#[test]
fn our_own_events_are_not_adopted() {
    let mut world = World::new();
    let create = world.create(order(1));
    world.take(vec![create]);
    let own = world.model.log[0].encode("order-service").unwrap();
    let own = String::from_utf8(own.value.unwrap().to_vec()).unwrap();
    let own = world.raw(Topic::OrdersEvents, &order(1).to_string(), own);
    let outcome = world.take(vec![own]);
    assert_eq!((outcome.messages, outcome.recorded.len(), outcome.poison.len()), (1, 0, 0));
}

fn ask(world: &mut World, command: OrderCommand) -> Result<Answer<Sample>, Unanswered> {
    let (reply, mut answer) = oneshot::channel();
    let asked = Asked { id: Uuid::from_u128(99), command: Command::Order(command), traceparent: None, reply };
    let outcome = world.run(vec![Input::Asked(asked)]);
    for reply in outcome.replies {
        let _ = reply.to.send(reply.answer);
    }
    answer.try_recv().unwrap()
}

#[test]
fn a_command_over_http_is_answered_and_never_held() {
    let mut world = World::new();
    let cancel = || OrderCommand::Cancel(CancelOrder { order_id: order(1), reason: None, by: None });
    let Err(Unanswered::Refused(refusal)) = ask(&mut world, cancel()) else { panic!("unknown") };
    assert_eq!(refusal.code, "unknown-order");
    assert!(world.model.held.is_empty());
    // A hold of the key does not keep it either.
    let batch = vec![world.create_for(order(1), PANICS), world.create(order(1))];
    world.take(batch);
    assert_eq!(world.model.held.len(), 1);
    let Err(Unanswered::Refused(_)) = ask(&mut world, cancel()) else { panic!("still unknown") };
}

#[test]
fn a_task_that_the_state_owes_no_more_goes_with_the_event_that_ends_it() {
    let mut world = World::new();
    let create = world.create(order(1));
    world.take(vec![create]);
    assert_eq!(world.model.tasks.len(), 1);
    let authorized = world.authorized(order(1));
    world.take(vec![authorized]);
    assert!(world.model.tasks.is_empty());
}

#[test]
fn a_deadline_fires_over_a_hold() {
    let mut world = World::new();
    let create = world.create(order(1));
    world.take(vec![create]);
    let poison = world.create_for(order(1), PANICS);
    world.take(vec![poison]);
    let outcome = world.run_tasks(DEADLINE, now());
    assert_eq!(world.types(), ["created", "cancelled"]);
    assert_eq!(outcome.settled.len(), 1);
}

#[test]
fn a_batch_that_the_database_does_not_take_is_halved_down_to_the_one_message() {
    let mut world = World::new();
    // Nothing is made of the first two.
    let batch = vec![
        world.captured(order(4)),
        world.captured(order(5)),
        world.create(order(1)),
        world.create(order(2)),
        world.create(order(3)),
    ];
    let mut step = world.execute.begin(batch.into_iter().map(Input::Message).collect(), now());
    let mut done = Vec::new();
    let mut letters = 0;
    // A half of which nothing is made is not withdrawn: the other half would go with it.
    let mut was_cut = false;
    // The model refuses whatever has an event of order 2.
    for _ in 0..100 {
        step = match step {
            Step::Append(append) => {
                assert!(!was_cut || world.execute.withdraw().is_none());
                let bad = append.events.iter().any(|event| event.stream.key() == order(2).to_string());
                if bad {
                    was_cut = true;
                    world.execute.faulty("invalid byte sequence").unwrap()
                } else {
                    let appended = world.model.append(&append, now()).unwrap();
                    world.execute.appended(&appended)
                }
            }
            Step::Load(load) => world.execute.loaded(crate::log::Loaded {
                streams: load.streams.into_iter().map(|stream| (stream, None, Vec::new())).collect(),
                ..Default::default()
            }),
            Step::Done(outcome) => {
                letters += outcome.letters;
                done.push(outcome.messages);
                if outcome.put_back.is_empty() {
                    break;
                }
                was_cut = false;
                world.execute.begin(outcome.put_back, now())
            }
            _ => panic!("not expected"),
        };
    }
    assert_eq!(done.iter().sum::<usize>(), 5);
    assert_eq!(letters, 1);
    assert_eq!(world.types(), ["created", "created"]);
}

#[test]
fn what_another_replica_released_meanwhile_is_no_dead_letter() {
    let mut world = World::new();
    let cancel = world.cancel(order(1));
    world.take(vec![cancel]);
    let create = world.create(order(1));
    let mut other = process(0);
    std::mem::swap(&mut world.execute, &mut other);
    world.assign();
    std::mem::swap(&mut world.execute, &mut other);

    let task = |model: &Store, kind| {
        let owned = model.tasks.values().find(|owned| owned.task.kind == kind);
        owned.map(|owned| Input::Task(owned.task.clone())).unwrap()
    };
    let limit = task(&world.model, task::HOLD_LIMIT);
    let mut create = Some(create);
    // It has read what is held and is frozen; the other one begins the order and releases it.
    world.model.run(&mut world.execute, vec![limit], now() + 2 * HOLD_LIMIT, |model| {
        let Some(create) = create.take() else { return };
        model.run(&mut other, vec![Input::Message(create)], now(), |_| {});
        let release = task(model, task::RELEASE);
        model.run(&mut other, vec![release], now(), |_| {});
    });
    assert_eq!(world.types(), ["created", "cancelled"]);
    assert!(world.letter_ids().is_empty(), "it was processed, so it is no dead letter");
    assert!(world.model.held.is_empty());
}

#[test]
fn more_that_is_too_early_than_is_read_at_once_is_released_all_the_same() {
    let mut world = World::new();
    let early: Vec<Raw> = (0..7).map(|_| world.authorized(order(1))).collect();
    world.take(early);
    let create = world.create(order(1));
    let mut due = world.take(vec![create]).due;
    let mut releases = 0;
    while !due.is_empty() {
        releases += 1;
        assert!(releases < 10, "it runs hot");
        let inputs = std::mem::take(&mut due).into_iter().map(Input::Task).collect();
        let mut step = world.execute.begin(inputs, now());
        due = loop {
            step = match step {
                Step::Fetch(fetch) => world.execute.fetched(world.model.fetch(&fetch, 3)),
                Step::Load(load) => world.execute.loaded(world.model.load(&load)),
                Step::Append(append) => {
                    let appended = world.model.append(&append, now()).unwrap();
                    world.execute.appended(&appended)
                }
                Step::Tail { .. } => panic!("nobody else appends"),
                Step::Done(outcome) => break outcome.due,
            };
        };
    }
    assert_eq!((releases, world.model.held.len()), (3, 0));
}

#[test]
fn who_lost_a_partition_decides_nothing_of_what_is_held_there() {
    let mut world = World::new();
    let cancel = world.cancel(order(1));
    let place = (cancel.topic, cancel.partition);
    world.take(vec![cancel]);
    let limit =
        world.model.tasks.values().find(|owned| owned.task.kind == task::HOLD_LIMIT).unwrap().task.clone();
    // Another replica went on, and appended nothing.
    world.model.positions.insert(place, 9);
    let outcome =
        world.model.run(&mut world.execute, vec![Input::Task(limit)], now() + 2 * HOLD_LIMIT, |_| {});
    assert!(outcome.fenced && outcome.put_back.is_empty());
    assert_eq!(outcome.settled.len(), 1, "the other has it in its table");
    assert!(world.letter_ids().is_empty());
}
