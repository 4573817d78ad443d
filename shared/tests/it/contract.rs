//! The contract as other programs see it: committed samples and schemas, the envelope, and what is not one of our
//! messages.

mod samples;
mod schemas;
mod envelope;
mod malformed;
mod properties;

use bytes::Bytes;
use shared::contract::{
    envelope::{Headers, Raw},
    topics::Topic,
};

const ORDER_ID: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";

/// A message on partition 2, offset 7.
fn raw(topic: Topic, key: Option<&str>, headers: &[(&str, &str)], value: impl Into<Vec<u8>>) -> Raw {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Raw {
        topic,
        partition: 2,
        offset: 7,
        key: key.map(text),
        value: Some(value.into().into()),
        headers: Headers::Readable(
            headers.iter().map(|(name, value)| (Headers::name(name), Some(text(value)))).collect(),
        ),
        timestamp_ms: 0,
    }
}
