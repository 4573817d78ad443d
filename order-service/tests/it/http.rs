//! The HTTP edge of order-service over a real socket, the real decider behind it.

use std::time::Duration;

use order_service::{Orders, http};
use serde_json::{Value, json};
use shared::{
    engine::inbox,
    http::{Limits, openapi},
    testing::{
        committed,
        http::{Reply, Served, served},
        inbox::{deciding, deciding_over},
        memory::Memory,
    },
};
use tokio::time;
use uuid::Uuid;

use crate::given::{create, given, order_id, payment_authorized, payment_captured, stock_committed, topic};

async fn service() -> Served {
    served(http::routes(deciding(Orders::default())), Limits::default()).await
}

fn order() -> Value {
    json!({"user_id": "u1", "lines": [{"sku": "SKU-1", "quantity": 2, "unit_price_minor": 1999}], "currency": "EUR"})
}

async fn create_keyed(service: &Served, key: &str, body: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    service.send("POST", "/orders", &headers, &body.to_string()).await
}

fn refused_at(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_order_is_created_from_either_body() {
    let service = service().await;
    let first = json!({"user_id": "u1", "product_id": "SKU-1", "quantity": 2});
    for body in [order(), first] {
        let reply = service.post("/orders", &body.to_string()).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let answer = reply.json();
        let id = answer["order_id"].as_str().unwrap();
        assert!(Uuid::try_parse(id).is_ok());
        assert_eq!(reply.header("location"), Some(format!("/orders/{id}").as_str()));
        assert_eq!(
            (&answer["status"], &answer["token"]),
            (&"created".into(), &format!("order-{id}:1").into())
        );
    }
}

#[tokio::test]
async fn without_a_key_the_same_body_is_two_orders() {
    let service = service().await;
    let (first, second) = (
        service.post("/orders", &order().to_string()).await.json(),
        service.post("/orders", &order().to_string()).await.json(),
    );
    assert_ne!(first["order_id"], second["order_id"]);
}

#[tokio::test]
async fn with_a_key_a_repeat_gets_the_answer_that_the_first_one_got() {
    let service = service().await;
    let first = create_keyed(&service, "k1", &order()).await;
    let id = first.json()["order_id"].as_str().unwrap().to_owned();
    assert_eq!(service.post(&format!("/orders/{id}/cancel"), "{}").await.status, 202);

    let again = create_keyed(&service, "k1", &order()).await;
    assert_eq!((again.status, again.json()), (202, first.json()), "whatever became of the order");

    let mut other = order();
    other["lines"][0]["quantity"] = 3.into();
    let reused = create_keyed(&service, "k1", &other).await;
    assert_eq!((reused.status, &reused.json()["code"]), (422, &"idempotency-key-reused".into()));
    other["user_id"] = "u2".into();
    let of_another_user = create_keyed(&service, "k1", &other).await;
    assert_eq!(of_another_user.status, 202);
    assert_ne!(of_another_user.json()["order_id"], first.json()["order_id"]);
}

#[tokio::test]
async fn sameness_is_that_of_the_order_and_not_of_its_spelling() {
    let service = service().await;
    let spelt =
        create_keyed(&service, "k", &json!({"user_id": "u1", "product_id": "SKU-1", "quantity": 2})).await;
    let lines = json!([{"unit_price_minor": 0, "quantity": 2, "sku": "SKU-1", "unknown": true}]);
    let otherwise =
        create_keyed(&service, "k", &json!({"currency": "EUR", "lines": lines, "user_id": "u1"})).await;
    assert_eq!((otherwise.status, otherwise.json()), (202, spelt.json()));
}

#[tokio::test]
async fn an_order_outside_the_limits_is_422_with_the_place() {
    let service = service().await;
    let with = |pointer: &str, value: Value| {
        let mut body = order();
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string()
    };
    let line = json!({"sku": "SKU-1", "quantity": 1_000_000, "unit_price_minor": 1_000_000_000_000_i64});
    let cases = [
        (with("/user_id", json!("")), "/user_id"),
        (with("/user_id", json!("x".repeat(129))), "/user_id"),
        (with("/user_id", json!("line\nbreak")), "/user_id"),
        (with("/currency", json!("eur")), "/currency"),
        (with("/lines", json!([])), "/lines"),
        (with("/lines", json!(vec![line.clone(); 201])), "/lines"),
        (with("/lines", json!(vec![line; 20])), "/lines"),
        (with("/lines/0/sku", json!("a b")), "/lines/0/sku"),
        (with("/lines/0/quantity", json!(0)), "/lines/0/quantity"),
        (with("/lines/0/quantity", json!(1_000_001)), "/lines/0/quantity"),
        (with("/lines/0/unit_price_minor", json!(-1)), "/lines/0/unit_price_minor"),
        (json!({"user_id": "u1", "product_id": "", "quantity": 1}).to_string(), "/product_id"),
        (json!({"user_id": "u1", "product_id": "SKU-1", "quantity": 0}).to_string(), "/quantity"),
    ];
    for (body, pointer) in cases {
        let reply = service.post("/orders", &body).await;
        assert_eq!(refused_at(&reply), (422, pointer.to_owned()), "{body}: {reply:?}");
        assert_eq!(reply.json()["code"], "invalid");
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_400_with_the_place() {
    let service = service().await;
    for (body, pointer) in [
        (
            r#"{"user_id":"u1","lines":[{"sku":"SKU-1","quantity":1.0,"unit_price_minor":1}],"currency":"EUR"}"#,
            "/lines/0/quantity",
        ),
        (
            r#"{"user_id":"u1","lines":[{"sku":"SKU-1","quantity":"5","unit_price_minor":1}],"currency":"EUR"}"#,
            "/lines/0/quantity",
        ),
        (
            r#"{"user_id":"u1","lines":[{"sku":"SKU-1","quantity":1}],"currency":"EUR"}"#,
            "/lines/0/unit_price_minor",
        ),
        (r#"{"user_id":"u1","product_id":"SKU-1"}"#, "/quantity"),
        (r#"{"user_id":"u1","user_id":"u1","product_id":"SKU-1","quantity":1}"#, ""),
        (r#"{}"#, "/user_id"),
        ("[]", ""),
    ] {
        let reply = service.post("/orders", body).await;
        assert_eq!(refused_at(&reply), (400, pointer.to_owned()), "{body}: {reply:?}");
    }
}

#[tokio::test]
async fn an_order_is_cancelled_with_and_without_a_body() {
    let service = service().await;
    for body in ["", "{}", r#"{"reason":"changed my mind","by":"operator"}"#] {
        let id = service.post("/orders", &order().to_string()).await.json()["order_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = format!("/orders/{id}/cancel");
        let headers = [("content-type", "application/json")];
        let headers = if body.is_empty() { &[][..] } else { &headers };
        let reply = service.send("POST", &path, headers, body).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let cancelled = json!({"order_id": id, "status": "cancelled", "token": format!("order-{id}:2")});
        assert_eq!(reply.json(), cancelled);
        assert_eq!(service.send("POST", &path, headers, body).await.json(), cancelled, "twice is once");
    }
}

#[tokio::test]
async fn what_cannot_be_cancelled_says_why() {
    let completed = given(&[topic(create()), payment_authorized(), stock_committed(), payment_captured()]);
    let service = served(http::routes(deciding_over(completed, Duration::ZERO)), Limits::default()).await;
    let cancel = async |id: &str, body: &str| {
        let reply = service.post(&format!("/orders/{id}/cancel"), body).await;
        (reply.status, reply.json()["code"].as_str().unwrap().to_owned())
    };
    let (known, unknown) = (order_id().to_string(), Uuid::from_u128(99).to_string());
    assert_eq!(cancel(&known, "{}").await, (409, "order-state".into()));
    assert_eq!(cancel(&unknown, "{}").await, (404, "not-found".into()));
    assert_eq!(cancel("4711", "{}").await, (400, "invalid".into()));
    assert_eq!(cancel(&Uuid::nil().to_string(), "{}").await, (400, "invalid".into()));
    assert_eq!(cancel(&known, r#"{"by":"system"}"#).await, (422, "invalid".into()));
    assert_eq!(
        cancel(&known, &json!({"reason": "x".repeat(513)}).to_string()).await,
        (422, "invalid".into())
    );
}

#[tokio::test]
async fn a_command_whose_client_has_gone_is_decided_all_the_same() {
    let slow = deciding_over(Memory::new(Orders::default()), Duration::from_millis(20));
    let service = served(http::routes(slow), Limits::default()).await;
    let body = order().to_string();
    let head = "POST /orders HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\nidempotency-key: k";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut other = order();
    other["currency"] = "CHF".into();
    // A connection can be dropped before its request is read: only one that was read is a command.
    let decided = async {
        loop {
            let gone = service.connect_and_say(&request).await;
            gone.readable().await.unwrap_or_default();
            drop(gone);
            if create_keyed(&service, "k", &other).await.status == 422 {
                break;
            }
        }
    };
    time::timeout(Duration::from_secs(120), decided).await.unwrap();
}

#[tokio::test]
async fn a_full_inbox_and_a_stopped_engine_are_503_with_a_time_to_come_back() {
    let (inbox, asked) = inbox::channel::<Orders>(1);
    let service = served(http::routes(inbox), Limits::default()).await;
    let body = order().to_string();
    let head = "POST /orders HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json";
    let waiting =
        service.connect_and_say(&format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    // Nobody takes the first command out, so sooner or later the next one finds no room.
    let full = async {
        loop {
            let reply = service.post("/orders", &body);
            // The one that got the only place is never answered.
            if let Ok(reply) = time::timeout(Duration::from_millis(200), reply).await {
                break reply;
            }
        }
    };
    let full = time::timeout(Duration::from_secs(120), full).await.unwrap();
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")), "{full:?}");
    assert_eq!(full.json()["code"], "unavailable");

    drop(asked);
    assert_eq!(shared::testing::http::listen(waiting).await.status, 503);
    assert_eq!(service.post("/orders", &body).await.status, 503);
}

#[tokio::test]
async fn a_cancel_finds_room_where_an_order_finds_none() {
    // Nobody takes them out, so that nine fill what is not kept for cancels.
    let (inbox, asked) = inbox::channel::<Orders>(10);
    let service = served(http::routes(inbox), Limits::default()).await;
    let body = order().to_string();
    let head = "HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json";
    let create = format!("POST /orders {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut waiting = Vec::new();
    for _ in 0..9 {
        waiting.push(service.connect_and_say(&create).await);
    }
    let taken = async {
        while asked.len() < 9 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(120), taken).await.unwrap();
    assert_eq!(service.say(&create).await.status, 503);
    let path = format!("/orders/{}/cancel", order_id());
    waiting
        .push(service.connect_and_say(&format!("POST {path} {head}\r\ncontent-length: 2\r\n\r\n{{}}")).await);
    let taken = async {
        while asked.len() < 10 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(120), taken).await.unwrap();
}

#[tokio::test]
async fn the_committed_openapi_document_is_what_is_served() {
    let service = service().await;
    let document = openapi::text(&http::described().into_openapi());
    assert_eq!(service.get("/openapi.json").await.body, document);
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &document);
}
