//! Due tasks: which of them may run now. A task runs once at a time, on the replica that owns the partition of its
//! key; one that waits for the backlog runs only after everything that was there when it fell due.
//!
//! No I/O: the shell reads the table and asks the broker, and a simulation does the same over models of both.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    consumer::Place,
    contract::{
        Timestamp,
        topics::{Topic, partition_of},
    },
    decider::{Decider, Task},
    execute::Input,
};

/// Tasks taken and not settled. Calls to a silent provider must not fill the memory; the rest is in the table.
const IN_FLIGHT_MAX: usize = 1_000;

#[derive(Default)]
pub struct Timers {
    /// To be decided, in order.
    due: VecDeque<Task>,
    /// Taken and not settled: queued, being decided, or with a call under way.
    in_flight: HashSet<Uuid>,
    /// Set anew while in flight: a callback while the provider's record was on its way. Their answer does not settle
    /// them.
    again: HashSet<Uuid>,
    backlogs: HashMap<i32, Backlog>,
}

/// Where the topics of a partition end, `None` where the broker does not say.
pub type Ends = oneshot::Receiver<Option<Vec<(Topic, i64)>>>;

/// What must be processed before tasks of a partition that wait for it may run.
#[derive(Default)]
struct Backlog {
    asked: Option<(Timestamp, Ends)>,
    /// When the ends were asked for, and what they were.
    ends: Option<(Timestamp, Vec<(Topic, i64)>)>,
    /// Everything that was there at this time is processed.
    passed: Option<Timestamp>,
}

impl Timers {
    pub(super) fn pop(&mut self) -> Option<Task> {
        let task = self.due.pop_front()?;
        // It is decided now, over all that set it anew.
        self.again.remove(&task.id);
        Some(task)
    }

    pub fn in_flight(&self) -> Vec<Uuid> {
        self.in_flight.iter().copied().collect()
    }

    /// How many more may be taken.
    pub fn room(&self) -> usize {
        IN_FLIGHT_MAX.saturating_sub(self.in_flight.len())
    }

    /// Takes a task that stands in the table as well, where it is found later.
    pub(super) fn take_where_room(&mut self, task: Task) {
        if self.room() > 0 || self.in_flight.contains(&task.id) {
            self.take(task);
        }
    }

    /// Takes a task unless it is taken already.
    pub(super) fn take(&mut self, task: Task) {
        if self.in_flight.insert(task.id) {
            self.due.push_back(task);
        } else {
            self.again.insert(task.id);
        }
    }

    /// Whether the call of a task that was just set may be made: it is then taken. Else it was taken before and is not settled,
    /// or there is no room and it is found in the table later.
    pub(super) fn take_called(&mut self, task: &Task) -> bool {
        if self.in_flight.contains(&task.id) {
            self.again.insert(task.id);
            return false;
        }
        self.room() > 0 && self.in_flight.insert(task.id)
    }

    /// The answer to a call, for the next batch.
    pub(super) fn answer<D: Decider>(&mut self, task: Task, command: D::Command) -> Input<D> {
        let again = self.again.remove(&task.id);
        Input::Answer { task, command, again }
    }

    pub(super) fn settled(&mut self, ids: &[Uuid]) {
        for id in ids {
            self.in_flight.remove(id);
        }
    }

    /// The partitions are another's: what was not begun is theirs. Calls that are under way come to their end here;
    /// the other's have the same key.
    pub(super) fn revoke(&mut self) {
        for task in self.due.drain(..) {
            self.in_flight.remove(&task.id);
        }
        self.again.clear();
        self.backlogs.clear();
    }

    /// Compares the positions with the ends that tasks wait for.
    pub fn look(&mut self, positions: &HashMap<Place, Option<i64>>) {
        for (partition, backlog) in &mut self.backlogs {
            backlog.look(*partition, positions);
        }
    }

    /// Partitions whose tasks still wait for a backlog: no others are offered meanwhile, so that a partition that
    /// stands still does not keep back the tasks of the others.
    pub fn waiting(&self) -> Vec<i32> {
        let waits = |backlog: &Backlog| backlog.asked.is_some() || backlog.ends.is_some();
        self.backlogs.iter().filter(|(_, backlog)| waits(backlog)).map(|(partition, _)| *partition).collect()
    }

    /// Takes those of the due tasks that may run; asks for the ends that the others wait for, by partition and over
    /// all topics of [`Decider::READS`].
    pub fn offer<D: Decider>(
        &mut self,
        tasks: Vec<Task>,
        partitions: i32,
        now: Timestamp,
        mut ends: impl FnMut(i32) -> Ends,
    ) {
        for task in tasks {
            if !D::WAITS_FOR_BACKLOG.contains(&task.kind.as_str()) {
                self.take(task);
                continue;
            }
            let partition = partition_of(task.stream.key().as_bytes(), partitions);
            let backlog = self.backlogs.entry(partition).or_default();
            if backlog.passed.is_some_and(|passed| task.due_at <= passed) {
                self.take(task);
            } else if backlog.asked.is_none() && backlog.ends.is_none() {
                backlog.asked = Some((now, ends(partition)));
            }
        }
    }
}

impl Backlog {
    fn look(&mut self, partition: i32, positions: &HashMap<Place, Option<i64>>) {
        if let Some((asked_at, mut answer)) = self.asked.take() {
            match answer.try_recv() {
                Ok(Some(ends)) => self.ends = Some((asked_at, ends)),
                // Unknown: asked again with the next task that wants to know.
                Ok(None) | Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => self.asked = Some((asked_at, answer)),
            }
        }
        let Some((asked_at, ends)) = &self.ends else { return };
        let done = |(topic, end): &(Topic, i64)| {
            let next = positions.get(&(*topic, partition)).copied().flatten().unwrap_or_default();
            next >= *end
        };
        if ends.iter().all(done) {
            self.passed = Some(*asked_at);
            self.ends = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ids::StreamName;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds)
    }

    #[test]
    fn a_deadline_waits_until_the_positions_have_passed_the_ends() {
        let place = (Topic::PaymentsEvents, 3);
        let mut backlog = Backlog { ends: Some((at(10), vec![(place.0, 5)])), ..Backlog::default() };
        backlog.look(3, &HashMap::from([(place, Some(4))]));
        assert_eq!(backlog.passed, None);
        backlog.look(3, &HashMap::from([(place, Some(5))]));
        assert_eq!(backlog.passed, Some(at(10)));
    }

    #[test]
    fn a_call_is_made_unless_its_task_is_in_flight_or_there_is_no_room() {
        let task = |number: u128| Task {
            id: Uuid::from_u128(number),
            stream: StreamName::parse("payment-1").unwrap(),
            kind: "enquire".to_owned(),
            due_at: at(0),
            attempt: 1,
            cause: Uuid::nil(),
            traceparent: None,
        };
        let mut timers = Timers::default();
        assert!(timers.take_called(&task(0)));
        assert!(timers.pop().is_none(), "it is decided");
        assert!(!timers.take_called(&task(0)), "its answer is out");
        assert_eq!(timers.again, HashSet::from([task(0).id]), "and does not settle it");
        assert!((1..IN_FLIGHT_MAX as u128).all(|number| timers.take_called(&task(number))));
        let one_more = task(IN_FLIGHT_MAX as u128);
        assert!(!timers.take_called(&one_more), "it is found in the table");
        assert!(!timers.again.contains(&one_more.id), "and was never taken");
        timers.settled(&[task(1).id]);
        assert!(timers.take_called(&one_more));
    }

    #[test]
    fn an_end_that_is_not_known_is_not_passed() {
        let (reply, answer) = oneshot::channel();
        let mut backlog = Backlog { asked: Some((at(10), answer)), ..Backlog::default() };
        backlog.look(0, &HashMap::new());
        assert!(backlog.asked.is_some(), "still waiting");
        reply.send(None).unwrap();
        backlog.look(0, &HashMap::new());
        assert!(backlog.passed.is_none() && backlog.asked.is_none(), "asked again");
    }

    #[test]
    fn a_partition_without_a_position_has_passed_nothing() {
        let mut backlog =
            Backlog { ends: Some((at(10), vec![(Topic::OrdersCommands, 1)])), ..Backlog::default() };
        backlog.look(0, &HashMap::from([((Topic::OrdersCommands, 0), None)]));
        assert_eq!(backlog.passed, None);
    }
}
