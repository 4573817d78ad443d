//! Events as they are folded, told over HTTP while they are.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, BodyDataStream},
    http::Request,
};
use futures_util::StreamExt;
use projector::live::{KEPT_MAX, LISTENERS_MAX, Seen};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    http::{Api, id, orders},
    project::{take_all, with_a_broken_confirmation},
    sagas::Path,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a listener hears.
struct Listening {
    frames: BodyDataStream,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Message {
    id: String,
    name: String,
    data: Value,
}

impl Api {
    async fn listen(&self, path: &str, last: Option<&str>) -> Listening {
        let mut request = Request::get(path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Listening { frames: response.into_body().into_data_stream(), text: String::new() }
    }
}

impl Listening {
    /// `None` where the stream has ended.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let mut lines =
                        message.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    lines.next().unwrap_or_default().to_owned()
                };
                if let Ok(data) = serde_json::from_str(&field("data")) {
                    return Some(Message { id: field("id"), name: field("event"), data });
                }
                continue;
            }
            let frame = timeout(PATIENCE, self.frames.next()).await.expect("something in time")?;
            self.text.push_str(std::str::from_utf8(&frame.unwrap()).unwrap());
        }
    }

    async fn some(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(self.next().await.unwrap());
        }
        messages
    }
}

#[tokio::test]
async fn each_event_is_told_once_it_is_committed_and_again_where_it_comes_again() {
    let mut api = Api::new().await;
    let mut all = api.listen("/events", None).await;
    let mut payments = api.listen("/events?type=payment&service=payment-service", None).await;
    let mut stock = api.listen("/events?sku=SKU-1&topic=inventory.stock", None).await;
    let mut one = api.listen(&format!("/events?order={}", id(2)), None).await;
    let world = orders(&[(1, Path::Completed, "SKU-1"), (2, Path::Open, "SKU-2")]);
    let messages = world.in_order();
    take_all(&mut api.projection, messages.clone()).await;
    let told = all.some(messages.len()).await;
    for (told, raw) in told.iter().zip(&messages) {
        let place = (&told.data["topic"], &told.data["partition"], &told.data["offset"]);
        assert_eq!(place, (&json!(raw.topic.name()), &json!(raw.partition), &json!(raw.offset)));
        assert_eq!((&told.data["duplicate"], &*told.name), (&json!(false), ""));
    }
    let created = told.iter().find(|told| told.data["type"] == "fulfil.order.created.v2").unwrap();
    assert_eq!(created.data["order_id"], json!(id(1)));
    assert_eq!((&created.data["service"], &created.data["sequence"]), (&json!("order-service"), &json!(1)));
    assert!(created.data["brief"].as_str().unwrap().starts_with("2 × SKU-1"), "{created:?}");
    let of = |what: &dyn Fn(&Value) -> bool| -> Vec<Message> {
        told.iter().filter(|told| what(&told.data)).cloned().collect()
    };
    for (listening, wanted) in [
        (&mut payments, of(&|data| data["service"] == "payment-service")),
        (&mut stock, of(&|data| data["sku"] == "SKU-1")),
        (&mut one, of(&|data| data["order_id"] == json!(id(2)))),
    ] {
        assert!(!wanted.is_empty());
        assert_eq!(listening.some(wanted.len()).await, wanted);
    }
    // The same event at another place of its topic.
    let mut again = messages[0].clone();
    again.offset += 1_000;
    take_all(&mut api.projection, vec![again]).await;
    let again = all.next().await.unwrap();
    assert_eq!((&again.data["id"], &again.data["duplicate"]), (&told[0].data["id"], &json!(true)));
}

#[tokio::test]
async fn what_dies_or_waits_is_not_told_as_folded() {
    let mut api = Api::new().await;
    let mut all = api.listen("/events", None).await;
    let (messages, _) = with_a_broken_confirmation();
    let sent = messages.len();
    take_all(&mut api.projection, messages).await;
    let end = api.projection.live.end();
    assert!((1..sent as u64).contains(&end), "{end} of {sent}");
    let told = all.some(usize::try_from(end).unwrap()).await;
    assert!(told.iter().all(|told| told.data["type"] != "fulfil.order.completed.v1"), "it waits");
}

#[tokio::test]
async fn a_listener_that_comes_again_misses_nothing_or_is_told_how_much() {
    let mut api = Api::new().await;
    let messages = orders(&[(1, Path::Completed, "SKU-1")]).in_order();
    let mut first = api.listen("/events", None).await;
    take_all(&mut api.projection, messages.clone()).await;
    let told = first.some(messages.len()).await;
    drop(first);
    for mut again in [
        api.listen("/events", Some(&told[2].id)).await,
        api.listen(&format!("/events?after={}", told[2].id), None).await,
        api.listen(&format!("/events?after={}", told[0].id), Some(&told[2].id)).await,
    ] {
        assert_eq!(again.some(told.len() - 3).await, told[3..]);
    }
    let mut lost = api.listen("/events", Some("0198f3c250107c319d440a4be1c25f09-7")).await;
    let message = lost.next().await.unwrap();
    assert_eq!((&*message.name, &message.data), ("missed", &json!({"missed": null})));

    // More than are kept, and more than one push tells.
    let kept: Vec<Seen> = api.projection.live.since(0).seen.into_iter().map(|(_, seen)| seen).collect();
    let more: Vec<Seen> = kept.iter().cycle().take(KEPT_MAX).cloned().collect();
    api.projection.live.tell(more);
    let began = Instant::now();
    let mut slow = api.listen("/events", Some(&told[2].id)).await;
    let message = slow.next().await.unwrap();
    let missed = told.len() - 3;
    assert_eq!((&*message.name, &message.data), ("missed", &json!({ "missed": missed })));
    slow.some(1_200).await;
    assert!(began.elapsed() >= Duration::from_millis(380), "500 in 200 ms: {:?}", began.elapsed());
}

#[tokio::test]
async fn listeners_are_bounded_and_hang_up_when_the_process_stops() {
    let api = Api::new().await;
    let mut listening = Vec::new();
    for _ in 0..LISTENERS_MAX {
        listening.push(api.listen("/events", None).await);
    }
    let (status, problem) = api.get_once("/events").await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    listening.pop();
    listening.push(api.listen("/events", None).await);
    api.stop.stop();
    for mut one in listening {
        assert_eq!(one.next().await, None);
    }
}

#[tokio::test]
async fn what_is_no_filter_is_refused() {
    let api = Api::new().await;
    for (query, pointer) in [
        ("type=a%20b", "/type"),
        ("order='", "/order"),
        ("service=%0a", "/service"),
        ("topic=dead-letters", "/topic"),
        ("sku=a%20b", "/sku"),
    ] {
        let (status, problem) = api.get_once(&format!("/events?{query}")).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(pointer)), "{query}");
    }
}
