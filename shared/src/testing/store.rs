//! A database of a service in memory: the seven tables, and `append` as `migrations/0002_append.sql` has it. The
//! tests of [`crate::log`] run both side by side and compare every answer; here the unit of work, its simulation and the
//! fuzz targets run without a server.
//!
//! A call is one moment. What happens between two of them, and what becomes of an answer, is the caller's affair.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::{
    consumer::Place,
    contract::{Timestamp, envelope::Recorded, ids::StreamName},
    decider::{Decider, Task},
    execute::{Execute, Fetch, Fetched, Input, Outcome, Step},
    log::{
        Append, Appended, DueTasks, HeldRow, HoldKind, KeyHeld, Lane, LetterChange, LetterRecord,
        LetterStatus, Load, Loaded, NumberedLetter, OwnedTask, Snapshot, StoreError, StoredLetter,
        StoredPosition,
    },
};

/// What stands in the tables. Read it as you like; only [`Store::append`] and the cursors change it.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub log: Vec<Recorded>,
    pub positions: BTreeMap<Place, i64>,
    /// Ascending by id.
    pub held: Vec<HeldRow>,
    /// The number of a record is its index plus one.
    pub letters: Vec<LetterRecord>,
    pub tasks: BTreeMap<Uuid, OwnedTask>,
    snapshots: HashMap<(StreamName, String), Snapshot>,
    cursors: HashMap<Lane, i64>,
    /// By stream: where in the log its events stand, in version order.
    streams: HashMap<StreamName, Vec<usize>>,
    next_held: i64,
}

impl Store {
    /// The end of the log.
    pub fn end(&self) -> i64 {
        self.log.len() as i64
    }

    /// # Errors
    /// [`StoreError::LogBehind`] and [`StoreError::LogDiffers`] where `append.seen` is not of this log,
    /// [`StoreError::VersionTaken`] where the log has an event of the stream and version,
    /// [`StoreError::Corrupt`] where one before it is missing.
    pub fn append(&mut self, append: &Append, now: Timestamp) -> Result<Appended, StoreError> {
        let (seen, end) = (append.seen, self.end());
        if end < seen {
            return Err(StoreError::LogBehind { seen, end });
        }
        let stands_there = self.log.get((seen - 1) as usize).map(|event| event.event_id);
        if append.seen_event.is_some_and(|event_id| stands_there.is_some_and(|there| there != event_id)) {
            return Err(StoreError::LogDiffers { seen });
        }
        let stands = |step: &crate::log::Move| self.positions.get(&(step.topic, step.partition)).copied();
        let going = append.moves.iter().any(|step| step.from != Some(step.to));
        if !append.events.is_empty()
            && append.moves.iter().all(|step| stands(step) >= Some(step.to))
            && self.log.get(seen as usize..seen as usize + append.events.len()) == Some(&append.events[..])
        {
            return Ok(Appended::DoneBefore { now });
        }
        if append.events.is_empty() && going && append.moves.iter().all(|step| stands(step) == Some(step.to))
        {
            return Ok(Appended::DoneBefore { now });
        }
        if append.moves.iter().any(|step| stands(step) != step.from) {
            return Ok(Appended::Fenced);
        }
        let waits = |id: &i64| self.held.iter().any(|row| row.id == *id);
        if end > seen || !append.unheld.iter().all(waits) {
            return Ok(Appended::LogMoved { end });
        }
        let is_taken = |event: &&Recorded| {
            self.streams.get(&event.stream).is_some_and(|versions| versions.len() as i64 >= event.version)
        };
        if let Some(event) = append.events.iter().find(is_taken) {
            return Err(StoreError::VersionTaken(format!("{} {}", event.stream, event.version)));
        }
        self.write(append)?;
        Ok(Appended::Done { now })
    }

    fn write(&mut self, append: &Append) -> Result<(), StoreError> {
        for event in &append.events {
            self.push(event.clone())?;
        }
        self.positions.extend(append.moves.iter().map(|step| ((step.topic, step.partition), step.to)));
        let unheld: HashSet<i64> = append.unheld.iter().copied().collect();
        self.held.retain(|row| !unheld.contains(&row.id));
        for held in &append.held {
            let place = |raw: &crate::contract::envelope::Raw| (raw.topic, raw.partition, raw.offset);
            // It keeps its place.
            if self.held.iter().all(|row| place(&row.held.raw) != place(&held.raw)) {
                self.next_held += 1;
                self.held.push(HeldRow { id: self.next_held, held: held.clone() });
            }
        }
        for record in &append.letters {
            // A letter dies once.
            let dead = |of: &LetterRecord| matches!(of.what, LetterChange::Dead(_));
            let died = |known: &LetterRecord| known.letter_id == record.letter_id && dead(known);
            if !dead(record) || !self.letters.iter().any(died) {
                self.letters.push(record.clone());
            }
        }
        for done in &append.tasks_done {
            let stands = self.tasks.get(&done.id).map(|owned| &owned.task);
            let same = |run: &Task| {
                stands.is_some_and(|task| {
                    (task.due_at, task.attempt, task.cause) == (run.due_at, run.attempt, run.cause)
                })
            };
            if done.run.as_ref().is_none_or(same) {
                self.tasks.remove(&done.id);
            }
        }
        // A task that is set anyhow goes before a release of the same id.
        for begun in &append.begun {
            let early = |row: &HeldRow| row.held.key == begun.key && row.held.kind == HoldKind::TooEarly;
            if self.held.iter().any(early) {
                self.tasks.insert(begun.release.task.id, begun.release.clone());
            }
        }
        self.tasks.extend(append.tasks.iter().map(|owned| (owned.task.id, owned.clone())));
        for snapshot in &append.snapshots {
            let key = (snapshot.stream.clone(), snapshot.fingerprint.clone());
            let known = self.snapshots.get(&key).map_or(0, |known| known.version);
            if known < snapshot.version {
                self.snapshots.insert(key, snapshot.clone());
            }
        }
        Ok(())
    }

    /// An event at the end of the log, whoever appends it.
    pub fn push(&mut self, event: Recorded) -> Result<(), StoreError> {
        assert_eq!(event.position, self.end() + 1, "events are numbered from the end of the log");
        let versions = self.streams.entry(event.stream.clone()).or_default();
        if event.version != versions.len() as i64 + 1 {
            let what = format!("{} version {} after {}", event.stream, event.version, versions.len());
            return Err(StoreError::Corrupt(what));
        }
        versions.push(self.log.len());
        self.log.push(event);
        Ok(())
    }

    /// The events of a stream after a version.
    pub fn stream(&self, stream: &StreamName, after: i64) -> Vec<Recorded> {
        let places = self.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        places[after as usize..].iter().map(|place| self.log[*place].clone()).collect()
    }

    pub fn load(&self, load: &Load) -> Loaded {
        let mut known = BTreeSet::new();
        let asked = load.streams.iter().filter(|stream| known.insert(stream.as_str()));
        let streams = asked.map(|stream| {
            let snapshot = self.snapshots.get(&(stream.clone(), load.fingerprint.clone())).cloned();
            let after = snapshot.as_ref().map_or(0, |snapshot| snapshot.version);
            (stream.clone(), snapshot, self.stream(stream, after))
        });
        let identity = |event: &&Recorded| {
            let of = |family: &str| event.event_type.starts_with(family);
            load.identities.contains(&event.event_id)
                && (of("fulfil.stock.received.") || of("fulfil.stock.adjusted."))
        };
        let position = |position: &i64| {
            let index = usize::try_from(*position - 1).ok()?;
            Some((*position, self.log.get(index)?.event_id))
        };
        let identities = match load.identities.is_empty() {
            true => Vec::new(),
            false => self.log.iter().filter(identity).cloned().collect(),
        };
        Loaded {
            streams: streams.collect(),
            identities,
            positions: load.positions.iter().filter_map(position).collect(),
        }
    }

    pub fn tail(&self, after: i64, limit: usize) -> Vec<Recorded> {
        self.log.iter().skip(after as usize).take(limit).cloned().collect()
    }

    /// Where these places stand, each of them.
    pub fn positions(&self, places: &[Place]) -> Vec<StoredPosition> {
        let stored = |place: &Place| StoredPosition {
            topic: place.0,
            partition: place.1,
            next: self.positions.get(place).copied(),
            starts: 0,
            attempt: None,
        };
        places.iter().map(stored).collect()
    }

    /// What a batch asks for, all of it at one moment.
    pub fn fetch(&self, fetch: &Fetch, limit_per_key: usize) -> Fetched {
        Fetched {
            letters: self.letters(&fetch.letters),
            keys: self.keys_held(&fetch.held_keys),
            held: self.held_messages(&fetch.held_keys, limit_per_key),
        }
    }

    /// The first that wait on each of these keys.
    pub fn held_messages(&self, keys: &[String], limit_per_key: usize) -> Vec<HeldRow> {
        let mut taken: HashMap<&str, usize> = keys.iter().map(|key| (key.as_str(), 0)).collect();
        let mut wanted = |row: &&HeldRow| {
            let Some(taken) = taken.get_mut(row.held.key.as_str()) else { return false };
            *taken += 1;
            *taken <= limit_per_key
        };
        self.held.iter().filter(|row| wanted(row)).cloned().collect()
    }

    /// The keys of these partitions that are held or have messages waiting.
    pub fn held_keys(&self, partitions: &[i32]) -> Vec<KeyHeld> {
        let waiting = self.held.iter().map(|row| (&row.held.key, row.held.key_partition));
        let holding = self.letters.iter().filter_map(|record| match &record.what {
            LetterChange::Dead(letter) => letter.holds.as_ref().map(|(key, partition)| (key, *partition)),
            LetterChange::Status { .. } => None,
        });
        let keys: BTreeSet<&String> = waiting
            .chain(holding)
            .filter(|(_, partition)| partitions.contains(partition))
            .map(|(key, _)| key)
            .collect();
        let held = keys.into_iter().map(|key| self.key_held(key));
        held.filter(|key| key.letter.is_some() || key.too_early + key.behind + key.newer > 0).collect()
    }

    /// How these keys stand, one answer for each.
    pub fn keys_held(&self, keys: &[String]) -> Vec<KeyHeld> {
        let keys: BTreeSet<&String> = keys.iter().collect();
        keys.into_iter().map(|key| self.key_held(key)).collect()
    }

    fn key_held(&self, key: &str) -> KeyHeld {
        let of = |kind| move |row: &&HeldRow| row.held.key == key && row.held.kind == kind;
        let count = |kind| self.held.iter().filter(of(kind)).count() as i64;
        // The oldest that is not done with.
        let letter = self.letters.iter().find_map(|record| {
            let LetterChange::Dead(letter) = &record.what else { return None };
            let holds = letter.holds.as_ref().is_some_and(|(held, _)| held == key);
            let ended = || self.status(record.letter_id).is_some_and(LetterStatus::is_end);
            (holds && !ended()).then_some(record.letter_id)
        });
        KeyHeld {
            key: key.to_owned(),
            letter,
            too_early: count(HoldKind::TooEarly),
            behind: count(HoldKind::Behind),
            newer: count(HoldKind::Newer),
        }
    }

    /// What the newest record of a letter says.
    fn status(&self, letter_id: Uuid) -> Option<LetterStatus> {
        let newest = self.letters.iter().rev().find(|record| record.letter_id == letter_id)?;
        match newest.what {
            LetterChange::Status { status, .. } => Some(status),
            LetterChange::Dead(_) => None,
        }
    }

    fn redrives(records: &[LetterRecord], letter_id: Uuid) -> usize {
        let redrive = |record: &&LetterRecord| {
            record.letter_id == letter_id
                && matches!(record.what, LetterChange::Status { status, .. } if status.is_redrive())
        };
        records.iter().filter(redrive).count()
    }

    /// Those of the asked letters that exist.
    pub fn letters(&self, letter_ids: &[Uuid]) -> Vec<StoredLetter> {
        letter_ids.iter().filter_map(|id| self.letter(*id)).collect()
    }

    pub fn letter(&self, letter_id: Uuid) -> Option<StoredLetter> {
        let letter = self.letters.iter().find_map(|record| match &record.what {
            LetterChange::Dead(letter) if record.letter_id == letter_id => Some((**letter).clone()),
            _ => None,
        })?;
        let redrives = Self::redrives(&self.letters, letter_id) as i32;
        Some(StoredLetter { letter_id, letter, redrives, status: self.status(letter_id) })
    }

    /// The records after a number, in order.
    pub fn letters_after(&self, number: i64, limit: usize) -> Vec<NumberedLetter> {
        let records = self.letters.iter().enumerate().skip(number as usize).take(limit);
        let numbered = records.map(|(index, record)| {
            let redrives = Self::redrives(&self.letters[..index], record.letter_id) as i64;
            let key = self.letter(record.letter_id).and_then(|stored| stored.letter.raw.key);
            NumberedLetter { number: index as i64 + 1, key, redrives, record: record.clone() }
        });
        numbered.collect()
    }

    pub fn letters_end(&self) -> i64 {
        self.letters.len() as i64
    }

    pub fn due_tasks(&self, asked: &DueTasks) -> Vec<OwnedTask> {
        let wanted = |owned: &&OwnedTask| {
            let waits = || {
                asked.waiting.contains(&owned.partition)
                    && asked.kinds_that_wait.contains(&owned.task.kind.as_str())
            };
            asked.partitions.contains(&owned.partition)
                && owned.task.due_at <= asked.until
                && !asked.running.contains(&owned.task.id)
                && !waits()
        };
        let mut due: Vec<OwnedTask> = self.tasks.values().filter(wanted).cloned().collect();
        due.sort_by_key(|owned| (owned.task.due_at, owned.task.id));
        due.truncate(asked.limit as usize);
        due
    }

    pub fn cursor(&self, lane: Lane) -> i64 {
        self.cursors.get(&lane).copied().unwrap_or_default()
    }

    /// Never backwards: false where the cursor is there already, or past it.
    pub fn advance_cursor(&mut self, lane: Lane, to: i64) -> bool {
        let cursor = self.cursors.entry(lane).or_default();
        let moves = *cursor < to;
        *cursor = (*cursor).max(to);
        moves
    }

    /// A crash of the server: the cursor, which is written without waiting for the disk, goes back by so much.
    pub fn forget_cursor(&mut self, lane: Lane, by: i64) {
        let cursor = self.cursors.entry(lane).or_default();
        *cursor = (*cursor - by).max(0);
    }

    /// One batch as the engine runs it. `before_append` may append behind the process's back.
    ///
    /// # Panics
    /// Where an append is refused as no database should be asked.
    pub fn run<D: Decider>(
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
                Step::Fetch(fetch) => execute.fetched(self.fetch(&fetch, usize::MAX)),
                Step::Load(load) => execute.loaded(self.load(&load)),
                Step::Append(append) => {
                    before_append(self);
                    match self.append(&append, now) {
                        Ok(appended) => execute.appended(&appended),
                        Err(StoreError::VersionTaken(what)) => {
                            execute.known_after_all().unwrap_or_else(|| panic!("{what}"))
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Tail { after, .. } => execute.tailed(&self.tail(after, usize::MAX)),
            };
        }
    }

    /// The log of a service as its decider's test memory, for what reads states and not rows.
    pub fn remembered<D: Decider + Clone>(&self, decider: D) -> Result<super::memory::Memory<D>, String> {
        super::memory::Memory::of_log(decider, &self.log)
    }
}
