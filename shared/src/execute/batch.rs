//! The working copy of one batch: what it has read, what it has decided so far, what it will append.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    prepare::Prepared,
    step::{Input, Reply},
};
use crate::{
    consumer::Place,
    contract::{Timestamp, ids::StreamName},
    decider::{Decider, Existing, FoldedStreams, Task},
    engine::inbox::{Answer, Unanswered},
    failure::{KeyHold, Poison},
    log::{Append, HeldRow, OwnedTask, StoredLetter},
};

/// One input and what it is.
pub(super) struct Item<D: Decider> {
    pub(super) input: Input<D>,
    pub(super) prepared: Prepared<D::Command>,
}

/// What was read for the batch. It outlives a refused append, but for what others may have changed meanwhile.
pub(super) struct Read<D: Decider> {
    /// `None`: there is no such letter.
    pub(super) letters: HashMap<Uuid, Option<StoredLetter>>,
    /// By key, in the order in which they were held.
    pub(super) held: HashMap<String, Vec<HeldRow>>,
    /// What the held messages and the letters to redrive are: by row id, and by the index of the redriving item.
    pub(super) held_prepared: BTreeMap<i64, Prepared<D::Command>>,
    pub(super) redrive_prepared: BTreeMap<usize, Prepared<D::Command>>,
    /// Keys of which more wait than were read.
    pub(super) held_more: HashSet<String>,
    pub(super) identities: HashMap<Uuid, Existing<D::Event>>,
    pub(super) asked_identities: HashSet<Uuid>,
    pub(super) positions: HashMap<i64, Uuid>,
    /// Streams that only a state could name, found missing while deciding.
    pub(super) further: BTreeSet<StreamName>,
    /// Streams with an event that this build cannot read: nothing is decided on them.
    pub(super) unreadable: HashSet<StreamName>,
}

impl<D: Decider> Default for Read<D> {
    fn default() -> Self {
        Self {
            letters: HashMap::new(),
            held: HashMap::new(),
            held_prepared: BTreeMap::new(),
            redrive_prepared: BTreeMap::new(),
            held_more: HashSet::new(),
            identities: HashMap::new(),
            asked_identities: HashSet::new(),
            positions: HashMap::new(),
            further: BTreeSet::new(),
            unreadable: HashSet::new(),
        }
    }
}

impl<D: Decider> Read<D> {
    /// Whoever moved the log may have released what is held, or been asked about the same letter.
    pub(super) fn forget_rows(&mut self) {
        self.identities.clear();
        self.asked_identities.clear();
        self.letters.clear();
        self.redrive_prepared.clear();
        self.held.clear();
        self.held_prepared.clear();
        self.held_more.clear();
    }
}

/// What is said of a task.
#[derive(Debug, Clone)]
pub(super) enum TaskWord {
    Set(OwnedTask),
    /// The state owes it no longer.
    Dropped,
    /// It was run, as it stood then.
    Done(Task),
}

/// What was decided. Thrown away whole when the append is refused.
pub(super) struct Decided<D: Decider> {
    pub(super) append: Append,
    pub(super) streams: FoldedStreams<D::State>,
    /// Those of them that were not looked for. Each must begin with this batch: the append is refused where it had begun
    /// before.
    pub(super) assumed_new: Vec<StreamName>,
    pub(super) appended_identities: HashMap<Uuid, Existing<D::Event>>,
    pub(super) holds: HashMap<String, KeyHold>,
    pub(super) letters: HashMap<Uuid, StoredLetter>,
    /// The last word on each task.
    pub(super) tasks: BTreeMap<Uuid, TaskWord>,
    /// Held messages that were processed in this batch.
    pub(super) unheld: HashSet<i64>,
    pub(super) moves: BTreeMap<Place, i64>,
    /// Partitions that must still be ours: what is held there is decided without a message that moves a position.
    pub(super) compared: BTreeSet<i32>,
    /// By the index of their item.
    pub(super) answers: Vec<(usize, Result<Answer<D>, Unanswered>)>,
    pub(super) calls: Vec<(D::Call, Task)>,
    pub(super) due_calls: Vec<(D::Call, Task)>,
    pub(super) settled: Vec<Uuid>,
    pub(super) counted: Vec<&'static str>,
    pub(super) poison: Vec<Poison>,
    pub(super) messages: usize,
    pub(super) duplicates: usize,
}

impl<D: Decider> Default for Decided<D> {
    fn default() -> Self {
        Self {
            append: Append::default(),
            streams: FoldedStreams::default(),
            assumed_new: Vec::new(),
            appended_identities: HashMap::new(),
            holds: HashMap::new(),
            letters: HashMap::new(),
            tasks: BTreeMap::new(),
            unheld: HashSet::new(),
            moves: BTreeMap::new(),
            compared: BTreeSet::new(),
            answers: Vec::new(),
            calls: Vec::new(),
            due_calls: Vec::new(),
            settled: Vec::new(),
            counted: Vec::new(),
            poison: Vec::new(),
            messages: 0,
            duplicates: 0,
        }
    }
}

impl<D: Decider> Decided<D> {
    /// What was assumed to be new begins with this batch.
    pub(super) fn all_begin(&self) -> bool {
        let begins = |stream| self.streams.get(stream).is_some_and(|folded| folded.version > 0);
        self.assumed_new.iter().all(begins)
    }
}

pub(super) struct Batch<D: Decider> {
    pub(super) now: Timestamp,
    pub(super) items: Vec<Item<D>>,
    pub(super) read: Read<D>,
    pub(super) decided: Decided<D>,
    /// What was decided, once all of it is: the shell has it as well.
    pub(super) asked: Arc<Append>,
    pub(super) put_back: Vec<Input<D>>,
    pub(super) attempts: u32,
}

impl<D: Decider> Batch<D> {
    /// Cuts the batch in half and leaves the second half for later. False where there is nothing to cut.
    pub(super) fn halve(&mut self) -> bool {
        if self.items.len() < 2 {
            return false;
        }
        let rest = self.items.split_off(self.items.len() / 2);
        let rest: Vec<Input<D>> = rest.into_iter().map(|item| item.input).collect();
        let later = std::mem::replace(&mut self.put_back, rest);
        self.put_back.extend(later);
        true
    }

    /// The answers with the places where they go. Called once, after the commit.
    pub(super) fn replies(&mut self) -> Vec<Reply<D>> {
        let mut answers: HashMap<usize, _> = self.decided.answers.drain(..).collect();
        let items = std::mem::take(&mut self.items);
        let reply = |(index, item): (usize, Item<D>)| match item.input {
            Input::Asked(asked) => answers.remove(&index).map(|answer| Reply { to: asked.reply, answer }),
            _ => None,
        };
        items.into_iter().enumerate().filter_map(reply).collect()
    }
}
