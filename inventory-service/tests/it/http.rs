//! The HTTP edge of inventory-service over a real socket, the real decider behind it.

use std::time::Duration;

use inventory_service::{Inventory, http};
use serde_json::json;
use shared::{
    http::{Limits, openapi},
    testing::{
        committed,
        http::{Served, served},
        inbox::{deciding, deciding_over},
    },
};

use crate::given::{created, given, receive};

async fn service() -> Served {
    served(http::routes(deciding(Inventory)), Limits::default()).await
}

#[tokio::test]
async fn stock_is_received_and_adjusted() {
    let service = service().await;
    let received = service.post("/stock/SKU-1/receive", r#"{"quantity":100,"reference":"d1"}"#).await;
    assert_eq!(received.status, 202, "{received:?}");
    assert_eq!(
        received.json(),
        json!({"sku": "SKU-1", "on_hand": 100, "reserved": 0, "token": "stock-SKU-1:1"})
    );
    let adjusted =
        service.post("/stock/SKU-1/adjust", r#"{"delta":-3,"reason":"broken","reference":"c1"}"#).await;
    assert_eq!(
        adjusted.json(),
        json!({"sku": "SKU-1", "on_hand": 97, "reserved": 0, "token": "stock-SKU-1:2"})
    );
    assert_eq!(adjusted.status, 202);
}

#[tokio::test]
async fn the_same_reference_counts_once_and_is_answered_as_it_was_then() {
    let service = service().await;
    let (receive, adjust) =
        (r#"{"quantity":100,"reference":"d1"}"#, r#"{"delta":-3,"reason":"broken","reference":"c1"}"#);
    let received = service.post("/stock/SKU-1/receive", receive).await;
    let adjusted = service.post("/stock/SKU-1/adjust", adjust).await;
    service.post("/stock/SKU-1/receive", r#"{"quantity":5,"reference":"d2"}"#).await;

    let again = service.post("/stock/SKU-1/receive", receive).await;
    assert_eq!((again.status, again.json()), (202, received.json()));
    let again = service.post("/stock/SKU-1/adjust", adjust).await;
    assert_eq!((again.status, again.json()), (202, adjusted.json()));

    for (path, body) in [
        ("/stock/SKU-1/receive", r#"{"quantity":101,"reference":"d1"}"#),
        ("/stock/SKU-1/receive", r#"{"quantity":100,"reference":"c1"}"#),
        ("/stock/SKU-1/adjust", r#"{"delta":-4,"reason":"broken","reference":"c1"}"#),
    ] {
        let reused = service.post(path, body).await;
        assert_eq!(
            (reused.status, &reused.json()["code"]),
            (422, &"idempotency-key-reused".into()),
            "{body}"
        );
    }
    let elsewhere = service.post("/stock/SKU-2/receive", receive).await;
    assert_eq!(elsewhere.json()["on_hand"], 100, "a reference is of its sku");
}

#[tokio::test]
async fn without_a_reference_each_request_counts() {
    let service = service().await;
    for on_hand in [5, 10] {
        assert_eq!(
            service.post("/stock/SKU-1/receive", r#"{"quantity":5}"#).await.json()["on_hand"],
            on_hand
        );
    }
}

#[tokio::test]
async fn less_than_is_reserved_cannot_be_left() {
    let reserved = given(&[receive("SKU-1", 10, None), created(1, &[("SKU-1", 8)])]);
    let service = served(http::routes(deciding_over(reserved, Duration::ZERO)), Limits::default()).await;
    let refused = service.post("/stock/SKU-1/adjust", r#"{"delta":-3,"reason":"count"}"#).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &"insufficient-stock".into()));
    let adjusted = service.post("/stock/SKU-1/adjust", r#"{"delta":-2,"reason":"count"}"#).await;
    assert_eq!((&adjusted.json()["on_hand"], &adjusted.json()["reserved"]), (&8.into(), &8.into()));
}

#[tokio::test]
async fn what_is_outside_the_limits_says_where() {
    let service = service().await;
    let long = "x".repeat(513);
    for (path, body, status, pointer) in [
        ("/stock/a%20b/receive", r#"{"quantity":5}"#.to_owned(), 400, "/sku"),
        ("/stock/SKU-1/receive", r#"{"quantity":0}"#.to_owned(), 422, "/quantity"),
        ("/stock/SKU-1/receive", r#"{"quantity":1000001}"#.to_owned(), 422, "/quantity"),
        ("/stock/SKU-1/receive", r#"{"quantity":1,"reference":" "}"#.to_owned(), 422, "/reference"),
        ("/stock/SKU-1/receive", format!(r#"{{"quantity":1,"reference":"{long}"}}"#), 422, "/reference"),
        ("/stock/SKU-1/receive", r#"{"quantity":"1"}"#.to_owned(), 400, "/quantity"),
        ("/stock/SKU-1/adjust", r#"{"delta":0,"reason":"count"}"#.to_owned(), 422, "/delta"),
        ("/stock/SKU-1/adjust", r#"{"delta":1,"reason":" "}"#.to_owned(), 422, "/reason"),
        ("/stock/SKU-1/adjust", r#"{"delta":1}"#.to_owned(), 400, "/reason"),
    ] {
        let reply = service.post(path, &body).await;
        let found = (reply.status, reply.json()["errors"][0]["pointer"].as_str().map(str::to_owned));
        assert_eq!(found, (status, Some(pointer.to_owned())), "{path} {body}");
    }
}

#[tokio::test]
async fn the_committed_openapi_document_is_what_is_served() {
    let service = service().await;
    let document = openapi::text(&http::described().into_openapi());
    assert_eq!(service.get("/openapi.json").await.body, document);
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &document);
}
