//! What one `event send` sends, in which order: numbers, duplicates, shuffle, spoiled ones. No I/O.

use std::{borrow::Cow, str::FromStr};

use bytes::Bytes;
use rand::{Rng, seq::SliceRandom};
use shared::contract::envelope::Manual;
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

/// A message as it goes onto its topic, in an envelope of its own.
pub(super) fn record(
    filled: &Filled,
    partition: Option<i32>,
    headers: &[(String, String)],
) -> anyhow::Result<Record> {
    let manual = Manual {
        message_type: &filled.message_type,
        data: &filled.data.to_string(),
        id: Uuid::now_v7(),
        source: SOURCE_CLI,
        time: super::now(),
        traceparent: None,
    };
    let mut record: Record = manual.encode(filled.topic, filled.key.as_deref().unwrap_or_default())?.into();
    if filled.key.is_none() {
        record.key = None;
    }
    record.partition = partition;
    let own =
        headers.iter().map(|(name, value)| (Cow::Owned(name.clone()), Some(Bytes::from(value.clone()))));
    record.headers.extend(own);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use shared::contract::topics::Topic;

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
