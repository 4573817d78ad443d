//! One batch: what its messages do to the rows, to the holds and to the positions. No I/O: it is given the rows
//! that its messages touch, and what it makes is committed whole or thrown away.

use std::{
    collections::{BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use shared::{
    contract::{
        Timestamp,
        dead_letter::{DeadLetterCommand, dead_letter_id},
        envelope::{Mode, Raw},
        ids::StreamName,
    },
    failure::{Failure, Holds, KeyHold, Poison, REDRIVES_MAX, dead},
    log::{
        Append, Held, HeldRow, HoldKind, Letter, LetterChange, LetterRecord, LetterStatus, Stage,
        StoredLetter,
    },
};
use uuid::Uuid;

use crate::{
    intake::{self, GROUP, Heard, Unread},
    live::Seen,
    view::{
        invariant,
        rows::{Fact, RowId, Rows},
        source::Step,
    },
};

/// A message with what it says.
#[derive(Debug, Clone)]
pub struct Taken {
    pub raw: Raw,
    pub read: Result<Heard, Unread>,
}

/// What a batch makes. The loop takes over `holds` once the rest is committed, and never before; of a view that is filled,
/// once it is on its way ([`super::ahead`]).
#[derive(Debug, Default)]
pub struct Batch {
    pub rows: Rows,
    pub write: Append,
    /// Keys whose hold is another one after this batch.
    pub holds: HashMap<String, KeyHold>,
    /// What can be read once this is committed.
    pub visible: Vec<(StreamName, i64)>,
    pub duplicates: usize,
    /// What was folded, for those who look on.
    pub seen: Vec<Seen>,
    /// The messages that became letters.
    pub poison: Vec<Poison>,
    /// What the command that this batch was is about.
    pub redriven: Option<Redriven>,
    /// No fold panicked, so the rows are as they are written.
    pub is_whole: bool,
    /// What dies waits in the queue of its key itself, and what is decided about it is told from outside (rebuild/letters.rs).
    is_second: bool,
    now: Timestamp,
}

/// A letter of ours with its message as it would be read now, mended where the operator mended it.
#[derive(Debug, Clone)]
pub struct Redriven {
    pub stored: StoredLetter,
    pub again: Taken,
}

/// What became of a message that was tried.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Done,
    Failed(Failure),
    Newer,
    Undecided,
}

impl Taken {
    pub fn new(raw: Raw, mode: Mode) -> Self {
        let read = intake::read(&raw, mode);
        Self { raw, read }
    }

    /// A message that must not be read.
    pub fn deadly(raw: Raw) -> Self {
        let read = Err(intake::deadly(&raw));
        Self { raw, read }
    }

    pub fn is_command(&self) -> bool {
        matches!(self.read, Ok(Heard::Command(..)))
    }

    /// The row that must be loaded before it can be folded.
    pub fn row(&self) -> Option<RowId> {
        match &self.read {
            Ok(Heard::Event(fact)) => fact.row(),
            Ok(Heard::Letter(id, _)) => Some(RowId::Letter(*id)),
            Ok(Heard::Command(..) | Heard::NotOurs) | Err(_) => None,
        }
    }

    /// What it would be held on. Letters, commands and what cannot be read wait for nobody.
    fn key(&self) -> Option<String> {
        match &self.read {
            Ok(Heard::Event(fact)) => fact.message.key(),
            Err(Unread::Newer { key } | Unread::Undecided { key }) => Some(key.clone()),
            Err(Unread::Deadly { key }) => key.clone(),
            Ok(Heard::Letter(..) | Heard::Command(..) | Heard::NotOurs) | Err(Unread::Malformed(..)) => None,
        }
    }
}

/// All rows that these messages touch.
pub fn touched<'t>(messages: impl IntoIterator<Item = &'t Taken>) -> BTreeSet<RowId> {
    messages.into_iter().filter_map(Taken::row).collect()
}

impl Batch {
    /// `rows` are those that [`touched`] names, as they stand.
    pub fn new(rows: Rows, now: Timestamp, is_second: bool) -> Self {
        Self { rows, now, is_second, is_whole: true, ..Self::default() }
    }

    /// Takes one message from its topic. `holds` is how things stood before the batch.
    pub fn take(&mut self, holds: &Holds, taken: &Taken) {
        let key = taken.key();
        if let Some(key) = &key
            && self.hold(holds, key).blocks()
        {
            return self.wait(holds, key.clone(), HoldKind::Behind, taken.raw.clone());
        }
        match (self.fold(taken), key) {
            (Outcome::Done, _) => {}
            (Outcome::Newer, key) => {
                self.wait(holds, key.unwrap_or_default(), HoldKind::Newer, taken.raw.clone());
            }
            (Outcome::Undecided, key) => {
                self.wait(holds, key.unwrap_or_default(), HoldKind::Behind, taken.raw.clone());
            }
            (Outcome::Failed(failure), key) => self.bury(holds, &taken.raw, &failure, key),
        }
    }

    /// A letter that the database would not take otherwise: the batch has this message alone.
    pub fn bury_alone(&mut self, holds: &Holds, taken: &Taken, failure: &Failure) {
        self.bury(holds, &taken.raw, failure, taken.key());
    }

    /// What an operator asks about a letter. One that is done with stays as it is.
    pub fn command(
        &mut self,
        holds: &Holds,
        taken: &Taken,
        asked: &DeadLetterCommand,
        known: Option<&Redriven>,
    ) {
        let letter_id = asked.dead_letter_id();
        let Some(Redriven { stored, again }) = known else {
            let message = format!("{GROUP} has no dead letter {letter_id}");
            let code = "unknown-dead-letter".to_owned();
            let failure = Failure { stage: Stage::Decide, code, message, holds: false };
            return self.bury(holds, &taken.raw, &failure, None);
        };
        if stored.status.is_some_and(LetterStatus::is_end) {
            return;
        }
        let (status, by, reason) = match asked {
            DeadLetterCommand::Discard(discard) => {
                (LetterStatus::Discarded, &discard.by, discard.reason.clone())
            }
            DeadLetterCommand::Redrive(redrive) => {
                let parked = stored.redrives + 1 >= REDRIVES_MAX;
                let failed = if parked { LetterStatus::Parked } else { LetterStatus::FailedAgain };
                let why = |why: String| format!("{}: failed again, {why}", redrive.reason);
                let (status, reason) = match self.fold(again) {
                    Outcome::Done => (LetterStatus::Redriven, redrive.reason.clone()),
                    // Nothing is undecided to the view that serves, which alone is asked.
                    Outcome::Newer | Outcome::Undecided => (failed, why(HoldKind::Newer.as_str().to_owned())),
                    Outcome::Failed(failure) => {
                        (failed, why(format!("{}: {}", failure.code, failure.message)))
                    }
                };
                (status, &redrive.by, reason)
            }
        };
        let what = LetterChange::Status { status, by: by.clone(), reason, mended: asked.mended() };
        self.write.letters.push(LetterRecord { letter_id, recorded_at: self.now, what });
        if status.is_end() {
            self.free(holds, letter_id, &stored.letter);
        }
    }

    /// Goes on with what waits on a key, in order, until something fails or is still too new. With `instead` nothing
    /// is folded: it all fails for that reason.
    pub fn release(
        &mut self,
        holds: &Holds,
        key: &str,
        waiting: &[(HeldRow, Taken)],
        instead: Option<&Failure>,
    ) {
        for (row, taken) in waiting {
            let mut hold = self.hold(holds, key);
            if hold.letter.is_some() {
                return;
            }
            let outcome =
                instead.map_or_else(|| self.fold(taken), |failure| Outcome::Failed(failure.clone()));
            match outcome {
                Outcome::Newer | Outcome::Undecided => return,
                // It stays where it is, unless it waited on a key that it does not hold.
                Outcome::Failed(failure) if self.is_second && (failure.holds || is_of(&taken.raw, key)) => {
                    self.die(&taken.raw, &failure, Some(key.to_owned()));
                    return;
                }
                outcome => {
                    self.write.unheld.push(row.id);
                    hold.remove(row.held.kind);
                    self.holds.insert(key.to_owned(), hold);
                    if let Outcome::Failed(failure) = outcome {
                        self.bury(holds, &taken.raw, &failure, Some(key.to_owned()));
                    }
                }
            }
        }
    }

    /// The letter holds its key no longer. What waits there is released by the loop, in order.
    fn free(&mut self, holds: &Holds, letter_id: Uuid, letter: &Letter) {
        let Some((key, _)) = &letter.holds else { return };
        let mut hold = self.hold(holds, key);
        if hold.letter == Some(letter_id) {
            hold.letter = None;
            self.holds.insert(key.clone(), hold);
        }
    }

    fn fold(&mut self, taken: &Taken) -> Outcome {
        match &taken.read {
            Ok(Heard::Event(fact)) => self.fold_event(fact, &taken.raw),
            Ok(Heard::Letter(id, record)) => {
                self.rows.fold_letter(*id, record);
                Outcome::Done
            }
            // A command is executed by the loop, which knows the letter.
            Ok(Heard::Command(..) | Heard::NotOurs) => Outcome::Done,
            Err(Unread::Malformed(stage, malformed)) => {
                self.rows.broken.extend(invariant::of_unread(&taken.raw, malformed));
                Outcome::Failed(Failure::malformed(*stage, malformed))
            }
            Err(Unread::Newer { .. }) => Outcome::Newer,
            Err(Unread::Undecided { .. }) => Outcome::Undecided,
            Err(Unread::Deadly { .. }) => Outcome::Failed(Failure {
                stage: Stage::Deadly,
                ..Failure::failed("deadly", "the process died of this message several times")
            }),
        }
    }

    fn fold_event(&mut self, fact: &Arc<Fact>, raw: &Raw) -> Outcome {
        // A panic is this message's, and no other's: nothing of its row is marked to be written.
        match catch_unwind(AssertUnwindSafe(|| self.rows.fold(fact))) {
            Ok(Ok(step)) => {
                let is_duplicate = step == Step::Duplicate && fact.version().is_some();
                self.duplicates += usize::from(is_duplicate);
                if !self.is_second {
                    let (fact, partition, offset) = (Arc::clone(fact), raw.partition, raw.offset);
                    self.seen.push(Seen { fact, partition, offset, is_duplicate });
                }
                self.visible.extend(fact.version());
                Outcome::Done
            }
            Ok(Err(failed)) => Outcome::Failed(Failure::failed(failed.code(), failed.to_string())),
            Err(_) => {
                self.is_whole = false;
                Outcome::Failed(Failure::failed("panicked", "folding the event panicked"))
            }
        }
    }

    fn bury(&mut self, holds: &Holds, raw: &Raw, failure: &Failure, key: Option<String>) {
        let letter_id = self.die(raw, failure, key.clone());
        if self.is_second {
            let key = key.filter(|_| failure.holds).unwrap_or_else(|| letter_id.to_string());
            self.wait(holds, key, HoldKind::Behind, raw.clone());
        } else if let Some(key) = key.filter(|_| failure.holds) {
            let hold = KeyHold { letter: Some(letter_id), ..self.hold(holds, &key) };
            self.holds.insert(key, hold);
        }
    }

    /// A letter that the database knows already stays as it is.
    fn die(&mut self, raw: &Raw, failure: &Failure, key: Option<String>) -> Uuid {
        // Events of ours are on the partition of their key.
        let held = key.clone().map(|key| (key, raw.partition));
        let record = dead(GROUP, raw, failure, held, self.now);
        self.poison.push(Poison::new(&failure.code, record.letter_id, raw, key));
        let letter_id = record.letter_id;
        self.write.letters.push(record);
        letter_id
    }

    fn wait(&mut self, holds: &Holds, key: String, kind: HoldKind, raw: Raw) {
        let mut hold = self.hold(holds, &key);
        hold.add(kind);
        self.holds.insert(key.clone(), hold);
        self.write.held.push(Held { key, key_partition: raw.partition, kind, raw, held_at: self.now });
    }

    fn hold(&self, holds: &Holds, key: &str) -> KeyHold {
        self.holds.get(key).cloned().unwrap_or_else(|| holds.get(key))
    }
}

/// Whether a message waits on the id of its own letter.
fn is_of(raw: &Raw, key: &str) -> bool {
    dead_letter_id(GROUP, raw.topic.name(), raw.partition, raw.offset).to_string() == key
}
