//! A message that became a dead letter, as it is counted and told.

use std::collections::BTreeMap;

use tracing::warn;
use uuid::Uuid;

use crate::{
    contract::envelope::Raw,
    telemetry::{About, Metrics, metrics::DeadLetterLabel},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// As in the header `dlq.code`.
    pub code: String,
    pub letter_id: Uuid,
    raw: Raw,
    /// Order id or sku, where it could be read.
    key: Option<String>,
}

impl Poison {
    pub fn new(code: &str, letter_id: Uuid, raw: &Raw, key: Option<String>) -> Self {
        Self { code: code.to_owned(), letter_id, raw: raw.clone(), key }
    }

    pub fn raw(&self) -> &Raw {
        &self.raw
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
        let about = About::of(&first.raw);
        warn!(
            code,
            letters,
            letter_id = %first.letter_id,
            key = first.key.as_deref(),
            order_id = about.order_id(),
            event_id = about.event_id(),
            correlation_id = about.correlation_id(),
            topic = first.raw.topic.name(),
            partition = first.raw.partition,
            offset = first.raw.offset,
            "a message is dead-lettered"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::contract::{envelope::Headers, topics::Topic};

    const ORDER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";
    const EVENT: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f02";
    const CORRELATION: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f03";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(poison: &[Poison]) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tell("orders", poison, &Metrics::new("test", "test"))
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn raw(value: &str, headers: &[(&str, &str)]) -> Raw {
        let header =
            |(name, value): &(&str, &str)| (Headers::name(name), Some(Bytes::from((*value).to_owned())));
        Raw {
            topic: Topic::OrdersCommands,
            partition: 3,
            offset: 7,
            key: Some(ORDER.into()),
            value: Some(value.to_owned().into()),
            headers: Headers::Readable(headers.iter().map(header).collect()),
            timestamp_ms: 0,
        }
    }

    fn ids(line: &Value) -> [Option<&str>; 3] {
        ["order_id", "event_id", "correlation_id"].map(|name| line[name].as_str())
    }

    #[test]
    fn a_line_about_a_message_names_it_and_quotes_nothing_of_it() {
        let value = format!(
            r#"{{"specversion":"1.0","id":"{EVENT}","source":"/shop","type":"fulfil.order.cancel.v1","correlationid":"{CORRELATION}","data":{{"order_id":"{ORDER}","reason":"secret"}}}}"#
        );
        let letter = |code, raw| Poison::new(code, Uuid::nil(), &raw, None);
        let broken = [("ce_id", EVENT), ("ce_correlationid", "secret")];
        let lines = told(&[
            letter("a", raw(&value, &[])),
            letter("a", raw("hello", &[])),
            letter("b", raw("secret", &broken)),
        ]);
        assert_eq!(lines.len(), 2, "one a reason: {lines:?}");
        assert_eq!((&lines[0]["letters"], &lines[0]["offset"]), (&2.into(), &7.into()));
        assert_eq!(ids(&lines[0]), [Some(ORDER), Some(EVENT), Some(CORRELATION)]);
        assert_eq!(ids(&lines[1]), [Some(ORDER), Some(EVENT), None]);
        assert!(!format!("{lines:?}").contains("secret"), "{lines:?}");
    }
}
