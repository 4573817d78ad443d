//! A dead letter: the message as it came, and why it could not be processed.

use sha2::{Digest, Sha256};

use super::ATTEMPTS_MAX;
use crate::{
    config::BUILD,
    contract::{
        Malformed, Timestamp,
        dead_letter::dead_letter_id,
        envelope::{Headers, Raw},
    },
    decider::Refusal,
    log::{Letter, LetterChange, LetterRecord, Stage},
};

/// Of the error text; it quotes no payload.
const MESSAGE_BYTES_MAX: usize = 512;
/// Value and headers together. Beyond it only hash, size and place are kept.
const LETTER_BYTES_MAX: usize = 1024 * 1024;

/// Why a message could not be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub code: String,
    pub message: String,
    /// Whether later messages of its key wait for it.
    pub holds: bool,
}

impl Failure {
    /// Cannot be read as one of our messages. Holds nobody.
    pub fn malformed(stage: Stage, malformed: &Malformed) -> Self {
        let place =
            if malformed.pointer.is_empty() { String::new() } else { format!("{}: ", malformed.pointer) };
        let message = format!("{place}{}", malformed.detail);
        Self { stage, code: malformed.code.to_owned(), message, holds: false }
    }

    /// The domain turned a valid message down. Holds nobody.
    pub fn refused(stage: Stage, refusal: &Refusal) -> Self {
        Self { stage, code: refusal.code.to_owned(), message: refusal.detail.clone(), holds: false }
    }

    /// No state allows it, or its handler panicked. Its key waits.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self { stage: Stage::Decide, code: code.to_owned(), message: message.into(), holds: true }
    }
}

/// The letter of a message of `group`. `key` is the id in `data` with its partition, where it is known.
pub fn dead(
    group: &str,
    raw: &Raw,
    failure: &Failure,
    key: Option<(String, i32)>,
    now: Timestamp,
) -> LetterRecord {
    let (raw, message) = bounded(raw, &failure.message);
    let letter = Letter {
        group: group.to_owned(),
        stage: failure.stage,
        code: failure.code.clone(),
        fingerprint: fingerprint(raw.topic.name(), failure),
        // Postgres takes no NUL in a text.
        message: cut(&message).replace('\0', ""),
        delivery_count: if failure.stage == Stage::Deadly { ATTEMPTS_MAX } else { 1 },
        build: BUILD.to_owned(),
        holds: key.filter(|_| failure.holds),
        raw,
    };
    let letter_id = dead_letter_id(group, letter.raw.topic.name(), letter.raw.partition, letter.raw.offset);
    LetterRecord { letter_id, recorded_at: now, what: LetterChange::Dead(Box::new(letter)) }
}

/// Groups letters that failed for one reason: the same place in the code, whatever the ids and numbers were.
fn fingerprint(topic: &str, failure: &Failure) -> String {
    let pattern: String = failure.message.chars().filter(|c| !c.is_ascii_digit()).collect();
    let text = format!("{topic}\n{}\n{}\n{pattern}", failure.stage.as_str(), failure.code);
    hex(&Sha256::digest(text.as_bytes())[..8])
}

fn bounded(raw: &Raw, message: &str) -> (Raw, String) {
    let value = raw.value.as_deref().unwrap_or_default();
    if value.len() + raw.headers.bytes() <= LETTER_BYTES_MAX {
        return (raw.clone(), message.to_owned());
    }
    let text =
        format!("{message} (value left out: {} bytes, sha256 {})", value.len(), hex(&Sha256::digest(value)));
    (Raw { value: None, headers: Headers::Readable(Vec::new()), ..raw.clone() }, text)
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::topics::Topic;

    fn raw(value: Vec<u8>) -> Raw {
        Raw {
            topic: Topic::OrdersCommands,
            partition: 1,
            offset: 2,
            key: None,
            value: Some(value.into()),
            headers: Headers::Readable(vec![]),
            timestamp_ms: 0,
        }
    }

    #[test]
    fn a_huge_value_leaves_its_hash_and_size() {
        let failure = Failure::failed("panicked", "x".repeat(600));
        let record = dead("g", &raw(vec![b'x'; LETTER_BYTES_MAX + 1]), &failure, None, Timestamp::UNIX_EPOCH);
        let LetterChange::Dead(letter) = record.what else { panic!() };
        assert_eq!(letter.raw.value, None);
        assert!(letter.message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn the_same_failure_with_other_numbers_has_the_same_fingerprint() {
        let one = Failure::failed("limit", "line 1 of 20");
        let two = Failure::failed("limit", "line 7 of 3");
        assert_eq!(fingerprint("t", &one), fingerprint("t", &two));
        assert_ne!(fingerprint("t", &one), fingerprint("u", &one));
    }
}
