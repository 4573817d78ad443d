//! What became of the messages that died. A second view does not try them again: it does with each what was decided about
//! it, and where nothing is decided yet the message waits, first in the queue of its key.

use std::collections::HashMap;

use bytes::Bytes;
use shared::{
    contract::{
        envelope::{Mode, Raw},
        topics::Topic,
    },
    log::{LetterChange, LetterStatus, NumberedLetter},
};
use uuid::Uuid;

use crate::{
    intake::{Heard, Unread},
    project::batch::Taken,
};

#[derive(Debug, Default)]
pub struct Letters {
    /// That of the last record.
    number: i64,
    letters: HashMap<Uuid, Letter>,
    /// Where their messages are.
    places: HashMap<(Topic, i32, i64), Uuid>,
}

#[derive(Debug)]
struct Letter {
    /// What its message is held on: of a letter that holds no key its id.
    key: String,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    Open,
    Discarded,
    /// With what was put in place of its value.
    Redriven(Option<Bytes>),
}

impl Letters {
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Takes the next records. Answers the keys of letters that are done with by them.
    pub fn add(&mut self, records: Vec<NumberedLetter>) -> Vec<String> {
        let mut decided = Vec::new();
        for NumberedLetter { number, record, .. } in records {
            self.number = number;
            match record.what {
                LetterChange::Dead(letter) => {
                    let key = letter.holds.map_or_else(|| record.letter_id.to_string(), |(key, _)| key);
                    let place = (letter.raw.topic, letter.raw.partition, letter.raw.offset);
                    self.places.insert(place, record.letter_id);
                    self.letters.insert(record.letter_id, Letter { key, fate: Fate::Open });
                }
                LetterChange::Status { status, mended, .. } => {
                    let Some(letter) = self.letters.get_mut(&record.letter_id) else { continue };
                    letter.fate = match status {
                        LetterStatus::Redriven => Fate::Redriven(mended),
                        LetterStatus::Discarded => Fate::Discarded,
                        LetterStatus::FailedAgain | LetterStatus::Parked => continue,
                    };
                    decided.push(letter.key.clone());
                }
            }
        }
        decided
    }

    pub fn knows(&self, raw: &Raw) -> bool {
        self.places.contains_key(&(raw.topic, raw.partition, raw.offset))
    }

    /// What a message says, or what was decided about it.
    pub fn read(&self, raw: Raw, mode: Mode) -> Taken {
        let letter = self.places.get(&(raw.topic, raw.partition, raw.offset));
        let Some(letter) = letter.and_then(|id| self.letters.get(id)) else { return Taken::new(raw, mode) };
        match &letter.fate {
            Fate::Open => Taken { raw, read: Err(Unread::Undecided { key: letter.key.clone() }) },
            Fate::Discarded => Taken { raw, read: Ok(Heard::NotOurs) },
            Fate::Redriven(mended) => {
                let value = mended.clone().or(raw.value.clone());
                Taken::new(Raw { value, ..raw }, mode)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::{
        contract::{Timestamp, envelope::Headers},
        log::{self, LetterRecord, Stage},
    };

    use super::*;

    fn raw(offset: i64) -> Raw {
        Raw {
            topic: Topic::OrdersEvents,
            partition: 1,
            offset,
            key: None,
            value: Some("{".into()),
            headers: Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        }
    }

    fn record(number: i64, what: LetterChange) -> NumberedLetter {
        let (letter_id, recorded_at) = (Uuid::from_u128(7), Timestamp::UNIX_EPOCH);
        NumberedLetter {
            number,
            key: None,
            redrives: 0,
            record: LetterRecord { letter_id, recorded_at, what },
        }
    }

    fn dead(number: i64, holds: Option<(String, i32)>) -> NumberedLetter {
        let (stage, text) = (Stage::Decode, String::new());
        let letter = log::Letter {
            group: text.clone(),
            raw: raw(5),
            stage,
            code: text.clone(),
            message: text.clone(),
            fingerprint: text.clone(),
            delivery_count: 1,
            build: text,
            holds,
        };
        record(number, LetterChange::Dead(Box::new(letter)))
    }

    fn status(number: i64, status: LetterStatus, mended: Option<Bytes>) -> NumberedLetter {
        let text = String::new();
        record(number, LetterChange::Status { status, by: text.clone(), reason: text, mended })
    }

    #[test]
    fn a_message_that_died_is_what_was_decided_about_it() {
        let mut letters = Letters::default();
        let read = |letters: &Letters, offset| letters.read(raw(offset), Mode::Development).read;
        assert!(matches!(read(&letters, 5), Err(Unread::Malformed(..))), "it did not die yet");
        assert!(letters.add(vec![dead(3, Some(("a".into(), 1)))]).is_empty());
        assert_eq!(read(&letters, 5), Err(Unread::Undecided { key: "a".into() }));
        assert!(matches!(read(&letters, 6), Err(Unread::Malformed(..))), "another message");
        assert!(letters.add(vec![status(4, LetterStatus::FailedAgain, None)]).is_empty());
        assert_eq!(read(&letters, 5), Err(Unread::Undecided { key: "a".into() }));

        assert_eq!(letters.add(vec![status(5, LetterStatus::Discarded, None)]), ["a"]);
        assert_eq!((read(&letters, 5), letters.number()), (Ok(Heard::NotOurs), 5));
        letters.add(vec![status(6, LetterStatus::Redriven, None)]);
        assert!(matches!(read(&letters, 5), Err(Unread::Malformed(..))), "as it was");
        letters.add(vec![status(7, LetterStatus::Redriven, Some("mended".into()))]);
        let Taken { raw, .. } = letters.read(raw(5), Mode::Development);
        assert_eq!(raw.value, Some("mended".into()));
    }

    #[test]
    fn a_letter_that_holds_no_key_waits_on_its_own_id() {
        let mut letters = Letters::default();
        letters.add(vec![dead(1, None)]);
        let key = Uuid::from_u128(7).to_string();
        let Taken { read, .. } = letters.read(raw(5), Mode::Development);
        assert_eq!(read, Err(Unread::Undecided { key: key.clone() }));
        assert_eq!(letters.add(vec![status(2, LetterStatus::Discarded, None)]), [key]);
    }
}
