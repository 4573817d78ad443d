//! What goes into the next batch: whatever is there, at most so much, and never a wait for more.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{inbox::Asked, timers::Timers};
use crate::{
    consumer::{Change, Heard, Place},
    contract::envelope::Raw,
    decider::{Decider, Task},
    execute::{Input, Outcome},
    failure::Brake,
    log::Attempt,
};

pub const BATCH_MAX: usize = 1_000;
/// Of messages. A batch of dead letters is written whole, in one statement with a time limit.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// All the ways in.
pub struct Gather<D: Decider> {
    pub(super) heard: Heard,
    pub(super) asked: mpsc::Receiver<Asked<D>>,
    pub(super) answers: mpsc::UnboundedReceiver<(Task, D::Command)>,
    /// What reconciliation found; nobody waits for an answer.
    pub(super) compared: mpsc::Receiver<D::Command>,
    /// Of a batch that was cut; before anything else.
    pub(super) put_back: VecDeque<Input<D>>,
    pub timers: Timers,
    pub(super) brake: Brake,
    /// A change of the assignment: after the batch.
    pub change: Option<Change>,
    /// A message that must be taken alone.
    stash: Option<Raw>,
    /// Fenced: what is in the queue was fetched from positions that are not ours any more.
    pub(super) deaf: bool,
    /// Partitions whose last runs died, until one message of it is finished.
    pub(super) careful: HashMap<Place, Option<Attempt>>,
    /// How many runs in a row had died of a partition when it was assigned.
    pub(super) starts: HashMap<Place, i32>,
    /// Partitions of which this run has taken a message. A rebalance is no death, so it stays.
    pub(super) begun: HashSet<Place>,
}

impl<D: Decider> Gather<D> {
    pub fn new(
        heard: Heard,
        asked: mpsc::Receiver<Asked<D>>,
        answers: mpsc::UnboundedReceiver<(Task, D::Command)>,
        compared: mpsc::Receiver<D::Command>,
    ) -> Self {
        Self {
            heard,
            asked,
            answers,
            compared,
            put_back: VecDeque::new(),
            timers: Timers::default(),
            brake: Brake::default(),
            change: None,
            stash: None,
            deaf: false,
            careful: HashMap::new(),
            starts: HashMap::new(),
            begun: HashSet::new(),
        }
    }

    /// Takes what is there.
    pub fn take(&mut self, inputs: &mut Vec<Input<D>>) {
        if inputs.is_empty()
            && !self.brake.on(Instant::now())
            && let Some(raw) = self.stash.take()
        {
            self.hear(raw, inputs);
            return;
        }
        let batch_max = self.brake.batch(BATCH_MAX);
        while inputs.len() < batch_max {
            let Some(input) = self.put_back.pop_front() else { break };
            inputs.push(input);
        }
        while inputs.len() < batch_max {
            let Ok((task, command)) = self.answers.try_recv() else { break };
            inputs.push(self.timers.answer(task, command));
        }
        while inputs.len() < batch_max {
            let Ok(command) = self.compared.try_recv() else { break };
            inputs.push(unanswered(command));
        }
        while inputs.len() < batch_max {
            let Some(task) = self.timers.pop() else { break };
            inputs.push(Input::Task(task));
        }
        while inputs.len() < batch_max {
            let Ok(asked) = self.asked.try_recv() else { break };
            inputs.push(Input::Asked(asked));
        }
        if self.change.is_none() {
            self.change = self.heard.try_change();
        }
        let mut bytes = 0;
        while inputs.len() < batch_max
            && bytes < BATCH_BYTES_MAX
            && self.change.is_none()
            && !self.brake.on(Instant::now())
        {
            let Some(raw) = self.stash.take().or_else(|| self.heard.try_message()) else { break };
            bytes += raw.bytes();
            if !self.hear(raw, inputs) {
                break;
            }
        }
    }

    /// One message from the consumer thread. False: take no more now.
    pub(super) fn hear(&mut self, raw: Raw, inputs: &mut Vec<Input<D>>) -> bool {
        if self.deaf {
            return true;
        }
        if !self.careful.contains_key(&(raw.topic, raw.partition)) {
            inputs.push(Input::Message(raw));
            return true;
        }
        if inputs.is_empty() {
            inputs.push(Input::Message(raw));
        } else {
            self.stash = Some(raw);
        }
        false
    }

    /// After a batch: what is in flight no longer, what is due at once, what was cut off. Leaves the rest to the shell.
    pub fn settle(&mut self, outcome: &mut Outcome<D>) {
        self.timers.settled(&outcome.settled);
        for task in outcome.due.drain(..) {
            self.timers.take_where_room(task);
        }
        for (place, _) in &outcome.moved {
            self.careful.remove(place);
        }
        for input in outcome.put_back.drain(..).rev() {
            self.put_back.push_front(input);
        }
        if outcome.fenced {
            self.deaf = true;
            self.revoke();
        }
    }

    /// The partitions are another's.
    pub(super) fn revoke(&mut self) {
        self.timers.revoke();
        self.stash = None;
        self.careful.clear();
        self.starts.clear();
        self.put_back.retain(|input| match input {
            Input::Message(_) | Input::Deadly(_) => false,
            Input::Task(task) => {
                self.timers.settled(&[task.id]);
                false
            }
            Input::Asked(_) | Input::Answer { .. } => true,
        });
    }
}

/// A command that nobody waits for.
pub(super) fn unanswered<D: Decider>(command: D::Command) -> Input<D> {
    let (reply, _) = oneshot::channel();
    Input::Asked(Asked { id: Uuid::now_v7(), command, traceparent: None, reply })
}
