//! A service without servers: its log in memory, and its decider over it. For tests of what is decided.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::{
    contract::{Timestamp, ids, ids::StreamName},
    decider::{
        Decided, Decider, Decision, Due, Existing, Folded, Refusal, Streams, Task, TaskChange, Told, Via,
    },
    task::task,
};

/// The log of one service and all that follows from it.
#[derive(Debug, Clone, Default)]
pub struct Memory<D: Decider> {
    pub decider: D,
    pub log: Vec<Logged<D::Event>>,
    pub tasks: BTreeMap<(StreamName, String), Task>,
    states: HashMap<StreamName, Folded<D::State>>,
    /// Where in the log an event stands whose id is its identity.
    identities: HashMap<Uuid, usize>,
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
            states: HashMap::new(),
            identities: HashMap::new(),
        }
    }

    pub fn state(&self, stream: &StreamName) -> D::State {
        self.states.get(stream).map(|folded| folded.state.clone()).unwrap_or_default()
    }

    pub fn version(&self, stream: &StreamName) -> i64 {
        self.states.get(stream).map_or(0, |folded| folded.version)
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
        let states: HashMap<StreamName, Folded<D::State>> = known.collect();
        let existing = self.decider.identity(command, told).and_then(|id| {
            let logged = &self.log[*self.identities.get(&id)?];
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
        for (ordinal, decided) in decision.events.iter().enumerate() {
            self.append(decided, ordinal, told);
        }
        for change in &decision.tasks {
            match change {
                TaskChange::Set { stream, kind, due, attempt } => {
                    self.set(stream.clone(), kind, *due, *attempt, told.id, told.at);
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

    /// Takes a task that is due: it comes again only if its decision says so, or a state owes it anew.
    pub fn take(&mut self, task: &Task) -> Option<(D::Command, Told)> {
        self.tasks.remove(&(task.stream.clone(), task.kind.clone()))?;
        let told = Told { via: Via::Task { attempt: task.attempt }, ..told(task.id, task.due_at) };
        Some((self.decider.due(task)?, told))
    }

    fn append(&mut self, decided: &Decided<D::Event>, ordinal: usize, told: &Told) {
        let id = decided.id.unwrap_or_else(|| ids::derived(told.id, D::NAME, ordinal));
        let before = self.states.remove(&decided.stream).unwrap_or_default();
        let owed_before = self.decider.owes(&decided.stream, &before.state);
        let after =
            Folded { version: before.version + 1, state: self.decider.evolve(before.state, &decided.event) };
        let owed = self.decider.owes(&decided.stream, &after.state);
        for gone in owed_before.iter().filter(|before| owed.iter().all(|owed| owed.kind != before.kind)) {
            self.tasks.remove(&(decided.stream.clone(), gone.kind.to_owned()));
        }
        for new in owed.iter().filter(|owed| owed_before.iter().all(|before| before.kind != owed.kind)) {
            self.set(decided.stream.clone(), new.kind, new.due, 1, id, told.at);
        }
        if decided.id.is_some() {
            self.identities.insert(id, self.log.len());
        }
        let (stream, version, event) = (decided.stream.clone(), after.version, decided.event.clone());
        self.log.push(Logged { stream, version, id, event });
        self.states.insert(decided.stream.clone(), after);
    }

    fn set(&mut self, stream: StreamName, kind: &str, due: Due, attempt: i32, cause: Uuid, now: Timestamp) {
        let task = task(stream, kind, due, attempt, cause, now);
        self.tasks.insert((task.stream.clone(), task.kind.clone()), task);
    }
}

/// Told on a topic.
pub fn told(id: Uuid, at: Timestamp) -> Told {
    Told { id, at, via: Via::Topic, correlation_id: None, traceparent: None }
}
