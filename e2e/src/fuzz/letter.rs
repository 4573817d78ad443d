//! A dead letter of any message, redriven with an edit, again as it was, and discarded: through the unit of work of
//! the service that owns it, over a log and letters in memory.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use inventory_service::Inventory;
use order_service::Orders;
use payment_service::Payments;
use shared::{
    consumer::Position,
    contract::{
        Timestamp,
        dead_letter::{DeadLetterCommand, DiscardDeadLetter, RedriveDeadLetter, dead_letter_id},
        envelope::{Mode, Outgoing, Raw, encode_manual},
        message::Message,
        topics::Topic,
    },
    decider::Decider,
    execute::{Execute, ExecuteSettings, Fetch, Fetched, Input, Outcome, Step},
    log::{
        Append, Appended, HeldRow, HoldKind, KeyHeld, LetterChange, LetterRecord, LetterStatus, Load, Loaded,
        NumberedLetter, StoredLetter,
    },
    relay::record,
};
use uuid::Uuid;

use super::frame::Frame;

const NOW: Timestamp = chrono::DateTime::UNIX_EPOCH;
const BY: &str = "operator";

/// Bits 3 and 4 of the choice are the service, bit 5 the mode, bit 6 says that the edit is base64 already, or is not.
pub fn run(input: &[u8]) {
    let frame = Frame::read(input);
    match (frame.choice >> 3) & 3 {
        0 | 1 => Owner::new(Orders::default(), &frame).walk(&frame),
        2 => Owner::new(Inventory, &frame).walk(&frame),
        _ => Owner::new(Payments::default(), &frame).walk(&frame),
    }
}

/// The service that owns the letter, and all that it wrote.
struct Owner<D: Decider> {
    execute: Execute<D>,
    log: Vec<shared::contract::envelope::Recorded>,
    letters: Vec<LetterRecord>,
    held: Vec<HeldRow>,
    offset: i64,
}

impl<D: Decider> Owner<D> {
    fn new(decider: D, frame: &Frame) -> Self {
        let mode = if frame.choice & 0x20 == 0 { Mode::Development } else { Mode::Production };
        let settings = ExecuteSettings {
            mode,
            partitions: 1,
            hold_limit: std::time::Duration::from_secs(60),
            cache_streams_max: 100,
            snapshot_every: 100,
        };
        let mut execute = Execute::new(Arc::new(decider), settings, 0);
        let positions: Vec<Position> =
            Topic::ALL.iter().map(|topic| Position { place: (*topic, 0), next: None }).collect();
        execute.assign(&positions, &[]);
        Self { execute, log: Vec::new(), letters: Vec::new(), held: Vec::new(), offset: 100 }
    }

    fn walk(mut self, frame: &Frame) {
        let raw = frame.raw();
        let letter_id = dead_letter_id(D::NAME, raw.topic.name(), raw.partition, raw.offset);
        self.batch(Input::Deadly(raw));
        assert_eq!(self.letters.len(), 1, "what is deadly is a letter");
        let value_base64 = frame.edit.as_ref().map(|edit| match frame.choice & 0x40 {
            0 => STANDARD.encode(edit),
            _ => String::from_utf8_lossy(edit).into_owned(),
        });
        let redrive = |value_base64| {
            let (group, by) = (D::NAME.to_owned(), BY.to_owned());
            RedriveDeadLetter { dead_letter_id: letter_id, group, value_base64, by, reason: "mended".into() }
        };
        self.command(redrive(value_base64).into());
        self.command(redrive(None).into());
        let (group, by) = (D::NAME.to_owned(), BY.to_owned());
        let discard = DiscardDeadLetter { dead_letter_id: letter_id, group, by, reason: "enough".into() };
        self.command(discard.into());
        let stored = self.stored(letter_id).unwrap_or_else(|| panic!("the letter is gone"));
        assert!(stored.status.is_some_and(LetterStatus::is_end), "it ended {:?}", stored.status);
        self.publish();
    }

    fn command(&mut self, command: DeadLetterCommand) {
        let message = Message::DeadLetterCommand(command);
        let Outgoing { topic, key, value, .. } = encode_manual(
            Topic::DeadLettersCommands,
            &message,
            Uuid::from_u128(self.offset as u128),
            "letter",
            "/fulfil/fuzz",
            NOW,
            None,
        );
        self.offset += 1;
        let headers = shared::contract::envelope::Headers::Readable(vec![]);
        let offset = self.offset;
        self.batch(Input::Message(Raw {
            topic,
            partition: 0,
            offset,
            key: Some(key),
            value,
            headers,
            timestamp_ms: 0,
        }));
    }

    /// One batch, and the tasks that it made due at once, as the engine runs them.
    fn batch(&mut self, input: Input<D>) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let outcome = self.decided(inputs);
            let poison = outcome.poison.iter().any(|poison| poison.code == "panicked");
            assert!(!poison, "what a domain panics at is caught, and is a finding all the same");
            inputs = outcome.put_back;
            inputs.extend(outcome.due.into_iter().map(Input::Task));
        }
    }

    fn decided(&mut self, inputs: Vec<Input<D>>) -> Outcome<D> {
        let mut step = self.execute.begin(inputs, NOW);
        loop {
            step = match step {
                Step::Done(outcome) => return outcome,
                Step::Fetch(fetch) => {
                    let fetched = self.fetched(&fetch);
                    self.execute.fetched(fetched)
                }
                Step::Load(load) => {
                    let loaded = self.loaded(&load);
                    self.execute.loaded(loaded)
                }
                Step::Append(append) => {
                    self.append(&append);
                    self.execute.appended(&Appended::Done { now: NOW })
                }
                Step::Tail { .. } => unreachable!("nobody else appends"),
            };
        }
    }

    fn append(&mut self, append: &Append) {
        self.log.extend(append.events.iter().cloned());
        self.held.retain(|row| !append.unheld.contains(&row.id));
        for held in &append.held {
            let id = self.held.last().map_or(1, |row| row.id + 1);
            self.held.push(HeldRow { id, held: held.clone() });
        }
        for record in &append.letters {
            let known = self.letters.iter().any(|known| known.letter_id == record.letter_id);
            if !known || !matches!(record.what, LetterChange::Dead(_)) {
                self.letters.push(record.clone());
            }
            if let LetterChange::Status { reason, .. } = &record.what {
                assert!(!reason.contains("failed again, panicked"), "{reason}");
            }
        }
    }

    fn loaded(&self, load: &Load) -> Loaded {
        let of = |stream: &_| self.log.iter().filter(|event| event.stream == *stream).cloned().collect();
        let identities = self.log.iter().filter(|event| load.identities.contains(&event.event_id));
        Loaded {
            streams: load.streams.iter().map(|stream| (stream.clone(), None, of(stream))).collect(),
            identities: identities.cloned().collect(),
            positions: Vec::new(),
        }
    }

    fn fetched(&self, fetch: &Fetch) -> Fetched {
        let asked = |row: &&HeldRow| fetch.held_keys.contains(&row.held.key);
        Fetched {
            letters: fetch.letters.iter().filter_map(|id| self.stored(*id)).collect(),
            held: self.held.iter().filter(asked).cloned().collect(),
            keys: fetch.held_keys.iter().map(|key| self.key(key)).collect(),
        }
    }

    fn stored(&self, letter_id: Uuid) -> Option<StoredLetter> {
        let mut records = self.letters.iter().filter(|record| record.letter_id == letter_id);
        let LetterChange::Dead(letter) = &records.next()?.what else { return None };
        let statuses = records.filter_map(|record| match record.what {
            LetterChange::Status { status, .. } => Some(status),
            LetterChange::Dead(_) => None,
        });
        let statuses: Vec<LetterStatus> = statuses.collect();
        let redrives = statuses.iter().filter(|status| status.is_redrive()).count() as i32;
        Some(StoredLetter {
            letter_id,
            letter: (**letter).clone(),
            redrives,
            status: statuses.last().copied(),
        })
    }

    fn key(&self, key: &str) -> KeyHeld {
        let of = |kind| move |row: &&HeldRow| row.held.key == key && row.held.kind == kind;
        let count = |kind| self.held.iter().filter(of(kind)).count() as i64;
        let letter = self.letters.iter().find_map(|record| {
            let stored = self.stored(record.letter_id)?;
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

    /// Every record of a letter can leave on `dead-letters`, and every event on its topic.
    fn publish(&self) {
        for (index, letter) in self.letters.iter().enumerate() {
            let number = index as i64 + 1;
            let row = NumberedLetter { number, key: None, redrives: 0, record: letter.clone() };
            let entry = record::of_letter(&row);
            assert_eq!(entry.position, number);
        }
        for event in &self.log {
            record::of_event(D::NAME, event).unwrap_or_else(|reason| panic!("{reason}"));
        }
    }
}
