//! What goes into the next batch: whatever is there, at most so much. What makes something that anybody waits for waits for
//! no more than the loop rests (`pace.rs`); anything else waits for that.

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

/// Twice as many make it no faster, and take twice the memory here and in the queue before it.
pub const BATCH_MAX: usize = 500;
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
    /// Messages of which nothing is made that anybody waits for, and mostly nothing but that they were read. Many of a
    /// service's are such, and to write down for each that it was read costs as much as an append: they go with the next
    /// batch that makes something, or at the next tick. A crash brings them again.
    parked: Vec<Input<D>>,
    is_parked_long: bool,
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
            parked: Vec::new(),
            is_parked_long: false,
            change: None,
            stash: None,
            deaf: false,
            careful: HashMap::new(),
            starts: HashMap::new(),
            begun: HashSet::new(),
        }
    }

    /// Takes what is there, behind what was parked.
    pub fn take(&mut self, inputs: &mut Vec<Input<D>>) {
        self.take_new(inputs);
        // What is read of a partition is told before it goes: nobody's run died of it.
        if !inputs.is_empty() || self.is_parked_long || self.change.is_some() {
            self.take_parked(inputs);
        }
    }

    pub(super) fn take_parked(&mut self, inputs: &mut Vec<Input<D>>) {
        inputs.splice(..0, self.parked.drain(..));
    }

    /// Whether messages may wait of which nothing is made for anybody. That one of a partition whose runs died was finished is
    /// told at once.
    pub fn may_park(&self) -> bool {
        let is_braked = self.brake.batch(BATCH_MAX) < BATCH_MAX;
        self.careful.is_empty() && !self.is_parked_long && self.change.is_none() && !is_braked
    }

    /// Whether more may join what was taken: nothing that must be taken alone, and no change of the assignment waits for it.
    pub(super) fn may_wait(&self) -> bool {
        self.careful.is_empty() && self.change.is_none()
    }

    pub fn park(&mut self, inputs: Vec<Input<D>>) {
        self.parked.extend(inputs);
    }

    /// Now and then: what is parked waits no longer.
    pub fn tick(&mut self) {
        self.is_parked_long = !self.parked.is_empty();
    }

    fn take_new(&mut self, inputs: &mut Vec<Input<D>>) {
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
        let mut bytes: usize = inputs.iter().map(Input::bytes).sum();
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
        self.is_parked_long = false;
        self.timers.settled(&outcome.settled);
        for task in outcome.due.drain(..) {
            self.timers.take_where_room(task);
        }
        for (call, task) in outcome.due_calls.drain(..) {
            if self.timers.take_called(&task) {
                outcome.calls.push((call, task));
            }
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
        self.parked.clear();
        self.is_parked_long = false;
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        consumer::heard::{Teller, queues},
        contract::{envelope::Headers, topics::Topic},
        execute::tests::sample::Sample,
    };

    fn message(offset: i64) -> Raw {
        Raw {
            topic: Topic::OrdersEvents,
            partition: 0,
            offset,
            key: None,
            value: None,
            headers: Headers::Readable(vec![]),
            timestamp_ms: 0,
        }
    }

    fn gather() -> (Teller, Gather<Sample>) {
        let (teller, heard) = queues(10);
        let (asked, answers, compared) =
            (mpsc::channel(1).1, mpsc::unbounded_channel().1, mpsc::channel(1).1);
        (teller, Gather::new(heard, asked, answers, compared))
    }

    fn taken(gather: &mut Gather<Sample>) -> Vec<i64> {
        let mut inputs = Vec::new();
        gather.take(&mut inputs);
        let offset = |input| match input {
            Input::Message(raw) => Some(raw.offset),
            _ => None,
        };
        inputs.into_iter().filter_map(offset).collect()
    }

    fn park(gather: &mut Gather<Sample>, offset: i64) {
        assert!(gather.may_park());
        gather.park(vec![Input::Message(message(offset))]);
    }

    #[test]
    fn what_is_parked_goes_before_the_next_message_or_alone_after_a_tick() {
        let (teller, mut gather) = gather();
        park(&mut gather, 0);
        assert_eq!(taken(&mut gather), [] as [i64; 0]);
        assert!(teller.tell(message(1)).is_ok());
        assert_eq!(taken(&mut gather), [0, 1]);
        park(&mut gather, 2);
        gather.tick();
        assert_eq!(taken(&mut gather), [2]);
        assert!(!gather.may_park(), "it is told now");
        gather.settle(&mut Outcome::default());
        assert!(gather.may_park());
    }

    #[test]
    fn what_is_parked_goes_before_its_partition_does_and_never_after() {
        let (teller, mut gather) = gather();
        park(&mut gather, 0);
        let (reply, _answer) = std::sync::mpsc::sync_channel(1);
        teller.changes.try_send(Change::Revoked { reply }).unwrap();
        assert_eq!(taken(&mut gather), [0], "before the change is answered");
        assert!(gather.change.is_some() && !gather.may_park());
        gather.change = None;
        park(&mut gather, 1);
        gather.revoke();
        gather.tick();
        assert_eq!(taken(&mut gather), [] as [i64; 0]);
    }

    #[test]
    fn nothing_is_parked_while_a_partition_is_taken_with_care() {
        let (_teller, mut gather) = gather();
        gather.careful.insert((Topic::OrdersEvents, 0), None);
        assert!(!gather.may_park() && !gather.may_wait());
    }
}
