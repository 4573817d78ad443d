//! The HTTP edge of payment-service over a real socket, the real decider behind it.

use std::time::Duration;

use payment_service::{Payments, domain::Command, http};
use serde_json::json;
use shared::{
    http::{Limits, openapi},
    testing::{
        committed,
        http::{Served, served},
        inbox::deciding_over,
        memory::{Memory, told},
    },
};
use uuid::Uuid;

use crate::given::{due, order};

/// A service that was asked for one payment.
async fn service() -> Served {
    let mut memory = Memory::new(Payments::default());
    let request = Command::RequestPayment { order_id: order(), amount: due() };
    let told = told(Uuid::from_u128(1), "2026-11-24T10:02:11.034Z".parse().expect("is a time"));
    memory.handle(&request, &told).expect("is allowed");
    served(http::routes(deciding_over(memory, Duration::ZERO)), Limits::default()).await
}

#[tokio::test]
async fn a_hint_about_a_known_payment_is_taken_and_one_about_another_is_404() {
    let service = service().await;
    let call_back =
        async |id: &str| service.post("/provider/callbacks", &json!({"payment_id": id}).to_string()).await;
    let known = call_back(&order().to_string()).await;
    assert_eq!((known.status, known.json()), (202, json!({"payment_id": order().to_string()})));
    assert_eq!(call_back(&order().to_string()).await.status, 202, "as often as it is said");
    let unknown = call_back(&Uuid::from_u128(99).to_string()).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &"not-found".into()));
    let bad = call_back("4711").await;
    assert_eq!((bad.status, &bad.json()["errors"][0]["pointer"]), (422, &"/payment_id".into()));
    assert_eq!(service.post("/provider/callbacks", "{}").await.status, 400);
}

#[tokio::test]
async fn the_committed_openapi_document_is_what_is_served() {
    let service = service().await;
    let document = openapi::text(&http::described().into_openapi());
    assert_eq!(service.get("/openapi.json").await.body, document);
    committed(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &document);
}
