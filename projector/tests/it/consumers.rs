//! The consumer groups, as far as a broker in memory and a broker that is away tell.

use std::time::{Duration, Instant};

use axum::{Router, routing};
use projector::consumers::{Consumers, GROUPS};
use serde_json::json;
use shared::broker::BrokerSettings;
use tokio::net::TcpListener;

use crate::{
    http::Api,
    letter_groups::letter,
    project::{take_all, with_a_broken_confirmation},
    sagas::place,
};

#[tokio::test]
async fn a_broker_that_is_away_is_said_soon_and_what_the_view_knows_is_told() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, place([letter(7, "key", "order-service", ("invalid-json", "f1"), 1.0)]))
        .await;
    take_all(&mut api.projection, with_a_broken_confirmation().0).await;
    let service = Router::new()
        .route("/version", routing::get(async || r#"{"service":"payment-service"}"#))
        .route("/consumer", routing::get(async || r#"{"paused_ms":9,"partitions":[]}"#))
        .route("/metrics", routing::get(async || "fulfil_held_keys 4\n"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, service).await });
    let consumers = Consumers::new(&BrokerSettings::new("127.0.0.1:1"), &[admin.parse().unwrap()]);
    let router = api.router_with(|app| app.consumers = consumers.clone());

    let asked = Instant::now();
    assert!(consumers.recent().is_none(), "nobody waits for it");
    let ask = async || Api::get_from(&router, "/consumers").await;
    let (one, other) = tokio::join!(ask(), ask());
    assert!(asked.elapsed() < Duration::from_secs(20));
    assert_eq!((one.0, &one), (200, &other));
    let body = one.1;
    assert!(body["broker"].as_str().is_some(), "{body}");
    let groups = body["groups"].as_array().unwrap();
    let names: Vec<&str> = groups.iter().map(|group| group["group"].as_str().unwrap()).collect();
    assert_eq!(names, GROUPS);
    let told = |at: usize, field: &str| groups[at][field].clone();
    assert_eq!((told(0, "dead_letters"), told(0, "held_keys")), (json!(1), json!(null)));
    assert_eq!((told(2, "held_keys"), told(2, "paused")), (json!(4), json!(true)));
    // Of its own the projector knows without a port.
    assert_eq!((told(3, "held_keys"), told(3, "paused")), (json!(1), json!(null)));
    assert_eq!((told(3, "messages"), told(3, "partitions")), (json!(null), json!([])));
    assert!(consumers.recent().is_some());
}
