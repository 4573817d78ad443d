//! What came of each input of a batch, told of after its commit for the spans. Nothing of it is done before, and nothing at all
//! in a build without the feature `otlp`.

use super::{batch::Batch, machine::Execute};
use crate::{decider::Decider, telemetry::spans::Began};

#[derive(Default)]
pub struct Processed {
    #[cfg(feature = "otlp")]
    work: Vec<crate::telemetry::spans::Work>,
}

#[cfg(not(feature = "otlp"))]
impl Processed {
    #[inline]
    pub fn tell(self, _: &'static str, _: Began) {}
}

#[cfg(not(feature = "otlp"))]
impl<D: Decider> Execute<D> {
    #[inline]
    pub(super) fn processed(&self, _: &mut Batch<D>) -> Processed {
        Processed::default()
    }
}

#[cfg(feature = "otlp")]
mod drawn {
    use std::collections::{HashMap, HashSet};

    use uuid::Uuid;

    use super::*;
    use crate::{
        contract::{
            dead_letter::DeadLetterCommand,
            envelope::{Headers, Raw},
            topics::Topic,
        },
        decider::Task,
        engine::inbox::Unanswered,
        execute::{batch::Item, prepare::Prepared, step::Input},
        log::{LetterChange, LetterStatus},
        telemetry::spans::{self, Fate, Incoming, Redriven, Size, Work},
    };

    impl Processed {
        pub fn tell(self, group: &'static str, began: Began) {
            let work = self.work;
            let size = Size { spans: work.len(), bytes: work.iter().map(Work::bytes).sum() };
            spans::tell(group, began, size, move || work);
        }
    }

    /// What both are said to have made the first of them made.
    fn repeated(fate: Fate) -> Fate {
        match fate {
            Fate::Done { .. } => Fate::Duplicate,
            fate => fate,
        }
    }

    type Spot = (Topic, i32, i64);

    fn spot(raw: &Raw) -> Spot {
        (raw.topic, raw.partition, raw.offset)
    }

    /// What the append says of messages.
    struct Said {
        /// Events by their cause; an entry also for what made nothing but tasks.
        made: HashMap<Uuid, usize>,
        /// Of the tasks and answers in the batch. What they made has the same cause, and that was committed before it owed
        /// them: if it is here as well, it has come again.
        earlier: HashSet<Uuid>,
        dead: HashMap<Spot, String>,
        held: HashSet<Spot>,
    }

    impl Said {
        fn of<D: Decider>(batch: &Batch<D>) -> Self {
            let append = &batch.asked;
            let mut made = HashMap::with_capacity(append.events.len());
            for event in &append.events {
                *made.entry(event.causation_id).or_default() += 1;
            }
            for owned in &append.tasks {
                made.entry(owned.task.cause).or_default();
            }
            let dead = append.letters.iter().filter_map(|record| match &record.what {
                LetterChange::Dead(letter) => Some((spot(&letter.raw), letter.code.clone())),
                LetterChange::Status { .. } => None,
            });
            let held = append.held.iter().map(|held| spot(&held.raw));
            let earlier = batch.items.iter().filter_map(|item| match &item.input {
                Input::Task(task) | Input::Answer { task, .. } => Some(task.cause),
                Input::Message(_) | Input::Deadly(_) | Input::Asked(_) => None,
            });
            Self { made, earlier: earlier.collect(), dead: dead.collect(), held: held.collect() }
        }

        fn done(&self, id: Option<Uuid>) -> Fate {
            if id.is_some_and(|id| self.earlier.contains(&id)) {
                return Fate::Duplicate;
            }
            let made = id.and_then(|id| self.made.get(&id)).copied();
            Fate::Done { events: made.unwrap_or_default(), is_cause: made.is_some() }
        }

        /// `None`: it waits, and is told of when it goes on.
        fn of_message(&self, raw: &Raw, id: Option<Uuid>) -> Option<Fate> {
            let spot = spot(raw);
            if self.held.contains(&spot) {
                return None;
            }
            Some(match self.dead.get(&spot) {
                Some(code) => Fate::Dead { code: code.clone() },
                None => self.done(id),
            })
        }
    }

    impl<D: Decider> Execute<D> {
        /// Takes the messages out of the batch, which needs them no more.
        pub(in crate::execute) fn processed(&self, batch: &mut Batch<D>) -> Processed {
            let work = if spans::are_on() { self.work(batch) } else { Vec::new() };
            Processed { work }
        }

        fn work(&self, batch: &mut Batch<D>) -> Vec<Work> {
            let said = Said::of(batch);
            let (mut next, mut gone, mut ids) = (HashMap::new(), HashSet::new(), HashSet::new());
            let mut work = Vec::with_capacity(batch.items.len());
            let mut items = std::mem::take(&mut batch.items);
            for (index, item) in items.iter_mut().enumerate() {
                match &mut item.input {
                    Input::Message(raw) | Input::Deadly(raw) => {
                        let place = (raw.topic, raw.partition);
                        // Not ours any more.
                        let Some(stored) = self.positions.get(&place) else { continue };
                        let before = next.get(&place).copied().or(*stored);
                        let is_before = before.is_some_and(|next| raw.offset < next);
                        if !is_before {
                            next.insert(place, raw.offset + 1);
                        }
                        let concerns = self.concerns(batch, &item.prepared);
                        let Some((id, key)) = concerns else { continue };
                        if is_before {
                            work.push(message(raw, key, Fate::Duplicate));
                            continue;
                        }
                        work.extend(self.redriven(batch, &said, raw, index, &item.prepared));
                        let Some(fate) = said.of_message(raw, id) else { continue };
                        let is_first = id.is_none_or(|id| ids.insert(id));
                        work.push(message(raw, key, if is_first { fate } else { repeated(fate) }));
                    }
                    Input::Asked(asked) => {
                        let (id, traceparent) = (asked.id, asked.traceparent.clone());
                        let is_first = ids.insert(id);
                        let decided = self.asked(batch, &said, index, item_command(item), id);
                        work.extend(decided.map(|(key, fate)| {
                            let fate = if is_first { fate } else { repeated(fate) };
                            Work::Asked { id, traceparent, key, fate }
                        }));
                    }
                    Input::Task(task) => work.extend(released(batch, &said, task, &mut gone)),
                    Input::Answer { .. } => {}
                }
            }
            batch.items = items;
            work
        }

        /// The ids of a message and of what it is about, as far as they are known. `None`: it does not concern us.
        fn concerns(
            &self,
            batch: &Batch<D>,
            prepared: &Prepared<D::Command>,
        ) -> Option<(Option<Uuid>, Option<String>)> {
            match prepared {
                Prepared::Nothing => None,
                Prepared::Dead { key, .. } => Some((None, key.clone())),
                Prepared::Newer { .. } => Some((None, None)),
                Prepared::Command { told, key, .. } => Some((Some(told.id), Some(key.clone()))),
                Prepared::Letter { told, .. } => Some((Some(told.id), None)),
                Prepared::Claimed { position, id, foreign } => match batch.read.positions.get(position) {
                    Some(ours) if ours == id => None,
                    _ => self.concerns(batch, foreign),
                },
            }
        }

        fn redriven(
            &self,
            batch: &Batch<D>,
            said: &Said,
            by: &Raw,
            index: usize,
            prepared: &Prepared<D::Command>,
        ) -> Option<Work> {
            let Prepared::Letter { command: command @ DeadLetterCommand::Redrive(_), .. } = prepared else {
                return None;
            };
            let letter_id = command.dead_letter_id();
            let died = batch.read.letters.get(&letter_id)?.as_ref()?.letter.raw.clone();
            let again = Raw { value: command.mended().or(died.value.clone()), ..died.clone() };
            let records = batch.asked.letters.iter().rev().filter(|record| record.letter_id == letter_id);
            let status = records.into_iter().find_map(|record| match &record.what {
                LetterChange::Status { status, .. } => Some(*status),
                LetterChange::Dead(_) => None,
            });
            let prepared = batch.read.redrive_prepared.get(&index);
            let id = prepared.and_then(|prepared| self.concerns(batch, prepared)?.0);
            // Without a record it was done with before.
            let fate = match status? {
                LetterStatus::Redriven => said.done(id),
                failed => Fate::Dead { code: failed.as_str().to_owned() },
            };
            Some(Work::Redriven(Box::new(Redriven { by: by.clone(), died, again, fate })))
        }

        /// The key of its stream, and what it came to.
        fn asked(
            &self,
            batch: &Batch<D>,
            said: &Said,
            index: usize,
            command: Option<&D::Command>,
            id: Uuid,
        ) -> Option<(String, Fate)> {
            let key = self.decider.streams(command?).first()?.key().to_owned();
            // Decided in the order of their items.
            let answers = &batch.decided.answers;
            let answer = answers.binary_search_by_key(&index, |(answered, _)| *answered).ok()?;
            let fate = match &answers.get(answer)?.1 {
                Ok(_) => said.done(Some(id)),
                Err(Unanswered::Refused(refusal)) => Fate::Refused { code: refusal.code.to_owned() },
                Err(Unanswered::Unavailable { .. }) => Fate::Refused { code: "unavailable".to_owned() },
                Err(Unanswered::Failed) => Fate::Refused { code: "failed".to_owned() },
            };
            Some((key, fate))
        }
    }

    fn item_command<D: Decider>(item: &Item<D>) -> Option<&D::Command> {
        match &item.prepared {
            Prepared::Command { command, .. } => Some(command),
            _ => None,
        }
    }

    /// What waited on the key of this task and has gone on.
    fn released<D: Decider>(
        batch: &Batch<D>,
        said: &Said,
        task: &Task,
        gone: &mut HashSet<i64>,
    ) -> Vec<Work> {
        let rows = batch.read.held.get(task.stream.key()).into_iter().flatten();
        let rows = rows.filter(|row| batch.decided.unheld.contains(&row.id) && gone.insert(row.id));
        let work = rows.filter_map(|row| {
            let id = match batch.read.held_prepared.get(&row.id)? {
                Prepared::Command { told, .. } => Some(told.id),
                _ => None,
            };
            let fate = said.of_message(&row.held.raw, id)?;
            let message = Incoming::Unread { raw: row.held.raw.clone(), key: Some(row.held.key.clone()) };
            Some(Work::Processed { message, fate, since: Some(row.held.held_at.into()) })
        });
        work.collect()
    }

    /// Without a copy.
    fn message(raw: &mut Raw, key: Option<String>, fate: Fate) -> Work {
        let headers = std::mem::replace(&mut raw.headers, Headers::Unreadable);
        let raw = Raw { key: raw.key.take(), value: raw.value.take(), headers, ..raw.clone() };
        Work::Processed { message: Incoming::Unread { raw, key }, fate, since: None }
    }

    #[cfg(test)]
    mod tests {
        use std::sync::Arc;

        use super::*;
        use crate::{
            consumer::Position,
            contract::{
                Timestamp,
                envelope::{Part, Recorded},
                ids::StreamName,
            },
            decider::{Due, Told, Via},
            execute::{
                batch::{Decided, Read},
                tests::{process, sample::Sample},
            },
            log::Append,
            task,
        };

        const PLACE: (Topic, i32) = (Topic::PaymentsEvents, 0);

        fn batch(items: Vec<Item<Sample>>, asked: Append) -> Batch<Sample> {
            Batch {
                now: Timestamp::UNIX_EPOCH,
                items,
                read: Read::default(),
                decided: Decided::default(),
                asked: Arc::new(asked),
                put_back: Vec::new(),
                attempts: 1,
            }
        }

        fn event(cause: Uuid) -> Recorded {
            Recorded {
                position: 1,
                stream: StreamName::parse("order-1").unwrap(),
                version: 1,
                event_id: Uuid::nil(),
                event_type: String::new(),
                data: String::new(),
                decision: Part { index: 1, count: 1 },
                correlation_id: Uuid::nil(),
                causation_id: cause,
                traceparent: None,
                recorded_at: Timestamp::UNIX_EPOCH,
            }
        }

        #[test]
        fn what_a_task_made_is_not_made_once_more_by_the_message_that_caused_both() {
            let [cause, other] = [7, 8].map(Uuid::from_u128);
            let told = Told {
                id: cause,
                at: Timestamp::UNIX_EPOCH,
                via: Via::Topic,
                correlation_id: None,
                traceparent: None,
            };
            let task = task::task(StreamName::parse("order-1").unwrap(), "deadline", Due::Now, 1, &told);
            let due = Item { input: Input::Task(task), prepared: Prepared::Nothing };
            let append = Append { events: vec![event(cause), event(other)], ..Append::default() };
            let said = Said::of(&batch(vec![due], append));
            assert!(matches!(said.done(Some(cause)), Fate::Duplicate));
            assert!(matches!(said.done(Some(other)), Fate::Done { events: 1, is_cause: true }));
        }

        #[test]
        fn a_message_that_is_read_again_is_told_only_where_it_concerns_us() {
            let mut execute = process(0);
            execute.assign(&[Position { place: PLACE, next: Some(5) }], &[]);
            let item = |offset, prepared| {
                let raw = Raw {
                    topic: PLACE.0,
                    partition: PLACE.1,
                    offset,
                    key: None,
                    value: None,
                    headers: Headers::Readable(Vec::new()),
                    timestamp_ms: 0,
                };
                Item { input: Input::Message(raw), prepared }
            };
            let newer = || Prepared::Newer { key: "1".to_owned() };
            // The last comes twice in this very batch.
            let items = vec![
                item(3, Prepared::Nothing),
                item(4, newer()),
                item(5, Prepared::Nothing),
                item(5, Prepared::Nothing),
                item(6, newer()),
                item(6, newer()),
            ];
            let work = execute.work(&mut batch(items, Append::default()));
            let fates = work.iter().map(|work| match work {
                Work::Processed { message: Incoming::Unread { raw, .. }, fate, .. } => {
                    (raw.offset, matches!(fate, Fate::Duplicate))
                }
                _ => panic!("messages only"),
            });
            assert_eq!(fates.collect::<Vec<_>>(), [(4, true), (6, false), (6, true)]);
        }
    }
}
