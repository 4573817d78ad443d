//! Dead letters as they stand on their topic: the letter itself, and the records of what became of it.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use shared::contract::{
    dead_letter::header,
    envelope::{Header, Headers, Raw},
    topics::Topic,
};

use crate::{
    kafka::{From, Reader},
    place::Place,
    sighting::letter_status,
};

const READ_LIMIT: Duration = Duration::from_secs(60);

/// Headers that the letter was given; of each the last is ours.
pub const ABOUT: [&str; 13] = [
    header::TOPIC,
    header::PARTITION,
    header::OFFSET,
    header::GROUP,
    header::DELIVERY_COUNT,
    header::MESSAGE,
    header::ID,
    header::STAGE,
    header::CODE,
    header::FINGERPRINT,
    header::FAILED_AT,
    header::REDRIVES,
    header::BUILD,
];

#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    pub id: String,
    pub group: String,
    /// Where the message stood that died.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Those of the message itself.
    pub headers: Vec<Header>,
    pub stage: String,
    pub code: String,
    pub message: String,
    pub fingerprint: String,
    pub failed_at: String,
    pub failed_at_ms: i64,
    pub delivery_count: String,
    pub build: String,
    /// What became of it, oldest first.
    pub history: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub status: String,
    pub by: String,
    pub reason: String,
    pub at_ms: i64,
}

impl Letter {
    /// `dead`, or the newest change.
    pub fn status(&self) -> &str {
        self.history.last().map_or("dead", |change| change.status.as_str())
    }

    /// Whether somebody has to do something about it.
    pub fn is_open(&self) -> bool {
        !matches!(self.status(), "redriven" | "discarded")
    }

    pub fn key_text(&self) -> String {
        self.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default()
    }

    pub fn place(&self) -> String {
        format!("{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// All letters that are kept, oldest first.
pub async fn load(place: &Place) -> anyhow::Result<Vec<Letter>> {
    let broker = place.broker.clone();
    let read = move || Reader::open(&broker, &[Topic::DeadLetters], None, From::Start)?.to_end(READ_LIMIT);
    Ok(fold(tokio::task::spawn_blocking(read).await??))
}

/// Records in any order over partitions, in order within one. The relay may repeat itself.
pub(super) fn fold(records: Vec<Raw>) -> Vec<Letter> {
    let mut letters: Vec<Letter> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for raw in records {
        let Some(id) = raw.headers.text(header::ID).map(str::to_owned) else { continue };
        match (letter_status(&raw), places.get(&id)) {
            (Some(_), Some(place)) => letters[*place].change(&raw),
            (None, None) => {
                places.insert(id.clone(), letters.len());
                letters.push(Letter::of(id, raw));
            }
            // A repeat, or a change of a letter that is kept no longer.
            (None, Some(_)) | (Some(_), None) => {}
        }
    }
    letters.sort_by_key(|letter| letter.failed_at_ms);
    letters
}

impl Letter {
    fn of(id: String, raw: Raw) -> Self {
        let text = |name: &str| raw.headers.text(name).unwrap_or_default().to_owned();
        let mut headers = match &raw.headers {
            Headers::Readable(headers) => headers.clone(),
            Headers::Unreadable => Vec::new(),
        };
        for name in ABOUT {
            if let Some(last) = headers.iter().rposition(|(header, _)| header == name) {
                headers.remove(last);
            }
        }
        Self {
            id,
            group: text(header::GROUP),
            topic: text(header::TOPIC),
            partition: text(header::PARTITION).parse().unwrap_or(-1),
            offset: text(header::OFFSET).parse().unwrap_or(-1),
            stage: text(header::STAGE),
            code: text(header::CODE),
            message: text(header::MESSAGE),
            fingerprint: text(header::FINGERPRINT),
            failed_at: text(header::FAILED_AT),
            failed_at_ms: raw.timestamp_ms,
            delivery_count: text(header::DELIVERY_COUNT),
            build: text(header::BUILD),
            headers,
            key: raw.key,
            value: raw.value,
            history: Vec::new(),
        }
    }

    fn change(&mut self, raw: &Raw) {
        let text = |name: &str| raw.headers.text(name).unwrap_or_default().to_owned();
        let (status, by, reason) = (text(header::STATUS), text(header::BY), text(header::REASON));
        let is_repeat = self
            .history
            .last()
            .is_some_and(|last| (&last.status, &last.by, &last.reason) == (&status, &by, &reason));
        if !is_repeat {
            self.history.push(Change { status, by, reason, at_ms: raw.timestamp_ms });
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn record(id: &str, headers: &[(&str, &str)], value: Option<&str>, at_ms: i64) -> Raw {
        let mut all = vec![("shop".into(), Some(Bytes::from_static(b"web")))];
        all.push((header::ID.into(), Some(Bytes::copy_from_slice(id.as_bytes()))));
        let own = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
        all.extend(headers.iter().map(|(name, text)| (Headers::name(name), own(text))));
        Raw {
            topic: Topic::DeadLetters,
            partition: 0,
            offset: at_ms,
            key: Some(Bytes::from_static(b"k")),
            value: value.and_then(own),
            headers: Headers::Readable(all),
            timestamp_ms: at_ms,
        }
    }

    #[test]
    fn a_letter_is_as_its_newest_change_says_and_repeats_change_nothing() {
        let dead = record("a", &[(header::GROUP, "order-service"), (header::OFFSET, "7")], Some("x"), 1);
        let failed = record("a", &[(header::STATUS, "failed-again"), (header::BY, "ops")], None, 2);
        let redriven = record("a", &[(header::STATUS, "redriven"), (header::BY, "ops")], None, 3);
        let unknown = record("b", &[(header::STATUS, "discarded")], None, 4);
        let letters = fold(vec![dead.clone(), dead, failed.clone(), failed, redriven, unknown]);
        assert_eq!(letters.len(), 1);
        let letter = &letters[0];
        assert_eq!((letter.status(), letter.is_open(), letter.history.len()), ("redriven", false, 2));
        assert_eq!((letter.group.as_str(), letter.offset), ("order-service", 7));
        assert_eq!(
            letter.headers,
            [("shop".into(), Some(Bytes::from_static(b"web")))],
            "those of the message"
        );
    }

    #[test]
    fn a_change_that_died_is_a_letter() {
        let died = [(header::STATUS, "redriven"), (header::TOPIC, "dead-letters"), (header::ID, "ours")];
        let letters = fold(vec![record("mine", &died, None, 1)]);
        assert_eq!((letters[0].id.as_str(), letters[0].status()), ("ours", "dead"));
        let status = (header::STATUS.into(), Some(Bytes::from_static(b"redriven")));
        assert!(letters[0].headers.contains(&status), "it stays with the message");
    }

    #[test]
    fn a_header_of_the_message_that_is_named_like_ours_stays_with_it() {
        let twice = record("mine", &[(header::ID, "ours")], Some("x"), 1);
        let letters = fold(vec![twice]);
        assert_eq!(letters[0].id, "ours");
        assert!(
            letters[0]
                .headers
                .iter()
                .any(|(name, value)| name == header::ID && value.as_deref() == Some(b"mine"))
        );
    }
}
