//! Every way an order can go, chosen by its amount, each to its end, with stock and the provider's books adding up.

use e2e::system::{Order, System};
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::json;

const STOCK: i64 = 100;
const TRIES_MAX: usize = 10;

#[tokio::test]
async fn an_order_completes_and_its_goods_and_its_money_are_gone() {
    let mut system = System::shared().await;
    let order = begin(&system, 2, 1_000).await;
    assert_eq!(system.end(order.id).await, "completed");
    system.stock_is(&order.sku, (STOCK - 2, 0)).await;
    assert_eq!(system.money(order.id).await, (2_000, 0));
    system.adds_up().await;
}

#[tokio::test]
async fn an_order_for_more_than_there_is_is_settled_and_the_provider_never_asked() {
    let mut system = System::shared().await;
    let order = begin(&system, STOCK + 1, 1_000).await;
    assert_settled(&system, &order, "out_of_stock").await;
    assert_eq!(system.books(order.id).await, None);
    system.adds_up().await;
}

#[tokio::test]
async fn a_declined_order_is_settled() {
    let mut system = System::shared().await;
    let order = begin(&system, 1, 1_013).await;
    assert_settled(&system, &order, "payment_declined").await;
    system.adds_up().await;
}

#[tokio::test]
async fn an_order_whose_capture_fails_is_settled_and_its_charge_voided() {
    let mut system = System::shared().await;
    let order = begin(&system, 1, 1_016).await;
    assert_settled(&system, &order, "capture_failed").await;
    system.happens(order.id, "fulfil.payment.voided.v1").await;
    system.adds_up().await;
}

#[tokio::test]
async fn an_order_that_the_customer_cancels_while_it_is_paid_is_settled_and_its_late_yes_undone() {
    let mut system = System::shared().await;
    // The provider is silent at first, which keeps the order where it is for some seconds; of some orders the cancel is in
    // time.
    let mut tries = 0;
    let order = loop {
        tries += 1;
        assert!(tries <= TRIES_MAX, "no cancel was in time");
        let order = begin(&system, 1, 1_014).await;
        system.happens(order.id, "fulfil.payment.requested.v1").await;
        let path = format!("/orders/{}/cancel", order.id);
        let answer = system.post("order-service", &path, &json!({"reason": "changed my mind"})).await;
        if answer.status == StatusCode::CONFLICT {
            assert_eq!(system.end(order.id).await, "completed", "{answer:?}");
            continue;
        }
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        system.happens(order.id, "fulfil.order.cancelled.v1").await;
        let story = system.seen.story(order.id);
        let cancelled = story.iter().find(|told| told.message_type == "fulfil.order.cancelled.v1");
        if cancelled.is_some_and(|told| told.data["stage"] == "created") {
            break order;
        }
    };
    assert_settled(&system, &order, "customer").await;
    system.happens(order.id, "fulfil.payment.voided.v1").await;
    system.adds_up().await;
}

#[tokio::test]
async fn silence_of_the_provider_is_no_decline() {
    let mut system = System::shared().await;
    let order = begin(&system, 1, 1_014).await;
    assert_eq!(system.end(order.id).await, "completed");
    system.happens(order.id, "fulfil.payment.outcome-unknown.v1").await;
    assert_eq!(system.money(order.id).await, (1_014, 0));
    system.adds_up().await;
}

#[tokio::test]
async fn a_yes_that_was_said_after_the_time_out_is_one_charge() {
    let mut system = System::shared().await;
    let order = begin(&system, 1, 1_015).await;
    assert_eq!(system.end(order.id).await, "completed");
    let books = system.books(order.id).await.unwrap();
    assert_eq!((&books["charges"], &books["captured_minor"]), (&json!(1), &json!(1_015)));
    system.adds_up().await;
}

#[tokio::test]
async fn a_refund_that_fails_twice_is_asked_for_until_it_is_done() {
    let Some(mut system) = System::to_harm().await else { return };
    // Captured but not completed: inventory-service sleeps from the reservation on.
    let (inventory, payment) = (system.pid("inventory-service", 0), system.pid("payment-service", 0));
    let sku = system.stocked(STOCK).await;
    let order = Order::new(&sku, 1, 1_017);
    system.signal(payment, Signal::SIGSTOP);
    system.publish(vec![order.create()]).await;
    system.happens(order.id, "fulfil.stock.reserved.v1").await;
    system.signal(inventory, Signal::SIGSTOP);
    system.signal(payment, Signal::SIGCONT);
    system.happens(order.id, "fulfil.payment.captured.v1").await;
    // The order hears of the capture over its own way.
    system.happens(order.id, "fulfil.order.progressed.v1").await;
    let answer = system.post("order-service", &format!("/orders/{}/cancel", order.id), &json!({})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    system.happens(order.id, "fulfil.payment.refunded.v1").await;
    assert_eq!(system.seen.end(order.id), None, "the goods are not back yet");
    system.signal(inventory, Signal::SIGCONT);
    assert_settled(&system, &order, "customer").await;
    assert!(system.seen.has(order.id, "fulfil.stock.restocked.v1"));
    system.adds_up_in_the_end().await;
}

/// A sku of its own, and an order of it.
async fn begin(system: &System, quantity: i64, price_minor: i64) -> Order {
    let sku = system.stocked(STOCK).await;
    let order = Order::new(&sku, quantity, price_minor);
    system.publish(vec![order.create()]).await;
    order
}

/// Ended by compensation, for this reason, with all goods back and no cent kept.
async fn assert_settled(system: &System, order: &Order, reason: &str) {
    assert_eq!(system.end(order.id).await, "settled");
    assert_eq!(system.reason(order.id).as_deref(), Some(reason));
    assert_eq!(system.money(order.id).await, (0, 0));
    system.stock_is(&order.sku, (STOCK, 0)).await;
}
