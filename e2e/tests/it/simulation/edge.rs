//! Who asks from outside: messages on the topics, requests over HTTP that are asked again until they are answered, an
//! operator who looks after dead letters. It writes down what it was told.

use std::collections::{HashMap, HashSet};

use order_service::{Orders, domain as order};
use rand::Rng;
use shared::{
    contract::{
        dead_letter::{DeadLetterCommand, DiscardDeadLetter, RedriveDeadLetter},
        envelope::encode_manual,
        message::Message,
        order::{OrderCommand, OrderEvent},
        topics::{Topic, partition_of},
    },
    engine::inbox::{Answer, Asked, Unanswered},
    log::{LetterChange, LetterStatus},
    testing::store::Store,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    broker::PARTITIONS,
    env::{Due, Env},
    site::Site,
};
use crate::saga_model::traffic::{self, Door};

/// Who waits longer asks again.
const PATIENCE_MS: u64 = 5_000;
const REDRIVES_MAX: i32 = 2;

type Answered = oneshot::Receiver<Result<Answer<Orders>, Unanswered>>;

pub(super) struct Edge {
    asked: Vec<traffic::Asked>,
    /// By request: until when its sender waits, and where the answer comes.
    waiting: HashMap<usize, (u64, Answered)>,
    /// By request: the version that it was told.
    pub(super) told: HashMap<usize, (shared::contract::ids::StreamName, i64)>,
    /// Requests that have not been sent or answered.
    open: HashSet<usize>,
    /// Orders about which somebody wrote an event by hand: what holds for the others need not hold for them.
    pub(super) touched: HashSet<u128>,
    pub(super) to_cancel: HashSet<u128>,
    pub(super) malformed: usize,
    /// By letter: how often the operator has asked for something, and when last.
    cared_for: HashMap<Uuid, (i32, u64)>,
}

impl Edge {
    pub(super) fn new(env: &mut Env, orders: usize) -> Self {
        let mut asked = traffic::draw(&mut env.rng, orders);
        if env.rng.random_ratio(1, 3) {
            let by_hand = env.rng.random_range(1..=3);
            asked.extend(traffic::by_hand(&mut env.rng, orders, by_hand));
        }
        let mut edge = Self {
            waiting: HashMap::new(),
            told: HashMap::new(),
            open: (0..asked.len()).collect(),
            asked,
            touched: HashSet::new(),
            to_cancel: HashSet::new(),
            malformed: 0,
            cared_for: HashMap::new(),
        };
        for (number, asked) in edge.asked.iter_mut().enumerate() {
            // All of it while things go wrong, the latest when all is over.
            asked.at_ms = if asked.at_ms < 60_000 { asked.at_ms } else { 60_000 + asked.at_ms / 20 };
            env.at(asked.at_ms, Due::Asked(number));
        }
        let at_ms = env.rng.random_range(10_000..30_000);
        env.at(at_ms, Due::Operator);
        edge
    }

    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn ask(&mut self, env: &mut Env, orders: &mut Site<Orders>, number: usize) {
        let traffic::Asked { door, message, .. } = self.asked[number].clone();
        if door == Door::Http
            && let Message::OrderCommand(command) = message
        {
            return self.ask_over_http(env, orders, number, command);
        }
        let order_id = match &message {
            Message::OrderCommand(OrderCommand::Cancel(cancel)) => {
                self.to_cancel.insert(cancel.order_id.uuid().as_u128());
                None
            }
            Message::Reservation(event) => Some(event.order_id()),
            Message::Payment(event) => Some(event.order_id()),
            // An OrderCreated is a way to order, and no more.
            Message::Order(OrderEvent::Created(_)) => None,
            Message::Order(event) => Some(event.order_id()),
            _ => None,
        };
        if let Some(order_id) = order_id {
            env.faults.count("event by hand");
            self.touched.insert(order_id.uuid().as_u128());
        }
        let mut times = 1;
        if env.unlucky(10) {
            env.faults.count("message sent twice by its sender");
            times = 2;
        }
        let id = Uuid::from_u128(env.rng.random());
        for _ in 0..times {
            send(env, &message, &message.key().unwrap_or_default(), id);
        }
        if env.unlucky(30) {
            env.faults.count("malformed message");
            self.malformed += 1;
            let partition = env.rng.random_range(0..PARTITIONS);
            let now_ms = env.now_ms;
            let place = (Topic::OrdersCommands, partition);
            env.broker.write(now_ms, place, Some("key".into()), Some("{\"specversion\":".into()), Vec::new());
        }
        self.open.remove(&number);
    }

    fn ask_over_http(
        &mut self,
        env: &mut Env,
        orders: &mut Site<Orders>,
        number: usize,
        command: OrderCommand,
    ) {
        let command = match command {
            OrderCommand::Create(create) => order::Command::Create(create),
            OrderCommand::Cancel(cancel) => order::Command::Cancel(cancel),
        };
        let replica = env.rng.random_range(0..orders.replicas.len());
        let (reply, answer) = oneshot::channel();
        let asked = Asked { id: Uuid::from_u128(env.rng.random()), command, traceparent: None, reply };
        if orders.ask(env, replica, asked) {
            self.waiting.insert(number, (env.now_ms + PATIENCE_MS, answer));
            env.within(50, Due::Answered(number));
        } else {
            env.faults.count("process away at the edge");
            env.within(2_000, Due::Asked(number));
        }
    }

    pub(super) fn answered(&mut self, env: &mut Env, number: usize) {
        let Some((until_ms, answer)) = self.waiting.get_mut(&number) else { return };
        let answer = match answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) if env.now_ms < *until_ms => {
                return env.within(100, Due::Answered(number));
            }
            answer => answer,
        };
        self.waiting.remove(&number);
        if env.unlucky(10) {
            env.faults.count("answer over HTTP lost");
            return env.within(1_000, Due::Asked(number));
        }
        match answer {
            Ok(Ok(answer)) => {
                self.told.insert(number, (answer.stream, answer.version));
                self.open.remove(&number);
            }
            // A cancel may come before its order: asked again.
            Ok(Err(Unanswered::Refused(refusal))) if refusal.code != "unknown-order" => {
                self.open.remove(&number);
            }
            _ => env.within(2_000, Due::Asked(number)),
        }
    }

    /// Letters are redriven as they are, then discarded. True where there was nothing to care for.
    pub(super) fn look_after(&mut self, env: &mut Env, group: &str, store: &Store) -> bool {
        let mut nothing = true;
        for record in &store.letters {
            let (LetterChange::Dead(letter), id) = (&record.what, record.letter_id) else { continue };
            let status = store.letter(id).and_then(|stored| stored.status);
            if status.is_some_and(LetterStatus::is_end) {
                continue;
            }
            nothing = false;
            let (times, at_ms) = self.cared_for.entry(id).or_insert((0, 0));
            if *times == 0 && letter.holds.is_some() {
                env.faults.count("key held by a dead letter");
            }
            if env.now_ms < *at_ms {
                continue;
            }
            *at_ms = env.now_ms + 5_000;
            *times += 1;
            let (group, by, reason) = (group.to_owned(), "operator".to_owned(), "looked after".to_owned());
            let command = if *times <= REDRIVES_MAX {
                env.faults.count("letter redriven");
                let value_base64 = None;
                DeadLetterCommand::Redrive(RedriveDeadLetter {
                    dead_letter_id: id,
                    group,
                    value_base64,
                    by,
                    reason,
                })
            } else {
                DeadLetterCommand::Discard(DiscardDeadLetter { dead_letter_id: id, group, by, reason })
            };
            let key = letter.raw.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned());
            let id = Uuid::from_u128(env.rng.random());
            send(env, &Message::DeadLetterCommand(command), &key.unwrap_or_default(), id);
        }
        nothing
    }
}

fn send(env: &mut Env, message: &Message, key: &str, id: Uuid) {
    let (topic, now) = (message.topic(), env.now());
    let outgoing = encode_manual(topic, message, id, key, "/test", now, None);
    let place = (topic, partition_of(key.as_bytes(), PARTITIONS));
    let now_ms = env.now_ms;
    env.broker.write(now_ms, place, Some(outgoing.key), outgoing.value, outgoing.headers);
}
