//! Whether a message can be read at all, by the contract that this program was built with.

use shared::contract::{
    Malformed,
    envelope::{Envelope, Mode, Raw, decode},
    message::Message,
};

use crate::event::Checker;

/// In development mode, which takes more.
pub(super) fn check(raw: &Raw) -> Result<(), Malformed> {
    Message::read(raw, Mode::Development).map(drop)
}

/// All that is wrong with it, each with its place: a schema finds more than the first.
pub(super) fn wrongs(raw: &Raw) -> anyhow::Result<Vec<String>> {
    let Err(first) = check(raw) else { return Ok(Vec::new()) };
    let mut wrongs = match decode(raw, Mode::Development) {
        Ok(envelope) if Message::knows(&envelope.message_type) => of_schema(&envelope)?,
        _ => Vec::new(),
    };
    if wrongs.is_empty() {
        wrongs.push(format!("{} {}", first.pointer, first.detail).trim().to_owned());
    }
    Ok(wrongs)
}

fn of_schema(envelope: &Envelope) -> anyhow::Result<Vec<String>> {
    let data = serde_json::from_str(&envelope.data)?;
    let wrongs = Checker::default().wrongs(&envelope.message_type, &data)?;
    // Places in the payload, of which the payload as a whole is named by its name.
    let place =
        |wrong: String| if wrong.starts_with('/') { format!("/data{wrong}") } else { format!("/{wrong}") };
    Ok(wrongs.into_iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shared::contract::{envelope::Headers, topics::Topic};

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
