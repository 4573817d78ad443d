//! What an operator asks about a dead letter on `dead-letters.commands`, and the header names of `dead-letters`.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Malformed, ids,
    limits::REDRIVE_BYTES_MAX,
    message::{Payload, messages},
    order::check_text,
};

messages! {
    /// What the edge asks of the service that owns a dead letter.
    DeadLetterCommand {
        Redrive(RedriveDeadLetter) = "fulfil.dead-letter.redrive.v1",
        Discard(DiscardDeadLetter) = "fulfil.dead-letter.discard.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RedriveDeadLetter {
    pub dead_letter_id: Uuid,
    /// The consumer group that owns the letter.
    pub group: String,
    /// The mended value; without it the original bytes are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    pub by: String,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscardDeadLetter {
    pub dead_letter_id: Uuid,
    pub group: String,
    pub by: String,
    pub reason: String,
}

impl RedriveDeadLetter {
    /// The edited value in bytes.
    pub fn value(&self) -> Result<Option<Vec<u8>>, Malformed> {
        let decode = |text| STANDARD.decode(text);
        self.value_base64
            .as_ref()
            .map(decode)
            .transpose()
            .map_err(|_| Malformed::at("invalid-data", "/value_base64", "is not base64"))
    }
}

impl Payload for RedriveDeadLetter {
    fn check(&self) -> Result<(), Malformed> {
        if self.value()?.is_some_and(|value| value.len() > REDRIVE_BYTES_MAX) {
            let detail = format!("an edited value has at most {REDRIVE_BYTES_MAX} bytes");
            return Err(Malformed::at("limit", "/value_base64", detail));
        }
        check_text("/by", Some(&self.by))?;
        check_text("/reason", Some(&self.reason))
    }
}

impl Payload for DiscardDeadLetter {
    fn check(&self) -> Result<(), Malformed> {
        check_text("/by", Some(&self.by))?;
        check_text("/reason", Some(&self.reason))
    }
}

impl DeadLetterCommand {
    /// What is tried instead of the letter's own value. It was checked when the command was read.
    pub fn mended(&self) -> Option<Bytes> {
        match self {
            Self::Redrive(command) => command.value().ok().flatten().map(Bytes::from),
            Self::Discard(_) => None,
        }
    }

    pub fn dead_letter_id(&self) -> Uuid {
        match self {
            Self::Redrive(command) => command.dead_letter_id,
            Self::Discard(command) => command.dead_letter_id,
        }
    }

    pub fn group(&self) -> &str {
        match self {
            Self::Redrive(command) => &command.group,
            Self::Discard(command) => &command.group,
        }
    }
}

/// The id of the letter that a message becomes in a group: the same place is the same letter for ever.
pub fn dead_letter_id(group: &str, topic: &str, partition: i32, offset: i64) -> Uuid {
    ids::named(&["dead-letter", group, topic, &partition.to_string(), &offset.to_string()])
}

/// Header names of `dead-letters`. The first six are Kafka's own (KIP-1034).
pub mod header {
    pub const TOPIC: &str = "__dlq.errors.topic";
    pub const PARTITION: &str = "__dlq.errors.partition";
    pub const OFFSET: &str = "__dlq.errors.offset";
    pub const GROUP: &str = "__dlq.errors.group";
    pub const DELIVERY_COUNT: &str = "__dlq.errors.delivery.count";
    pub const MESSAGE: &str = "__dlq.errors.message";
    pub const ID: &str = "dlq.id";
    pub const STAGE: &str = "dlq.stage";
    pub const CODE: &str = "dlq.code";
    pub const FINGERPRINT: &str = "dlq.fingerprint";
    pub const FAILED_AT: &str = "dlq.failed-at";
    pub const REDRIVES: &str = "dlq.redrives";
    pub const BUILD: &str = "dlq.build";
    /// On the records of a letter's changes only.
    pub const STATUS: &str = "dlq.status";
    pub const BY: &str = "dlq.by";
    pub const REASON: &str = "dlq.reason";
}
