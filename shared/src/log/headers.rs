//! Kafka headers in one column: order, repeats, empty and null values come back as they were.
//!
//! Per header: length of the name, name, length of the value (-1: null), value; lengths are 4 bytes, big-endian.
//! Headers that could not be read are a null column.

use bytes::Bytes;

use crate::contract::envelope::Headers;

pub(super) fn encode(headers: &Headers) -> Option<Vec<u8>> {
    let Headers::Readable(headers) = headers else { return None };
    let mut bytes = Vec::new();
    let mut part = |part: Option<&[u8]>| {
        let length = part.map_or(-1, |part| part.len() as i32);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part.unwrap_or_default());
    };
    for (name, value) in headers {
        part(Some(name.as_bytes()));
        part(value.as_deref());
    }
    Some(bytes)
}

/// `None`: these bytes are not what [`encode`] writes.
pub(super) fn decode(column: Option<Vec<u8>>) -> Option<Headers> {
    let Some(column) = column else { return Some(Headers::Unreadable) };
    let mut rest = Bytes::from(column);
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let name = part(&mut rest)??;
        let name = Headers::name(std::str::from_utf8(&name).ok()?);
        headers.push((name, part(&mut rest)?));
    }
    Some(Headers::Readable(headers))
}

fn part(rest: &mut Bytes) -> Option<Option<Bytes>> {
    let length = i32::from_be_bytes(rest.first_chunk().copied()?);
    let _ = rest.split_to(4);
    if length == -1 {
        return Some(None);
    }
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len())?;
    Some(Some(rest.split_to(length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_come_back_as_they_were(
            headers in prop::collection::vec((".*", prop::option::of(prop::collection::vec(any::<u8>(), 0..20))), 0..6)
        ) {
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, value.map(Bytes::from))).collect();
            let headers = Headers::Readable(headers.into_iter().map(|(name, value)| (name.into(), value)).collect());
            prop_assert_eq!(decode(encode(&headers)), Some(headers));
        }

        #[test]
        fn other_bytes_are_told_apart(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(headers) = decode(Some(bytes.clone())) {
                prop_assert_eq!(encode(&headers), Some(bytes));
            }
        }
    }

    #[test]
    fn unreadable_headers_are_not_the_same_as_none() {
        assert_eq!(decode(encode(&Headers::Unreadable)), Some(Headers::Unreadable));
        assert_eq!(decode(encode(&Headers::Readable(vec![]))), Some(Headers::Readable(vec![])));
    }
}
