//! The phases of a batch: prepare, read, decide, append; after a refusal fold what others appended and decide
//! again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    batch::{Batch, Decided, Item, Read, TaskWord},
    prepare::{Prepared, key_text, prepare},
    read::missing_rows,
    step::{Input, Outcome, Step},
};
use crate::{
    cache::Cache,
    consumer::{Place, Position},
    contract::{
        Timestamp,
        envelope::{Mode, Recorded},
        ids::StreamName,
        message::Event,
    },
    decider::{Decider, Folded, Task, Told, Via},
    engine::inbox::Unanswered,
    failure::{Failure, Holds},
    log::{Append, Appended, DoneTask, KeyHeld, Move, Stage},
    task,
};

pub struct ExecuteSettings {
    pub mode: Mode,
    /// Of every topic.
    pub partitions: i32,
    /// How long a message may be too early.
    pub hold_limit: Duration,
    pub cache_streams_max: usize,
    /// Versions between two snapshots of a stream.
    pub snapshot_every: i64,
}

/// The unit of work of one process. One batch at a time.
pub struct Execute<D: Decider> {
    pub(super) decider: Arc<D>,
    pub(super) settings: ExecuteSettings,
    /// The end of the log that the cache and every decision stand on.
    pub(super) seen: i64,
    /// The event that stands there.
    seen_event: Option<Uuid>,
    pub(super) holds: Holds,
    /// Streams as of `seen`. Right by construction: an append succeeds only where every event before it was seen here, and
    /// events of others are folded before the next decision.
    pub(super) cache: Cache<StreamName, Folded<D::State>>,
    /// The streams that were looked for last had no event.
    pub(super) expects_new: bool,
    /// Next offsets of our partitions, as they stand in the database. `None`: there is no row yet.
    pub(super) positions: HashMap<Place, Option<i64>>,
    pub(super) batch: Option<Batch<D>>,
}

impl<D: Decider> Execute<D> {
    /// `seen`: an end of the log, read once at the start, and the event there; 0 and none of an empty log.
    pub fn new(decider: Arc<D>, settings: ExecuteSettings, (seen, seen_event): (i64, Option<Uuid>)) -> Self {
        let cache = Cache::new(settings.cache_streams_max);
        Self {
            decider,
            settings,
            seen,
            seen_event,
            holds: Holds::default(),
            cache,
            expects_new: false,
            positions: HashMap::new(),
            batch: None,
        }
    }

    /// These partitions are ours, and so are the keys that wait in them.
    pub fn assign(&mut self, positions: &[Position], held: &[KeyHeld]) {
        self.revoke();
        self.positions = positions.iter().map(|position| (position.place, position.next)).collect();
        self.set_holds(held);
    }

    pub fn revoke(&mut self) {
        self.positions.clear();
        self.holds.clear();
    }

    /// An error made it unsure what the process knows: read everything again.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// How many streams are known that have not ended.
    pub fn going_on(&self) -> usize {
        self.cache.size()
    }

    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// Next offsets of our partitions.
    pub fn positions(&self) -> impl Iterator<Item = (Place, Option<i64>)> {
        self.positions.iter().map(|(place, next)| (*place, *next))
    }

    pub fn owns_partition(&self, partition: i32) -> bool {
        self.positions.keys().any(|(_, owned)| *owned == partition)
    }

    pub fn held_keys(&self) -> usize {
        self.holds.len()
    }

    /// Takes a batch. `now` is the database's clock as far as it is known, in milliseconds.
    pub fn begin(&mut self, inputs: Vec<Input<D>>, now: Timestamp) -> Step<D> {
        let items = inputs.into_iter().map(|input| self.item(input, now)).collect();
        self.batch = Some(Batch {
            now,
            items,
            read: Read::default(),
            decided: Decided::default(),
            asked: Arc::default(),
            put_back: Vec::new(),
            attempts: 1,
        });
        self.advance()
    }

    fn item(&self, input: Input<D>, now: Timestamp) -> Item<D> {
        let command = |command, told| Prepared::Command { command, told, key: String::new() };
        let prepared = match &input {
            Input::Message(raw) => prepare(&*self.decider, raw, self.settings.mode, now),
            Input::Deadly(raw) => {
                let message = "the process died of this message several times".to_owned();
                let failure =
                    Failure { stage: Stage::Deadly, code: "deadly".to_owned(), message, holds: true };
                // Unread: what it is about is what its sender partitioned by.
                let key = key_text(raw);
                Prepared::Dead { failure, key }
            }
            Input::Asked(asked) => {
                let traceparent = asked.traceparent.clone();
                let told = Told { id: asked.id, at: now, via: Via::Http, correlation_id: None, traceparent };
                command(asked.command.clone(), told)
            }
            Input::Answer { task, command: answer, .. } => command(answer.clone(), Told::of_task(task, now)),
            Input::Task(task) => match self.decider.due(task) {
                Some(due) => command(due, Told::of_task(task, now)),
                None => Prepared::Nothing,
            },
        };
        Item { input, prepared }
    }

    /// The next read that is missing, or the append.
    pub(super) fn advance(&mut self) -> Step<D> {
        let Some(mut batch) = self.batch.take() else { return Step::Done(Outcome::default()) };
        let step = loop {
            if let Some(fetch) = missing_rows(&mut batch) {
                break Step::Fetch(fetch);
            }
            if let Some(load) = self.missing_streams(&mut batch) {
                break Step::Load(load);
            }
            let further = batch.read.further.len();
            self.decide_all(&mut batch);
            let all_begin = batch.decided.all_begin();
            if !all_begin {
                self.expects_new = false;
            }
            if all_begin && batch.read.further.len() == further {
                batch.asked = Arc::new(std::mem::take(&mut batch.decided.append));
                break Step::Append(Arc::clone(&batch.asked));
            }
            batch.decided = Decided::default();
        };
        self.batch = Some(batch);
        step
    }

    fn decide_all(&self, batch: &mut Batch<D>) {
        batch.decided.append = Append { seen: self.seen, seen_event: self.seen_event, ..Append::default() };
        let items = std::mem::take(&mut batch.items);
        for (index, item) in items.iter().enumerate() {
            match &item.input {
                Input::Message(raw) | Input::Deadly(raw) => {
                    let place = (raw.topic, raw.partition);
                    // Not ours any more, or seen before: whoever moves the position answers for it.
                    let Some(stored) = self.positions.get(&place) else { continue };
                    let next = batch.decided.moves.get(&place).copied().or(*stored);
                    if next.is_some_and(|next| raw.offset < next) {
                        batch.decided.duplicates += 1;
                        continue;
                    }
                    batch.decided.messages += 1;
                    batch.decided.moves.insert(place, raw.offset + 1);
                    self.message(batch, raw, &item.prepared, index);
                }
                Input::Asked(_) => {
                    let Prepared::Command { command, told, .. } = &item.prepared else { continue };
                    let answer = self.decide(batch, command, told, None).map_err(Unanswered::from);
                    batch.decided.answers.push((index, answer));
                }
                Input::Task(task) => self.task(batch, task, &item.prepared, false),
                Input::Answer { task, again, .. } => self.task(batch, task, &item.prepared, *again),
            }
        }
        batch.items = items;
        let decided = &mut batch.decided;
        decided.due_calls = self.due_calls(decided, batch.now);
        decided.append.moves = decided
            .moves
            .iter()
            .map(|(place, to)| {
                let from = self.positions.get(place).copied().flatten();
                Move { topic: place.0, partition: place.1, from, to: *to }
            })
            .collect();
        // They move nothing, and fence whoever has lost them.
        for (place, next) in &self.positions {
            if let Some(next) = next.filter(|_| decided.compared.contains(&place.1))
                && !decided.moves.contains_key(place)
            {
                let (topic, partition) = *place;
                decided.append.moves.push(Move { topic, partition, from: Some(next), to: next });
            }
        }
        for (id, change) in &decided.tasks {
            match change {
                TaskWord::Set(owned) => decided.append.tasks.push(owned.clone()),
                TaskWord::Dropped => decided.append.tasks_done.push(DoneTask { id: *id, run: None }),
                TaskWord::Done(task) => {
                    decided.append.tasks_done.push(DoneTask { id: *id, run: Some(task.clone()) });
                }
            }
        }
    }

    fn task(&self, batch: &mut Batch<D>, task: &Task, prepared: &Prepared<D::Command>, again: bool) {
        let retry = |batch: &mut Batch<D>| {
            let owned = task::owned(task::retry(task, batch.now), self.settings.partitions);
            batch.decided.tasks.insert(task.id, TaskWord::Set(owned));
        };
        let calls = batch.decided.calls.len();
        match (task.kind.as_str(), prepared) {
            (task::RELEASE, _) => self.release(batch, task),
            (task::HOLD_LIMIT, _) => self.limit(batch, task),
            (_, Prepared::Command { command, told, .. }) => {
                match self.decide(batch, command, told, Some(task)) {
                    Ok(_) if batch.decided.calls.len() > calls => return,
                    // Before what this answer says of the task: whoever set it anew knows more than the answer.
                    Ok(_) if again => {
                        let now = Task { due_at: batch.now, ..task.clone() };
                        let owned = task::owned(now, self.settings.partitions);
                        batch.decided.tasks.insert(task.id, TaskWord::Set(owned));
                    }
                    Ok(_) if batch.decided.tasks.contains_key(&task.id) => {}
                    Ok(answer) => {
                        // Nothing was said about the task: done, unless the state owes it still.
                        let owed = self.decider.owes(&answer.stream, &answer.state);
                        if owed.iter().any(|owed| owed.kind == task.kind) {
                            retry(batch);
                        } else {
                            batch.decided.tasks.insert(task.id, TaskWord::Done(task.clone()));
                        }
                    }
                    Err(_) => {
                        batch.decided.counted.push("task-failed");
                        retry(batch);
                    }
                }
            }
            // A kind that this build does not know: a newer one wrote it.
            _ => retry(batch),
        }
        batch.decided.settled.push(task.id);
    }

    pub fn appended(&mut self, appended: &Appended) -> Step<D> {
        let Some(mut batch) = self.batch.take() else { return Step::Done(Outcome::default()) };
        match appended {
            Appended::Done { .. } | Appended::DoneBefore { .. } => Step::Done(self.committed(batch)),
            Appended::LogMoved { .. } => {
                batch.attempts += 1;
                batch.decided = Decided::default();
                batch.read.forget_rows();
                let crowded = batch.attempts > 2;
                if crowded {
                    self.cut(&mut batch);
                }
                self.batch = Some(batch);
                Step::Tail { after: self.seen, crowded }
            }
            Appended::Fenced => {
                let mut outcome = Outcome { fenced: true, attempts: batch.attempts, ..Outcome::default() };
                for input in batch.items.into_iter().map(|item| item.input).chain(batch.put_back) {
                    match input {
                        // They come again to whoever owns their partition: messages from the topic, tasks from the table.
                        Input::Message(_) | Input::Deadly(_) => {}
                        Input::Task(task) => outcome.settled.push(task.id),
                        Input::Asked(_) | Input::Answer { .. } => outcome.put_back.push(input),
                    }
                }
                Step::Done(outcome)
            }
        }
    }

    /// The last of what others appended; then the batch is decided again.
    pub fn tailed(&mut self, events: &[Recorded]) -> Step<D> {
        self.follow(events);
        self.advance()
    }

    /// What others appended, in order, from the position after [`Execute::seen`] on; more follows.
    pub fn follow(&mut self, events: &[Recorded]) {
        for recorded in events {
            self.fold_foreign(recorded);
            self.seen = recorded.position;
            self.seen_event = Some(recorded.event_id);
        }
    }

    fn fold_foreign(&mut self, recorded: &Recorded) {
        let Some(known) = self.cache.get(&recorded.stream) else { return };
        if recorded.version <= known.version {
            return;
        }
        let event = D::Event::decode(&recorded.event_type, &recorded.data);
        match event {
            Some(Ok(event)) if recorded.version == known.version + 1 => {
                let state = self.decider.evolve(known.state, &event);
                self.cache.put(recorded.stream.clone(), Folded { version: recorded.version, state });
            }
            // A version is missing, or cannot be read: the next load says how the stream stands.
            _ => self.cache.remove(&recorded.stream),
        }
    }

    fn committed(&mut self, mut batch: Batch<D>) -> Outcome<D> {
        let processed = self.processed(&mut batch);
        let replies = batch.replies();
        let decided = batch.decided;
        // Ours alone once the shell has let go of it.
        let append = Arc::unwrap_or_clone(batch.asked);
        self.cache.keep(decided.streams, |stream, folded| self.decider.goes_on(stream, &folded.state));
        if let Some(last) = append.events.last() {
            self.seen = last.position;
            self.seen_event = Some(last.event_id);
        }
        for (place, next) in &decided.moves {
            self.positions.insert(*place, Some(*next));
        }
        for (key, hold) in decided.holds {
            self.holds.set(key, hold);
        }
        let due = append.tasks.iter().filter(|owned| {
            let is_called = || decided.due_calls.iter().any(|(_, task)| task.id == owned.task.id);
            self.is_due(owned, batch.now) && !is_called()
        });
        Outcome {
            replies,
            due: due.map(|owned| owned.task.clone()).collect(),
            due_calls: decided.due_calls,
            recorded: append.events,
            letters: append.letters.len(),
            calls: decided.calls,
            settled: decided.settled,
            moved: decided.moves.into_iter().collect(),
            put_back: batch.put_back,
            fenced: false,
            counted: decided.counted,
            messages: decided.messages,
            duplicates: decided.duplicates,
            poison: decided.poison,
            processed,
            attempts: batch.attempts,
        }
    }
}
