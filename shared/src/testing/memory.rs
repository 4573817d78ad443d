//! A service without servers: its log in memory, and its decider over it. For tests of what is decided.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::{
    contract::{Timestamp, envelope::Recorded, ids, ids::StreamName, message::Event},
    decider::{
        Decided, Decider, Decision, Existing, Folded, FoldedStreams, Refusal, Streams, Task, TaskChange,
        Told, Via,
    },
    task,
};

/// The log of one service and all that follows from it.
#[derive(Debug, Clone, Default)]
pub struct Memory<D: Decider> {
    pub decider: D,
    pub log: Vec<Logged<D::Event>>,
    pub tasks: BTreeMap<(StreamName, String), Task>,
    /// Tasks that were set, for whoever keeps the time; taken out by them.
    pub set: Vec<Task>,
    states: FoldedStreams<D::State>,
    /// Where in the log an event stands.
    places: HashMap<Uuid, usize>,
}

/// An event of the log. Its position is its index plus one.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged<E> {
    pub stream: StreamName,
    pub version: i64,
    pub id: Uuid,
    pub event: E,
}

impl<D: Decider> Memory<D> {
    pub fn new(decider: D) -> Self {
        Self {
            decider,
            log: Vec::new(),
            tasks: BTreeMap::new(),
            set: Vec::new(),
            states: FoldedStreams::default(),
            places: HashMap::new(),
        }
    }

    /// The fold of a log as it stands. `Err` names an event that cannot be read.
    pub fn of_log(decider: D, log: &[Recorded]) -> Result<Self, String> {
        let mut memory = Self::new(decider);
        for recorded in log {
            let event = D::Event::decode(&recorded.event_type, &recorded.data);
            let event = event.and_then(Result::ok).ok_or_else(|| format!("unreadable: {recorded:?}"))?;
            let (id, cause, at) = (recorded.event_id, recorded.causation_id, recorded.recorded_at);
            memory.append(recorded.stream.clone(), event, id, cause, at);
        }
        Ok(memory)
    }

    pub fn state(&self, stream: &StreamName) -> D::State {
        self.states.get(stream).map(|folded| folded.state.clone()).unwrap_or_default()
    }

    pub fn version(&self, stream: &StreamName) -> i64 {
        self.states.get(stream).map_or(0, |folded| folded.version)
    }

    pub fn states(&self) -> &FoldedStreams<D::State> {
        &self.states
    }

    /// Decides over the streams that the decider names and no others, as the engine does.
    pub fn decide(&self, command: &D::Command, told: &Told) -> Result<Decision<D::Event, D::Call>, Refusal> {
        let mut named = self.decider.streams(command);
        let own = named.first().map(|stream| self.state(stream)).unwrap_or_default();
        named.extend(self.decider.further(command, &own));
        let known = named.into_iter().filter_map(|stream| {
            let folded = self.states.get(&stream)?.clone();
            Some((stream, folded))
        });
        let states: FoldedStreams<D::State> = known.collect();
        let existing = self.decider.identity(command, told).and_then(|id| {
            let logged = &self.log[*self.places.get(&id)?];
            Some(Existing {
                stream: logged.stream.clone(),
                version: logged.version,
                event: logged.event.clone(),
            })
        });
        self.decider.decide(&Streams::new(&states, existing.as_ref()), command, told)
    }

    /// Appends what was decided, folds it, and keeps the tasks.
    pub fn apply(&mut self, decision: &Decision<D::Event, D::Call>, told: &Told) {
        for (ordinal, Decided { stream, event, id }) in decision.events.iter().enumerate() {
            let handler =
                || format!("{}/{stream}/{}/{}", D::NAME, self.version(stream) + 1, event.event_type());
            let id = id.unwrap_or_else(|| ids::derived(told.id, handler(), ordinal));
            self.append(stream.clone(), event.clone(), id, told.id, told.at);
        }
        for change in &decision.tasks {
            match change {
                TaskChange::Set { stream, kind, due, attempt } => {
                    self.keep(task::task(stream.clone(), kind, *due, *attempt, told));
                }
                TaskChange::Drop { stream, kind } => {
                    self.tasks.remove(&(stream.clone(), (*kind).to_owned()));
                }
            }
        }
    }

    /// Decides and applies.
    pub fn handle(
        &mut self,
        command: &D::Command,
        told: &Told,
    ) -> Result<Decision<D::Event, D::Call>, Refusal> {
        let decision = self.decide(command, told)?;
        self.apply(&decision, told);
        Ok(decision)
    }

    /// Runs a task, or takes the answer to its call, as the engine does: where it makes a call it stays as it is,
    /// and where nothing was said about it, it is done, or comes again because the state owes it still.
    pub fn run(
        &mut self,
        task: &Task,
        command: &D::Command,
        now: Timestamp,
    ) -> Result<Decision<D::Event, D::Call>, Refusal> {
        let told = Told { via: Via::Task { attempt: task.attempt }, ..told(task.cause, now) };
        let place = (task.stream.clone(), task.kind.clone());
        let before = self.tasks.get(&place).cloned();
        let outcome = self.handle(command, &told);
        let said = |decision: &Decision<_, _>| {
            let by_hand = decision.tasks.iter().any(|change| match change {
                TaskChange::Set { stream, kind, .. } | TaskChange::Drop { stream, kind } => {
                    (stream, *kind) == (&task.stream, task.kind.as_str())
                }
            });
            by_hand || !decision.calls.is_empty()
        };
        if outcome.as_ref().is_ok_and(said) || self.tasks.get(&place) != before.as_ref() {
            return outcome;
        }
        let owed = self.decider.owes(&task.stream, &self.state(&task.stream));
        if outcome.is_err() || owed.iter().any(|owed| owed.kind == task.kind) {
            self.keep(task::retry(task, now));
        } else {
            self.tasks.remove(&place);
        }
        outcome
    }

    /// As it was when its log had this length: a restored backup. Tasks are made again by the fold.
    pub fn restored(&self, length: usize, now: Timestamp) -> Self
    where
        D: Clone,
    {
        let mut restored = Self::new(self.decider.clone());
        for logged in &self.log[..length] {
            let Logged { stream, id, event, .. } = logged.clone();
            restored.append(stream, event, id, Uuid::nil(), now);
        }
        restored
    }

    fn append(&mut self, stream: StreamName, event: D::Event, id: Uuid, cause: Uuid, now: Timestamp) {
        let before = self.states.remove(&stream).unwrap_or_default();
        let owed_before = self.decider.owes(&stream, &before.state);
        let after = Folded { version: before.version + 1, state: self.decider.evolve(before.state, &event) };
        let owed = self.decider.owes(&stream, &after.state);
        for gone in owed_before.iter().filter(|before| owed.iter().all(|owed| owed.kind != before.kind)) {
            self.tasks.remove(&(stream.clone(), gone.kind.to_owned()));
        }
        for new in owed.iter().filter(|owed| owed_before.iter().all(|before| before.kind != owed.kind)) {
            self.keep(task::task(stream.clone(), new.kind, new.due, 1, &told(cause, now)));
        }
        let other = self.places.insert(id, self.log.len());
        assert_eq!(other, None, "two events of one id: {event:?}");
        self.states.insert(stream.clone(), after);
        let version = self.version(&stream);
        self.log.push(Logged { stream, version, id, event });
    }

    fn keep(&mut self, task: Task) {
        self.set.push(task.clone());
        self.tasks.insert((task.stream.clone(), task.kind.clone()), task);
    }
}

/// Told on a topic.
pub fn told(id: Uuid, at: Timestamp) -> Told {
    Told { id, at, via: Via::Topic, correlation_id: None, traceparent: None }
}
