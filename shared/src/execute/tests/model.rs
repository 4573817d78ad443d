//! A model of the database: the same compare and append, in memory.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::{
    consumer::Place,
    contract::{Timestamp, envelope::Recorded},
    decider::Decider,
    execute::{Execute, Fetch, Fetched, Input, Outcome, Step},
    log::{
        Append, Appended, HeldRow, HoldKind, KeyHeld, LetterChange, LetterRecord, LetterStatus, Load, Loaded,
        OwnedTask, StoredLetter,
    },
};

#[derive(Default)]
pub(super) struct Model {
    pub(super) log: Vec<Recorded>,
    pub(super) positions: HashMap<Place, i64>,
    pub(super) held: Vec<HeldRow>,
    pub(super) letters: Vec<LetterRecord>,
    pub(super) tasks: BTreeMap<Uuid, OwnedTask>,
    next_held: i64,
}

impl Model {
    pub(super) fn append(&mut self, append: &Append, now: Timestamp) -> Appended {
        let end = self.log.len() as i64;
        if append
            .moves
            .iter()
            .any(|step| self.positions.get(&(step.topic, step.partition)).copied() != step.from)
        {
            return Appended::Fenced;
        }
        if end != append.seen {
            return Appended::LogMoved { end };
        }
        for event in &append.events {
            assert_eq!(event.position, self.log.len() as i64 + 1, "gapless");
            let version = self.log.iter().filter(|known| known.stream == event.stream).count() as i64;
            assert_eq!(event.version, version + 1, "no version is appended twice");
            self.log.push(event.clone());
        }
        self.positions.extend(append.moves.iter().map(|step| ((step.topic, step.partition), step.to)));
        self.held.retain(|row| !append.unheld.contains(&row.id));
        for held in &append.held {
            self.next_held += 1;
            self.held.push(HeldRow { id: self.next_held, held: held.clone() });
        }
        self.letters.extend(append.letters.iter().cloned());
        for id in &append.tasks_done {
            self.tasks.remove(id);
        }
        self.tasks.extend(append.tasks.iter().map(|owned| (owned.task.id, owned.clone())));
        for begun in &append.begun {
            let early = |row: &HeldRow| row.held.key == begun.key && row.held.kind == HoldKind::TooEarly;
            if self.held.iter().any(early) {
                self.tasks.insert(begun.release.task.id, begun.release.clone());
            }
        }
        Appended::Done { now }
    }

    fn load(&self, load: &Load) -> Loaded {
        let of = |stream: &_| self.log.iter().filter(|event| event.stream == *stream).cloned().collect();
        Loaded {
            streams: load.streams.iter().map(|stream| (stream.clone(), None, of(stream))).collect(),
            identities: self
                .log
                .iter()
                .filter(|event| load.identities.contains(&event.event_id))
                .cloned()
                .collect(),
            positions: load
                .positions
                .iter()
                .filter_map(|position| Some((*position, self.log.get(*position as usize - 1)?.event_id)))
                .collect(),
        }
    }

    fn fetch(&self, fetch: &Fetch) -> Fetched {
        Fetched {
            letters: fetch.letters.iter().filter_map(|id| self.letter(*id)).collect(),
            held: self.held.iter().filter(|row| fetch.held_keys.contains(&row.held.key)).cloned().collect(),
            keys: fetch.held_keys.iter().map(|key| self.key_held(key)).collect(),
        }
    }

    pub(super) fn letter(&self, letter_id: Uuid) -> Option<StoredLetter> {
        let records: Vec<_> = self.letters.iter().filter(|record| record.letter_id == letter_id).collect();
        let LetterChange::Dead(letter) = &records.first()?.what else { return None };
        let statuses: Vec<LetterStatus> = records
            .iter()
            .filter_map(|record| match record.what {
                LetterChange::Status { status, .. } => Some(status),
                LetterChange::Dead(_) => None,
            })
            .collect();
        Some(StoredLetter {
            letter_id,
            letter: (**letter).clone(),
            redrives: statuses.iter().filter(|status| **status != LetterStatus::Discarded).count() as i32,
            status: statuses.last().copied(),
        })
    }

    pub(super) fn key_held(&self, key: &str) -> KeyHeld {
        let count =
            |kind| self.held.iter().filter(|row| row.held.key == key && row.held.kind == kind).count() as i64;
        let letter = self.letters.iter().rev().find_map(|record| {
            let stored = self.letter(record.letter_id)?;
            let holds = stored.letter.holds.as_ref().is_some_and(|(held, _)| held == key);
            (holds && !stored.status.is_some_and(LetterStatus::is_end)).then_some(record.letter_id)
        });
        KeyHeld {
            key: key.to_owned(),
            letter,
            too_early: count(HoldKind::TooEarly),
            behind: count(HoldKind::Behind),
            newer: count(HoldKind::Newer),
        }
    }

    /// One batch as the engine runs it. `before_append` may append behind the process's back.
    pub(super) fn run<D: Decider>(
        &mut self,
        execute: &mut Execute<D>,
        inputs: Vec<Input<D>>,
        now: Timestamp,
        mut before_append: impl FnMut(&mut Self),
    ) -> Outcome<D> {
        let mut step = execute.begin(inputs, now);
        loop {
            step = match step {
                Step::Done(outcome) => return outcome,
                Step::Fetch(fetch) => execute.fetched(self.fetch(&fetch)),
                Step::Load(load) => execute.loaded(self.load(&load)),
                Step::Append(append) => {
                    before_append(self);
                    let appended = self.append(&append, now);
                    execute.appended(&appended)
                }
                Step::Tail { after, .. } => execute.tailed(&self.log[after as usize..]),
            };
        }
    }
}
