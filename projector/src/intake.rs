//! What a message from a topic is to the projector. Pure.

use std::sync::Arc;

use shared::{
    contract::{
        Malformed, Timestamp,
        dead_letter::DeadLetterCommand,
        envelope::{self, Envelope, Mode, Raw},
        message::Message,
        topics::Topic,
    },
    log::Stage,
};
use uuid::Uuid;

use crate::view::{
    letter::{self, LetterRecord},
    rows::Fact,
};

/// The consumer group.
pub const GROUP: &str = "projector";

/// What the projector reads.
pub const READS: [Topic; 6] = [
    Topic::OrdersEvents,
    Topic::InventoryEvents,
    Topic::InventoryStock,
    Topic::PaymentsEvents,
    Topic::DeadLetters,
    Topic::DeadLettersCommands,
];

#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Event(Arc<Fact>),
    Letter(Uuid, LetterRecord),
    /// About a letter of this group.
    Command(Box<Envelope>, DeadLetterCommand),
    /// About a letter of another group.
    NotOurs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Cannot be read as one of our messages: a dead letter that holds nobody.
    Malformed(Stage, Malformed),
    /// Written by a service of ours that is newer than this build: waits, and what comes after it on its key.
    Newer { key: String },
    /// It died before and an operator has not decided: it waits in a second view, which does not try it again.
    Undecided { key: String },
    /// The process died of it several times, so it is not looked into. The key is what its sender partitioned by.
    Deadly { key: Option<String> },
}

/// Reads a message by its topic.
pub fn read(raw: &Raw, mode: Mode) -> Result<Heard, Unread> {
    if raw.topic == Topic::DeadLetters {
        let (id, record) = letter::read(raw).map_err(decode_error)?;
        return Ok(Heard::Letter(id, record));
    }
    let envelope = envelope::decode(raw, mode).map_err(decode_error)?;
    let message = match Message::decode(&envelope.message_type, &envelope.data) {
        Some(message) => message.map_err(|malformed| validate_error(malformed.in_data()))?,
        None if envelope.position.is_some() && raw.topic.is_events() => return Err(newer(raw, &envelope)),
        None => {
            let unknown = Malformed::at("unknown-type", "/type", "is not a type of the contract");
            return Err(decode_error(unknown));
        }
    };
    envelope::check_key(raw, &message).map_err(validate_error)?;
    if let Message::DeadLetterCommand(command) = message {
        return Ok(match command.group() {
            GROUP => Heard::Command(Box::new(envelope), command),
            _ => Heard::NotOurs,
        });
    }
    if envelope.position.is_some() != envelope.sequence.is_some() {
        let detail = "position and sequence are set both or not at all";
        return Err(decode_error(Malformed::at("invalid-envelope", "/sequence", detail)));
    }
    let heard_at = Timestamp::from_timestamp_millis(raw.timestamp_ms).unwrap_or_default();
    Ok(Heard::Event(Arc::new(Fact { topic: raw.topic, envelope, message, heard_at })))
}

/// A message that must not be read.
pub fn deadly(raw: &Raw) -> Unread {
    Unread::Deadly { key: key_of(raw) }
}

/// Its data cannot be read, but services of ours set the key.
fn newer(raw: &Raw, envelope: &Envelope) -> Unread {
    Unread::Newer { key: key_of(raw).unwrap_or_else(|| envelope.id.to_string()) }
}

/// Keys of ours are order ids and skus. What the database could not hold as a key is none.
fn key_of(raw: &Raw) -> Option<String> {
    let key = std::str::from_utf8(raw.key.as_deref()?).ok()?;
    (key.len() <= KEY_BYTES_MAX && !key.contains('\0')).then(|| key.to_owned())
}

const KEY_BYTES_MAX: usize = 128;

fn decode_error(malformed: Malformed) -> Unread {
    Unread::Malformed(Stage::Decode, malformed)
}

fn validate_error(malformed: Malformed) -> Unread {
    Unread::Malformed(Stage::Validate, malformed)
}
