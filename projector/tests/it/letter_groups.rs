//! Dead letters by what is wrong with them.

use bytes::Bytes;
use serde_json::{Value, json};
use shared::contract::{
    Timestamp, dead_letter::header, envelope::Outgoing, envelope::time_text, topics::Topic,
};
use uuid::Uuid;

use crate::{http::Api, project::take_all, sagas::place};

pub(crate) fn record(id: u128, key: &'static str, headers: &[(&'static str, &str)]) -> Outgoing {
    let id = Uuid::from_u128(id).to_string();
    let all = [&[(header::ID, id.as_str())], headers].concat();
    let own =
        |(name, text): &(&'static str, &str)| ((*name).into(), Some(Bytes::copy_from_slice(text.as_bytes())));
    Outgoing {
        topic: Topic::DeadLetters,
        key: Bytes::from_static(key.as_bytes()),
        value: Some(Bytes::from_static(b"a value")),
        headers: all.iter().map(own).collect(),
    }
}

/// A letter of so many minutes ago.
pub(crate) fn letter(
    id: u128,
    key: &'static str,
    group: &str,
    reason: (&str, &str),
    minutes: f64,
) -> Outgoing {
    let (code, fingerprint) = reason;
    let now_ms = Timestamp::from(std::time::SystemTime::now()).timestamp_millis();
    let failed_at = Timestamp::from_timestamp_millis(now_ms - (minutes * 60_000.0) as i64).unwrap();
    let message = format!("message {id}");
    let headers = [
        (header::GROUP, group),
        (header::TOPIC, "orders.commands"),
        (header::PARTITION, "0"),
        (header::OFFSET, "1"),
        (header::STAGE, "decode"),
        (header::CODE, code),
        (header::MESSAGE, message.as_str()),
        (header::FINGERPRINT, fingerprint),
        (header::FAILED_AT, &time_text(failed_at)),
    ];
    record(id, key, &headers)
}

pub(crate) fn change(id: u128, key: &'static str, status: &str) -> Outgoing {
    record(id, key, &[(header::STATUS, status), (header::BY, "me"), (header::REASON, "it")])
}

const TEXT: (&str, &str) = ("invalid-json", "f1");
const SKU: (&str, &str) = ("invalid-data", "f2");

pub(crate) async fn filled() -> Api {
    let mut api = Api::new().await;
    let records = [
        letter(1, "k1", "order-service", TEXT, 300.0),
        letter(2, "k1", "order-service", TEXT, 57.5),
        letter(3, "k2", "order-service", TEXT, 7.5),
        letter(4, "k3", "order-service", TEXT, 2.5),
        letter(5, "k4", "order-service", TEXT, 62.5),
        // Of other groups, for the same reason and for another.
        letter(6, "k1", "inventory-service", TEXT, 2.5),
        letter(7, "k1", "inventory-service", TEXT, 7.5),
        letter(8, "k5", "order-service", SKU, 12.5),
        change(2, "k1", "failed-again"),
        change(3, "k2", "redriven"),
        change(5, "k4", "parked"),
        change(6, "k1", "discarded"),
        // Of a letter that nobody has.
        change(9, "k9", "redriven"),
    ];
    take_all(&mut api.projection, place(records)).await;
    api
}

async fn groups(api: &Api, query: &str) -> Vec<Value> {
    let (status, body) = api.get(&format!("/dead-letters/groups{query}")).await;
    assert_eq!(status, 200, "{body}");
    body["groups"].as_array().unwrap().clone()
}

/// Fingerprint, consumer group, and how many letters.
fn sizes(groups: &[Value]) -> Vec<(&str, &str, i64)> {
    let text = |group: &'_ Value, name: &str| group[name].as_str().unwrap().to_owned().leak() as &str;
    groups
        .iter()
        .map(|group| (text(group, "fingerprint"), text(group, "group"), group["letters"].as_i64().unwrap()))
        .collect()
}

#[tokio::test]
async fn letters_are_grouped_by_what_is_wrong_with_most_letters_first() {
    let api = filled().await;
    let all = groups(&api, "").await;
    let expected = [("f1", "order-service", 5), ("f1", "inventory-service", 2), ("f2", "order-service", 1)];
    assert_eq!(sizes(&all), expected);
    let largest = &all[0];
    assert_eq!((&largest["code"], &largest["message"]), (&json!("invalid-json"), &json!("message 4")));
    assert_eq!(largest["newest_id"], json!(Uuid::from_u128(4)));
    let statuses = json!({"dead": 2, "failed-again": 1, "parked": 1, "redriven": 1, "discarded": 0});
    assert_eq!((&largest["statuses"], &largest["open"]), (&statuses, &json!(4)), "parked ones wait, too");
    assert_eq!(largest["keys"], 4, "two of them have one key");
    // Of 57.5, 7.5 and 2.5 minutes ago; the others are older than an hour.
    assert_eq!(largest["trend"], json!([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]));
    let time = |name: &str| largest[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    let between = (time("last_failed_at") - time("first_failed_at")).num_seconds();
    assert!((17_849..=17_851).contains(&between), "five hours less two and a half minutes: {between} s");
}

#[tokio::test]
async fn a_letter_of_a_clock_that_is_ahead_died_just_now() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, place([letter(1, "k1", "order-service", TEXT, -2.5)])).await;
    assert_eq!(groups(&api, "").await[0]["trend"], json!([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
}

#[tokio::test]
async fn groups_and_letters_keep_to_every_filter() {
    let api = filled().await;
    for (query, expected) in [
        ("?group=inventory-service", &[("f1", "inventory-service", 2)][..]),
        ("?code=invalid-data", &[("f2", "order-service", 1)]),
        ("?status=parked", &[("f1", "order-service", 1)]),
        ("?fingerprint=f1&status=open", &[("f1", "order-service", 4), ("f1", "inventory-service", 1)]),
        ("?fingerprint=f3", &[]),
    ] {
        assert_eq!(sizes(&groups(&api, query).await), expected, "{query}");
        let ids = |numbers: &[u128]| -> Vec<String> {
            numbers.iter().map(|number| Uuid::from_u128(*number).to_string()).collect()
        };
        let (_, list) = api.get(&format!("/dead-letters{query}")).await;
        let found: Vec<String> = list["dead_letters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["id"].as_str().unwrap().to_owned())
            .collect();
        let letters: i64 = expected.iter().map(|(_, _, letters)| letters).sum();
        assert_eq!(found.len() as i64, letters, "{query}: {list}");
        if query.contains("open") {
            assert_eq!(found, ids(&[4, 7, 2, 5, 1]), "newest first");
        }
    }
}
