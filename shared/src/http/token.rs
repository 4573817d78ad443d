//! The consistency token: how far a stream was when a command was answered. The read side waits until its view has
//! it. Clients pass it on and do not look into it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::contract::ids::{StreamName, parsed};

/// A version of a stream; written `order-<id>:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub stream: StreamName,
    pub version: i64,
}

impl Token {
    pub fn new(stream: StreamName, version: i64) -> Self {
        Self { stream, version }
    }
}

/// A stream name has at most 64 characters after its category.
const CHARS_MAX: usize = 100;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.stream, self.version)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (stream, version) = text.rsplit_once(':').filter(|_| text.len() <= CHARS_MAX)?;
            let digits = version.bytes().all(|byte| byte.is_ascii_digit());
            let version = version.parse().ok().filter(|version| digits && *version > 0)?;
            Some(Self { stream: StreamName::parse(stream)?, version })
        };
        parse().ok_or_else(|| "is not a token that a command was answered with".to_owned())
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, "a token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_is_written_and_needs_no_escaping_in_a_query() {
        for text in ["order-0198f3c2-0000-7000-8000-000000000001:3", "stock-SKU_1.x:9007199254740993"] {
            let token: Token = text.parse().unwrap();
            assert_eq!(token.to_string(), text);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte)));
        }
        for bad in [
            "",
            "order",
            "order-1",
            "order-1:",
            "order-1:0",
            "order-1:+1",
            "order-1:-1",
            "order:1",
            "order-1:x",
        ] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
