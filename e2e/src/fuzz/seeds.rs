//! Valid inputs: the committed sample of every message version, in every form that it can have.

use serde_json::Value;
use shared::contract::{catalogue, samples::sample, topics::Topic};

use super::frame::Frame;

pub fn envelopes() -> Vec<Vec<u8>> {
    frames()
        .into_iter()
        .flat_map(|frame| [binary(&frame), bare(&frame), frame])
        .map(|frame| frame.write())
        .collect()
}

pub fn messages() -> Vec<Vec<u8>> {
    let data = |index: usize, sample: &str| Frame {
        choice: index as u8,
        value: of(sample, "data").to_string().into_bytes(),
        ..Frame::default()
    };
    let samples = shared::contract::samples::SAMPLES.iter().enumerate();
    samples.map(|(index, (_, sample))| data(index, sample).write()).collect()
}

pub fn bodies() -> Vec<Vec<u8>> {
    let id = "0198f3c2-0000-7000-8000-000000000001";
    let bodies: [(u8, &str, &str); 15] = [
        (
            0,
            "",
            r#"{"user_id":"u1","lines":[{"sku":"SKU-1","quantity":2,"unit_price_minor":1999}],"currency":"EUR"}"#,
        ),
        (0, "", r#"{"user_id":"u1","product_id":"SKU-1","quantity":2}"#),
        (1, id, r#"{"reason":"changed my mind","by":"customer"}"#),
        (1, id, ""),
        (2, "SKU-1", r#"{"quantity":10,"reference":"r1"}"#),
        (3, "SKU-1", r#"{"delta":-1,"reason":"count","reference":"a1"}"#),
        (3, "SKU-1", r#"{"delta":1,"reason":"count"}"#),
        (4, "", r#"{"payment_id":"0198f3c2-0000-7000-8000-000000000001"}"#),
        (5, "", r#"{"outcome":"no","code":"insufficient_funds"}"#),
        (
            5,
            "",
            r#"{"payment_id":"0198f3c2-0000-7000-8000-000000000001","amount":{"minor":1,"currency":"EUR"},"authorize":{"outcome":"yes"},"capture":null,"void":null,"refund":null,"charges":1}"#,
        ),
        (6, id, r#"{"by":"ann","reason":"mended","value_base64":"e30="}"#),
        (6, id, r#"{"by":"ann","reason":"again"}"#),
        (7, id, r#"{"by":"ann","reason":"no use"}"#),
        (8, "", r#"{"accept_data_loss":["orders.events:3"]}"#),
        (8, "", "{}"),
    ];
    let frame = |(choice, key, body): (u8, &str, &str)| {
        let json = header("content-type", "application/json");
        let headers = vec![json, header("idempotency-key", "k1")];
        Frame { choice, key: Some(key.into()), headers, edit: None, value: body.into() }
    };
    bodies.into_iter().map(|body| frame(body).write()).collect()
}

/// Each message as a letter of each service, mended with itself.
pub fn letters() -> Vec<Vec<u8>> {
    let owners = |frame: Frame| {
        (0..4).map(move |owner| {
            let edit = (owner % 2 == 0).then(|| frame.value.clone());
            Frame { choice: frame.choice | owner << 3, edit, ..frame.clone() }
        })
    };
    frames().into_iter().flat_map(owners).map(|frame| frame.write()).collect()
}

/// Every sample on its topic, in the structured form.
fn frames() -> Vec<Frame> {
    let frame = |entry: catalogue::Entry| {
        let sample = sample(entry.message_type).unwrap_or_default();
        let topic = Topic::ALL.iter().position(|topic| *topic == entry.topic).unwrap_or_default();
        let key = of(sample, "partitionkey").as_str().map(|key| key.as_bytes().to_vec());
        let headers = vec![header("content-type", "application/cloudevents+json")];
        Frame { choice: topic as u8, key, headers, edit: None, value: compact(sample) }
    };
    catalogue::entries().into_iter().map(frame).collect()
}

/// The attributes as headers, the payload alone as the value.
fn binary(frame: &Frame) -> Frame {
    let Ok(Value::Object(mut attributes)) = serde_json::from_slice(&frame.value) else {
        return frame.clone();
    };
    let data = attributes.remove("data").unwrap_or_default().to_string().into_bytes();
    let text =
        |(name, value): (&String, &Value)| header(&format!("ce_{name}"), value.as_str().unwrap_or_default());
    Frame { headers: attributes.iter().map(text).collect(), value: data, ..frame.clone() }
}

/// Type and data alone, as a person sends it.
fn bare(frame: &Frame) -> Frame {
    let sample = String::from_utf8_lossy(&frame.value);
    let bare = serde_json::json!({"type": of(&sample, "type"), "data": of(&sample, "data")});
    Frame { headers: vec![], value: bare.to_string().into_bytes(), ..frame.clone() }
}

fn header(name: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (name.into(), Some(value.into()))
}

fn of(sample: &str, field: &str) -> Value {
    let value: Value = serde_json::from_str(sample).unwrap_or_default();
    value.get(field).cloned().unwrap_or_default()
}

fn compact(sample: &str) -> Vec<u8> {
    let value: Value = serde_json::from_str(sample).unwrap_or_default();
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use shared::contract::{
        envelope::{Mode, check_key, decode},
        message::Message,
        samples::SAMPLES,
    };

    use super::*;

    /// Else every mutation of it would stop where it stops.
    #[test]
    fn every_seed_is_valid() {
        for seed in envelopes() {
            let raw = Frame::read(&seed).raw();
            let envelope = decode(&raw, Mode::Development).unwrap();
            let message = Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap();
            assert_eq!(check_key(&raw, &message), Ok(()), "{}", envelope.message_type);
        }
        for seed in messages() {
            let frame = Frame::read(&seed);
            let (message_type, _) = SAMPLES[usize::from(frame.choice)];
            let data = String::from_utf8(frame.value).unwrap();
            assert!(matches!(Message::decode(message_type, &data), Some(Ok(_))), "{message_type}");
        }
        for letter in letters() {
            assert!(decode(&Frame::read(&letter).raw(), Mode::Development).is_ok());
        }
    }
}
