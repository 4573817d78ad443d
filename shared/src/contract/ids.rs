//! Identifiers, parsed once at the edge: a value of these types is within the limits of the contract.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    str::FromStr,
    sync::Arc,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};
use uuid::{Builder, Uuid};

use super::limits::{SKU_CHARS_MAX, USER_ID_CHARS_MAX};

/// Namespace of every id that we derive (UUIDv5). Fixed for ever: derived ids are what makes a repeat harmless.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x5b8f_6f1e_0d5c_4c0e_9a55_f0f1_11ed_0001);

/// Room for the name of most that is derived.
const DERIVED_BYTES: usize = 192;

/// The id of what a handler makes of a message: the same input makes the same id for ever.
pub fn derived(cause: Uuid, handler: impl fmt::Display, ordinal: usize) -> Uuid {
    let mut name = String::with_capacity(DERIVED_BYTES);
    name.push_str(cause.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    // Writing to memory does not fail.
    let _ = write!(name, "/{handler}/{ordinal}");
    version_5(name.as_bytes())
}

/// The id of something that is named by its parts.
pub fn named(parts: &[&str]) -> Uuid {
    version_5(parts.join("\u{1f}").as_bytes())
}

/// As `Uuid::new_v5` makes it, by an implementation of SHA-1 that uses the processor's: each event and task has such an id.
fn version_5(name: &[u8]) -> Uuid {
    let digest = Sha1::new().chain_update(NAMESPACE).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

/// An order. The nil UUID is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct OrderId(Uuid);

impl OrderId {
    /// `None` for the nil UUID.
    pub fn new(id: Uuid) -> Option<Self> {
        (!id.is_nil()).then_some(Self(id))
    }

    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OrderId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // Only the hyphenated form: the id is compared with the message key as text.
        let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        id.and_then(Self::new).ok_or_else(|| "is not a UUID other than nil".to_owned())
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "an order id")
    }
}

/// A stock keeping unit: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sku(Arc<str>);

/// A buyer: 1 to 128 printable characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl FromStr for Sku {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=SKU_CHARS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then(|| Self(text.into()))
            .ok_or_else(|| format!("is not a sku (1 to {SKU_CHARS_MAX} of A-Z a-z 0-9 . _ -)"))
    }
}

impl FromStr for UserId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=USER_ID_CHARS_MAX).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && !text.trim().is_empty();
        fits.then(|| Self(text.into()))
            .ok_or_else(|| format!("is not a user id (1 to {USER_ID_CHARS_MAX} printable characters)"))
    }
}

macro_rules! text_id {
    ($name:ident, $what:literal, $schema:expr) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parsed(deserializer, $what)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

text_id!(
    Sku,
    "a sku",
    json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._-]+$", "minLength": 1, "maxLength": SKU_CHARS_MAX})
);
text_id!(
    UserId,
    "a user id",
    json_schema!({
        "type": "string", "minLength": 1, "maxLength": USER_ID_CHARS_MAX,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
    })
);

impl JsonSchema for OrderId {
    fn schema_name() -> Cow<'static, str> {
        "OrderId".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uuid"})
    }
}

/// A value that is written as text and parsed by `FromStr`.
pub(crate) fn parsed<'de, D, T>(deserializer: D, what: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    struct Text<T>(&'static str, std::marker::PhantomData<T>);
    impl<T: FromStr<Err = String>> serde::de::Visitor<'_> for Text<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(what, std::marker::PhantomData))
}

/// A stream of the log: a category and the key that its messages carry on their topic.
///
/// `order-<id>`, `reservation-<order id>`, `stock-<sku>`, `payment-<order id>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    pub fn order(id: OrderId) -> Self {
        Self::of_order("order-", id)
    }
    pub fn reservation(id: OrderId) -> Self {
        Self::of_order("reservation-", id)
    }
    pub fn payment(id: OrderId) -> Self {
        Self::of_order("payment-", id)
    }
    pub fn stock(sku: &Sku) -> Self {
        Self(["stock-", sku.as_str()].concat().into())
    }
    fn of_order(category: &str, id: OrderId) -> Self {
        Self([category, id.0.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())].concat().into())
    }
    /// As stored. Needs a category and a key.
    pub fn parse(text: &str) -> Option<Self> {
        let (category, key) = text.split_once('-')?;
        (!category.is_empty() && !key.is_empty()).then(|| Self(text.into()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn category(&self) -> &str {
        self.0.split_once('-').map_or("", |(category, _)| category)
    }
    /// The Kafka key of the stream's messages: an order id or a sku.
    pub fn key(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, key)| key)
    }
    /// The CloudEvents subject: `reservation/0198f3c2-…`.
    pub fn subject(&self) -> String {
        self.0.replacen('-', "/", 1)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_their_limits_do_not_parse() {
        assert!("00000000-0000-0000-0000-000000000000".parse::<OrderId>().is_err());
        assert!("0198f3c20000700080000000000000ff".parse::<OrderId>().is_err(), "only the hyphenated form");
        assert!("".parse::<Sku>().is_err());
        assert!("a b".parse::<Sku>().is_err());
        assert!("x".repeat(65).parse::<Sku>().is_err());
        assert!("line\nbreak".parse::<UserId>().is_err());
        assert!("ü".repeat(128).parse::<UserId>().is_ok());
    }

    #[test]
    fn a_stream_name_is_split_at_its_first_hyphen() {
        let stream = StreamName::stock(&"SKU-1".parse().unwrap());
        assert_eq!((stream.category(), stream.key()), ("stock", "SKU-1"));
        assert_eq!(stream.subject(), "stock/SKU-1");
    }

    #[test]
    fn a_derived_id_never_changes() {
        let cause = Uuid::from_u128(1);
        let name = format!("{cause}/order-service/0");
        assert_eq!(derived(cause, "order-service", 0), Uuid::new_v5(&NAMESPACE, name.as_bytes()));
        assert_eq!(
            derived(cause, "order-service", 0).to_string(),
            derived(cause, "order-service", 0).to_string()
        );
        assert_ne!(derived(cause, "order-service", 0), derived(cause, "order-service", 1));
    }
}
