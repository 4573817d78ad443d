//! A message that became a dead letter, as it is counted and told.

use std::collections::BTreeMap;

use tracing::warn;
use uuid::Uuid;

use crate::{
    contract::{envelope::Raw, topics::Topic},
    telemetry::{Metrics, metrics::DeadLetterLabel},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// As in the header `dlq.code`.
    pub code: String,
    pub letter_id: Uuid,
    topic: Topic,
    partition: i32,
    offset: i64,
    /// Order id or sku, where it could be read.
    key: Option<String>,
}

impl Poison {
    pub fn new(code: &str, letter_id: Uuid, raw: &Raw, key: Option<String>) -> Self {
        let Raw { topic, partition, offset, .. } = *raw;
        Self { code: code.to_owned(), letter_id, topic, partition, offset, key }
    }
}

/// Counts each, and logs one line a reason, with the first of it: a flood of poison must not become a flood of lines.
pub fn tell(group: &'static str, poison: &[Poison], metrics: &Metrics) {
    let mut reasons: BTreeMap<&str, (&Poison, u64)> = BTreeMap::new();
    for message in poison {
        reasons.entry(&message.code).or_insert((message, 0)).1 += 1;
    }
    for (code, (first, letters)) in reasons {
        let label = DeadLetterLabel { group: group.into(), code: code.to_owned().into() };
        metrics.dead_letters.get_or_create(&label).inc_by(letters);
        warn!(
            code,
            letters,
            letter_id = %first.letter_id,
            key = first.key.as_deref(),
            topic = first.topic.name(),
            partition = first.partition,
            offset = first.offset,
            "a message is dead-lettered"
        );
    }
}
