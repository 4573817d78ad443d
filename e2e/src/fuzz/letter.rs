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
    execute::{Execute, ExecuteSettings, Input},
    log::{LetterChange, LetterStatus},
    relay::record,
    testing::store::Store,
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
    store: Store,
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
        let mut execute = Execute::new(Arc::new(decider), settings, (0, None));
        let positions: Vec<Position> =
            Topic::ALL.iter().map(|topic| Position { place: (*topic, 0), next: None }).collect();
        execute.assign(&positions, &[]);
        Self { execute, store: Store::default(), offset: 100 }
    }

    fn walk(mut self, frame: &Frame) {
        let raw = frame.raw();
        let letter_id = dead_letter_id(D::NAME, raw.topic.name(), raw.partition, raw.offset);
        self.batch(Input::Deadly(raw));
        assert_eq!(self.store.letters.len(), 1, "what is deadly is a letter");
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
        let stored = self.store.letter(letter_id).unwrap_or_else(|| panic!("the letter is gone"));
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

    /// One batch, and the tasks that it made due at once, as the engine runs them; but for calls, which nobody answers here.
    fn batch(&mut self, input: Input<D>) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let outcome = self.store.run(&mut self.execute, inputs, NOW, |_| {});
            let mut said = self.store.letters.iter().filter_map(|record| match &record.what {
                LetterChange::Status { reason, .. } => Some(reason),
                LetterChange::Dead(_) => None,
            });
            assert!(said.all(|reason| !reason.contains("failed again, panicked")));
            let poison = outcome.poison.iter().any(|poison| poison.code == "panicked");
            assert!(!poison, "what a domain panics at is caught, and is a finding all the same");
            inputs = outcome.put_back;
            inputs.extend(outcome.due.into_iter().map(Input::Task));
        }
    }

    /// Every record of a letter can leave on `dead-letters`, and every event on its topic.
    fn publish(&self) {
        for row in self.store.letters_after(0, usize::MAX) {
            assert_eq!(record::of_letter(&row).position, row.number);
        }
        for event in &self.store.log {
            record::of_event(D::NAME, event).unwrap_or_else(|reason| panic!("{reason}"));
        }
    }
}
