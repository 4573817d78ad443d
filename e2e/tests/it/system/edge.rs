//! Every way in.

use e2e::system::{Order, System, record, structured};
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use uuid::Uuid;

/// The first shape of an order.
fn product(order: &Order) -> Value {
    json!({"order_id": order.id, "user_id": order.user, "product_id": order.sku, "quantity": order.quantity})
}

/// Type and data only: no envelope, no header.
fn bare(message_type: &str, order: &Order) -> Value {
    json!({"type": message_type, "data": product(order)})
}

#[tokio::test]
async fn an_order_that_was_created_by_hand_on_the_events_topic_is_adopted_and_completes() {
    let mut system = System::shared().await;
    let sku = system.stocked(10).await;
    let order = Order::new(&sku, 2, 0);
    system.say(Topic::OrdersEvents, order.id, &bare("fulfil.order.created.v1", &order)).await;
    assert_eq!(system.end(order.id).await, "completed");
    let story = system.seen.story(order.id);
    let created: Vec<_> =
        story.iter().filter(|told| told.message_type.starts_with("fulfil.order.created")).collect();
    assert_eq!(created.len(), 1, "adopted once: {created:?}");
    assert_eq!(
        created[0].message_type, "fulfil.order.created.v2",
        "order-service's own is of today's version"
    );
    system.stock_is(&sku, (8, 0)).await;
    system.adds_up().await;
}

#[tokio::test]
async fn a_command_of_the_first_version_without_headers_completes() {
    let mut system = System::shared().await;
    let sku = system.stocked(10).await;
    let order = Order::new(&sku, 3, 0);
    let command = record(Topic::OrdersCommands, order.id, &bare("fulfil.order.create.v1", &order));
    // The duplicate and the late arrival of everything.
    system.publish(vec![command.clone(), command.clone()]).await;
    assert_eq!(system.end(order.id).await, "completed");
    // What is refused on the same key says that the late arrival has been read.
    let cancel = structured("fulfil.order.cancel.v1", &json!({"order_id": order.id, "reason": "too late"}));
    system.publish(vec![command, record(Topic::OrdersCommands, order.id, &cancel)]).await;
    system.happens(order.id, "fulfil.order.cancellation-rejected.v1").await;
    let created = system.seen.story(order.id);
    let created = created.iter().filter(|told| told.message_type == "fulfil.order.created.v2");
    assert_eq!(created.count(), 1);
    system.stock_is(&sku, (7, 0)).await;
    system.adds_up().await;
}

#[tokio::test]
async fn orders_over_http_in_both_shapes_complete() {
    let mut system = System::shared().await;
    let sku = system.stocked(10).await;
    let shapes = [
        json!({"user_id": "u1", "product_id": sku, "quantity": 2}),
        json!({"user_id": "u1", "lines": [{"sku": sku, "quantity": 3, "unit_price_minor": 1000}], "currency": "EUR"}),
    ];
    for body in shapes {
        let answer = system.post("order-service", "/orders", &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let order: Uuid = answer.body["order_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(answer.location, Some(format!("/orders/{order}")));
        assert_eq!(answer.body["status"], "created");
        assert!(answer.body["token"].is_string());
        assert_eq!(system.end(order).await, "completed");
    }
    system.stock_is(&sku, (5, 0)).await;
    system.adds_up().await;
}
