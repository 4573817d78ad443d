//! Whether a message can be read at all, by the contract that this program was built with.

use crate::contract::{
    Malformed,
    envelope::{Envelope, Mode, Raw, decode},
    message::Message,
    schema::Checker,
};

/// In development mode, which takes more.
pub fn check(raw: &Raw) -> Result<(), Malformed> {
    Message::read(raw, Mode::Development).map(drop)
}

/// All that is wrong with it, each with its place: a schema finds more than the first.
pub fn wrongs(raw: &Raw) -> anyhow::Result<Vec<Malformed>> {
    let Err(first) = check(raw) else { return Ok(Vec::new()) };
    let wrongs = match decode(raw, Mode::Development) {
        Ok(envelope) if Message::knows(&envelope.message_type) => of_schema(&envelope)?,
        _ => Vec::new(),
    };
    // What the payload is right about: its key, its topic.
    Ok(if wrongs.is_empty() { vec![first] } else { wrongs })
}

fn of_schema(envelope: &Envelope) -> anyhow::Result<Vec<Malformed>> {
    let data = serde_json::from_str(&envelope.data)?;
    let wrongs = Checker::default().wrongs(&envelope.message_type, &data)?;
    Ok(wrongs.into_iter().map(Malformed::in_data).collect())
}

#[cfg(test)]
mod tests {
    use crate::contract::{envelope::Headers, topics::Topic};
    use bytes::Bytes;

    use super::*;

    fn code(topic: Topic, key: &str, value: &str) -> Option<String> {
        let raw = Raw {
            topic,
            partition: 0,
            offset: 0,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        };
        check(&raw).err().map(|malformed| format!("{} {}", malformed.code, malformed.pointer))
    }

    #[test]
    fn what_a_service_could_not_read_is_not_readable_here() {
        let message = |data: &str| {
            format!(
                r#"{{"specversion":"1.0","id":"1","source":"/x","type":"fulfil.stock.receive.v1","data":{data}}}"#
            )
        };
        let good = message(r#"{"sku":"A","quantity":1}"#);
        assert_eq!(code(Topic::InventoryCommands, "A", &good), None);
        assert_eq!(code(Topic::InventoryCommands, "B", &good).unwrap(), "key-mismatch /data/sku");
        assert_eq!(code(Topic::OrdersCommands, "A", &good).unwrap(), "wrong-topic /type");
        let text = message(r#"{"sku":"A","quantity":"1"}"#);
        assert_eq!(code(Topic::InventoryCommands, "A", &text).unwrap(), "invalid-data /data/quantity");
        let later = good.replace("receive.v1", "receive.v9");
        assert_eq!(code(Topic::InventoryCommands, "A", &later).unwrap(), "unknown-type /type");
        assert!(code(Topic::InventoryCommands, "A", &good[1..]).is_some());
    }
}
