//! Decide, evolve, fold: the pure shape of a service. Nothing here can wait or fail for a technical reason.
//!
//! Source: the decider pattern (J. Chassaing), with one addition: a decision may span several streams of one log,
//! as inventory-service decides over a reservation and its stocks at once.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::contract::{
    Timestamp,
    envelope::Envelope,
    ids::StreamName,
    message::{Event, Message},
    topics::Topic,
};

/// A service: which messages concern it, what it decides, and what it owes itself.
pub trait Decider: Send + Sync + 'static {
    /// The folded state of one stream. The default is that of a stream that has no event.
    type State: Clone + Default + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    type Event: Event;
    type Command: Clone + std::fmt::Debug + Send + Sync + 'static;
    /// A request to the world outside, made after the commit; its answer comes back as a command.
    type Call: Clone + std::fmt::Debug + Send + Sync + 'static;

    /// Group id, and the source of its events: `/fulfil/NAME`.
    const NAME: &'static str;
    /// What its consumer reads, the topic of dead-letter commands apart. Its own topic, where it adopts foreign events, is [`Decider::ADOPTS`].
    const READS: &'static [Topic];
    /// Those of them whose messages begin new streams: they wait while too many streams go on (engine/begun.rs).
    const BEGINS: &'static [Topic] = &[];
    /// Its own topic, read in development mode only, for messages that it did not write.
    const ADOPTS: Option<Topic>;
    /// Its own topics: where its streams are published.
    const WRITES: &'static [Topic];
    /// Kinds of tasks that may run only after the backlog that was there when they fell due: a deadline must not
    /// expire an order whose answer waits on a topic.
    const WAITS_FOR_BACKLOG: &'static [&'static str] = &[];
    /// Types of its events on which nothing waits. A few messages that make only such wait for what comes next, for a
    /// tenth of a second: two receipts of one order that come so close are one batch then.
    const NOBODY_WAITS_FOR: &'static [&'static str] = &[];
    /// Changes when [`Decider::evolve`] or the state's form does, so that older snapshots are ignored.
    const FINGERPRINT: &'static str;

    /// The saga: what a message makes this service do. `None` where it does not concern it.
    fn react(&self, message: &Message, envelope: &Envelope) -> Option<Self::Command>;

    /// The streams that must be folded to decide. The first one is the command's own: a hold is about its key.
    fn streams(&self, command: &Self::Command) -> Vec<StreamName>;

    /// The streams that only the state of the first one can name: the stocks whose goods a reservation holds.
    /// They are folded before deciding as well.
    fn further(&self, _command: &Self::Command, _own: &Self::State) -> Vec<StreamName> {
        Vec::new()
    }

    /// The id of the event that this command would append, where the id and not the state says whether it was
    /// done before (a receipt or adjustment of stock with its reference).
    fn identity(&self, command: &Self::Command, told: &Told) -> Option<Uuid>;

    fn decide(
        &self,
        streams: &Streams<'_, Self::State, Self::Event>,
        command: &Self::Command,
        told: &Told,
    ) -> Result<Decision<Self::Event, Self::Call>, Refusal>;

    fn evolve(&self, state: Self::State, event: &Self::Event) -> Self::State;

    /// The tasks that this state owes. The engine adds what is newly owed and drops what is no longer, so that
    /// tasks are a function of the log and can be made again from it.
    fn owes(&self, stream: &StreamName, state: &Self::State) -> Vec<Owed>;

    /// What a due task asks. It is decided like any other command, over the state of its stream; where it was set by a batch
    /// and is due at once, first to see whether it asks for a call and nothing else.
    fn due(&self, task: &Task) -> Option<Self::Command>;

    /// Whether more is expected of a stream in this state. Where not, it is not kept in memory: who asks for it all the
    /// same has it read.
    fn goes_on(&self, _stream: &StreamName, _state: &Self::State) -> bool {
        true
    }

    /// Whether a stream grows long enough to want snapshots.
    fn snapshots(&self, stream: &StreamName) -> bool;
}

/// What comes in with a command: time and ids are not made inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The message that says it: the cause of what is decided.
    pub id: Uuid,
    /// Now by the database's clock, in milliseconds.
    pub at: Timestamp,
    pub via: Via,
    pub correlation_id: Option<Uuid>,
    pub traceparent: Option<String>,
}

impl Told {
    /// By a due task, or the answer to its call.
    pub fn of_task(task: &Task, at: Timestamp) -> Self {
        let via = Via::Task { attempt: task.attempt };
        Self { id: task.cause, at, via, correlation_id: None, traceparent: task.traceparent.clone() }
    }
}

/// Where a command came from. A refusal is an answer over HTTP and an event or a dead letter from a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Topic,
    Http,
    /// A due task, or the answer to a call; `attempt` counts from 1.
    Task {
        attempt: i32,
    },
}

impl Via {
    /// Which run of a task it is, from 1; 0 of anything else.
    pub fn attempt(self) -> i32 {
        match self {
            Self::Task { attempt } => attempt,
            Self::Topic | Self::Http => 0,
        }
    }
}

/// Hashed quickly: a message looks for a stream some ten times. Whoever would slow it down by skus of his own would have to
/// guess the seed of each map.
pub type FoldedStreams<S> = foldhash::HashMap<StreamName, Folded<S>>;

/// What a decision can see: the folded streams, and the event that was already appended under the command's
/// identity.
pub struct Streams<'a, S, E> {
    states: &'a FoldedStreams<S>,
    pub existing: Option<&'a Existing<E>>,
}

/// A stream folded to a version. Version 0 has no event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Folded<S> {
    pub version: i64,
    pub state: S,
}

/// An event that stands in the log under an id that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Existing<E> {
    pub stream: StreamName,
    pub version: i64,
    pub event: E,
}

impl<'a, S: Default + Clone, E> Streams<'a, S, E> {
    pub fn new(states: &'a FoldedStreams<S>, existing: Option<&'a Existing<E>>) -> Self {
        Self { states, existing }
    }

    /// The state of a stream that [`Decider::streams`] named.
    pub fn state(&self, stream: &StreamName) -> S {
        self.states.get(stream).map(|folded| folded.state.clone()).unwrap_or_default()
    }

    pub fn version(&self, stream: &StreamName) -> i64 {
        self.states.get(stream).map_or(0, |folded| folded.version)
    }
}

/// What happens. Empty: it was already so.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E, C> {
    pub events: Vec<Decided<E>>,
    /// Beyond what the new state owes: calls to repeat, records to ask for.
    pub tasks: Vec<TaskChange>,
    /// To be made after the commit.
    pub calls: Vec<C>,
    /// What an operator should see counted, by name.
    pub counted: Option<&'static str>,
}

impl<E, C> Default for Decision<E, C> {
    fn default() -> Self {
        Self { events: Vec::new(), tasks: Vec::new(), calls: Vec::new(), counted: None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Decided<E> {
    pub stream: StreamName,
    pub event: E,
    /// Where the id is the identity ([`Decider::identity`]); else it is derived from the cause.
    pub id: Option<Uuid>,
}

/// Why a command is turned down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub class: Class,
    /// Hyphenated; becomes the problem type over HTTP and `dlq.code`.
    pub code: &'static str,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// About something that nobody knows yet: held. HTTP 404.
    TooEarly,
    /// A valid command that the domain turns down. HTTP 409; a dead letter of stage decide that holds nobody.
    Refused,
    /// Says something else under an id that was used before. HTTP 422; a dead letter that holds nobody.
    Malformed,
    /// No state allows it, so a writer is broken: a dead letter, and its key is held.
    Impossible,
}

/// A task that a state owes. At most one of a kind per stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub kind: &'static str,
    pub due: Due,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Now,
    At(Timestamp),
    After(Duration),
}

/// A change to the tasks of a stream that a decision makes by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskChange {
    /// Adds it or sets its time and attempt anew.
    Set {
        stream: StreamName,
        kind: &'static str,
        due: Due,
        attempt: i32,
    },
    Drop {
        stream: StreamName,
        kind: &'static str,
    },
}

/// A task as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Derived from stream and kind.
    pub id: Uuid,
    pub stream: StreamName,
    pub kind: String,
    pub due_at: Timestamp,
    /// Of the run that is due: 1 at first.
    pub attempt: i32,
    /// The message or event that made it owed: the cause of what comes of it.
    pub cause: Uuid,
    /// The trace of that message, which goes on with what comes of it.
    pub traceparent: Option<String>,
}

/// Folds events onto a state.
pub fn fold<'e, D: Decider>(
    decider: &D,
    state: D::State,
    events: impl IntoIterator<Item = &'e D::Event>,
) -> D::State {
    events.into_iter().fold(state, |state, event| decider.evolve(state, event))
}
