//! The contract: everything that crosses a service boundary, and nothing else.
//!
//! A type in this folder is read by programs that we do not deploy. What is committed here is frozen: a change is
//! a new version of a message with an upcaster ([`upcast`]), never another meaning of an old one.

pub mod ids;
pub mod money;
pub mod limits;
pub mod strict;
pub mod topics;
pub mod message;
pub mod order;
pub mod stock;
pub mod payment;
pub mod dead_letter;
pub mod upcast;
pub mod catalogue;
pub mod schema;
pub mod samples;
pub mod brief;
pub mod envelope;

/// All times are UTC and cut to milliseconds where they are made, so that a time that went through Postgres
/// (microseconds) and JSON comes back equal.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// Why bytes are not one of our messages. Such a message is dead-lettered at once and holds nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Malformed {
    /// Stable, hyphenated, becomes `dlq.code`.
    pub code: &'static str,
    /// JSON pointer to the place, empty when it is the whole message.
    pub pointer: String,
    /// One sentence that names the field and the limit and quotes no payload.
    pub detail: String,
}

impl Malformed {
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, pointer: String::new(), detail: detail.into() }
    }

    pub fn at(code: &'static str, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code, pointer: pointer.into(), detail: detail.into() }
    }

    /// The same place, of a payload, as one of the message that carries it.
    pub fn in_data(self) -> Self {
        Self { pointer: format!("/data{}", self.pointer), ..self }
    }
}
