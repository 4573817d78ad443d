//! Why an order is as it is: what it came of, and not what went wrong last.

use serde_json::Value;
use shared::contract::order::CancelReason;

use crate::{
    http::{Api, id, orders},
    project::take_all,
    sagas::Path,
};

/// Each way, and what the screen says of it; nothing where all goes well, or did.
const TOLD: [(Path, Option<&str>); 12] = [
    (Path::Completed, None),
    (Path::SilentThenYes, None),
    (Path::Open, None),
    (Path::Silent, Some("payment-service told: payment outcome unknown: authorize, attempt 1")),
    (Path::CancelledWhilePaying, Some("cancelled by the customer")),
    (Path::SilentThenCancelled(CancelReason::Customer), Some("cancelled by the customer")),
    (
        Path::SilentThenCancelled(CancelReason::Deadline),
        Some(
            "cancelled by the system: deadline. payment-service told: payment outcome unknown: authorize, attempt 1",
        ),
    ),
    (
        Path::OutOfStock,
        Some(
            "cancelled by the system: out of stock. inventory-service told: stock rejected: 2 × SKU-1 wanted, 0 there",
        ),
    ),
    (
        Path::Declined,
        Some(
            "cancelled by the system: payment declined. payment-service told: payment declined: insufficient-funds",
        ),
    ),
    (
        Path::CaptureFailed,
        Some(
            "cancelled by the system: capture failed. payment-service told: payment capture failed: expired",
        ),
    ),
    (Path::CancelledAfterCapture, Some("cancelled by the operator")),
    (Path::CancelledBeforeAnything, Some("cancelled by the customer")),
];

fn why(html: &str) -> Option<&str> {
    html.split("<b>Why:</b> ").nth(1)?.split("</p>").next()
}

#[tokio::test]
async fn the_reason_is_the_cause_and_not_the_newest_failure() {
    let mut api = Api::new().await;
    let numbered: Vec<_> = (1..).zip(TOLD).map(|(number, (path, _))| (number, path, "SKU-1")).collect();
    take_all(&mut api.projection, orders(&numbered).in_order()).await;
    for (number, (path, told)) in (1..).zip(TOLD) {
        let html = api.screen(&format!("/orders/{}", id(number))).await;
        assert_eq!(why(&html), told, "{path:?}");
    }

    // What is lost is counted by the same reasons.
    let (_, overview) = api.get("/overview").await;
    let lost = overview["lost"].as_array().unwrap();
    let reasons: Vec<&str> = lost.iter().map(|lost| lost["reason"].as_str().unwrap()).collect();
    let expected = ["capture_failed", "customer", "deadline", "operator", "out_of_stock", "payment_declined"];
    assert_eq!(reasons, expected);
    for lost in lost {
        let newest = format!("/orders/{}", lost["newest"].as_str().unwrap());
        let (_, order) = api.get(&newest).await;
        let reason = lost["reason"].as_str().unwrap();
        assert_eq!(order["reason"], Value::from(reason));
        let said = api.screen(&newest).await;
        let said = why(&said).unwrap();
        assert!(said.contains(&reason.replace('_', " ")), "{reason}: {said}");
    }
}
