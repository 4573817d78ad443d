//! One command of the batch, decided over the working copy and folded onto it.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use uuid::Uuid;

use super::batch::{Batch, Decided, TaskWord};
use super::machine::Execute;
use crate::{
    contract::{
        Timestamp,
        envelope::{Part, Recorded},
        ids::{self, StreamName},
        message::Event,
    },
    decider::{self, Decider, Decision, Due, Existing, Folded, Refusal, Streams, Task, TaskChange, Told},
    engine::inbox::{Answer, Unanswered},
    log::{Begun, OwnedTask, Snapshot},
    task,
};

/// What a command came to.
pub(super) enum Verdict {
    Refused(Refusal),
    /// One of its streams holds an event that this build does not know.
    Unreadable,
    Panicked,
}

impl From<Verdict> for Unanswered {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Refused(refusal) => Self::Refused(refusal),
            Verdict::Unreadable => Self::Unavailable {
                detail: "the stream holds an event that is newer than this build".to_owned(),
                retry_after_seconds: 30,
            },
            Verdict::Panicked => Self::Failed,
        }
    }
}

impl<D: Decider> Execute<D> {
    /// Decides and folds. With a refusal the working copy is as before.
    pub(super) fn decide(
        &self,
        batch: &mut Batch<D>,
        command: &D::Command,
        told: &Told,
        task: Option<&Task>,
    ) -> Result<Answer<D>, Verdict> {
        let streams = self.decider.streams(command);
        if streams.iter().any(|stream| batch.read.unreadable.contains(stream)) {
            return Err(Verdict::Unreadable);
        }
        let Some(own) = streams.first() else { return Err(Verdict::Panicked) };
        let own_state = batch.decided.streams.get(own).map(|folded| folded.state.clone()).unwrap_or_default();
        let further = self.decider.further(command, &own_state);
        if further.iter().any(|stream| batch.read.unreadable.contains(stream)) {
            return Err(Verdict::Unreadable);
        }
        let missing: Vec<_> =
            further.into_iter().filter(|name| !batch.decided.streams.contains_key(name)).collect();
        if !missing.is_empty() {
            // The batch is decided again with them; what this one came to is thrown away.
            batch.read.further.extend(missing);
            return Err(Verdict::Unreadable);
        }
        let decided = &mut batch.decided;
        let existing = self
            .decider
            .identity(command, told)
            .and_then(|id| decided.appended_identities.get(&id).or_else(|| batch.read.identities.get(&id)))
            .cloned();
        // A bug in a domain is this message's failure, not the end of the process. Everything inside works on
        // copies, so there is nothing half done to clean up.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let seen = Streams::new(&decided.streams, existing.as_ref());
            let decision = self.decider.decide(&seen, command, told)?;
            let mut folded: Vec<(StreamName, Folded<D::State>)> = Vec::with_capacity(decision.events.len());
            for event in &decision.events {
                let known =
                    folded.iter().rev().find(|(stream, _)| *stream == event.stream).map(|(_, folded)| folded);
                let before =
                    known.or_else(|| decided.streams.get(&event.stream)).cloned().unwrap_or_default();
                let state = self.decider.evolve(before.state, &event.event);
                folded.push((event.stream.clone(), Folded { version: before.version + 1, state }));
            }
            Ok((decision, folded))
        }));
        let (decision, folded) = match outcome {
            Ok(Ok(both)) => both,
            Ok(Err(refusal)) => return Err(Verdict::Refused(refusal)),
            Err(_) => return Err(Verdict::Panicked),
        };

        self.change_tasks(decided, &folded, &decision.tasks, told);
        decided.counted.extend(decision.counted);
        if let Some(task) = task {
            decided.calls.extend(decision.calls.into_iter().map(|call| (call, task.clone())));
        }
        let count = decision.events.len();
        let correlation_id = correlation(own, told);
        let mut events = Vec::with_capacity(count);
        for (index, (event, (stream, after))) in decision.events.into_iter().zip(folded).enumerate() {
            let event_type = event.event.event_type();
            // The version, as the answers to several calls go back to one cause and may say the same again.
            let derived = || {
                let handler = format_args!("{}/{stream}/{}/{event_type}", D::NAME, after.version);
                ids::derived(told.id, handler, index)
            };
            let event_id = event.id.unwrap_or_else(derived);
            if event.id.is_some() {
                let existing =
                    Existing { stream: stream.clone(), version: after.version, event: event.event.clone() };
                decided.appended_identities.insert(event_id, existing);
            }
            decided.append.events.push(Recorded {
                position: self.seen + decided.append.events.len() as i64 + 1,
                stream: stream.clone(),
                version: after.version,
                event_id,
                event_type: event_type.to_owned(),
                data: event.event.data(),
                decision: Part { index: index as u16 + 1, count: count as u16 },
                correlation_id,
                causation_id: told.id,
                traceparent: told.traceparent.clone(),
                recorded_at: told.at,
            });
            self.begin_stream(decided, &stream, &after, told);
            self.snapshot(decided, &stream, &after);
            decided.streams.insert(stream, after);
            events.push(event.event);
        }
        let after = decided.streams.get(own).cloned().unwrap_or_default();
        Ok(Answer { stream: own.clone(), version: after.version, state: after.state, events, existing })
    }

    /// Tasks are a function of the state: what it newly owes is added, what it owes no more is dropped, and then
    /// what the decision says by hand.
    fn change_tasks(
        &self,
        decided: &mut Decided<D>,
        folded: &[(StreamName, Folded<D::State>)],
        by_hand: &[TaskChange],
        told: &Told,
    ) {
        let mut seen = HashSet::new();
        for (stream, after) in folded.iter().rev().filter(|(stream, _)| seen.insert(stream.clone())) {
            let before = decided.streams.get(stream).map(|folded| self.decider.owes(stream, &folded.state));
            let (before, after) = (before.unwrap_or_default(), self.decider.owes(stream, &after.state));
            for owed in after.iter().filter(|owed| before.iter().all(|old| old.kind != owed.kind)) {
                self.set_task(decided, stream.clone(), owed.kind, owed.due, 1, told);
            }
            for old in before.iter().filter(|old| after.iter().all(|owed| owed.kind != old.kind)) {
                decided.tasks.insert(task::task_id(stream, old.kind), TaskWord::Dropped);
            }
        }
        for change in by_hand {
            match change {
                TaskChange::Set { stream, kind, due, attempt } => {
                    self.set_task(decided, stream.clone(), kind, *due, *attempt, told);
                }
                TaskChange::Drop { stream, kind } => {
                    drop(decided.tasks.insert(task::task_id(stream, kind), TaskWord::Dropped))
                }
            }
        }
    }

    /// The calls that the batch owes at once, over the state that it leaves: they are made after its commit and not after
    /// one more, which would say nothing. Whatever else a due task comes to is decided like any other input.
    pub(super) fn due_calls(&self, decided: &Decided<D>, now: Timestamp) -> Vec<(D::Call, Task)> {
        let due = decided.tasks.values().filter_map(|word| match word {
            TaskWord::Set(owned) if self.is_due(owned, now) => Some(&owned.task),
            _ => None,
        });
        due.filter_map(|task| Some((self.only_call(decided, task, now)?, task.clone()))).collect()
    }

    fn only_call(&self, decided: &Decided<D>, task: &Task, now: Timestamp) -> Option<D::Call> {
        let command = self.decider.due(task)?;
        let told = Told::of_task(task, now);
        let streams = self.decider.streams(&command);
        let own = decided.streams.get(streams.first()?)?;
        let mut needed = streams.iter().cloned().chain(self.decider.further(&command, &own.state));
        if !needed.all(|stream| decided.streams.contains_key(&stream))
            || self.decider.identity(&command, &told).is_some()
        {
            return None;
        }
        let seen = Streams::new(&decided.streams, None);
        // A panic is the task's failure, when it is decided alone.
        let decision = catch_unwind(AssertUnwindSafe(|| self.decider.decide(&seen, &command, &told)));
        let Decision { events, tasks, mut calls, counted } = decision.ok()?.ok()?;
        let call = calls.pop()?;
        let is_all = events.is_empty() && tasks.is_empty() && calls.is_empty() && counted.is_none();
        is_all.then_some(call)
    }

    /// Whether a task may run now, and here.
    pub(super) fn is_due(&self, owned: &OwnedTask, now: Timestamp) -> bool {
        owned.task.due_at <= now && self.owns_partition(owned.partition)
    }

    pub(super) fn set_task(
        &self,
        decided: &mut Decided<D>,
        stream: StreamName,
        kind: &str,
        due: Due,
        attempt: i32,
        told: &Told,
    ) {
        let task = task::task(stream, kind, due, attempt, told);
        decided.tasks.insert(task.id, TaskWord::Set(task::owned(task, self.settings.partitions)));
    }

    /// Whoever holds messages for a stream that begins must hear of it, on whichever replica it begins.
    fn begin_stream(
        &self,
        decided: &mut Decided<D>,
        stream: &StreamName,
        after: &Folded<D::State>,
        told: &Told,
    ) {
        let Some(hold) = task::hold_stream(stream.key()).filter(|_| after.version == 1) else { return };
        let release = task::task(hold, task::RELEASE, Due::Now, 1, told);
        let release = task::owned(release, self.settings.partitions);
        if self.hold(decided, stream.key()).too_early > 0 {
            decided.tasks.insert(release.task.id, TaskWord::Set(release.clone()));
        }
        decided.append.begun.push(Begun { key: stream.key().to_owned(), release });
    }

    fn snapshot(&self, decided: &mut Decided<D>, stream: &StreamName, after: &Folded<D::State>) {
        if after.version % self.settings.snapshot_every != 0 || !self.decider.snapshots(stream) {
            return;
        }
        // A snapshot is a copy: without it the stream is folded from its events.
        if let Ok(state) = serde_json::to_string(&after.state) {
            decided.append.snapshots.push(Snapshot {
                stream: stream.clone(),
                version: after.version,
                fingerprint: D::FINGERPRINT.to_owned(),
                state,
            });
        }
    }

    /// Decodes what was read. `None`: an event that this build cannot read.
    pub(super) fn fold_read(
        &self,
        snapshot: Option<&Snapshot>,
        events: &[Recorded],
    ) -> Option<Folded<D::State>> {
        let mut folded = match snapshot {
            Some(snapshot) => {
                Folded { version: snapshot.version, state: serde_json::from_str(&snapshot.state).ok()? }
            }
            None => Folded::default(),
        };
        for recorded in events {
            let event = D::Event::decode(&recorded.event_type, &recorded.data)?.ok()?;
            folded.state = decider::fold(&*self.decider, folded.state, [&event]);
            folded.version = recorded.version;
        }
        Some(folded)
    }
}

/// The order that a message is about, where it is about one; else what its sender said.
fn correlation(own: &StreamName, told: &Told) -> Uuid {
    let said = told.correlation_id;
    Uuid::try_parse(own.key()).ok().or(said).unwrap_or(told.id)
}
