//! The payload of every type and version of the contract.

use shared::contract::{message::Message, samples::SAMPLES};

use super::frame::Frame;

/// Beyond it a message is read and not written again: no service of ours writes one so large.
const WRITTEN_BYTES_MAX: usize = 256 * 1024;

pub fn run(input: &[u8]) {
    let frame = Frame::read(input);
    let (message_type, _) = SAMPLES[usize::from(frame.choice) % SAMPLES.len()];
    let Ok(data) = std::str::from_utf8(&frame.value) else { return };
    let decoded = Message::decode(message_type, data);
    let decoded = decoded.unwrap_or_else(|| panic!("{message_type} is of the contract"));
    let Ok(message) = decoded else { return };
    if let Some(key) = message.key() {
        assert!(!key.is_empty() && !key.contains('\0'), "{key:?} cannot be the name of a stream");
    }
    if data.len() > WRITTEN_BYTES_MAX {
        return;
    }
    // What is stored and published is what was understood, for ever.
    let written = message.data();
    assert_eq!(Message::decode(message.message_type(), &written), Some(Ok(message)), "{written}");
}
