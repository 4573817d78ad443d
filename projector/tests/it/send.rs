//! Messages by hand: what is sent is what a service reads, and only where it may be.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use projector::http::App;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::{Value, json};
use shared::contract::{
    catalogue::entries,
    envelope::{Headers, Mode, Raw, check_key, decode},
    limits::HTTP_BODY_BYTES_MAX,
    message::Message,
    samples::sample,
    topics::Topic,
};

use crate::{http::Api, sagas::PARTITIONS};

const ORDER: &str = "0198f3c2-5a10-7c31-9d44-0a4be1c25f01";

fn order() -> Value {
    let event: Value = serde_json::from_str(sample("fulfil.order.create.v2").unwrap()).unwrap();
    event["data"].clone()
}

fn asked(message_type: &str, data: &Value) -> Value {
    json!({"type": message_type, "data": data})
}

/// What is on a topic, as a service reads it.
fn read(bootstrap: &str, topic: Topic) -> Raw {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("group.id", "test").create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(topic.name(), partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < deadline, "nothing was published");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        return Raw {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(bytes::Bytes::copy_from_slice),
            value: message.payload().map(bytes::Bytes::copy_from_slice),
            headers: Headers::Readable(Vec::new()),
            timestamp_ms: 0,
        };
    }
}

#[tokio::test]
async fn a_message_by_hand_is_on_its_topic_as_its_service_reads_it() {
    let api = Api::new().await;
    for (message_type, topic, data, key) in [
        ("fulfil.order.create.v2", Topic::OrdersCommands, order(), ORDER),
        (
            "fulfil.stock.receive.v1",
            Topic::InventoryCommands,
            json!({"sku": "SKU-1", "quantity": 5}),
            "SKU-1",
        ),
        ("fulfil.order.completed.v1", Topic::OrdersEvents, json!({"order_id": ORDER}), ORDER),
    ] {
        api.broker.create_topic(topic.name(), PARTITIONS, 1).unwrap();
        let (status, sent) = api.post("/send", &asked(message_type, &data)).await;
        assert_eq!(status, 202, "{sent}");
        let raw = read(&api.broker.bootstrap_servers(), topic);
        let place = (sent["topic"].as_str(), sent["partition"].as_i64(), sent["offset"].as_i64());
        assert_eq!(place, (Some(topic.name()), Some(raw.partition.into()), Some(raw.offset)));
        let envelope = decode(&raw, Mode::Development).unwrap();
        assert_eq!((&*envelope.message_type, &sent["id"]), (message_type, &json!(envelope.id)));
        assert_eq!(serde_json::from_str::<Value>(&envelope.data).unwrap(), data);
        let message = Message::decode(message_type, &envelope.data).unwrap().unwrap();
        check_key(&raw, &message).unwrap();
        assert_eq!(sent["key"], key);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_place_and_nothing_is_sent() {
    let api = Api::new().await;
    let changed = |pointer: &str, value: Value| {
        let mut data = order();
        *data.pointer_mut(pointer).unwrap() = value;
        asked("fulfil.order.create.v2", &data)
    };
    let letter = entries().into_iter().find(|entry| entry.topic == Topic::DeadLettersCommands).unwrap();
    for (body, status, pointer) in [
        (changed("/lines/0/quantity", json!(0)), 422, "/data/lines/0/quantity"),
        (changed("/lines/0/quantity", json!(1.5)), 422, "/data/lines/0/quantity"),
        (changed("/amount/minor", json!(1)), 422, "/data/amount/minor"),
        (changed("/order_id", json!("x")), 422, "/data/order_id"),
        (asked("fulfil.order.eaten.v1", &order()), 422, "/type"),
        (asked(letter.message_type, &json!({})), 422, "/type"),
        (json!({"data": {}}), 400, "/type"),
    ] {
        let (answered, problem) = api.post("/send", &body).await;
        assert_eq!(
            (answered, &problem["errors"][0]["pointer"]),
            (status, &json!(pointer)),
            "{body}: {problem}"
        );
    }
    let large = asked("fulfil.order.create.v2", &json!({"pad": "x".repeat(HTTP_BODY_BYTES_MAX)}));
    assert_eq!(api.post("/send", &large).await.0, 413);
    let elsewhere =
        Request::post("/send").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    assert_eq!(api.call(elsewhere).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn production_takes_no_message_by_hand() {
    let api = Api::new_with(|app| App { mode: Mode::Production, ..app }).await;
    let (status, problem) = api.post("/send", &asked("fulfil.order.create.v2", &order())).await;
    assert_eq!((status, &problem["code"]), (403, &json!("production")));
    let html = api.screen("/send").await;
    assert!(html.contains("development mode only") && !html.contains("id=\"send\""), "{html}");
}

#[tokio::test]
async fn every_type_has_a_form_of_its_own() {
    let api = Api::new().await;
    for entry in entries().into_iter().filter(|entry| entry.topic != Topic::DeadLettersCommands) {
        let html = api.screen(&format!("/send?type={}", entry.message_type)).await;
        let option = format!("<option selected>{}</option>", entry.message_type);
        assert!(html.contains(&option), "{}", entry.message_type);
        assert!(html.contains(&format!("send to {}", entry.topic)), "{}", entry.message_type);
        let name = entry.message_type.strip_prefix("fulfil.").unwrap();
        assert!(html.contains(&format!("data-copy=\"fulfil event send {name}\"")), "{}", entry.message_type);
        assert_eq!(html.matches("<fieldset").count(), html.matches("</fieldset>").count());
    }
    let html = api.screen(&format!("/send?type=fulfil.order.cancel.v1&order={ORDER}")).await;
    assert!(html.contains(&format!("name=\"/order_id\" value=\"{ORDER}\"")), "{html}");
    assert_eq!(api.browse("/send?type=fulfil.order.eaten.v1").await.status, StatusCode::BAD_REQUEST);
    let hurt = api.screen("/send?type=fulfil.order.cancel.v1&order=%22%3E%3Cscript%3E").await;
    assert_eq!(hurt.matches("<script").count(), hurt.matches("<script src=\"/assets/").count());
}
