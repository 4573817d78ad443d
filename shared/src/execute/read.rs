//! What a batch reads before it decides: letters and held messages, then the streams that are not cached.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    batch::Batch,
    machine::Execute,
    prepare::{Prepared, prepare},
    step::{Fetch, Fetched, Input, Outcome, Step},
};
use crate::{
    contract::{dead_letter::DeadLetterCommand, envelope::Raw, message::Event},
    decider::{Decider, Existing, Folded},
    failure::KeyHold,
    log::{KeyHeld, Load, Loaded},
    task,
};

impl<D: Decider> Execute<D> {
    pub fn fetched(&mut self, fetched: Fetched) -> Step<D> {
        self.set_holds(&fetched.keys);
        let Some(batch) = &mut self.batch else { return Step::Done(Outcome::default()) };
        for stored in fetched.letters {
            batch.read.letters.insert(stored.letter_id, Some(stored));
        }
        let mut read: HashMap<&str, i64> = HashMap::new();
        for row in &fetched.held {
            *read.entry(row.held.key.as_str()).or_default() += 1;
        }
        let more = |key: &&KeyHeld| {
            key.too_early + key.behind + key.newer > read.get(key.key.as_str()).copied().unwrap_or(0)
        };
        batch.read.held_more.extend(fetched.keys.iter().filter(more).map(|key| key.key.clone()));
        for row in fetched.held {
            let prepared = prepare(&*self.decider, &row.held.raw, self.settings.mode, batch.now);
            batch.read.held_prepared.insert(row.id, prepared);
            batch.read.held.entry(row.held.key.clone()).or_default().push(row);
        }
        for (index, item) in batch.items.iter().enumerate() {
            let Prepared::Letter { command: command @ DeadLetterCommand::Redrive(redrive), .. } =
                &item.prepared
            else {
                continue;
            };
            let Some(Some(stored)) = batch.read.letters.get(&redrive.dead_letter_id) else { continue };
            let value = command.mended().or(stored.letter.raw.value.clone());
            let raw = Raw { value, ..stored.letter.raw.clone() };
            let prepared = prepare(&*self.decider, &raw, self.settings.mode, batch.now);
            batch.read.redrive_prepared.insert(index, prepared);
        }
        self.advance()
    }

    pub(super) fn set_holds(&mut self, held: &[KeyHeld]) {
        for key in held {
            let count = |count: i64| usize::try_from(count).unwrap_or_default();
            let hold = KeyHold {
                letter: key.letter,
                too_early: count(key.too_early),
                behind: count(key.behind),
                newer: count(key.newer),
            };
            self.holds.set(key.key.clone(), hold);
        }
    }

    pub fn loaded(&mut self, loaded: Loaded) -> Step<D> {
        let Some(mut batch) = self.batch.take() else { return Step::Done(Outcome::default()) };
        if !loaded.streams.is_empty() {
            let is_new =
                |(_, snapshot, events): &(_, Option<_>, Vec<_>)| snapshot.is_none() && events.is_empty();
            self.expects_new = loaded.streams.iter().all(is_new);
        }
        for (stream, snapshot, events) in &loaded.streams {
            match self.fold_read(snapshot.as_ref(), events) {
                Some(folded) => {
                    self.cache.put(stream.clone(), folded.clone());
                    batch.decided.streams.insert(stream.clone(), folded);
                }
                None => drop(batch.read.unreadable.insert(stream.clone())),
            }
        }
        for recorded in &loaded.identities {
            if let Some(Ok(event)) = D::Event::decode(&recorded.event_type, &recorded.data) {
                let existing = Existing { stream: recorded.stream.clone(), version: recorded.version, event };
                batch.read.identities.insert(recorded.event_id, existing);
            }
        }
        batch.read.positions.extend(loaded.positions);
        self.batch = Some(batch);
        self.advance()
    }

    /// Copies what is cached into the batch and names what is not. Where nothing else is missing than streams that commands
    /// are about, and what was looked for last was new, these are assumed to be new.
    pub(super) fn missing_streams(&mut self, batch: &mut Batch<D>) -> Option<Load> {
        let mut load = Load { fingerprint: D::FINGERPRINT.to_owned(), ..Load::default() };
        let mut asked = HashSet::new();
        let mut own = Vec::new();
        let held = batch.read.held_prepared.values();
        let prepared = batch.items.iter().map(|item| &item.prepared);
        for prepared in prepared.chain(held).chain(batch.read.redrive_prepared.values()) {
            let command = match prepared {
                Prepared::Claimed { position, id: _, foreign } => {
                    if !batch.read.positions.contains_key(position) {
                        load.positions.push(*position);
                    }
                    &**foreign
                }
                prepared => prepared,
            };
            let Prepared::Command { command, told, .. } = command else { continue };
            for (index, stream) in self.decider.streams(command).into_iter().enumerate() {
                if batch.decided.streams.contains_key(&stream)
                    || batch.read.unreadable.contains(&stream)
                    || asked.contains(&stream)
                {
                    continue;
                }
                match self.cache.get(&stream) {
                    Some(folded) => drop(batch.decided.streams.insert(stream, folded)),
                    None => {
                        asked.insert(stream.clone());
                        if index == 0 { &mut own } else { &mut load.streams }.push(stream);
                    }
                }
            }
            if let Some(id) = self.decider.identity(command, told)
                && batch.read.asked_identities.insert(id)
            {
                load.identities.push(id);
            }
        }
        for stream in batch.read.further.iter().cloned().collect::<Vec<_>>() {
            let known =
                batch.decided.streams.contains_key(&stream) || batch.read.unreadable.contains(&stream);
            if known || asked.contains(&stream) {
                continue;
            }
            match self.cache.get(&stream) {
                Some(folded) => drop(batch.decided.streams.insert(stream, folded)),
                None => load.streams.push(stream),
            }
        }
        // A position that the log does not have is answered by its absence; it is not asked twice.
        for position in &load.positions {
            batch.read.positions.insert(*position, Uuid::nil());
        }
        let is_empty = load.streams.is_empty() && load.identities.is_empty() && load.positions.is_empty();
        if is_empty && self.expects_new {
            for stream in own.iter().cloned() {
                batch.decided.streams.insert(stream, Folded::default());
            }
            batch.decided.assumed_new.extend(own);
            return None;
        }
        let nothing = is_empty && own.is_empty();
        load.streams.extend(own);
        (!nothing).then_some(load)
    }
}

/// Letters and held messages that the batch is about and that were not read yet.
pub(super) fn missing_rows<D: Decider>(batch: &mut Batch<D>) -> Option<Fetch> {
    let mut fetch = Fetch::default();
    for item in &batch.items {
        match (&item.input, &item.prepared) {
            (_, Prepared::Letter { command, .. }) => {
                let id = command.dead_letter_id();
                if let std::collections::hash_map::Entry::Vacant(vacant) = batch.read.letters.entry(id) {
                    vacant.insert(None);
                    fetch.letters.push(id);
                }
            }
            (Input::Task(task), _) if [task::RELEASE, task::HOLD_LIMIT].contains(&task.kind.as_str()) => {
                let key = task.stream.key().to_owned();
                if !batch.read.held.contains_key(&key) {
                    batch.read.held.insert(key.clone(), Vec::new());
                    fetch.held_keys.push(key);
                }
            }
            _ => {}
        }
    }
    (fetch != Fetch::default()).then_some(fetch)
}
