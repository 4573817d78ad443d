//! What JSON we accept before we look at a field: no duplicate key, at any depth that we read, and not too deep.
//!
//! serde keeps the first or the last of two equal keys, depending on the type that reads them; two readers would
//! then see two messages in the same bytes.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor},
};

use super::{Malformed, limits::JSON_DEPTH_MAX};

/// Checks a whole document, and gives it back as text: whoever reads that need not look for UTF-8 in each string again.
pub fn check(json: &[u8]) -> Result<&str, Malformed> {
    let json = str::from_utf8(json).map_err(|_| Malformed::new("invalid-json", "is not UTF-8"))?;
    let mut reader = serde_json::Deserializer::from_str(json);
    let checked =
        Checked { depth: 0 }.deserialize(&mut reader).and_then(|()| reader.end()).map_err(|error| {
            let text = error.to_string();
            match text.split(" at line ").next().unwrap_or_default() {
                DUPLICATE => Malformed::new("duplicate-key", "a JSON key stands twice in one object"),
                DEEP => Malformed::new("limit", format!("JSON is at most {JSON_DEPTH_MAX} deep")),
                other => Malformed::new(
                    "invalid-json",
                    format!("{other} (line {}, column {})", error.line(), error.column()),
                ),
            }
        });
    checked.map(|()| json)
}

const DUPLICATE: &str = "duplicate key";
const DEEP: &str = "too deep";
/// Objects of a few keys are compared one by one; a hash set pays off beyond.
const KEYS_COMPARED_MAX: usize = 16;

/// Text of a document, copied only where it has an escape. (Of an `Option<Cow>` serde would copy all.)
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.deeper()?;
        let mut few: [Cow<'de, str>; KEYS_COMPARED_MAX] = Default::default();
        let mut many = HashSet::<Cow<'de, str>>::new();
        let mut count = 0;
        while let Some(Text(key)) = map.next_key()? {
            let is_among_few = few[..count].contains(&key);
            let seen = if count < KEYS_COMPARED_MAX {
                few[count] = key;
                count += 1;
                is_among_few
            } else {
                is_among_few || !many.insert(key)
            };
            if seen {
                return Err(A::Error::custom(DUPLICATE));
            }
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}

impl Checked {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(E::custom(DEEP));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_malformed_at_every_depth() {
        assert!(check(br#"{"a":1,"b":{"c":1,"d":2}}"#).is_ok());
        assert_eq!(check(br#"{"a":1,"a":1}"#).unwrap_err().code, "duplicate-key");
        assert_eq!(check(br#"{"a":[{"b":1,"b":2}]}"#).unwrap_err().code, "duplicate-key");
        assert_eq!(check(br#"{"a":1,"\u0061":2}"#).unwrap_err().code, "duplicate-key");
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(check(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        assert!(check(format!("{{{},\"k99\":0}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn too_deep_is_malformed_and_the_limit_is_not() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(check(nested(JSON_DEPTH_MAX + 1).as_bytes()).unwrap_err().code, "limit");
        assert_eq!(check(b"{\"a\":1} x").unwrap_err().code, "invalid-json");
        assert_eq!(check(b"{\"a\":").unwrap_err().code, "invalid-json");
        assert_eq!(check(b"\xff").unwrap_err().code, "invalid-json");
    }
}
