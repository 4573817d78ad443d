//! What becomes of messages that are not simply done: holds, their release, dead letters and their redrive.

use uuid::Uuid;

use super::{
    batch::{Batch, Decided, TaskWord},
    decide::Verdict,
    machine::Execute,
    prepare::Prepared,
};
use crate::{
    contract::{dead_letter::DeadLetterCommand, envelope::Raw, topics::partition_of},
    decider::{Class, Decider, Due, Task, Told},
    failure::{self, Failure, KeyHold, Poison, REDRIVES_MAX},
    log::{Held, HeldRow, HoldKind, LetterChange, LetterRecord, LetterStatus, Stage},
    task,
};

const UNKNOWN_ORDER: &str = "unknown-order";

/// What a message came to.
enum Fate {
    Done,
    Held { kind: HoldKind, key: String },
    Dead { failure: Failure, key: Option<String> },
}

impl<D: Decider> Execute<D> {
    /// A message from a topic.
    pub(super) fn message(
        &self,
        batch: &mut Batch<D>,
        raw: &Raw,
        prepared: &Prepared<D::Command>,
        index: usize,
    ) {
        let fate = match prepared {
            Prepared::Letter { command, told } => self.letter_command(batch, command, told, index),
            prepared => self.fate(batch, prepared, true),
        };
        match fate {
            Fate::Done => {}
            Fate::Held { kind, key } => self.add_held(batch, raw.clone(), kind, key),
            Fate::Dead { failure, key } => self.add_letter(batch, raw, &failure, key),
        }
    }

    /// Decides a message. `waits`: whether it queues behind a hold of its key.
    fn fate(&self, batch: &mut Batch<D>, prepared: &Prepared<D::Command>, waits: bool) -> Fate {
        match prepared {
            Prepared::Nothing | Prepared::Letter { .. } => Fate::Done,
            Prepared::Dead { failure, key } => Fate::Dead { failure: failure.clone(), key: key.clone() },
            Prepared::Newer { key } => Fate::Held { kind: HoldKind::Newer, key: key.clone() },
            Prepared::Claimed { position, id, foreign } => match batch.read.positions.get(position) {
                Some(ours) if ours == id => Fate::Done,
                _ => self.fate(batch, foreign, waits),
            },
            Prepared::Command { command, told, key } => {
                if waits && self.hold(&batch.decided, key).blocks() {
                    return Fate::Held { kind: HoldKind::Behind, key: key.clone() };
                }
                let told = Told { at: batch.now, ..told.clone() };
                let (failure, key) = match self.decide(batch, command, &told, None) {
                    Ok(_) => return Fate::Done,
                    Err(Verdict::Unreadable) => {
                        return Fate::Held { kind: HoldKind::Newer, key: key.clone() };
                    }
                    Err(Verdict::Panicked) => {
                        (Failure::failed("panicked", "deciding this message panicked"), key)
                    }
                    Err(Verdict::Refused(refusal)) => match refusal.class {
                        Class::TooEarly => return Fate::Held { kind: HoldKind::TooEarly, key: key.clone() },
                        Class::Refused => (Failure::refused(Stage::Decide, &refusal), key),
                        Class::Malformed => (Failure::refused(Stage::Validate, &refusal), key),
                        Class::Impossible => {
                            batch.decided.counted.push("impossible-message");
                            (Failure::failed(refusal.code, refusal.detail), key)
                        }
                    },
                };
                Fate::Dead { failure, key: Some(key.clone()) }
            }
        }
    }

    fn add_held(&self, batch: &mut Batch<D>, raw: Raw, kind: HoldKind, key: String) {
        let mut hold = self.hold(&batch.decided, &key);
        if kind == HoldKind::TooEarly && hold.too_early == 0 {
            self.limit_hold(batch, &key, batch.now + self.settings.hold_limit);
        }
        if kind == HoldKind::Behind && hold.letter.is_none() && hold.newer == 0 {
            // What it waits behind may be gone from the database by now, with the task that releases.
            self.release_soon(batch, &key);
        }
        hold.add(kind);
        let key_partition = self.partition(&key);
        batch.decided.append.held.push(Held {
            key: key.clone(),
            key_partition,
            kind,
            raw,
            held_at: batch.now,
        });
        batch.decided.holds.insert(key, hold);
    }

    fn add_letter(&self, batch: &mut Batch<D>, raw: &Raw, failure: &Failure, key: Option<String>) {
        let holds = key.clone().map(|key| (key.clone(), self.partition(&key)));
        let record = failure::dead(D::NAME, raw, failure, holds.clone(), batch.now);
        if let Some((key, _)) = holds.filter(|_| failure.holds) {
            let hold = KeyHold { letter: Some(record.letter_id), ..self.hold(&batch.decided, &key) };
            batch.decided.holds.insert(key, hold);
        }
        batch.decided.poison.push(Poison::new(&failure.code, record.letter_id, raw, key));
        batch.decided.append.letters.push(record);
    }

    /// How a key stands in the working copy.
    pub(super) fn hold(&self, decided: &Decided<D>, key: &str) -> KeyHold {
        decided.holds.get(key).cloned().unwrap_or_else(|| self.holds.get(key))
    }

    fn partition(&self, key: &str) -> i32 {
        partition_of(key.as_bytes(), self.settings.partitions)
    }

    fn limit_hold(&self, batch: &mut Batch<D>, key: &str, at: crate::contract::Timestamp) {
        let Some(stream) = task::hold_stream(key) else { return };
        let told = task::told_by_hold(D::NAME, key, batch.now);
        self.set_task(&mut batch.decided, stream, task::HOLD_LIMIT, Due::At(at), 1, &told);
    }

    fn release_soon(&self, batch: &mut Batch<D>, key: &str) {
        let Some(stream) = task::hold_stream(key) else { return };
        let told = task::told_by_hold(D::NAME, key, batch.now);
        self.set_task(&mut batch.decided, stream, task::RELEASE, Due::Now, 1, &told);
    }

    /// Processes what is held on a key, in order, until one of them must hold the key again.
    pub(super) fn release(&self, batch: &mut Batch<D>, task: &Task) {
        batch.decided.tasks.insert(task.id, TaskWord::Done(task.clone()));
        let key = task.stream.key().to_owned();
        batch.decided.compared.insert(self.partition(&key));
        let rows = batch.read.held.get(&key).cloned().unwrap_or_default();
        let mut stopped = false;
        for row in &rows {
            let hold = self.hold(&batch.decided, &key);
            let waits = hold.letter.is_some() && row.held.kind != HoldKind::TooEarly;
            if waits || stopped || batch.decided.unheld.contains(&row.id) {
                continue;
            }
            let Some(prepared) = batch.read.held_prepared.get(&row.id).cloned() else { continue };
            match self.fate(batch, &prepared, false) {
                Fate::Done => self.unhold(batch, row),
                Fate::Held { kind: HoldKind::Newer, .. } => stopped = true,
                Fate::Held { kind, key } if kind != row.held.kind => {
                    self.unhold(batch, row);
                    self.add_held(batch, row.held.raw.clone(), kind, key);
                }
                Fate::Held { .. } => {}
                Fate::Dead { failure, key } => {
                    self.unhold(batch, row);
                    self.add_letter(batch, &row.held.raw, &failure, key);
                }
            }
        }
        let hold = self.hold(&batch.decided, &key);
        let more = batch.read.held_more.contains(&key);
        // More wait than are read at once. Where none of these went, the next release would be the same again.
        let goes_on = more && rows.iter().any(|row| batch.decided.unheld.contains(&row.id));
        // Held in this very batch, after the rows were read.
        let behind_nothing = !more && hold.letter.is_none() && hold.behind > 0;
        if (goes_on || behind_nothing) && !stopped {
            self.release_soon(batch, &key);
        }
        if hold.too_early == 0 {
            self.drop_limit(batch, &key);
        }
    }

    /// Gives up on what was too early for longer than the limit.
    pub(super) fn limit(&self, batch: &mut Batch<D>, task: &Task) {
        batch.decided.tasks.insert(task.id, TaskWord::Done(task.clone()));
        let key = task.stream.key().to_owned();
        batch.decided.compared.insert(self.partition(&key));
        let rows = batch.read.held.get(&key).cloned().unwrap_or_default();
        let early = rows.into_iter().filter(|row| row.held.kind == HoldKind::TooEarly);
        let (mut next, mut gone) = (None, false);
        for row in early.filter(|row| !batch.decided.unheld.contains(&row.id)).collect::<Vec<_>>() {
            let until = row.held.held_at + self.settings.hold_limit;
            if until > batch.now {
                next = Some(next.map_or(until, |next: crate::contract::Timestamp| next.min(until)));
                continue;
            }
            let message = format!("its cause did not arrive within {} s", self.settings.hold_limit.as_secs());
            let failure =
                Failure { stage: Stage::Hold, code: UNKNOWN_ORDER.to_owned(), message, holds: false };
            self.unhold(batch, &row);
            self.add_letter(batch, &row.held.raw, &failure, None);
            gone = true;
        }
        if gone && batch.read.held_more.contains(&key) {
            // More are held than are read at once, and the next may have waited as long.
            self.limit_hold(batch, &key, batch.now);
        } else if let Some(next) = next {
            self.limit_hold(batch, &key, next);
        } else if self.hold(&batch.decided, &key).too_early > 0 {
            // Held in this very batch.
            self.limit_hold(batch, &key, batch.now + self.settings.hold_limit);
        }
    }

    fn unhold(&self, batch: &mut Batch<D>, row: &HeldRow) {
        let mut hold = self.hold(&batch.decided, &row.held.key);
        hold.remove(row.held.kind);
        batch.decided.holds.insert(row.held.key.clone(), hold);
        batch.decided.unheld.insert(row.id);
        batch.decided.append.unheld.push(row.id);
    }

    fn drop_limit(&self, batch: &mut Batch<D>, key: &str) {
        if let Some(stream) = task::hold_stream(key) {
            batch.decided.tasks.insert(task::task_id(&stream, task::HOLD_LIMIT), TaskWord::Dropped);
        }
    }

    /// Redrive or discard. What an operator asks of a letter that is done with changes nothing.
    fn letter_command(
        &self,
        batch: &mut Batch<D>,
        command: &DeadLetterCommand,
        told: &Told,
        index: usize,
    ) -> Fate {
        let letter_id = command.dead_letter_id();
        let known = batch.decided.letters.get(&letter_id).cloned();
        let Some(mut stored) = known.or_else(|| batch.read.letters.get(&letter_id).cloned().flatten()) else {
            let message = format!("{} has no dead letter {letter_id}", D::NAME);
            let code = "unknown-dead-letter".to_owned();
            return Fate::Dead {
                failure: Failure { stage: Stage::Decide, code, message, holds: false },
                key: None,
            };
        };
        if stored.status.is_some_and(LetterStatus::is_end) {
            return Fate::Done;
        }
        let (status, by, reason) = match command {
            DeadLetterCommand::Discard(discard) => {
                (LetterStatus::Discarded, discard.by.clone(), discard.reason.clone())
            }
            DeadLetterCommand::Redrive(redrive) => {
                stored.redrives += 1;
                let prepared = batch.read.redrive_prepared.get(&index).cloned().unwrap_or(Prepared::Nothing);
                let (status, reason) = match self.fate(batch, &prepared, false) {
                    Fate::Done => (LetterStatus::Redriven, redrive.reason.clone()),
                    fate => {
                        let end = stored.redrives >= REDRIVES_MAX;
                        let status = if end { LetterStatus::Parked } else { LetterStatus::FailedAgain };
                        (status, format!("{}: {}", redrive.reason, again(&fate)))
                    }
                };
                (status, redrive.by.clone(), reason)
            }
        };
        stored.status = Some(status);
        let holds = stored.letter.holds.clone();
        batch.decided.letters.insert(letter_id, stored);
        let what = LetterChange::Status { status, by, reason, mended: command.mended() };
        batch.decided.append.letters.push(LetterRecord { letter_id, recorded_at: told.at, what });
        if let Some((key, _)) = holds.filter(|_| status.is_end()) {
            self.resolve(batch, &key, letter_id);
        }
        Fate::Done
    }

    /// The letter holds its key no longer: what waits behind it goes on, in order.
    fn resolve(&self, batch: &mut Batch<D>, key: &str, letter_id: Uuid) {
        let mut hold = self.hold(&batch.decided, key);
        if hold.letter == Some(letter_id) {
            hold.letter = None;
            batch.decided.holds.insert(key.to_owned(), hold);
        }
        self.release_soon(batch, key);
    }
}

/// Why a redrive changed nothing, for the record of it.
fn again(fate: &Fate) -> String {
    match fate {
        Fate::Done => String::new(),
        Fate::Held { kind, .. } => format!("failed again, {}", kind.as_str()),
        Fate::Dead { failure, .. } => format!("failed again, {}: {}", failure.code, failure.message),
    }
}
