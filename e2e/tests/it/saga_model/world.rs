//! Three services and a provider in one queue of what is due next. One seed is one run, for ever.

mod topics;
mod decide;
mod provider;
mod outage;

use std::collections::{BTreeMap, HashMap, HashSet};

use inventory_service::Inventory;
use order_service::{Orders, domain as order};
use payment_service::{
    Payments,
    domain::{self as payment, Call},
    provider::{behaviour::Behaviour, books::Books},
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use shared::{
    contract::{
        Timestamp,
        ids::StreamName,
        message::Message,
        order::{OrderCommand, OrderEvent},
    },
    decider::{Decider, Task, Told, Via},
    testing::memory::{Memory, told},
};
use uuid::Uuid;

use super::{
    audit::{self, Audit},
    cells::Cells,
    traffic::{self, Asked, Door},
};
use crate::faults::Faults;
use decide::Command;
use outage::restored;
use topics::Published;

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

/// A mistake of the machinery, planted to see whether it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A consumer skips one message in a hundred.
    SkipsMessages,
    /// What comes too early is thrown away.
    DropsWhatIsTooEarly,
    /// What fell due while a process was down is not looked for when it comes back.
    ForgetsTasks,
    /// The provider is asked with another key each time.
    KeysEachCall,
    /// A restored database does not take its events back from the topics.
    TakesNothingBack,
}

impl Bug {
    pub(crate) const ALL: [Self; 5] = [
        Self::SkipsMessages,
        Self::DropsWhatIsTooEarly,
        Self::ForgetsTasks,
        Self::KeysEachCall,
        Self::TakesNothingBack,
    ];
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
    bug: Option<Bug>,
    /// Orders about which somebody wrote an event by hand: what holds for the others need not hold for them.
    touched: HashSet<u128>,
    /// Orders that a message asked to cancel: it was done, or refused with an event.
    to_cancel: HashSet<u128>,
    pub(crate) cells: Cells,
    pub(crate) faults: Faults,
    pub(crate) completed: usize,
    pub(crate) settled: usize,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64, order_count: usize, bug: Option<Bug>) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let behaviour = Behaviour {
            declined_per_mille: 40,
            capture_failed_per_mille: 60,
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
            bug,
            touched: HashSet::new(),
            to_cancel: HashSet::new(),
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
        for _ in 0..self.order_count / 3 {
            let number = self.rng.random_range(0..self.order_count);
            let at_ms = traffic::some_time(&mut self.rng);
            self.at(at_ms, Due::Unasked { number });
            let number = self.rng.random_range(0..self.order_count);
            let at_ms = traffic::some_time(&mut self.rng);
            self.at(at_ms, Due::CallBack { number });
        }
        for asked in traffic::by_hand(&mut self.rng, self.order_count, self.order_count / 50) {
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
            Due::Call { call, task, run } => self.call(call, &task, run),
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
            (_, Message::OrderCommand(command)) => {
                if let OrderCommand::Cancel(cancel) = command {
                    self.to_cancel.insert(cancel.order_id.uuid().as_u128());
                }
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

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.random())
    }

    fn is_touched(&self, stream: &StreamName) -> bool {
        stream.key().parse::<Uuid>().is_ok_and(|id| self.touched.contains(&id.as_u128()))
    }

    fn ended(&mut self) -> Result<(), String> {
        for number in 0..self.order_count {
            let id = traffic::order_id(number);
            if self.touched.contains(&id.uuid().as_u128()) {
                continue;
            }
            let ended = audit::ended(id, &self.orders, &self.inventory, &self.payments, &self.books);
            if self.to_cancel.contains(&id.uuid().as_u128()) {
                audit::cancel_was_answered(id, &self.orders)
                    .map_err(|what| format!("order {number}: {what}"))?;
            }
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
        restored(&mut self.orders, 0, now)?;
        restored(&mut self.inventory, 0, now)?;
        restored(&mut self.payments, 0, now)
    }
}
