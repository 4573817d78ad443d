//! A message from any topic with any key and headers, read as a service reads it, in both modes.

use shared::contract::{
    envelope::{self, Mode},
    limits::ATTRIBUTE_BYTES_MAX,
    message::Message,
    strict,
};

use super::frame::Frame;

pub fn run(input: &[u8]) {
    let raw = Frame::read(input).raw();
    let lenient = envelope::decode(&raw, Mode::Development);
    let strictly = envelope::decode(&raw, Mode::Production);
    if let Ok(envelope) = &strictly {
        assert_eq!(lenient.as_ref(), Ok(envelope), "production takes what development reads otherwise");
        assert!(raw.key.is_some(), "production takes no message without a key");
    }
    let Ok(envelope) = lenient else { return };
    for attribute in [&envelope.source, &envelope.message_type] {
        assert!((1..=ATTRIBUTE_BYTES_MAX).contains(&attribute.len()));
        assert!(!attribute.contains('\0'), "Postgres takes no NUL");
    }
    assert!(!envelope.id.is_nil());
    assert!(envelope.position.is_none_or(|position| position > 0));
    let value = strict::text(raw.value.as_deref().unwrap_or_default());
    assert!(value.and_then(strict::check).is_ok(), "what is read is strict");
    assert!(strict::check(&envelope.data).is_ok(), "data is a part of what was checked");
    if let Some(Ok(message)) = Message::decode(&envelope.message_type, &envelope.data) {
        assert!(Message::knows(&envelope.message_type));
        let _ = envelope::check_key(&raw, &message);
    }
}
