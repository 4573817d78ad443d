//! One order over HTTP: as it once stood, and cancelled by an operator.

use serde_json::json;
use shared::contract::{
    envelope::{Mode, decode},
    message::Message,
    order::{Canceller, OrderCommand},
    topics::Topic,
};

use crate::{
    http::{Api, id, orders},
    project::take_all,
    sagas::Path,
};

#[tokio::test]
async fn an_order_is_shown_as_it_stood_after_each_of_its_events() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::CaptureFailed, "SKU-1")]).in_order()).await;
    let order = format!("/orders/{}", id(1));
    let (_, timeline) = api.get(&format!("{order}/timeline")).await;
    let events = timeline["events"].as_array().unwrap();
    let mut statuses = Vec::new();
    for (number, event) in (1..).zip(events) {
        let (status, past) = api.get(&format!("{order}?event={number}")).await;
        assert_eq!(status, 200, "{past}");
        if event["type"].as_str().unwrap().contains(".order.") {
            assert_eq!(past["updated_at"], event["time"], "{number}");
        }
        statuses.push(past["status"].as_str().unwrap().to_owned());
    }
    statuses.dedup();
    assert_eq!(statuses, ["created", "confirmed", "cancelled", "settled"]);
    let (_, first) = api.get(&format!("{order}?event=1")).await;
    assert_eq!((&first["stock"], &first["payment"]), (&json!(null), &json!(null)));
    assert_eq!(first["awaiting"][0]["from"], "inventory-service");
    let (_, now) = api.get(&order).await;
    let (_, last) = api.get(&format!("{order}?event={}", events.len())).await;
    assert_eq!(last, now);
    for number in ["0", "999", "x"] {
        assert_eq!(api.get(&format!("{order}?event={number}")).await.0, 400, "{number}");
    }
    assert_eq!(api.get(&format!("/orders/{}?event=1", id(2))).await.0, 404);
}

#[tokio::test]
async fn an_operators_cancellation_goes_to_order_service_under_the_orders_key() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Open, "SKU-1")]).in_order()).await;
    api.broker.create_topic(Topic::OrdersCommands.name(), 1, 1).unwrap();
    let cancel = |number| format!("/orders/{}/cancel", id(number));
    let (status, asked) = api.post(&cancel(1), &json!({"reason": "he called"})).await;
    assert_eq!((status, &asked["order_id"]), (202, &json!(id(1))), "{asked}");
    let sent = api.published(Topic::OrdersCommands, 1).await.remove(0);
    assert_eq!(sent.key.as_deref(), Some(id(1).to_string().as_bytes()));
    let envelope = decode(&sent, Mode::Production).unwrap();
    assert_eq!(envelope.id.to_string(), asked["command_id"].as_str().unwrap());
    match Message::decode(&envelope.message_type, &envelope.data).unwrap().unwrap() {
        Message::OrderCommand(OrderCommand::Cancel(cancel)) => {
            assert_eq!((cancel.order_id, cancel.by), (id(1), Some(Canceller::Operator)));
            assert_eq!(cancel.reason.as_deref(), Some("he called"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(api.post(&cancel(1), &json!({"reason": "x".repeat(513)})).await.0, 422);
    assert_eq!(api.post(&cancel(2), &json!({})).await.0, 404);
}
