//! All that can happen next in a world.

use super::{
    actor::{Actor, Say, Step, Symbol, Symbols},
    world::*,
};
use crate::samples;
use inventory_service::Inventory;
use order_service::{DEADLINE, Orders};
use payment_service::{
    Payments,
    domain::{Answer, Command, ENQUIRE, record::Said},
};
use shared::{
    contract::{ids::StreamName, message::Message, payment::Operation},
    decider::{Class, TaskChange, Via},
};

/// What may happen beside the plain course of things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) unit_price_minor: i64,
    pub(crate) in_stock: i64,
    /// The order comes as somebody else's event.
    pub(crate) adopted: bool,
    /// The topics keep no order.
    pub(crate) unordered: bool,
    /// The provider says one thing and then the other.
    pub(crate) contradicting: bool,
    /// It refuses to give money back, and later does.
    pub(crate) refusing: bool,
    /// Somebody hints at any time that something happened.
    pub(crate) callbacks: bool,
    /// This service's database is restored from a backup, once.
    pub(crate) restored: Option<usize>,
}

/// What happened, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Starts,
    Asks(Symbol),
    Reads {
        reader: usize,
        topic: usize,
        index: usize,
        again: bool,
    },
    Releases(usize),
    DeadlineIsReached,
    Calls(Operation),
    Decides(Operation, bool),
    Answers(Operation, bool),
    /// An answer that nobody waits for any more.
    Repeats(Operation, bool),
    IsSilent(Operation),
    AsksForRecord,
    RecordArrives,
    CallsBack,
    Reconciles,
    ChangesItsMind(Operation),
    Lies(Operation, bool),
    Restores {
        service: usize,
        length: usize,
    },
}

impl Move {
    /// Whether the system goes on by it. The rest is what the world does to it.
    pub(crate) fn is_progress(self) -> bool {
        match self {
            Self::Starts
            | Self::Reads { again: false, .. }
            | Self::Releases(_)
            | Self::Calls(_)
            | Self::Decides(..)
            | Self::Answers(..)
            | Self::AsksForRecord
            | Self::RecordArrives
            | Self::Reconciles => true,
            Self::Asks(_)
            | Self::Reads { again: true, .. }
            | Self::DeadlineIsReached
            | Self::Repeats(..)
            | Self::IsSilent(_)
            | Self::CallsBack
            | Self::ChangesItsMind(_)
            | Self::Lies(..)
            | Self::Restores { .. } => false,
        }
    }
}

pub(crate) struct Cast {
    pub(crate) symbols: Symbols,
    pub(crate) orders: Actor<Orders>,
    pub(crate) inventory: Actor<Inventory>,
    pub(crate) payments: Actor<Payments>,
    scenario: Scenario,
    create: Symbol,
    cancel: Symbol,
}

/// A planted bug: which event a service forgets, at which version of its stream.
pub(crate) type Bug = (usize, fn(i64, &Message) -> bool);

impl Cast {
    pub(crate) fn new(scenario: Scenario, bug: Option<Bug>) -> Self {
        let order_id = samples::order_id();
        let loses = |service| bug.filter(|(of, _)| *of == service).map(|(_, loses)| loses);
        let mut symbols = Symbols::default();
        let create = samples::create(scenario.unit_price_minor);
        let create = if scenario.adopted {
            Message::Order(samples::created(&create).into())
        } else {
            Message::OrderCommand(create.into())
        };
        let (create, cancel) =
            (symbols.number(&create), symbols.number(&Message::OrderCommand(samples::cancel().into())));
        let own = StreamName::order(order_id);
        let orders = Actor::new(Orders::default(), own, |event| Some(Message::Order(event)), loses(ORDERS));
        let reservation = |event| match event {
            inventory_service::domain::InventoryEvent::Reservation(event) => {
                Some(Message::Reservation(event))
            }
            inventory_service::domain::InventoryEvent::Stock(_) => None,
        };
        let own = StreamName::reservation(order_id);
        let inventory = Actor::new(Inventory, own, reservation, loses(INVENTORY));
        let own = StreamName::payment(order_id);
        let payments =
            Actor::new(Payments::default(), own, |event| Some(Message::Payment(event)), loses(PAYMENTS));
        Self { symbols, orders, inventory, payments, scenario, create, cancel }
    }

    pub(crate) fn in_stock(&self) -> i64 {
        self.scenario.in_stock
    }

    pub(crate) fn loses_payments(&self) -> bool {
        self.scenario.restored == Some(PAYMENTS)
    }

    /// Before anything but the delivery of the stock.
    pub(crate) fn start(&mut self) -> World {
        let mut world = World::default();
        let quantity = self.scenario.in_stock;
        let receipt =
            inventory_service::domain::Receive { sku: samples::sku(), quantity, reference: "r1".into() };
        let receipt = inventory_service::domain::Command::Receive(receipt);
        let step = self.inventory.step(&mut self.symbols, 0, Say::Other(0), Via::Http, |_| receipt);
        world.nodes[INVENTORY] = step.node;
        self.orders.remember(Log::default(), world.nodes[ORDERS]);
        self.inventory.remember(Log::default(), world.nodes[INVENTORY]);
        self.payments.remember(Log::default(), world.nodes[PAYMENTS]);
        world
    }

    /// Every next world that differs. An error is a cell that says *bug*, or another refusal that cannot be.
    pub(crate) fn next(&mut self, world: &World) -> Result<Vec<(Move, World)>, (Move, String)> {
        let mut next = Vec::new();
        self.edge(world, &mut next);
        self.topics(world, &mut next)?;
        self.timers(world, &mut next)?;
        self.provider(world, &mut next)?;
        self.enquiries(world, &mut next)?;
        self.restores(world, &mut next)?;
        next.retain(|(_, after)| after != world);
        Ok(next)
    }

    fn edge(&self, world: &World, next: &mut Vec<(Move, World)>) {
        let topic = if self.scenario.adopted { FOREIGN } else { COMMANDS };
        if !world.topics[topic].contains(self.create) {
            let mut after = *world;
            after.topics[topic].push(self.create);
            next.push((Move::Starts, after));
        }
        if !world.cancelled {
            let mut after = World { cancelled: true, ..*world };
            after.topics[COMMANDS].push(self.cancel);
            next.push((Move::Asks(self.cancel), after));
        }
    }

    fn topics(&mut self, world: &World, next: &mut Vec<(Move, World)>) -> Result<(), (Move, String)> {
        for reader in [ORDERS, INVENTORY, PAYMENTS] {
            for topic in READS[reader].iter().copied() {
                let mut first = true;
                for index in 0..world.topics[topic].len() {
                    let symbol = world.topics[topic].get(index);
                    if !self.concerns(reader, symbol, topic == FOREIGN) {
                        continue;
                    }
                    let again = world.has_read(reader, topic, index);
                    if !again && !std::mem::replace(&mut first, false) && !self.scenario.unordered {
                        break;
                    }
                    let happens = Move::Reads { reader, topic, index, again };
                    let mut after = *world;
                    after.read[reader][topic] |= 1 << index;
                    let early = self
                        .tell(&mut after, reader, symbol, topic == FOREIGN)
                        .map_err(|why| (happens, why))?;
                    if early && !after.held[reader].contains(symbol) {
                        after.held[reader].push(symbol);
                    }
                    next.push((happens, after));
                }
            }
            if world.held[reader].len() > 0 && self.version(world, reader) > 0 {
                let mut after = *world;
                for symbol in world.held[reader].iter() {
                    let happens = Move::Releases(reader);
                    if !self.tell(&mut after, reader, symbol, false).map_err(|why| (happens, why))? {
                        after.held[reader].remove(symbol);
                    }
                }
                next.push((Move::Releases(reader), after));
            }
        }
        Ok(())
    }

    /// What does not concern a service is read and forgotten: no world of its own.
    fn concerns(&mut self, reader: usize, symbol: Symbol, foreign: bool) -> bool {
        match reader {
            ORDERS => self.orders.concerns(&self.symbols, symbol, foreign),
            INVENTORY => self.inventory.concerns(&self.symbols, symbol, foreign),
            _ => self.payments.concerns(&self.symbols, symbol, foreign),
        }
    }

    fn version(&self, world: &World, service: usize) -> i64 {
        let node = world.nodes[service];
        match service {
            ORDERS => self.orders.version(node),
            INVENTORY => self.inventory.version(node),
            _ => self.payments.version(node),
        }
    }

    /// A service reads a message. Whether it was too early.
    fn tell(
        &mut self,
        world: &mut World,
        reader: usize,
        symbol: Symbol,
        foreign: bool,
    ) -> Result<bool, String> {
        let (symbols, node) = (&mut self.symbols, world.nodes[reader]);
        match reader {
            ORDERS => {
                let step = self.orders.read(symbols, node, symbol, foreign);
                step.map_or(Ok(false), |step| self.apply_orders(world, &step))
            }
            INVENTORY => {
                let step = self.inventory.read(symbols, node, symbol, foreign);
                step.map_or(Ok(false), |step| self.apply_inventory(world, &step))
            }
            _ => {
                let step = self.payments.read(symbols, node, symbol, foreign);
                step.map_or(Ok(false), |step| self.apply_payments(world, &step))
            }
        }
    }

    fn apply_orders(
        &mut self,
        world: &mut World,
        step: &Step<std::convert::Infallible>,
    ) -> Result<bool, String> {
        let early = self.append(world, ORDERS, step)?;
        if !step.events.is_empty() {
            self.orders.remember(world.topics[ORDERS], world.nodes[ORDERS]);
        }
        Ok(early)
    }

    fn apply_inventory(
        &mut self,
        world: &mut World,
        step: &Step<std::convert::Infallible>,
    ) -> Result<bool, String> {
        let early = self.append(world, INVENTORY, step)?;
        if !step.events.is_empty() {
            self.inventory.remember(world.topics[INVENTORY], world.nodes[INVENTORY]);
        }
        Ok(early)
    }

    fn apply_payments(
        &mut self,
        world: &mut World,
        step: &Step<payment_service::domain::Call>,
    ) -> Result<bool, String> {
        let early = self.append(world, PAYMENTS, step)?;
        if !step.events.is_empty() {
            self.payments.remember(world.topics[PAYMENTS], world.nodes[PAYMENTS]);
        }
        for change in &step.tasks {
            match change {
                TaskChange::Set { kind: ENQUIRE, .. } => world.enquire = true,
                TaskChange::Drop { kind: ENQUIRE, .. } => world.enquire = false,
                // A call that is owed is owed by the state.
                TaskChange::Set { .. } | TaskChange::Drop { .. } => {}
            }
        }
        Ok(early)
    }

    fn append<C>(&self, world: &mut World, service: usize, step: &Step<C>) -> Result<bool, String> {
        match step.refused {
            None => {}
            Some(Class::TooEarly) => return Ok(true),
            Some(class) => return Err(format!("{} says {class:?}", SERVICES[service])),
        }
        world.nodes[service] = step.node;
        for symbol in &step.events {
            world.topics[service].push(*symbol);
        }
        Ok(false)
    }

    fn timers(&mut self, world: &World, next: &mut Vec<(Move, World)>) -> Result<(), (Move, String)> {
        let node = world.nodes[ORDERS];
        if self.orders.owes(node, DEADLINE) {
            let via = Via::Task { attempt: 1 };
            let due = |orders: &Actor<Orders>| orders.due(DEADLINE);
            let step = self.orders.step(&mut self.symbols, node, Say::Other(1), via, due);
            let mut after = *world;
            self.apply_orders(&mut after, &step).map_err(|why| (Move::DeadlineIsReached, why))?;
            next.push((Move::DeadlineIsReached, after));
        }
        Ok(())
    }

    fn provider(&mut self, world: &World, next: &mut Vec<(Move, World)>) -> Result<(), (Move, String)> {
        for operation in Operation::ALL {
            let (asked, can) = (world.books.of(operation), world.books.can(operation));
            let undoing = matches!(operation, Operation::Void | Operation::Refund);
            let owed = self.payments.owes(world.nodes[PAYMENTS], operation.as_str());
            if owed {
                let mut after = *world;
                if asked == Asked::Never && (can || !undoing) && self.calls(world, operation) {
                    after.books.set(operation, Asked::Pending);
                    next.push((Move::Calls(operation), after));
                }
                next.push(self.answer(world, Move::IsSilent(operation), operation, Answer::Silent)?);
                // A refusal to undo is not final, so it is not in the books.
                if undoing && (!can || self.scenario.refusing) && asked != Asked::Yes {
                    next.push(self.answer(world, Move::Answers(operation, false), operation, no())?);
                }
            }
            match asked {
                Asked::Pending => {
                    let mut decides = |yes, decided| {
                        let mut after = *world;
                        after.books.set(operation, decided);
                        next.push((Move::Decides(operation, yes), after));
                    };
                    if can {
                        decides(true, Asked::Yes);
                    }
                    // What is asked to be given back is given back; where there is nothing, that is no answer.
                    if !undoing {
                        decides(false, Asked::No);
                    } else if !can {
                        decides(false, Asked::Never);
                    }
                }
                Asked::Yes | Asked::No => {
                    let said = asked == Asked::Yes;
                    let happens =
                        if owed { Move::Answers(operation, said) } else { Move::Repeats(operation, said) };
                    next.push(self.answer(world, happens, operation, if said { yes() } else { no() })?);
                }
                Asked::Never => {}
            }
            if self.scenario.contradicting {
                self.contradictions(world, operation, next)?;
            }
        }
        Ok(())
    }

    /// A no that becomes a yes, and an answer that is not what the books say. Once.
    fn contradictions(
        &mut self,
        world: &World,
        operation: Operation,
        next: &mut Vec<(Move, World)>,
    ) -> Result<(), (Move, String)> {
        if world.contradicted {
            return Ok(());
        }
        match world.books.of(operation) {
            Asked::No if world.books.can(operation) => {
                let mut after = World { contradicted: true, ..*world };
                after.books.set(operation, Asked::Yes);
                next.push((Move::ChangesItsMind(operation), after));
            }
            Asked::Yes if matches!(operation, Operation::Authorize | Operation::Capture) => {
                let happens = Move::Lies(operation, false);
                let (_, after) = self.answer(world, happens, operation, no())?;
                next.push((happens, World { contradicted: true, ..after }));
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a due task makes the call.
    fn calls(&mut self, world: &World, operation: Operation) -> bool {
        let (node, say, via) =
            (world.nodes[PAYMENTS], Say::Other(operation as u32), Via::Task { attempt: 1 });
        let due = |payments: &Actor<Payments>| payments.due(operation.as_str());
        let step = self.payments.step(&mut self.symbols, node, say, via, due);
        !step.calls.is_empty()
    }

    fn answer(
        &mut self,
        world: &World,
        happens: Move,
        operation: Operation,
        answer: Answer,
    ) -> Result<(Move, World), (Move, String)> {
        let which = match &answer {
            Answer::Silent => 0,
            Answer::Said(Said::Yes) => 1,
            Answer::Said(Said::No { .. }) => 2,
        };
        let say = Say::Other(8 + operation as u32 * 3 + which);
        let command = Command::TakeAnswer { order_id: samples::order_id(), operation, attempt: 1, answer };
        let after = self.of_the_provider(world, say, || command).map_err(|why| (happens, why))?;
        Ok((happens, after))
    }

    fn of_the_provider(
        &mut self,
        world: &World,
        say: Say,
        command: impl FnOnce() -> Command,
    ) -> Result<World, String> {
        let (node, via) = (world.nodes[PAYMENTS], Via::Task { attempt: 1 });
        let step = self.payments.step(&mut self.symbols, node, say, via, |_| command());
        let mut after = *world;
        self.apply_payments(&mut after, &step)?;
        Ok(after)
    }

    fn enquiries(&mut self, world: &World, next: &mut Vec<(Move, World)>) -> Result<(), (Move, String)> {
        let (order_id, books) = (samples::order_id(), world.books);
        let version = self.payments.version(world.nodes[PAYMENTS]) as u8;
        if world.enquire {
            // The call is made at the version that the payment has now; an earlier one may never be answered.
            let in_flight = Some(InFlight { books, asked_at_version: version });
            next.push((Move::AsksForRecord, World { in_flight, ..*world }));
        }
        if let Some(InFlight { books, asked_at_version }) = world.in_flight {
            let say = Say::Other(1 << 20 | books.number() << 8 | u32::from(asked_at_version));
            let record =
                || Command::TakeRecord { record: books.record(), asked_at_version: asked_at_version.into() };
            let happens = Move::RecordArrives;
            // It may come late. Coming again is asking again.
            let world = World { in_flight: None, ..*world };
            let after = self.of_the_provider(&world, say, record).map_err(|why| (happens, why))?;
            next.push((happens, after));
        }
        if self.scenario.callbacks && version > 0 {
            let (happens, callback) = (Move::CallsBack, || Command::Enquire { order_id });
            let after = self.of_the_provider(world, Say::Other(2), callback).map_err(|why| (happens, why))?;
            next.push((happens, after));
        }
        if self.scenario.contradicting || self.scenario.restored.is_some() {
            let (happens, compare) = (Move::Reconciles, || Command::CompareRecord { record: books.record() });
            let say = Say::Other(2 << 20 | books.number());
            let after = self.of_the_provider(world, say, compare).map_err(|why| (happens, why))?;
            next.push((happens, after));
        }
        Ok(())
    }

    /// The log ends with what is on the topic or with what the backup has beyond it. Positions, holds and tasks are
    /// those of the backup, of which the oldest covers all: what was read is read again.
    fn restores(&mut self, world: &World, next: &mut Vec<(Move, World)>) -> Result<(), (Move, String)> {
        let Some(service) = self.scenario.restored.filter(|_| !world.restored) else { return Ok(()) };
        for length in world.read_by_somebody(service)..=world.topics[service].len() {
            let happens = Move::Restores { service, length };
            let mut after = World { restored: true, ..*world };
            after.topics[service].truncate(length);
            let log = after.topics[service];
            after.nodes[service] = match service {
                ORDERS => self.orders.fold(log),
                INVENTORY => self.inventory.fold(log),
                _ => self.payments.fold(log),
            };
            after.read[service] = Default::default();
            after.held[service] = Log::default();
            if service == PAYMENTS {
                after.enquire = false;
            }
            self.skim(world, service, &mut after).map_err(|why| (happens, why))?;
            next.push((happens, after));
        }
        Ok(())
    }

    /// Reads again what it had read, as far as that changes nothing. Any of it may still come again at any time, so
    /// nothing is lost but worlds that differ in what is still to be skimmed.
    fn skim(&mut self, before: &World, service: usize, world: &mut World) -> Result<(), String> {
        for topic in READS[service].iter().copied() {
            for index in 0..world.topics[topic].len() {
                let symbol = world.topics[topic].get(index);
                if !self.concerns(service, symbol, topic == FOREIGN) {
                    continue;
                }
                let mut after = *world;
                let early = self.tell(&mut after, service, symbol, topic == FOREIGN)?;
                if early || after != *world || !before.has_read(service, topic, index) {
                    break;
                }
                world.read[service][topic] |= 1 << index;
            }
        }
        Ok(())
    }
}

fn yes() -> Answer {
    Answer::Said(Said::Yes)
}

fn no() -> Answer {
    Answer::Said(Said::No { code: "no".into() })
}
