//! What one `event send` sends, in which order: numbers, duplicates, shuffle, spoiled ones. No I/O.

use std::{borrow::Cow, str::FromStr};

use bytes::Bytes;
use rand::{Rng, seq::SliceRandom};
use serde_json::{Map, Value};
use shared::contract::{
    envelope::{Headers, Manual, Raw},
    ids,
};
use uuid::Uuid;

use super::{SOURCE_CLI, bad::Bad, template::Filled};
use crate::kafka::Record;

/// How often messages are sent again: each so many times, or a share of them once more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Duplicate {
    Times(usize),
    Share(f64),
}

impl FromStr for Duplicate {
    type Err = String;

    /// `2` (each twice) or `20%` (one in five once more).
    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is neither a number of times such as 2 nor a share such as 20%");
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| usage())?;
            return if (0.0..=100.0).contains(&percent) {
                Ok(Self::Share(percent / 100.0))
            } else {
                Err(usage())
            };
        }
        match text.parse() {
            Ok(times @ 1..=1000) => Ok(Self::Times(times)),
            _ => Err(usage()),
        }
    }
}

/// A record with the number of the message that it is, and how it was spoiled.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) number: usize,
    pub(super) record: Record,
    pub(super) repeat: bool,
    pub(super) bad: Option<Bad>,
}

pub(super) fn plan(
    records: Vec<Record>,
    bad: &[Bad],
    duplicate: Option<Duplicate>,
    shuffle: bool,
    random: &mut impl Rng,
) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(records.len());
    for (number, mut record) in records.into_iter().enumerate() {
        let kind = (!bad.is_empty()).then(|| bad[number % bad.len()]);
        if let Some(kind) = kind {
            kind.spoil(&mut record);
        }
        let again = match duplicate {
            None => 0,
            Some(Duplicate::Times(times)) => times - 1,
            Some(Duplicate::Share(share)) => usize::from(random.random_bool(share)),
        };
        for repeat in 0..=again {
            planned.push(Planned { number, record: record.clone(), repeat: repeat > 0, bad: kind });
        }
    }
    if shuffle {
        planned.shuffle(random);
    }
    planned
}

/// A message as it goes onto its topic: what its envelope has is kept, what that lacks is made. Sent again, an event is
/// the same one.
pub(super) fn record(
    filled: &Filled,
    partition: Option<i32>,
    headers: &[(String, String)],
) -> anyhow::Result<Record> {
    let attribute = |name: &str| filled.attributes.get(name).and_then(Value::as_str);
    let source = attribute("source").unwrap_or(SOURCE_CLI);
    let id = match attribute("id") {
        // As a reader names it, so that what is derived from it stays the same, too.
        Some(id) => Uuid::try_parse(id).unwrap_or_else(|_| ids::named(&["event", source, id])),
        None => Uuid::now_v7(),
    };
    let manual = Manual {
        message_type: &filled.message_type,
        data: &filled.data.to_string(),
        id,
        source,
        time: super::now(),
        traceparent: attribute("traceparent"),
    };
    let mut record: Record = manual.encode(filled.topic, filled.key.as_deref().unwrap_or_default())?.into();
    if !filled.attributes.is_empty() {
        keep(&filled.attributes, &mut record)?;
    }
    if filled.key.is_none() {
        record.key = None;
    }
    record.partition = partition;
    let own =
        headers.iter().map(|(name, value)| (Cow::Owned(name.clone()), Some(Bytes::from(value.clone()))));
    record.headers.extend(own);
    Ok(record)
}

/// In the value, and in the headers that say the same.
fn keep(attributes: &Map<String, Value>, record: &mut Record) -> anyhow::Result<()> {
    let mut event: Map<String, Value> = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
    let is_there = |(_, value): &(&String, &Value)| !value.is_null();
    event.extend(attributes.iter().filter(is_there).map(|(name, value)| (name.clone(), value.clone())));
    record.value = Some(serde_json::to_vec(&event)?.into());
    for (header, value) in &mut record.headers {
        let own = header.strip_prefix("ce_").and_then(|name| attributes.get(name)).and_then(Value::as_str);
        if let Some(own) = own {
            *value = Some(Bytes::copy_from_slice(own.as_bytes()));
        }
    }
    Ok(())
}

/// As a reader gets it.
pub(super) fn raw(record: &Record) -> Raw {
    Raw {
        topic: record.topic,
        partition: 0,
        offset: 0,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: Headers::Readable(record.headers.clone()),
        timestamp_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use serde_json::json;
    use shared::contract::{
        envelope::{Mode, decode},
        topics::Topic,
    };

    use super::*;

    fn records(count: usize) -> Vec<Record> {
        let one = |number: usize| Record {
            topic: Topic::OrdersCommands,
            partition: None,
            key: Some(number.to_string().into()),
            value: Some(Bytes::from_static(b"{}")),
            headers: Vec::new(),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn each_is_sent_so_many_times_or_a_share_once_more() {
        let mut random = StdRng::seed_from_u64(1);
        assert_eq!(plan(records(10), &[], Some(Duplicate::Times(3)), false, &mut random).len(), 30);
        let fifth = plan(records(1000), &[], Some("20%".parse().unwrap()), false, &mut random);
        let repeats = fifth.iter().filter(|planned| planned.repeat).count();
        assert!((150..250).contains(&repeats) && fifth.len() == 1000 + repeats, "{repeats}");
        for bad in ["0", "x", "101%", "-1%", "%"] {
            assert!(bad.parse::<Duplicate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_envelope_keeps_what_it_has_and_is_given_the_rest() {
        let own = [
            ("id", "not-a-uuid"),
            ("source", "/shop"),
            ("time", "2026-11-24T10:00:00Z"),
            ("sequence", "7"),
            ("position", "9"),
        ];
        let filled = Filled {
            message_type: "fulfil.order.confirmed.v1".into(),
            topic: Topic::OrdersEvents,
            key: Some("0198f3c2-5a10-7c31-9d44-0a4be1c25f09".into()),
            data: json!({"order_id": "0198f3c2-5a10-7c31-9d44-0a4be1c25f09"}),
            attributes: own.map(|(name, value)| (name.to_owned(), value.into())).into_iter().collect(),
        };
        let sent = record(&filled, None, &[]).unwrap();
        assert_eq!(sent, record(&filled, None, &[]).unwrap(), "sent again it is the same");
        let raw = raw(&sent);
        assert_eq!(
            (raw.headers.text("ce_id"), raw.headers.text("ce_source")),
            (Some("not-a-uuid"), Some("/shop"))
        );
        let envelope = decode(&raw, Mode::Production).unwrap();
        assert_eq!((envelope.source.as_str(), envelope.position), ("/shop", Some(9)));
        assert_eq!(envelope.correlation_id, Some(envelope.id));
        assert_eq!(envelope.message_type, filled.message_type);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut planned = plan(records(100), &[], None, true, &mut StdRng::seed_from_u64(1));
        assert!(!planned.is_sorted_by_key(|planned| planned.number));
        planned.sort_by_key(|planned| planned.number);
        assert_eq!(
            planned.iter().map(|planned| planned.number).collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }
}
