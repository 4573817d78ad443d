//! A service whose states and messages have numbers, so that what it does in a state is worked out once and a world
//! of many services is a few bytes.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash},
    rc::Rc,
};

use shared::{
    contract::{ids::StreamName, message::Message},
    decider::{Class, Decider, Folded, FoldedStreams, Streams, Task, TaskChange, Told, Via},
    testing::memory::told,
};
use uuid::Uuid;

use super::{mixed::Mixed, world::Log};
use crate::samples;

/// The number of a message, from 1.
pub(crate) type Symbol = u8;
/// The number of all that a service knows about the order.
pub(crate) type Node = u16;

/// What a service is told, as short as it can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Say {
    /// Read from a topic; foreign has no position.
    Message { symbol: Symbol, foreign: bool },
    /// Anything else, by a number that its caller gives it.
    Other(u32),
}

/// What a service does.
#[derive(Debug, Clone)]
pub(crate) struct Step<C> {
    pub(crate) node: Node,
    /// What it appends to the stream of the order.
    pub(crate) events: Vec<Symbol>,
    pub(crate) refused: Option<Class>,
    pub(crate) calls: Vec<C>,
    pub(crate) tasks: Vec<TaskChange>,
}

/// Every message that was ever seen, by number.
#[derive(Debug, Default)]
pub(crate) struct Symbols(Vec<Message>);

impl Symbols {
    pub(crate) fn number(&mut self, message: &Message) -> Symbol {
        let known = self.0.iter().position(|known| known == message);
        let index = known.unwrap_or_else(|| {
            self.0.push(message.clone());
            self.0.len() - 1
        });
        // 0 is the end of a log.
        Symbol::try_from(index + 1).expect("one order has few messages")
    }

    pub(crate) fn message(&self, symbol: Symbol) -> &Message {
        &self.0[usize::from(symbol) - 1]
    }
}

type Memo<K, V> = HashMap<K, V, BuildHasherDefault<Mixed>>;
type Known<S> = Vec<(StreamName, i64, S)>;

pub(crate) struct Actor<D: Decider> {
    pub(crate) decider: D,
    own: StreamName,
    /// As a message on the topic of the order; `None` for what stands on another one.
    published: fn(D::Event) -> Option<Message>,
    /// A planted bug: this event is not appended, at this version of its stream.
    loses: Option<fn(i64, &Message) -> bool>,
    nodes: Vec<Known<D::State>>,
    /// By node: the kinds of the tasks that its state owes.
    owed: Vec<Vec<&'static str>>,
    numbers: HashMap<Known<D::State>, Node>,
    steps: Memo<(Node, Say), Rc<Step<D::Call>>>,
    /// The fold of each log that was ever written.
    folds: HashMap<Log, Node>,
    /// Which messages concern the service.
    concerns: Memo<(Symbol, bool), bool>,
}

impl<D: Decider<State: Eq + Hash>> Actor<D> {
    pub(crate) fn new(
        decider: D,
        own: StreamName,
        published: fn(D::Event) -> Option<Message>,
        loses: Option<fn(i64, &Message) -> bool>,
    ) -> Self {
        let (nodes, numbers) = (vec![vec![]], HashMap::from([(vec![], 0)]));
        Self {
            decider,
            own,
            published,
            loses,
            nodes,
            owed: vec![vec![]],
            numbers,
            steps: HashMap::default(),
            folds: HashMap::new(),
            concerns: HashMap::default(),
        }
    }

    pub(crate) fn state(&self, node: Node) -> D::State {
        let known = self.nodes[usize::from(node)].iter().find(|(stream, ..)| *stream == self.own);
        known.map(|(.., state)| state.clone()).unwrap_or_default()
    }

    pub(crate) fn version(&self, node: Node) -> i64 {
        let known = self.nodes[usize::from(node)].iter().find(|(stream, ..)| *stream == self.own);
        known.map_or(0, |(_, version, _)| *version)
    }

    pub(crate) fn owes(&self, node: Node, kind: &str) -> bool {
        self.owed[usize::from(node)].contains(&kind)
    }

    /// The command of a task that is due.
    pub(crate) fn due(&self, kind: &str) -> D::Command {
        let (due_at, cause) = (samples::now(), Uuid::nil());
        let (stream, kind) = (self.own.clone(), kind.to_owned());
        let task = Task { id: Uuid::nil(), stream, kind, due_at, attempt: 1, cause, traceparent: None };
        self.decider.due(&task).expect("a task of this service")
    }

    pub(crate) fn state_of(&self, node: Node, stream: &StreamName) -> D::State {
        let known = self.nodes[usize::from(node)].iter().find(|(name, ..)| name == stream);
        known.map(|(.., state)| state.clone()).unwrap_or_default()
    }

    pub(crate) fn concerns(&mut self, symbols: &Symbols, symbol: Symbol, foreign: bool) -> bool {
        let decider = &self.decider;
        *self.concerns.entry((symbol, foreign)).or_insert_with(|| {
            let message = symbols.message(symbol);
            decider.react(message, &samples::envelope(message, (!foreign).then_some(1))).is_some()
        })
    }

    /// Reads a message. `None` where it does not concern the service.
    pub(crate) fn read(
        &mut self,
        symbols: &mut Symbols,
        node: Node,
        symbol: Symbol,
        foreign: bool,
    ) -> Option<Rc<Step<D::Call>>> {
        if let Some(step) = self.steps.get(&(node, Say::Message { symbol, foreign })) {
            return Some(Rc::clone(step));
        }
        let message = symbols.message(symbol);
        let envelope = samples::envelope(message, (!foreign).then_some(1));
        let command = self.decider.react(message, &envelope)?;
        Some(self.step(symbols, node, Say::Message { symbol, foreign }, Via::Topic, |_| command))
    }

    /// Decides, or remembers what was decided.
    pub(crate) fn step(
        &mut self,
        symbols: &mut Symbols,
        node: Node,
        say: Say,
        via: Via,
        command: impl FnOnce(&Self) -> D::Command,
    ) -> Rc<Step<D::Call>> {
        if let Some(step) = self.steps.get(&(node, say)) {
            return Rc::clone(step);
        }
        let step = Rc::new(self.decide(symbols, node, via, &command(self)));
        self.steps.insert((node, say), Rc::clone(&step));
        step
    }

    fn decide(&mut self, symbols: &mut Symbols, node: Node, via: Via, command: &D::Command) -> Step<D::Call> {
        let known = self.nodes[usize::from(node)].clone();
        let mut folded: FoldedStreams<D::State> =
            known.into_iter().map(|(stream, version, state)| (stream, Folded { version, state })).collect();
        let told = Told { via, ..told(Uuid::from_u128(7), samples::now()) };
        let decision = match self.decider.decide(&Streams::new(&folded, None), command, &told) {
            Ok(decision) => decision,
            Err(refusal) => {
                let (refused, calls, tasks) = (Some(refusal.class), vec![], vec![]);
                return Step { node, events: vec![], refused, calls, tasks };
            }
        };
        let mut events = Vec::new();
        for decided in decision.events {
            let message = (self.published)(decided.event.clone());
            let before = folded.remove(&decided.stream).unwrap_or_default();
            let lost = self.loses.zip(message.as_ref());
            if lost.is_some_and(|(loses, message)| loses(before.version, message)) {
                if before.version > 0 {
                    folded.insert(decided.stream, before);
                }
                continue;
            }
            let state = self.decider.evolve(before.state, &decided.event);
            folded.insert(decided.stream, Folded { version: before.version + 1, state });
            events.extend(message.map(|message| symbols.number(&message)));
        }
        let mut known: Known<D::State> =
            folded.into_iter().map(|(stream, folded)| (stream, folded.version, folded.state)).collect();
        known.sort_by(|(left, ..), (right, ..)| left.cmp(right));
        let node = self.number(known);
        let (calls, tasks) = (decision.calls, decision.tasks);
        Step { node, events, refused: None, calls, tasks }
    }

    fn number(&mut self, known: Known<D::State>) -> Node {
        if let Some(node) = self.numbers.get(&known) {
            return *node;
        }
        let node = Node::try_from(self.nodes.len()).expect("one order has few states");
        self.nodes.push(known.clone());
        self.numbers.insert(known, node);
        let owed = self.decider.owes(&self.own, &self.state(node));
        self.owed.push(owed.into_iter().map(|owed| owed.kind).collect());
        node
    }

    /// Remembers what a log folds to. The same log is the same state for ever.
    pub(crate) fn remember(&mut self, log: Log, node: Node) {
        let known = *self.folds.entry(log).or_insert(node);
        assert_eq!(known, node, "two states of one log");
    }

    pub(crate) fn fold(&self, log: Log) -> Node {
        self.folds[&log]
    }
}
