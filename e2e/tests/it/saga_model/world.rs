//! Three services and a provider in one queue of what is due next. One seed is one run, for ever.

use std::collections::{BTreeMap, HashMap, HashSet};

use inventory_service::{Inventory, domain as inventory};
use order_service::{Orders, domain as order};
use payment_service::{
    Payments,
    domain::{self as payment, Answer, Call, record::Said},
    provider::{
        Request,
        behaviour::Behaviour,
        books::{Books, Judged, Reply},
    },
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use shared::{
    contract::{
        Timestamp,
        ids::StreamName,
        message::Message,
        order::{OrderCommand, OrderEvent},
        payment::Operation,
    },
    decider::{Class, Decider, Refusal, Task, Told, Via},
    testing::memory::{Memory, told},
};
use uuid::Uuid;

use super::{
    audit::{self, Audit},
    cells::Cells,
    traffic::{self, Asked, Door},
};
use crate::samples;

pub(crate) const SERVICES: [&str; 3] = [Orders::NAME, Inventory::NAME, Payments::NAME];
const ORDERS: usize = 0;
const INVENTORY: usize = 1;
const PAYMENTS: usize = 2;
/// The first three are the topics of the services' own events.
const ORDER_COMMANDS: usize = 3;
const STOCK_COMMANDS: usize = 4;
const TOPICS: usize = 5;
/// By topic: who reads it.
const READERS: [&[usize]; TOPICS] =
    [&[ORDERS, INVENTORY, PAYMENTS], &[ORDERS, PAYMENTS], &[ORDERS], &[ORDERS], &[INVENTORY]];

const HOUR_MS: u64 = 3_600_000;
const PROVIDER_TIMEOUT_MS: u64 = 10_000;
/// What somebody broke by hand may wait for ever; it is looked at for so long.
const TOUCHED_LAST_MS: u64 = 12 * HOUR_MS;
/// Beyond this something never ends.
const LAST_MS: u64 = 7 * 24 * HOUR_MS;

/// What went wrong on purpose, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) BTreeMap<&'static str, u64>);

impl Faults {
    pub(crate) const ALL: [&'static str; 21] = [
        "delivered again",
        "late by minutes",
        "crash",
        "down past the deadline",
        "database restored",
        "events published again",
        "too early, held",
        "answer lost with a crash",
        "provider silent",
        "provider late",
        "undoing refused",
        "answered again",
        "answered the opposite",
        "other content under one id",
        "adjustment refused",
        "order cancelled after its end",
        "task that was done already",
        "answered unasked",
        "callback",
        "event by hand",
        "what cannot be, after an event by hand",
    ];

    fn count(&mut self, fault: &'static str) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (fault, count) in &other.0 {
            *self.0.entry(fault).or_default() += count;
        }
    }
}

/// A message on a topic.
#[derive(Debug, Clone)]
struct Published {
    message: Message,
    key: u128,
    id: Uuid,
    position: Option<i64>,
}

#[derive(Debug, Clone)]
enum Due {
    Asked(Asked),
    Delivery {
        reader: usize,
        topic: usize,
        index: usize,
    },
    /// What was too early for this key.
    Release {
        reader: usize,
        key: u128,
    },
    Task {
        service: usize,
        task: Task,
    },
    /// A call arrives at the provider.
    Call {
        call: Call,
        task: Task,
        run: u32,
    },
    /// Its answer arrives at payment-service, if that is still the process that asked.
    Answer {
        command: payment::Command,
        task: Task,
        run: u32,
    },
    Crash {
        service: usize,
        down_ms: u64,
    },
    Restart {
        service: usize,
    },
    Restore {
        service: usize,
    },
    Reconcile,
    /// The provider says something that nobody waits for.
    Unasked {
        number: usize,
    },
    CallBack {
        number: usize,
    },
}

enum Command {
    Order(order::Command),
    Inventory(inventory::Command),
    Payment(payment::Command),
}

pub(crate) struct World {
    rng: SmallRng,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    topics: [Vec<Published>; TOPICS],
    /// When the last message of a key arrives at a reader: the order inside a topic and key is kept.
    arrives_ms: [HashMap<(usize, u128), u64>; 3],
    held: [HashMap<u128, Vec<(usize, usize)>>; 3],
    down_until_ms: [u64; 3],
    /// Of payment-service: answers to an earlier one are lost.
    run: u32,
    /// Deadlines wait for the backlog, as they do in the product; in some runs they do not.
    patient: bool,
    orders: Memory<Orders>,
    inventory: Memory<Inventory>,
    payments: Memory<Payments>,
    books: Books,
    behaviour: Behaviour,
    audit: Audit,
    order_count: usize,
    /// Orders about which somebody wrote an event by hand: what holds for the others need not hold for them.
    touched: HashSet<u128>,
    pub(crate) cells: Cells,
    pub(crate) faults: Faults,
    pub(crate) completed: usize,
    pub(crate) settled: usize,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64, order_count: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let behaviour = Behaviour {
            declined_per_mille: 40,
            capture_failed_per_mille: 30,
            undoing_refused_per_mille: 150,
            unavailable_per_mille: 50,
            unanswered_per_mille: 30,
            late_per_mille: 30,
            seed,
            ..Behaviour::default()
        };
        let patient = rng.random_ratio(2, 3);
        let mut world = Self {
            rng,
            now_ms: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            topics: Default::default(),
            arrives_ms: Default::default(),
            held: Default::default(),
            down_until_ms: [0; 3],
            run: 0,
            patient,
            orders: Memory::new(Orders::default()),
            inventory: Memory::new(Inventory),
            payments: Memory::new(Payments::default()),
            books: Books::default(),
            behaviour,
            audit: Audit::default(),
            order_count,
            touched: HashSet::new(),
            cells: Cells::default(),
            faults: Faults::default(),
            completed: 0,
            settled: 0,
            steps: 0,
        };
        world.plan();
        world
    }

    fn plan(&mut self) {
        for asked in traffic::draw(&mut self.rng, self.order_count) {
            self.at(asked.at_ms, Due::Asked(asked));
        }
        for service in [ORDERS, INVENTORY, PAYMENTS] {
            for _ in 0..self.rng.random_range(0..=2) {
                let at_ms = self.rng.random_range(0..90_000);
                let down_ms = [20, 2_000, 60_000, 20 * 60_000][self.rng.random_range(0..4)];
                self.at(at_ms, Due::Crash { service, down_ms });
            }
        }
        if self.rng.random_ratio(1, 8) {
            let (at_ms, service) = (self.rng.random_range(5_000..120_000), self.rng.random_range(0..3));
            self.at(at_ms, Due::Restore { service });
        }
        self.at(HOUR_MS, Due::Reconcile);
        for _ in 0..self.order_count / 4 {
            let number = self.rng.random_range(0..self.order_count);
            let at_ms = traffic::some_time(&mut self.rng);
            self.at(at_ms, Due::Unasked { number });
            let number = self.rng.random_range(0..self.order_count);
            let at_ms = traffic::some_time(&mut self.rng);
            self.at(at_ms, Due::CallBack { number });
        }
        for asked in traffic::by_hand(&mut self.rng, self.order_count) {
            self.at(asked.at_ms, Due::Asked(asked));
        }
    }

    /// Runs until nothing is left to do, and checks all that must hold then.
    pub(crate) fn run_to_the_end(&mut self) -> Result<(), String> {
        loop {
            while let Some(((at_ms, _), due)) = self.queue.pop_first() {
                self.now_ms = at_ms;
                self.steps += 1;
                let told = |what: String| format!("at {at_ms} ms, {due:?}: {what}");
                self.happen(due.clone()).map_err(told)?;
                if at_ms > LAST_MS {
                    return Err("it does not come to rest".to_owned());
                }
            }
            if self.reconcile()? == 0 {
                return self.ended();
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp_millis(self.now_ms as i64).expect("a time")
    }

    fn at(&mut self, at_ms: u64, due: Due) {
        self.sequence += 1;
        self.queue.insert((at_ms.max(self.now_ms), self.sequence), due);
    }

    fn later(&mut self, within_ms: u64, due: Due) {
        let wait_ms = self.rng.random_range(1..=within_ms);
        self.at(self.now_ms + wait_ms, due);
    }

    fn is_down(&self, service: usize) -> bool {
        self.now_ms < self.down_until_ms[service]
    }

    fn happen(&mut self, due: Due) -> Result<(), String> {
        match due {
            Due::Asked(asked) => self.ask(asked),
            Due::Delivery { reader, topic, index } => {
                if self.is_down(reader) {
                    self.at(self.down_until_ms[reader], Due::Delivery { reader, topic, index });
                    return Ok(());
                }
                self.deliver(reader, topic, index)
            }
            Due::Release { reader, key } => {
                if self.is_down(reader) {
                    self.at(self.down_until_ms[reader], Due::Release { reader, key });
                    return Ok(());
                }
                let held = self.held[reader].remove(&key).unwrap_or_default();
                held.into_iter().try_for_each(|(topic, index)| self.deliver(reader, topic, index))
            }
            Due::Task { service, task } => self.task(service, task),
            Due::Call { call, task, run } => {
                self.call(call, &task, run);
                Ok(())
            }
            Due::Answer { command, task, run } => {
                if run != self.run || self.is_down(PAYMENTS) {
                    self.faults.count("answer lost with a crash");
                    return Ok(());
                }
                self.take(Command::Payment(command), None, Some(&task), false).map(drop)
            }
            Due::Crash { service, down_ms } => {
                self.crash(service, down_ms);
                Ok(())
            }
            Due::Restart { service } => {
                self.restart(service);
                Ok(())
            }
            Due::Restore { service } => self.restore(service),
            Due::Reconcile => self.reconcile().map(drop),
            Due::Unasked { number } => self.unasked(number),
            Due::CallBack { number } => {
                self.faults.count("callback");
                let order_id = traffic::order_id(number);
                let told = Told { via: Via::Http, ..told(self.id(), self.now()) };
                let command = Command::Payment(payment::Command::Enquire { order_id });
                self.take(command, Some(&told), None, false).map(drop)
            }
        }
    }

    fn ask(&mut self, asked: Asked) -> Result<(), String> {
        let Asked { door, message, .. } = asked;
        match (door, &message) {
            (Door::Http, Message::OrderCommand(command)) => {
                if self.is_down(ORDERS) {
                    let door = Door::Http;
                    self.at(self.down_until_ms[ORDERS], Due::Asked(Asked { at_ms: 0, door, message }));
                    return Ok(());
                }
                let command = match command.clone() {
                    OrderCommand::Create(create) => order::Command::Create(create),
                    OrderCommand::Cancel(cancel) => order::Command::Cancel(cancel),
                };
                let told = Told { via: Via::Http, ..told(self.id(), self.now()) };
                self.take(Command::Order(command), Some(&told), None, false).map(drop)
            }
            (_, Message::StockCommand(_)) => {
                self.publish(STOCK_COMMANDS, message, None);
                Ok(())
            }
            (_, Message::OrderCommand(_)) => {
                self.publish(ORDER_COMMANDS, message, None);
                Ok(())
            }
            _ => {
                let (topic, order_id) = match &message {
                    Message::Reservation(event) => (INVENTORY, event.order_id()),
                    Message::Payment(event) => (PAYMENTS, event.order_id()),
                    Message::Order(event) => (ORDERS, event.order_id()),
                    _ => return Err(format!("nobody writes {message:?} by hand")),
                };
                // An OrderCreated is a way to order, and no more.
                if !matches!(message, Message::Order(OrderEvent::Created(_))) {
                    self.faults.count("event by hand");
                    self.touched.insert(order_id.uuid().as_u128());
                }
                self.publish(topic, message, None);
                Ok(())
            }
        }
    }

    /// An answer that is awaited is taken, so this is one that is not.
    fn unasked(&mut self, number: usize) -> Result<(), String> {
        let order_id = traffic::order_id(number);
        let stream = StreamName::payment(order_id);
        let operation = Operation::ALL[self.rng.random_range(0..4)];
        if self.is_down(PAYMENTS) || self.payments.state(&stream).awaits() == Some(operation) {
            return Ok(());
        }
        self.faults.count("answered unasked");
        let answer = match self.rng.random_range(0..5) {
            0 | 1 => Answer::Said(Said::Yes),
            2 | 3 => Answer::Said(Said::No { code: "no".into() }),
            _ => Answer::Silent,
        };
        let command = if self.rng.random_ratio(1, 8) {
            let (record, asked_at_version) = (self.books.record(order_id), self.payments.version(&stream));
            payment::Command::TakeRecord { record, asked_at_version }
        } else {
            payment::Command::TakeAnswer { order_id, operation, attempt: 1, answer }
        };
        let told = told(self.id(), self.now());
        self.take(Command::Payment(command), Some(&told), None, false).map(drop)
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.random())
    }

    /// With the id and position of a service of ours, or by somebody else.
    fn publish(&mut self, topic: usize, message: Message, ours: Option<(Uuid, i64)>) {
        let key = match &message {
            Message::StockCommand(command) => traffic::number_of(command.sku()) as u128,
            Message::Order(event) => event.order_id().uuid().as_u128(),
            Message::OrderCommand(command) => command.order_id().uuid().as_u128(),
            Message::Reservation(event) => event.order_id().uuid().as_u128(),
            Message::Payment(event) => event.order_id().uuid().as_u128(),
            Message::Stock(_) | Message::DeadLetterCommand(_) => return,
        };
        let (id, position) = ours.map_or_else(|| (self.id(), None), |(id, position)| (id, Some(position)));
        let index = self.topics[topic].len();
        self.topics[topic].push(Published { message, key, id, position });
        for reader in READERS[topic] {
            self.send(*reader, topic, index);
        }
    }

    /// In the order of the topic and key.
    fn send(&mut self, reader: usize, topic: usize, index: usize) {
        let key = self.topics[topic][index].key;
        let wait_ms = match self.rng.random_range(0..1000) {
            0..=4 => {
                self.faults.count("late by minutes");
                self.rng.random_range(1..20 * 60_000)
            }
            5..=50 => self.rng.random_range(1..5_000),
            _ => self.rng.random_range(1..100),
        };
        let arrives_ms = self.arrives_ms[reader].entry((topic, key)).or_default();
        *arrives_ms = (*arrives_ms).max(self.now_ms + wait_ms);
        let at_ms = *arrives_ms;
        self.at(at_ms, Due::Delivery { reader, topic, index });
        if self.rng.random_ratio(1, 5) {
            self.again(reader, topic, index, at_ms);
        }
    }

    /// Once more, at any time, whatever was read since.
    fn again(&mut self, reader: usize, topic: usize, index: usize, first_ms: u64) {
        self.faults.count("delivered again");
        let spread = [10, 1_000, 100_000, 4_000_000][self.rng.random_range(0..4)];
        let wait_ms = self.rng.random_range(0..spread);
        self.at(first_ms + wait_ms, Due::Delivery { reader, topic, index });
    }

    fn deliver(&mut self, reader: usize, topic: usize, index: usize) -> Result<(), String> {
        let published = &self.topics[topic][index];
        let envelope = samples::envelope(&published.message, published.position);
        let envelope = shared::contract::envelope::Envelope { id: published.id, ..envelope };
        let (key, foreign) = (published.key, published.position.is_none() && topic == ORDERS);
        let told = told(published.id, self.now());
        let command = match reader {
            ORDERS => self.orders.decider.react(&published.message, &envelope).map(Command::Order),
            INVENTORY => self.inventory.decider.react(&published.message, &envelope).map(Command::Inventory),
            _ => self.payments.decider.react(&published.message, &envelope).map(Command::Payment),
        };
        let Some(command) = command else { return Ok(()) };
        if self.take(command, Some(&told), None, foreign)? == Taken::TooEarly {
            self.faults.count("too early, held");
            let held = self.held[reader].entry(key).or_default();
            if !held.contains(&(topic, index)) {
                held.push((topic, index));
            }
        }
        Ok(())
    }

    /// One command of one service: decided, appended, published, checked.
    fn take(
        &mut self,
        command: Command,
        told: Option<&Told>,
        task: Option<&Task>,
        foreign: bool,
    ) -> Result<Taken, String> {
        let now = self.now();
        match command {
            Command::Order(command) => {
                let stream = StreamName::order(command.order_id());
                self.cells.order(&self.orders.state(&stream), &command, foreign);
                let (from, via) = (self.orders.log.len(), told.map(|told| told.via));
                let outcome = handle(&mut self.orders, &command, told, task, now);
                if let Err(refusal) = outcome {
                    return self.refused(ORDERS, &stream, &refusal, via);
                }
                let new: Vec<_> = self.orders.log[from..].to_vec();
                for logged in new {
                    let position = self.orders.log.len() as i64;
                    if !self.is_touched(&stream) {
                        audit::of_order(&logged.event, &self.inventory, &self.payments, &self.books)?;
                    }
                    if matches!(logged.event, OrderEvent::CancellationRejected(_)) {
                        self.faults.count("order cancelled after its end");
                    }
                    self.began(ORDERS, logged.version, command.order_id().uuid().as_u128());
                    self.publish(ORDERS, Message::Order(logged.event), Some((logged.id, position)));
                }
                let set = std::mem::take(&mut self.orders.set);
                self.keep(ORDERS, set);
            }
            Command::Inventory(command) => {
                let stream = command.stream();
                self.cells.reservation(&self.inventory.state(&stream), &command);
                let (from, via) = (self.inventory.log.len(), told.map(|told| told.via));
                let outcome = handle(&mut self.inventory, &command, told, task, now);
                if let Err(refusal) = outcome {
                    return self.refused(INVENTORY, &stream, &refusal, via);
                }
                let logged = self.inventory.log[from..].to_vec();
                let events: Vec<_> = logged.iter().map(|logged| logged.event.clone()).collect();
                self.audit.of_inventory(&self.inventory, &events)?;
                for logged in logged {
                    let position = self.inventory.log.len() as i64;
                    if let inventory::InventoryEvent::Reservation(event) = logged.event {
                        self.began(INVENTORY, logged.version, event.order_id().uuid().as_u128());
                        self.publish(INVENTORY, Message::Reservation(event), Some((logged.id, position)));
                    }
                }
            }
            Command::Payment(command) => {
                let stream = StreamName::payment(command.order_id());
                self.cells.payment(&self.payments.state(&stream), &command);
                let (from, via) = (self.payments.log.len(), told.map(|told| told.via));
                let decision = match handle(&mut self.payments, &command, told, task, now) {
                    Ok(decision) => decision,
                    Err(refusal) => return self.refused(PAYMENTS, &stream, &refusal, via),
                };
                let new: Vec<_> = self.payments.log[from..].to_vec();
                for logged in new {
                    let position = self.payments.log.len() as i64;
                    self.began(PAYMENTS, logged.version, command.order_id().uuid().as_u128());
                    self.publish(PAYMENTS, Message::Payment(logged.event), Some((logged.id, position)));
                }
                let set = std::mem::take(&mut self.payments.set);
                self.keep(PAYMENTS, set);
                for (call, task) in decision.calls.into_iter().zip(task) {
                    let (run, task) = (self.run, task.clone());
                    self.later(50, Due::Call { call, task, run });
                }
            }
        }
        Ok(Taken::Done)
    }

    fn refused(
        &mut self,
        service: usize,
        stream: &StreamName,
        refusal: &Refusal,
        via: Option<Via>,
    ) -> Result<Taken, String> {
        match (refusal.class, refusal.code) {
            // Dead-lettered, and the letter discarded.
            (Class::Impossible, _) if self.is_touched(stream) => {
                self.faults.count("what cannot be, after an event by hand");
            }
            // Over HTTP it is 404.
            (Class::TooEarly, _) if via == Some(Via::Topic) => return Ok(Taken::TooEarly),
            (Class::TooEarly, _) => {}
            (Class::Malformed, "idempotency-key-reused") => self.faults.count("other content under one id"),
            (Class::Refused, "insufficient-stock") => self.faults.count("adjustment refused"),
            (Class::Refused, "order-state") => self.faults.count("order cancelled after its end"),
            _ => return Err(format!("{} refuses: {refusal:?}", SERVICES[service])),
        }
        Ok(Taken::Done)
    }

    fn is_touched(&self, stream: &StreamName) -> bool {
        stream.key().parse::<Uuid>().is_ok_and(|id| self.touched.contains(&id.as_u128()))
    }

    /// What was too early for a stream is not so any more.
    fn began(&mut self, service: usize, version: i64, key: u128) {
        if version == 1 && self.held[service].contains_key(&key) {
            self.later(200, Due::Release { reader: service, key });
        }
    }

    fn keep(&mut self, service: usize, tasks: Vec<Task>) {
        for task in tasks {
            let due_ms = task.due_at.timestamp_millis() as u64;
            let lag_ms = self.rng.random_range(0..50);
            self.at(due_ms + lag_ms, Due::Task { service, task });
        }
    }

    fn task(&mut self, service: usize, task: Task) -> Result<(), String> {
        let place = (task.stream.clone(), task.kind.clone());
        let current = match service {
            ORDERS => self.orders.tasks.get(&place),
            _ => self.payments.tasks.get(&place),
        };
        if current != Some(&task) {
            // It was in the inbox already when it was dropped.
            if !self.rng.random_ratio(1, 10) {
                return Ok(());
            }
            self.faults.count("task that was done already");
        }
        if self.now_ms > TOUCHED_LAST_MS && self.is_touched(&task.stream) {
            return Ok(());
        }
        if self.is_down(service) {
            self.at(self.down_until_ms[service], Due::Task { service, task });
            return Ok(());
        }
        let command = match service {
            ORDERS => self.orders.decider.due(&task).map(Command::Order),
            _ => self.payments.decider.due(&task).map(Command::Payment),
        };
        let command = command.ok_or("a task of nobody")?;
        if let (Command::Order(command), true) = (&command, self.patient)
            && self.orders.decider.waits_for_backlog(&task.kind)
        {
            let key = command.order_id().uuid().as_u128();
            let read_ms = (0..TOPICS).filter_map(|topic| self.arrives_ms[ORDERS].get(&(topic, key))).max();
            if let Some(read_ms) = read_ms.copied().filter(|read_ms| *read_ms >= self.now_ms) {
                self.at(read_ms + 1, Due::Task { service, task });
                return Ok(());
            }
        }
        self.take(command, None, Some(&task), false).map(drop)
    }

    fn call(&mut self, call: Call, task: &Task, run: u32) {
        let (order_id, attempt) = match &call {
            Call::Operation { order_id, attempt, .. } | Call::Enquire { order_id, attempt, .. } => {
                (*order_id, *attempt)
            }
        };
        let (operation, said) = match call {
            Call::Enquire { asked_at_version, .. } => {
                let command = if self.rng.random_ratio(1, 20) {
                    self.faults.count("provider silent");
                    payment::Command::RecordUnanswered { order_id, attempt }
                } else {
                    payment::Command::TakeRecord { record: self.books.record(order_id), asked_at_version }
                };
                let task = task.clone();
                return self.later(500, Due::Answer { command, task, run });
            }
            Call::Operation { operation, amount, idempotency_key, .. } => {
                let request = Request { payment_id: order_id, operation, amount, idempotency_key };
                (operation, self.judge(&request))
            }
        };
        let take = |answer| payment::Command::TakeAnswer { order_id, operation, attempt, answer };
        match said {
            Some(said) => {
                self.later(
                    1_000,
                    Due::Answer { command: take(Answer::Said(said.clone())), task: task.clone(), run },
                );
                if self.rng.random_ratio(1, 20) {
                    self.faults.count("answered again");
                    let command = take(Answer::Said(said.clone()));
                    self.later(HOUR_MS, Due::Answer { command, task: task.clone(), run });
                }
                let charged = matches!(operation, Operation::Authorize | Operation::Capture);
                if charged && said == Said::Yes && self.rng.random_ratio(1, 50) {
                    self.faults.count("answered the opposite");
                    let command = take(Answer::Said(Said::No { code: "try-another".into() }));
                    self.later(HOUR_MS, Due::Answer { command, task: task.clone(), run });
                }
            }
            None => {
                self.faults.count("provider silent");
                let (command, task) = (take(Answer::Silent), task.clone());
                self.at(self.now_ms + PROVIDER_TIMEOUT_MS, Due::Answer { command, task, run });
            }
        }
    }

    /// What the provider answers in time.
    fn judge(&mut self, request: &Request) -> Option<Said> {
        let entry = match self.books.judge(request, self.now(), &self.behaviour) {
            Ok(Judged::Repeated(said)) => return Some(said),
            Ok(Judged::New(entry)) => entry,
            Err(mistake) => panic!("the provider takes no such call: {mistake}"),
        };
        self.books.apply(&entry);
        match entry.reply {
            Reply::Said(said) => {
                let undoing = !matches!(request.operation, Operation::Authorize | Operation::Capture);
                if undoing && said != Said::Yes {
                    self.faults.count("undoing refused");
                }
                Some(said)
            }
            Reply::Late(_) => {
                self.faults.count("provider late");
                None
            }
            Reply::Never | Reply::Unavailable => None,
        }
    }

    fn crash(&mut self, service: usize, down_ms: u64) {
        self.faults.count("crash");
        if down_ms > 15 * 60_000 {
            self.faults.count("down past the deadline");
        }
        let until_ms = self.now_ms + down_ms;
        self.down_until_ms[service] = self.down_until_ms[service].max(until_ms);
        self.at(until_ms, Due::Restart { service });
        if service == PAYMENTS {
            self.run += 1;
        }
    }

    /// The relay begins at its cursor, which may lag; due tasks are found in the database.
    fn restart(&mut self, service: usize) {
        if self.is_down(service) {
            return;
        }
        let published = self.topics[service].len();
        let again = self.rng.random_range(0..=10_usize).min(published);
        for index in published - again..published {
            self.faults.count("events published again");
            for reader in READERS[service] {
                let at_ms = self.now_ms + self.rng.random_range(0..100);
                self.at(at_ms, Due::Delivery { reader: *reader, topic: service, index });
            }
        }
        let tasks: Vec<Task> = match service {
            ORDERS => self.orders.tasks.values().cloned().collect(),
            PAYMENTS => self.payments.tasks.values().cloned().collect(),
            _ => vec![],
        };
        self.keep(service, tasks);
    }

    /// A backup that has less than the topics: the log is taken back whole, positions, holds and tasks are older.
    fn restore(&mut self, service: usize) -> Result<(), String> {
        self.faults.count("database restored");
        let now = self.now();
        match service {
            ORDERS => restored(&mut self.orders, now)?,
            INVENTORY => restored(&mut self.inventory, now)?,
            _ => {
                restored(&mut self.payments, now)?;
                self.run += 1;
            }
        }
        self.held[service].clear();
        let set = match service {
            ORDERS => std::mem::take(&mut self.orders.set),
            _ => std::mem::take(&mut self.payments.set),
        };
        self.keep(service, set);
        for (topic, readers) in READERS.iter().enumerate() {
            if readers.contains(&service) {
                let from = self.rng.random_range(0..=self.topics[topic].len());
                for index in from..self.topics[topic].len() {
                    self.send(service, topic, index);
                }
            }
        }
        Ok(())
    }

    /// Compares the provider's records with ours, and says how many differ.
    fn reconcile(&mut self) -> Result<usize, String> {
        let before = self.queue.len();
        for number in 0..self.order_count {
            let record = self.books.record(traffic::order_id(number));
            let told = told(self.id(), self.now());
            self.take(
                Command::Payment(payment::Command::CompareRecord { record }),
                Some(&told),
                None,
                false,
            )?;
        }
        Ok(self.queue.len() - before)
    }

    fn ended(&mut self) -> Result<(), String> {
        for number in 0..self.order_count {
            let id = traffic::order_id(number);
            if self.touched.contains(&id.uuid().as_u128()) {
                continue;
            }
            let ended = audit::ended(id, &self.orders, &self.inventory, &self.payments, &self.books);
            match ended.map_err(|what| format!("order {number}: {what}"))? {
                true => self.completed += 1,
                false => self.settled += 1,
            }
        }
        self.audit.every_stock(&self.inventory)?;
        let held = self.held.iter().flat_map(HashMap::keys).filter(|key| !self.touched.contains(key)).count();
        let tasks = self.orders.tasks.keys().chain(self.payments.tasks.keys());
        let tasks = tasks.filter(|(stream, _)| !self.is_touched(stream)).count();
        if (held, tasks) != (0, 0) {
            return Err(format!("{held} keys are held and {tasks} tasks are left"));
        }
        let now = self.now();
        restored(&mut self.orders, now)?;
        restored(&mut self.inventory, now)?;
        restored(&mut self.payments, now)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Done,
    TooEarly,
}

fn handle<D: Decider>(
    memory: &mut Memory<D>,
    command: &D::Command,
    told: Option<&Told>,
    task: Option<&Task>,
    now: Timestamp,
) -> Result<shared::decider::Decision<D::Event, D::Call>, Refusal> {
    match (task, told) {
        (Some(task), _) => memory.run(task, command, now),
        (None, Some(told)) => memory.handle(command, told),
        (None, None) => panic!("nobody says {command:?}"),
    }
}

/// The state of every stream is the fold of its events.
fn restored<D: Decider<State: PartialEq> + Clone>(
    memory: &mut Memory<D>,
    now: Timestamp,
) -> Result<(), String> {
    let restored = memory.restored(memory.log.len(), now);
    if restored.states() != memory.states() {
        return Err(format!("{}: the states are not the fold of the log", D::NAME));
    }
    *memory = restored;
    Ok(())
}
