//! How the bytes of an input become a message: a choice, a key, headers, an edit, and the value in the rest.
//!
//! Every input is a frame, so that no mutation is wasted: what is cut off is empty, and what is unknown wraps.

use bytes::Bytes;
use shared::contract::{
    envelope::{Headers, Raw},
    topics::Topic,
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Which topic, type or route: each target reads it in its own way.
    pub choice: u8,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The mended value of a redrive.
    pub edit: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

const HEADERS_MAX: u8 = 16;

impl Frame {
    pub fn read(mut input: &[u8]) -> Self {
        let choice = byte(&mut input);
        let key = short(&mut input);
        let count = byte(&mut input) % (HEADERS_MAX + 1);
        let headers = (0..count).map(|_| (short(&mut input).unwrap_or_default(), short(&mut input)));
        let headers = headers.collect();
        let length = u16::from_be_bytes([byte(&mut input), byte(&mut input)]);
        let edit = (length != u16::MAX).then(|| take(&mut input, length.into()));
        Self { choice, key, headers, edit, value: input.to_vec() }
    }

    /// What [`Frame::read`] reads; parts that are too long for their length are cut.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![self.choice];
        write_short(&mut bytes, self.key.as_deref());
        let headers = &self.headers[..self.headers.len().min(HEADERS_MAX.into())];
        bytes.push(headers.len() as u8);
        for (name, value) in headers {
            write_short(&mut bytes, Some(name));
            write_short(&mut bytes, value.as_deref());
        }
        match &self.edit {
            Some(edit) => {
                let edit = &edit[..edit.len().min(usize::from(u16::MAX) - 1)];
                bytes.extend_from_slice(&(edit.len() as u16).to_be_bytes());
                bytes.extend_from_slice(edit);
            }
            None => bytes.extend_from_slice(&u16::MAX.to_be_bytes()),
        }
        bytes.extend_from_slice(&self.value);
        bytes
    }

    /// As the consumer hands it on. The first three bits of the choice are the topic, the last is a null value.
    pub fn raw(&self) -> Raw {
        let name = |name: &Vec<u8>| String::from_utf8(name.clone()).ok();
        let header = |(header, value): &(Vec<u8>, Option<Vec<u8>>)| {
            name(header).map(|name| (name.into(), value.clone().map(Bytes::from)))
        };
        let headers: Option<Vec<_>> = self.headers.iter().map(header).collect();
        Raw {
            topic: Topic::ALL[usize::from(self.choice) % Topic::ALL.len()],
            partition: 0,
            offset: 7,
            key: self.key.clone().map(Bytes::from),
            value: (self.choice & 0x80 == 0).then(|| Bytes::from(self.value.clone())),
            headers: headers.map_or(Headers::Unreadable, Headers::Readable),
            timestamp_ms: 0,
        }
    }
}

fn byte(input: &mut &[u8]) -> u8 {
    take(input, 1).first().copied().unwrap_or_default()
}

fn take(input: &mut &[u8], length: usize) -> Vec<u8> {
    let (taken, rest) = input.split_at(length.min(input.len()));
    *input = rest;
    taken.to_vec()
}

/// A length of one byte, where the largest means none.
fn short(input: &mut &[u8]) -> Option<Vec<u8>> {
    let length = byte(input);
    (length != u8::MAX).then(|| take(input, length.into()))
}

fn write_short(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    let Some(part) = part else { return bytes.push(u8::MAX) };
    let part = &part[..part.len().min(usize::from(u8::MAX) - 1)];
    bytes.push(part.len() as u8);
    bytes.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = Frame {
            choice: 3,
            key: Some(b"key".to_vec()),
            headers: vec![(b"ce_id".to_vec(), Some(b"1".to_vec())), (b"null".to_vec(), None)],
            edit: Some(b"mended".to_vec()),
            value: b"{}".to_vec(),
        };
        assert_eq!(Frame::read(&frame.write()), frame);
        let bare = Frame::default();
        assert_eq!(Frame::read(&bare.write()), bare);
    }

    #[test]
    fn any_bytes_are_a_frame() {
        for length in 0..64 {
            let _ = Frame::read(&vec![0xfe; length]).raw();
            let _ = Frame::read(&vec![0xff; length]).raw();
        }
    }
}
