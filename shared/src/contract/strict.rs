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

/// Bytes as text: whoever reads that need not look for UTF-8 in each string again.
pub fn text(json: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(json).map_err(|_| Malformed::new("invalid-json", "is not UTF-8"))
}

/// Checks a whole document.
pub fn check(json: &str) -> Result<(), Malformed> {
    check_at(0, json)
}

/// Checks the value of a key of a document's outermost object.
pub(super) fn check_member(json: &str) -> Result<(), Malformed> {
    check_at(1, json)
}

fn check_at(depth: usize, json: &str) -> Result<(), Malformed> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Checked { depth }.deserialize(&mut reader).and_then(|()| reader.end()).map_err(|error| {
        let (text, place) = (error.to_string(), place(&error));
        match text.split(" at line ").next().unwrap_or_default() {
            DUPLICATE => {
                Malformed::new("duplicate-key", format!("a JSON key stands twice in one object {place}"))
            }
            DEEP => Malformed::new("limit", format!("JSON is at most {JSON_DEPTH_MAX} deep {place}")),
            other => Malformed::new("invalid-json", format!("{other} {place}")),
        }
    })
}

/// Where it ended to be what it should be: in bytes from one.
pub(super) fn place(error: &serde_json::Error) -> String {
    format!("(line {}, column {})", error.line(), error.column())
}

const DUPLICATE: &str = "duplicate key";
const DEEP: &str = "too deep";
/// Keys of objects with a few are compared one by one; a hash set pays off beyond.
const KEYS_COMPARED_MAX: usize = 24;

/// Text of a document, copied only where it has an escape. (Of an `Option<Cow>` serde would copy all.)
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// What is looked at and not kept, inside of so many objects and lists.
#[derive(Clone, Copy)]
pub(super) struct Checked {
    pub(super) depth: usize,
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
        let mut keys = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            keys.add(key)?;
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

/// Those of one object so far.
#[derive(Default)]
pub(super) struct Keys<'de> {
    few: [&'de str; KEYS_COMPARED_MAX],
    count: usize,
    /// Those beyond, and those that had to be copied.
    others: HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    /// Fails where it is there already.
    pub(super) fn add<E: Error>(&mut self, key: Cow<'de, str>) -> Result<(), E> {
        let is_known = self.few[..self.count].contains(&&*key)
            || (!self.others.is_empty() && self.others.contains(&key));
        if is_known {
            return Err(E::custom(DUPLICATE));
        }
        match key {
            Cow::Borrowed(key) if self.count < KEYS_COMPARED_MAX => {
                self.few[self.count] = key;
                self.count += 1;
            }
            other => {
                self.others.insert(other);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_are_malformed_at_every_depth() {
        assert!(check(r#"{"a":1,"b":{"c":1,"d":2}}"#).is_ok());
        assert_eq!(check(r#"{"a":1,"a":1}"#).unwrap_err().code, "duplicate-key");
        assert_eq!(check(r#"{"a":[{"b":1,"b":2}]}"#).unwrap_err().code, "duplicate-key");
        assert_eq!(check(r#"{"a":1,"\u0061":2}"#).unwrap_err().code, "duplicate-key");
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(check(&format!("{{{}}}", many.join(","))).is_ok());
        assert!(check(&format!("{{{},\"k99\":0}}", many.join(","))).is_err());
        assert!(check(&format!("{{\"\\u006b99\":0,{}}}", many.join(","))).is_err());
    }

    #[test]
    fn too_deep_is_malformed_and_the_limit_is_not() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(&nested(JSON_DEPTH_MAX)).is_ok());
        assert_eq!(check(&nested(JSON_DEPTH_MAX + 1)).unwrap_err().code, "limit");
        assert_eq!(check("{\"a\":1} x").unwrap_err().code, "invalid-json");
        assert_eq!(check("{\"a\":").unwrap_err().code, "invalid-json");
        assert!(check_member(&nested(JSON_DEPTH_MAX - 1)).is_ok());
        assert_eq!(check_member(&nested(JSON_DEPTH_MAX)).unwrap_err().code, "limit");
    }
}
