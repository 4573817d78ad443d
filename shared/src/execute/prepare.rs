//! From bytes to a command: what a message is to this service, before anything is read.

use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use crate::{
    contract::{
        Timestamp,
        dead_letter::DeadLetterCommand,
        envelope::{self, Envelope, Mode, Raw},
        message::Message,
    },
    decider::{Decider, Told, Via},
    failure::Failure,
    log::Stage,
};

/// What a message is to this service.
#[derive(Debug, Clone)]
pub enum Prepared<C> {
    /// Does not concern it.
    Nothing,
    /// Cannot be processed, whatever the state is.
    Dead {
        failure: Failure,
        key: Option<String>,
    },
    /// Written by a service of ours that knows more than this build.
    Newer {
        key: String,
    },
    Command {
        command: C,
        told: Told,
        key: String,
    },
    /// An operator's wish about a letter of this group.
    Letter {
        command: DeadLetterCommand,
        told: Told,
    },
    /// On our own topic and says that it is ours: believed when the log has this id at this position.
    Claimed {
        position: i64,
        id: Uuid,
        foreign: Box<Prepared<C>>,
    },
}

/// Decodes and reacts. `now` is the time of the batch.
pub fn prepare<D: Decider>(decider: &D, raw: &Raw, mode: Mode, now: Timestamp) -> Prepared<D::Command> {
    let dead = |failure, key| Prepared::Dead { failure, key };
    let envelope = match envelope::decode(raw, mode) {
        Ok(envelope) => envelope,
        Err(malformed) => return dead(Failure::malformed(Stage::Decode, &malformed), None),
    };
    let message = match Message::decode(&envelope.message_type, &envelope.data) {
        Some(Ok(message)) => message,
        Some(Err(malformed)) => return dead(Failure::malformed(Stage::Validate, &malformed.in_data()), None),
        // Of a service of ours, in a rolling deploy. Commands come from anybody, and nobody's may wait without limit.
        None if envelope.position.is_some() && raw.topic.is_events() => {
            return Prepared::Newer { key: newer_key(raw, &envelope) };
        }
        None => {
            let malformed =
                crate::contract::Malformed::at("unknown-type", "/type", "is not a type of the contract");
            return dead(Failure::malformed(Stage::Decode, &malformed), None);
        }
    };
    if let Err(malformed) = envelope::check_key(raw, &message) {
        return dead(Failure::malformed(Stage::Validate, &malformed), None);
    }
    let told = Told {
        id: envelope.id,
        at: now,
        via: Via::Topic,
        correlation_id: envelope.correlation_id,
        traceparent: envelope.traceparent.clone(),
    };
    if let Message::DeadLetterCommand(command) = message {
        let ours = command.group() == D::NAME;
        return if ours { Prepared::Letter { command, told } } else { Prepared::Nothing };
    }
    // A bug in a reaction is this message's failure, not the end of the process.
    let reaction = catch_unwind(AssertUnwindSafe(|| decider.react(&message, &envelope)));
    let prepared = match reaction {
        Ok(None) => Prepared::Nothing,
        Ok(Some(command)) => {
            let key = message.key().unwrap_or_default();
            Prepared::Command { command, told, key }
        }
        Err(_) => dead(Failure::failed("panicked", "the reaction to this message panicked"), message.key()),
    };
    match envelope.position {
        Some(position) if D::WRITES.contains(&raw.topic) => {
            Prepared::Claimed { position, id: envelope.id, foreign: Box::new(prepared) }
        }
        _ => prepared,
    }
}

/// The key of a message that we cannot read: what its writer partitioned by.
fn newer_key(raw: &Raw, envelope: &Envelope) -> String {
    key_text(raw).unwrap_or_else(|| envelope.id.to_string())
}

/// The message key, where it can stand in a text column.
pub(super) fn key_text(raw: &Raw) -> Option<String> {
    let key = raw.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
    key.filter(|key| !key.contains('\0')).map(str::to_owned)
}
