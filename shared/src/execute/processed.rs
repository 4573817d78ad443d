//! What came of each input of a batch, told of after its commit for the spans. Nothing of it is done before, and nothing at all
//! in a build without the feature `otlp`.

use super::{batch::Batch, machine::Execute};
use crate::{decider::Decider, telemetry::spans::Began};

#[derive(Default)]
pub struct Processed {
    #[cfg(feature = "otlp")]
    came: Vec<drawn::Came>,
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
            Timestamp,
            dead_letter::DeadLetterCommand,
            envelope::{Headers, Raw},
            topics::Topic,
        },
        decider::Task,
        engine::inbox::Unanswered,
        execute::{batch::Item, prepare::Prepared, step::Input},
        log::{LetterChange, LetterStatus},
        telemetry::spans::{self, Fate, Message, Work},
    };

    /// Not read: that is done elsewhere.
    pub(super) enum Came {
        /// `key`: the id in `data`, as far as it was read.
        Message {
            raw: Raw,
            key: Option<String>,
            fate: Fate,
            since: Option<Timestamp>,
        },
        Redriven(Box<Redriven>),
        Asked {
            id: Uuid,
            traceparent: Option<String>,
            key: String,
            fate: Fate,
        },
    }

    pub(super) struct Redriven {
        by: Raw,
        died: Raw,
        again: Raw,
        fate: Fate,
    }

    impl Processed {
        pub fn tell(self, group: &'static str, began: Began) {
            let came = self.came;
            spans::tell(group, began, came.len(), move || came.into_iter().map(Came::work).collect());
        }
    }

    impl Came {
        fn work(self) -> Work {
            match self {
                Self::Message { raw, key, fate, since } => Work::Processed {
                    message: Message::of(&raw, key.as_deref()),
                    fate,
                    since: since.map(Into::into),
                },
                Self::Redriven(redriven) => {
                    let Redriven { by, died, again, fate } = *redriven;
                    let [by, died, again] = [by, died, again].map(|raw| Message::of(&raw, None));
                    Work::Redriven(Box::new(spans::Redriven { by, died, again, fate }))
                }
                Self::Asked { id, traceparent, key, fate } => Work::Asked { id, traceparent, key, fate },
            }
        }
    }

    impl Came {
        /// What both are said to have made the first of them made.
        fn repeated(mut self) -> Self {
            let fate = match &mut self {
                Self::Message { fate, .. } | Self::Asked { fate, .. } => fate,
                Self::Redriven(redriven) => &mut redriven.fate,
            };
            if let Fate::Done { .. } = fate {
                *fate = Fate::Duplicate;
            }
            self
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
            Self { dead: dead.collect(), held: held.collect(), made }
        }

        fn done(&self, id: Option<Uuid>) -> Fate {
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
            if !spans::are_on() {
                return Processed::default();
            }
            let said = Said::of(batch);
            let (mut next, mut gone, mut ids) = (HashMap::new(), HashSet::new(), HashSet::new());
            let mut came = Vec::with_capacity(batch.items.len());
            let mut items = std::mem::take(&mut batch.items);
            for (index, item) in items.iter_mut().enumerate() {
                match &mut item.input {
                    Input::Message(raw) | Input::Deadly(raw) => {
                        let place = (raw.topic, raw.partition);
                        // Not ours any more.
                        let Some(stored) = self.positions.get(&place) else { continue };
                        let before = next.insert(place, raw.offset + 1).or(*stored);
                        if before.is_some_and(|next| raw.offset < next) {
                            next.insert(place, before.unwrap_or_default());
                            came.push(message(raw, None, Fate::Duplicate));
                            continue;
                        }
                        let concerns = self.concerns(batch, &item.prepared);
                        let Some((id, key)) = concerns else { continue };
                        came.extend(self.redriven(batch, &said, raw, index, &item.prepared));
                        let Some(fate) = said.of_message(raw, id) else { continue };
                        let is_first = id.is_none_or(|id| ids.insert(id));
                        let done = message(raw, key, fate);
                        came.push(if is_first { done } else { done.repeated() });
                    }
                    Input::Asked(asked) => {
                        let (id, traceparent) = (asked.id, asked.traceparent.clone());
                        let is_first = ids.insert(id);
                        let asked = self.asked(batch, &said, index, item_command(item), id, traceparent);
                        came.extend(asked.map(|came| if is_first { came } else { came.repeated() }));
                    }
                    Input::Task(task) => came.extend(released(batch, &said, task, &mut gone)),
                    Input::Answer { .. } => {}
                }
            }
            batch.items = items;
            Processed { came }
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
        ) -> Option<Came> {
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
            Some(Came::Redriven(Box::new(Redriven { by: by.clone(), died, again, fate })))
        }

        fn asked(
            &self,
            batch: &Batch<D>,
            said: &Said,
            index: usize,
            command: Option<&D::Command>,
            id: Uuid,
            traceparent: Option<String>,
        ) -> Option<Came> {
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
            Some(Came::Asked { id, traceparent, key, fate })
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
    ) -> Vec<Came> {
        let rows = batch.read.held.get(task.stream.key()).into_iter().flatten();
        let rows = rows.filter(|row| batch.decided.unheld.contains(&row.id) && gone.insert(row.id));
        let came = rows.filter_map(|row| {
            let id = match batch.read.held_prepared.get(&row.id)? {
                Prepared::Command { told, .. } => Some(told.id),
                _ => None,
            };
            let (raw, key) = (row.held.raw.clone(), Some(row.held.key.clone()));
            let fate = said.of_message(&raw, id)?;
            Some(Came::Message { raw, key, fate, since: Some(row.held.held_at) })
        });
        came.collect()
    }

    /// Without a copy.
    fn message(raw: &mut Raw, key: Option<String>, fate: Fate) -> Came {
        let headers = std::mem::replace(&mut raw.headers, Headers::Unreadable);
        let raw = Raw { key: raw.key.take(), value: raw.value.take(), headers, ..raw.clone() };
        Came::Message { raw, key, fate, since: None }
    }
}
