//! Every version that was ever written is read for ever.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use shared::contract::{
    catalogue::entries,
    envelope::{Envelope, Mode, check_key, decode},
    message::Message,
    order::OrderEvent,
    samples::{SAMPLES, sample},
    topics::Topic,
    upcast,
};

use super::raw;

#[test]
fn every_type_of_the_catalogue_has_a_sample_and_every_sample_a_type() {
    let types: Vec<&str> = entries().iter().map(|entry| entry.message_type).collect();
    let samples: Vec<&str> = SAMPLES.iter().map(|(message_type, _)| *message_type).collect();
    assert_eq!(samples, types);

    let files: BTreeSet<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<String> = types.iter().map(|name| format!("{}.json", &name[7..])).collect();
    assert_eq!(files, expected);
}

#[test]
fn every_sample_decodes_as_the_newest_version_on_its_topic() {
    for entry in entries() {
        let (envelope, message) = read(entry.topic, sample(entry.message_type).unwrap());
        assert_eq!(envelope.message_type, entry.message_type);
        assert_eq!(message.message_type(), upcast::newest_type(entry.message_type));
        assert_eq!(message.topic(), entry.topic, "{}", entry.message_type);
        assert_eq!(envelope.position.is_some(), entry.topic.is_events(), "{}", entry.message_type);
        assert!(Message::knows(entry.message_type));
        if entry.newest {
            let written: Value = serde_json::from_str(&message.data()).unwrap();
            let committed: Value = serde_json::from_str(&envelope.data).unwrap();
            assert_eq!(written, committed, "{}: a field was lost or made", entry.message_type);
        }
    }
}

#[test]
fn an_old_order_is_read_with_the_same_id_user_sku_and_quantity() {
    let (_, message) = read(Topic::OrdersEvents, sample("fulfil.order.created.v1").unwrap());
    let Message::Order(OrderEvent::Created(created)) = message else { panic!("{message:?}") };
    assert_eq!(created.order_id.to_string(), super::ORDER_ID);
    assert_eq!((created.user_id.as_str(), created.amount.minor), ("u1", 0));
    assert_eq!((created.lines[0].sku.as_str(), created.lines[0].quantity), ("SKU-1", 2));
}

#[test]
fn fields_that_a_newer_writer_added_are_ignored() {
    for entry in entries() {
        let mut event: Value = serde_json::from_str(sample(entry.message_type).unwrap()).unwrap();
        event["added-later"] = "x".into();
        event["data"]["added_later"] = serde_json::json!({"deep": [1.5, null]});
        let (_, changed) = read(entry.topic, &event.to_string());
        assert_eq!(changed, read(entry.topic, sample(entry.message_type).unwrap()).1);
    }
}

/// As a service in production reads it: without headers, the key as partitioned.
fn read(topic: Topic, sample: &str) -> (Envelope, Message) {
    let key = serde_json::from_str::<Value>(sample).unwrap()["partitionkey"].as_str().unwrap().to_owned();
    let raw = raw(topic, Some(&key), &[], sample);
    let envelope = decode(&raw, Mode::Production).unwrap_or_else(|error| panic!("{error} in {sample}"));
    let message = Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap();
    check_key(&raw, &message).unwrap();
    (envelope, message)
}
