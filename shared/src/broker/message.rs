//! A message copied out of the client library, which owns its bytes only for a moment.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use rdkafka::{Message, message::BorrowedMessage, message::Headers as _};

use crate::contract::{
    envelope::{Headers, Raw},
    topics::Topic,
};

/// What the values of our services' headers take, about.
const HEADERS_BYTES: usize = 320;

/// The message with its own bytes. `None` for a topic that is not of the contract.
pub fn copied(message: &BorrowedMessage<'_>) -> Option<Raw> {
    let topic = Topic::parse(message.topic())?;
    // One block of memory for all of it.
    let mut bytes = Vec::with_capacity(message.payload_len() + message.key_len() + HEADERS_BYTES);
    let mut own = |part: &[u8]| {
        let start = bytes.len();
        bytes.extend_from_slice(part);
        start..bytes.len()
    };
    let key = message.key().map(&mut own);
    let value = message.payload().map(&mut own);
    // The library panics on a header name that is not UTF-8, and a remote can send one.
    let headers = catch_unwind(AssertUnwindSafe(|| {
        let Some(headers) = message.headers() else { return Vec::new() };
        headers.iter().map(|header| (Headers::name(header.key), header.value.map(&mut own))).collect()
    }));
    let bytes = Bytes::from(bytes);
    let part = |range: Range<usize>| bytes.slice(range);
    let headers = headers.map(|headers: Vec<_>| {
        headers.into_iter().map(|(name, value): (_, Option<_>)| (name, value.map(part))).collect()
    });
    Some(Raw {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        key: key.map(part),
        value: value.map(part),
        headers: headers.map_or(Headers::Unreadable, Headers::Readable),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
    })
}
