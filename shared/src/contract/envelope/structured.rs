//! The structured form as it stands in the value, read once: each message that we consume comes through here.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::contract::{
    Malformed,
    message::invalid_data,
    strict::{self, Checked, Keys, Text},
};

/// The attributes that we know, of a CloudEvent or of what has only a type and data.
#[derive(Default)]
pub(super) struct Structured<'a> {
    pub(super) specversion: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) source: Option<Cow<'a, str>>,
    pub(super) message_type: Cow<'a, str>,
    pub(super) time: Option<Cow<'a, str>>,
    /// JSON.
    pub(super) data: &'a str,
    pub(super) correlationid: Option<Cow<'a, str>>,
    pub(super) causationid: Option<Cow<'a, str>>,
    pub(super) traceparent: Option<Cow<'a, str>>,
    pub(super) sequence: Option<Cow<'a, str>>,
    pub(super) position: Option<Cow<'a, str>>,
    pub(super) decision: Option<Cow<'a, str>>,
}

impl<'a> Structured<'a> {
    /// Also checks that all of it is strict JSON.
    pub(super) fn read(json: &'a str) -> Result<Self, Malformed> {
        let event: Self = serde_json::from_str(json).map_err(|error| {
            // What is not strict JSON is told first, whatever else is wrong before.
            strict::check(json).err().unwrap_or_else(|| {
                let place = strict::place(&error);
                let Malformed { detail, .. } = invalid_data(error);
                Malformed::new("invalid-envelope", format!("{detail} {place}"))
            })
        })?;
        // Where it fails, the place is told as one of the whole.
        strict::check_member(event.data).or_else(|_| strict::check(json))?;
        Ok(event)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Structured<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Attributes)
    }
}

struct Attributes;

impl<'de> Visitor<'de> for Attributes {
    type Value = Structured<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with type and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut event = Structured::default();
        let mut message_type = None;
        let mut data = None;
        let mut keys = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            let attribute = match &*key {
                "specversion" => Some(&mut event.specversion),
                "id" => Some(&mut event.id),
                "source" => Some(&mut event.source),
                "type" => Some(&mut message_type),
                "time" => Some(&mut event.time),
                "correlationid" => Some(&mut event.correlationid),
                "causationid" => Some(&mut event.causationid),
                "traceparent" => Some(&mut event.traceparent),
                "sequence" => Some(&mut event.sequence),
                "position" => Some(&mut event.position),
                "decision" => Some(&mut event.decision),
                _ => None,
            };
            match attribute {
                Some(attribute) => *attribute = map.next_value::<Option<Text>>()?.map(|Text(text)| text),
                // Checked by whoever reads this, who can say where it fails.
                None if key == "data" => data = Some(map.next_value::<&RawValue>()?.get()),
                None => map.next_value_seed(Checked { depth: 1 })?,
            }
            keys.add(key)?;
        }
        let message_type = message_type.ok_or_else(|| A::Error::missing_field("type"))?;
        let data = data.ok_or_else(|| A::Error::missing_field("data"))?;
        Ok(Structured { message_type, data, ..event })
    }
}
