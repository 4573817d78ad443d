//! The consumer groups, as far as a broker in memory and a broker that is away tell.

use std::time::{Duration, Instant};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    http::{Request, header::ACCEPT},
    routing,
};
use projector::consumers::{AdminAddr, Consumers, GROUPS};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use serde_json::{Value, json};
use shared::{
    broker::BrokerSettings,
    contract::{envelope::Raw, topics::Topic},
};
use tokio::net::TcpListener;
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    http::{Api, orders},
    letter_groups::letter,
    project::{take_all, with_a_broken_confirmation},
    run::publish,
    sagas::{Path, place},
};

const DEADLINE: Duration = Duration::from_secs(120);

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
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", mute.local_addr().unwrap());
    let admins = [admin.parse().unwrap(), silent.parse().unwrap()];
    let consumers = Consumers::new(&BrokerSettings::new("127.0.0.1:1"), &admins);
    let router = api.router_with(|app| app.consumers = consumers.clone());

    let asked = Instant::now();
    assert!(consumers.soon().await.is_none());
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "the broker is asked for longer, and nobody waits for it"
    );
    let ask = async || Api::get_from(&router, "/consumers").await;
    let (one, other) = tokio::join!(ask(), ask());
    assert!(asked.elapsed() < Duration::from_secs(20));
    assert_eq!((one.0, &one), (200, &other));
    let body = one.1;
    assert!(body["broker"].as_str().unwrap().starts_with("the topics: "), "{body}");
    let groups = body["groups"].as_array().unwrap();
    let names: Vec<&str> = groups.iter().map(|group| group["group"].as_str().unwrap()).collect();
    assert_eq!(names, GROUPS);
    let told = |at: usize, field: &str| groups[at][field].clone();
    assert_eq!((told(0, "dead_letters"), told(0, "held_keys")), (json!(1), json!(null)));
    assert_eq!((told(2, "held_keys"), told(2, "paused")), (json!(4), json!(true)));
    // Of its own the projector knows without a port.
    assert_eq!((told(3, "held_keys"), told(3, "paused")), (json!(1), json!(null)));
    assert_eq!((told(3, "messages"), told(3, "partitions")), (json!(null), json!([])));
    assert!(consumers.soon().await.is_some());
    assert_eq!(body["silent"], json!([{"admin": silent, "why": "it does not answer"}]));
    let html = screen(router, "/consumers").await;
    assert!(html.contains(&format!("⚠ {silent} does not say how it stands: it does not answer")), "{html}");
    assert!(!html.contains(">not known here<"), "somebody was asked: {html}");
}

async fn screen(router: Router, address: &str) -> String {
    let request = Request::get(address).header(ACCEPT, "text/html").body(Body::empty()).unwrap();
    let html = router.oneshot(request).await.unwrap().into_body();
    String::from_utf8(to_bytes(html, 1 << 22).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_letter_of_another_group_names_what_waits_behind_it_as_its_service_says() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, place([letter(7, "key", "order-service", ("invalid-json", "f1"), 1.0)]))
        .await;
    let others = format!("/dead-letters/{}", Uuid::from_u128(7));
    assert_eq!(api.get_once(&format!("{others}/followers")).await.0, 503);
    assert_eq!(api.get_once(&format!("/dead-letters/{}/followers", Uuid::from_u128(8))).await.0, 404);
    let told = [
        Router::new(),
        Router::new().route(
            &format!("{others}/followers"),
            routing::get(async || {
                Json(json!({"messages": 21, "first": [
                    {"message_type": "fulfil.payment.captured.v1", "topic": "payments.events", "partition": 2, "offset": 3},
                    {"message_type": null, "topic": "inventory.events", "partition": 0, "offset": 9},
                ]}))
            }),
        ),
    ];
    let mut admins = Vec::new();
    for service in told {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        admins.push(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        tokio::spawn(async move { axum::serve(listener, service).await });
    }
    let named = |admins: &[AdminAddr]| Consumers::new(&BrokerSettings::new("127.0.0.1:1"), admins);
    let router = api.router_with(|app| app.consumers = named(&admins));
    let body = Api::get_from(&router, &format!("{others}/followers")).await;
    assert_eq!((body.0, &body.1["messages"]), (200, &json!(21)), "{}", body.1);
    let html = screen(router.clone(), &others).await;
    assert!(html.contains("⏸ 21 of the same key"), "{html}");
    assert!(html.contains("<li>payment captured <code class=\"dim\">payments.events[2]@3</code>"), "{html}");
    assert!(html.contains("<li>not readable "), "{html}");
    assert!(html.contains("And more."), "{html}");
    let router = api.router_with(|app| app.consumers = named(&admins[..1]));
    let (status, body) = Api::get_from(&router, &format!("{others}/followers")).await;
    assert_eq!(status, 503);
    assert!(body["detail"].as_str().unwrap().contains("SERVICE_ADMIN_URLS names none has it"), "{body}");
}

/// The broker in memory knows offsets and ends, and nothing of members.
#[tokio::test]
async fn what_is_known_is_told_with_what_is_not() {
    let api = Api::new().await;
    let bootstrap = api.broker.bootstrap_servers();
    for topic in [Topic::OrdersEvents, Topic::PaymentsEvents] {
        api.broker.create_topic(topic.name(), 3, 1).unwrap();
    }
    let messages = orders(&[(1, Path::Completed, "SKU-1")]).in_order();
    let ours: Vec<Raw> = messages.into_iter().filter(|raw| raw.topic == Topic::OrdersEvents).collect();
    let partition = ours[0].partition;
    let in_three = |raw: &Raw| Raw { partition: raw.partition % 3, ..raw.clone() };
    publish(&bootstrap, &ours.iter().map(in_three).collect::<Vec<_>>());
    let reader: BaseConsumer = BrokerSettings::new(&bootstrap).reader("order-service").create().unwrap();
    let mut committed = TopicPartitionList::new();
    let name = Topic::OrdersEvents.name();
    committed.add_partition_offset(name, partition % 3, Offset::Offset(1)).unwrap();
    tokio::task::spawn_blocking(move || reader.commit(&committed, CommitMode::Sync).unwrap()).await.unwrap();
    let behind = ours.len() as i64 - 1;
    let is_told = |body: &Value| {
        let group = &body["groups"][0];
        let unanswered = group["unanswered"].as_array().unwrap();
        body["broker"] == json!(null)
            && unanswered.len() == 1
            && unanswered[0].as_str().unwrap().starts_with("its members: ")
            && group["state"] == json!(null)
            && (&group["messages"], &group["partitions"][0]["end"]) == (&json!(behind), &json!(ours.len()))
            && group["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0)
    };
    // On a slow machine the broker does not say all of it within the time that it is given.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, body) = api.get_once("/consumers").await;
        assert_eq!(status, 200, "{body}");
        if is_told(&body) {
            break;
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
