//! A message copied out of the client library, which owns its bytes only for a moment.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::{Message, message::BorrowedMessage, message::Headers as _};

use crate::contract::{
    envelope::{Headers, Raw},
    topics::Topic,
};

/// The message with its own bytes. `None` for a topic that is not of the contract.
pub fn copied(message: &BorrowedMessage<'_>) -> Option<Raw> {
    let topic = Topic::parse(message.topic())?;
    let own = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    // The library panics on a header name that is not UTF-8, and a remote can send one.
    let headers = catch_unwind(AssertUnwindSafe(|| {
        let Some(headers) = message.headers() else { return Vec::new() };
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(own))).collect()
    }));
    Some(Raw {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(own),
        value: message.payload().map(own),
        headers: headers.map_or(Headers::Unreadable, Headers::Readable),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
    })
}
