//! What was answered can be read: the token of a command, and the view of what became of it.

use std::time::{Duration, Instant};

use e2e::system::{Order, System, until};
use reqwest::StatusCode;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_token_of_an_answer_lets_its_order_be_seen_at_once() {
    let mut system = System::shared().await;
    let sku = system.stocked(100).await;
    for _ in 0..10 {
        let body = json!({"user_id": "u1", "lines": [{"sku": sku, "quantity": 1, "unit_price_minor": 100}], "currency": "EUR"});
        let answer = system.post("order-service", "/orders", &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let (order, token) =
            (answer.body["order_id"].as_str().unwrap(), answer.body["token"].as_str().unwrap());
        let path = format!("/orders/{order}?after={token}&wait=5");
        let seen = until("the view to have what was answered", LIMIT, async || {
            let asked = Instant::now();
            let seen = system.get("projector", &path).await;
            if seen.status != StatusCode::ACCEPTED {
                return Some(seen);
            }
            // A busy machine needs longer, but not without having waited.
            assert!(asked.elapsed() >= Duration::from_secs(5), "{seen:?}");
            None
        })
        .await;
        assert_eq!(seen.status, StatusCode::OK, "{seen:?}");
        assert_eq!(seen.body["order_id"], order);
    }
    system.adds_up().await;
}

#[tokio::test]
async fn the_view_tells_the_story_of_an_order_over_all_topics() {
    let mut system = System::shared().await;
    let sku = system.stocked(100).await;
    let order = Order::new(&sku, 2, 1_000);
    system.publish(vec![order.create()]).await;
    assert_eq!(system.end(order.id).await, "completed");
    system.shown(order.id, "completed").await;
    let view = system.get("projector", &format!("/orders/{}", order.id)).await.body;
    assert_eq!(view["amount"], json!({"minor": 2_000, "currency": "EUR"}));
    assert_eq!(view["awaiting"], json!([]));
    let path = format!("/orders/{}/timeline", order.id);
    for told in system.seen.story(order.id) {
        // Each topic comes into the view by itself.
        until(&format!("{} to be in the timeline", told.message_type), LIMIT, async || {
            let timeline = system.get("projector", &path).await.body.to_string();
            timeline.contains(&told.message_type).then_some(())
        })
        .await;
    }
    system.adds_up().await;
}
