//! What goes into a batch, what it asks of the shell, and what came of it.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::processed::Processed;
use crate::{
    consumer::Place,
    contract::envelope::{Raw, Recorded},
    decider::{Decider, Task},
    engine::inbox::{Answer, Asked, Unanswered},
    failure::Poison,
    log::{Append, HeldRow, KeyHeld, Load, StoredLetter},
};

/// All that can change state.
pub enum Input<D: Decider> {
    Message(Raw),
    /// A message that the process died of, again and again: a dead letter, unread.
    Deadly(Raw),
    Asked(Asked<D>),
    Task(Task),
    /// What a call for a task came to. `again`: the task was set anew meanwhile, so this answer does not settle it.
    Answer {
        task: Task,
        command: D::Command,
        again: bool,
    },
}

impl<D: Decider> Input<D> {
    /// Of a message, what it takes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message(raw) | Self::Deadly(raw) => raw.bytes(),
            Self::Asked(_) | Self::Task(_) | Self::Answer { .. } => 0,
        }
    }
}

/// What the shell does next, and which method takes the result.
pub enum Step<D: Decider> {
    /// Read letters and held messages: [`super::Execute::fetched`].
    Fetch(Fetch),
    /// [`super::Execute::loaded`]
    Load(Load),
    /// [`super::Execute::appended`]. With an unknown outcome the same call again, for as long as it takes.
    Append(Arc<Append>),
    /// Read the log after this position to its end: [`super::Execute::tailed`]. `crowded`: others append all the
    /// time, so pause at random first.
    Tail {
        after: i64,
        crowded: bool,
    },
    Done(Outcome<D>),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetch {
    pub letters: Vec<Uuid>,
    pub held_keys: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Fetched {
    pub letters: Vec<StoredLetter>,
    /// Of the asked keys, ascending by id.
    pub held: Vec<HeldRow>,
    /// How the asked keys stand.
    pub keys: Vec<KeyHeld>,
}

/// What the shell does after the commit.
pub struct Outcome<D: Decider> {
    pub replies: Vec<Reply<D>>,
    /// For the relay, from memory.
    pub recorded: Vec<Recorded>,
    /// Dead letters or changes of them were appended.
    pub letters: usize,
    /// Tasks that are due at once, belong to a partition of ours, and are to be decided.
    pub due: Vec<Task>,
    /// The others that are: those that ask for a call and nothing else, decided with the batch. The call is made where there is
    /// room and the task is not in flight.
    pub due_calls: Vec<(D::Call, Task)>,
    /// Calls to make, each with the task that owes it. The task is in flight until its answer was decided.
    pub calls: Vec<(D::Call, Task)>,
    /// Tasks that were taken and are in flight no longer.
    pub settled: Vec<Uuid>,
    /// Next offsets, for the lag tools.
    pub moved: Vec<(Place, i64)>,
    /// To be decided in later batches, in this order, before anything else.
    pub put_back: Vec<Input<D>>,
    /// Somebody else went on with a partition: read positions and holds again. Messages were thrown away.
    pub fenced: bool,
    /// By name, for the metrics.
    pub counted: Vec<&'static str>,
    pub messages: usize,
    pub duplicates: usize,
    /// What became a letter.
    pub poison: Vec<Poison>,
    /// What came of each input, for the spans.
    pub processed: Processed,
    /// Attempts at the append: 1 where nobody else appended, and what was taken for new is.
    pub attempts: u32,
}

pub struct Reply<D: Decider> {
    pub to: oneshot::Sender<Result<Answer<D>, Unanswered>>,
    pub answer: Result<Answer<D>, Unanswered>,
}

impl<D: Decider> Default for Outcome<D> {
    fn default() -> Self {
        Self {
            replies: Vec::new(),
            recorded: Vec::new(),
            letters: 0,
            due: Vec::new(),
            due_calls: Vec::new(),
            calls: Vec::new(),
            settled: Vec::new(),
            moved: Vec::new(),
            put_back: Vec::new(),
            fenced: false,
            counted: Vec::new(),
            messages: 0,
            duplicates: 0,
            poison: Vec::new(),
            processed: Processed::default(),
            attempts: 0,
        }
    }
}
