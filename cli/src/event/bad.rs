//! `--bad`: messages that no service can read, one kind each. For trying what becomes of them.

use std::{borrow::Cow, str::FromStr};

use bytes::Bytes;
use shared::contract::limits::MESSAGE_BYTES_MAX;

use crate::kafka::Record;

/// A way to spoil a good message.
#[derive(Clone, Copy, Debug)]
pub struct Bad {
    pub name: &'static str,
    spoil: fn(&mut Record),
}

/// The first dozen differ most; `--bad -n N` goes round.
pub const BAD_KINDS: &[Bad] = &[
    Bad { name: "text", spoil: |record| record.value = value("hello, is this the order service?") },
    Bad {
        name: "truncated",
        spoil: |record| {
            let bytes = record.value.clone().unwrap_or_default();
            record.value = Some(bytes.slice(..bytes.len() / 2));
        },
    },
    Bad { name: "null", spoil: |record| record.value = None },
    Bad {
        name: "not-utf8",
        spoil: |record| record.value = Some(Bytes::from_static(b"\xff\xfe{\"type\":1}")),
    },
    Bad {
        name: "duplicate-key",
        spoil: |record| replace(record, "\"data\":{", "\"data\":{\"order_id\":\"x\",\"sku\":\"x\","),
    },
    Bad { name: "no-data", spoil: |record| replace(record, "\"data\":", "\"payload\":") },
    Bad { name: "unknown-type", spoil: |record| retype(record, "fulfil.order.abducted.v1") },
    Bad {
        name: "specversion",
        spoil: |record| replace(record, "\"specversion\":\"1.0\"", "\"specversion\":\"0.3\""),
    },
    Bad { name: "key-mismatch", spoil: |record| record.key = Some(Bytes::from_static(b"somebody-else")) },
    Bad {
        name: "id-is-a-number",
        spoil: |record| {
            replace(record, "\"order_id\":\"", "\"order_id\":5,\"was\":\"");
            replace(record, "\"sku\":\"", "\"sku\":5,\"was\":\"");
        },
    },
    Bad {
        name: "too-deep",
        spoil: |record| {
            let deep = format!("\"data\":{{\"x\":{}{},", "[".repeat(40), "]".repeat(40));
            replace(record, "\"data\":{", &deep);
        },
    },
    Bad {
        name: "too-large",
        spoil: |record| {
            let pad = format!("\"data\":{{\"pad\":\"{}\",", "x".repeat(MESSAGE_BYTES_MAX));
            replace(record, "\"data\":{", &pad);
        },
    },
    Bad { name: "empty", spoil: |record| record.value = value("") },
    Bad { name: "array", spoil: |record| record.value = value("[1,2,3]") },
    Bad { name: "no-type", spoil: |record| replace(record, "\"type\":", "\"kind\":") },
    Bad { name: "control-character", spoil: |record| retype(record, "fulfil.\\u0000.v1") },
    Bad { name: "wrong-topic", spoil: |record| retype(record, "fulfil.stock.committed.v1") },
    Bad { name: "time", spoil: |record| replace(record, "\"time\":\"", "\"time\":\"at about ") },
    Bad {
        name: "trailing",
        spoil: |record| {
            let mut bytes = record.value.clone().unwrap_or_default().to_vec();
            bytes.extend_from_slice(b" {}");
            record.value = Some(bytes.into());
        },
    },
    Bad {
        name: "binary-junk",
        spoil: |record| {
            for (name, text) in
                [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/x"), ("ce_type", "x")]
            {
                record.headers.push((Cow::Borrowed(name), Some(Bytes::from_static(text.as_bytes()))));
            }
            record.headers.retain(|(name, _)| name != "content-type");
            record.value = Some(Bytes::from_static(&[0, 1, 2, 3]));
        },
    },
];

impl Bad {
    pub fn spoil(&self, record: &mut Record) {
        (self.spoil)(record);
    }
}

impl FromStr for Bad {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || BAD_KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ");
        BAD_KINDS
            .iter()
            .find(|kind| kind.name == name)
            .copied()
            .ok_or_else(|| format!("is none of {}", names()))
    }
}

fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

fn replace(record: &mut Record, from: &str, to: &str) {
    let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).replacen(from, to, 1);
    record.value = Some(text.into());
}

fn retype(record: &mut Record, message_type: &str) {
    let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    let Some(start) = text.find("\"type\":\"").map(|at| at + 8) else { return };
    let Some(end) = text[start..].find('"').map(|at| at + start) else { return };
    record.value = Some(format!("{}{message_type}{}", &text[..start], &text[end..]).into());
}

#[cfg(test)]
mod tests {
    use shared::contract::{
        catalogue::entries,
        envelope::{Mode, check_key, decode},
        message::Message,
        topics::Topic,
    };

    use super::*;
    use crate::event::{
        plan::{raw, record},
        template::Template,
    };

    #[test]
    fn every_kind_is_refused_whatever_the_message() {
        assert!(BAD_KINDS.len() >= 12);
        for entry in entries().into_iter().filter(|entry| entry.topic != Topic::DeadLettersCommands) {
            let filled = Template::new(entry.message_type, entry.topic, &[], None).unwrap().fill(0).unwrap();
            for kind in BAD_KINDS {
                let mut record = record(&filled, None, &[]).unwrap();
                kind.spoil(&mut record);
                if kind.name == "wrong-topic" && record.topic == Topic::InventoryEvents {
                    continue;
                }
                assert!(!is_read(&record), "{} of {} is read", kind.name, filled.message_type);
            }
        }
    }

    fn is_read(record: &Record) -> bool {
        let raw = raw(record);
        let Ok(envelope) = decode(&raw, Mode::Development) else { return false };
        let Some(Ok(message)) = Message::decode(&envelope.message_type, &envelope.data) else { return false };
        check_key(&raw, &message).is_ok()
    }
}
