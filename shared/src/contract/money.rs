//! Money: whole minor units of one currency. There is no floating point anywhere near it.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::parsed;

/// Three capital letters, as ISO 4217 writes them. Whether the code exists is not ours to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const EUR: Self = Self(*b"EUR");

    pub fn as_str(&self) -> &str {
        // The bytes are ASCII capitals by construction.
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl FromStr for Currency {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err("is not a currency (three capital letters)".to_owned()),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "a currency")
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Z]{3}$"})
    }
}

/// An amount in minor units (cents), never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    #[schemars(range(min = 0))]
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub fn is_zero(&self) -> bool {
        self.minor == 0
    }
}

impl fmt::Display for Money {
    /// `39.98 EUR`: two decimals, which is right for the currencies that have them and readable for the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} {}", self.minor / 100, self.minor % 100, self.currency)
    }
}

impl FromStr for Money {
    type Err = String;
    /// `19.99EUR`, `19.99 EUR` or `20EUR`.
    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is not an amount such as 19.99EUR");
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(usage)?;
        let currency = text[split..].parse()?;
        let number = text[..split].trim_end();
        let (whole, cents) = number.split_once('.').unwrap_or((number, "00"));
        if cents.len() != 2
            || whole.is_empty()
            || !(whole.to_owned() + cents).bytes().all(|b| b.is_ascii_digit())
        {
            return Err(usage());
        }
        let minor = format!("{whole}{cents}").parse().map_err(|_| usage())?;
        Ok(Self { minor, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_they_are_written() {
        let price: Money = "19.99EUR".parse().unwrap();
        assert_eq!(price, Money::new(1999, Currency::EUR));
        assert_eq!(price.to_string(), "19.99 EUR");
        assert_eq!("20 EUR".parse::<Money>().unwrap().minor, 2000);
        for bad in
            ["19.9EUR", "19,99EUR", "-1.00EUR", "EUR", "1.00eur", "1.00EURO", "99999999999999999999EUR"]
        {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
    }
}
