//! Services whose machines have the wrong time: only the database's clock counts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use e2e::system::{Order, System, record, structured, until};
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(180);
const ORDERS: usize = 20;
/// Long for orders that are answered, and no time at all for a clock that is hours off.
const DEADLINE: TimeDelta = TimeDelta::minutes(10);
/// For an order that is not answered.
const SHORT_DEADLINE: TimeDelta = TimeDelta::seconds(2);
/// As the setting's default.
const HTTP_DEADLINE: TimeDelta = TimeDelta::minutes(15);
/// The wrong clocks are off by hours.
const LATE: TimeDelta = TimeDelta::minutes(10);

#[tokio::test]
async fn clocks_that_are_hours_off_expire_nothing_early_nothing_never_and_date_no_event() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(1_000).await;
    for wrong in
        [[("order-service", 3), ("inventory-service", -3)], [("order-service", -3), ("payment-service", 3)]]
    {
        let mut off = Vec::new();
        for (service, hours) in wrong {
            off.push(system.restart_with_clock_off(service, hours).await);
        }
        let from = database_time(&system).await;
        answered_orders_complete(&system, &sku).await;
        an_unanswered_order_expires_when_it_is_due(&mut system, &sku).await;
        a_deadline_of_the_service_is_from_now_on(&system, &sku).await;
        let to = database_time(&system).await;
        events_are_dated_between(&system, from, to).await;
        // Before their places are taken.
        drop(off);
        for (service, _) in wrong {
            system.restart(service).await;
        }
    }
    system.adds_up_in_the_end().await;
}

async fn answered_orders_complete(system: &System, sku: &str) {
    let orders: Vec<Order> = (0..ORDERS).map(|_| Order::new(sku, 1, 100)).collect();
    let deadline = Utc::now() + DEADLINE;
    system.publish(orders.iter().map(|order| create(order, deadline)).collect()).await;
    for order in &orders {
        assert_eq!(system.end(order.id).await, "completed", "{:?}", system.reason(order.id));
    }
}

async fn an_unanswered_order_expires_when_it_is_due(system: &mut System, sku: &str) {
    let provider = system.status.provider_pid.unwrap();
    system.signal(provider, Signal::SIGSTOP);
    let order = Order::new(sku, 1, 100);
    let deadline = Utc::now() + SHORT_DEADLINE;
    system.publish(vec![create(&order, deadline)]).await;
    system.happens(order.id, "fulfil.order.cancelled.v1").await;
    system.signal(provider, Signal::SIGCONT);
    assert_eq!(system.reason(order.id).as_deref(), Some("deadline"));
    let (_, at) = recorded(system, order.id, "fulfil.order.cancelled.v1").await;
    assert!(deadline <= at && at < deadline + LATE, "due at {deadline}, cancelled at {at}");
    assert_eq!(system.end(order.id).await, "settled");
}

async fn a_deadline_of_the_service_is_from_now_on(system: &System, sku: &str) {
    let body = json!({"user_id": "u1", "lines": [{"sku": sku, "quantity": 1, "unit_price_minor": 100}], "currency": "EUR"});
    let answer = system.post("order-service", "/orders", &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let order = answer.body["order_id"].as_str().unwrap().parse().unwrap();
    let (created, at) = recorded(system, order, "fulfil.order.created.v2").await;
    let deadline: DateTime<Utc> = created["deadline_at"].as_str().unwrap().parse().unwrap();
    assert!((deadline - at - HTTP_DEADLINE).abs() < TimeDelta::seconds(1), "{at}, {deadline}");
    assert_eq!(system.end(order).await, "completed");
}

async fn events_are_dated_between(system: &System, from: DateTime<Utc>, to: DateTime<Utc>) {
    for service in ["order-service", "inventory-service", "payment-service"] {
        let mut connection = system.database(service).await;
        let (new, future): (i64, i64) = sqlx::query_as(
            "select count(*) filter (where recorded_at between $1 and $2), count(*) filter (where recorded_at > $2)
             from event",
        )
        .bind(from)
        .bind(to)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let least = ORDERS as i64 * 2;
        assert!(
            new >= least && future == 0,
            "{service}: {new} events from {from} to {to}, {future} after it"
        );
    }
}

fn create(order: &Order, deadline: DateTime<Utc>) -> cli::kafka::Record {
    let mut data = order.data();
    data["deadline_at"] = json!(deadline);
    record(Topic::OrdersCommands, order.id, &structured("fulfil.order.create.v2", &data))
}

/// The payload of an order's event, and when it was recorded.
async fn recorded(system: &System, order: Uuid, event_type: &str) -> (Value, DateTime<Utc>) {
    let mut connection = system.database("order-service").await;
    let found: Option<(String, DateTime<Utc>)> =
        sqlx::query_as("select data, recorded_at from event where stream = $1 and type = $2")
            .bind(format!("order-{order}"))
            .bind(event_type)
            .fetch_optional(&mut connection)
            .await
            .unwrap();
    let (data, at) = found.unwrap();
    (serde_json::from_str(&data).unwrap(), at)
}

/// Of the server that all the databases are on.
async fn database_time(system: &System) -> DateTime<Utc> {
    let mut connection = system.database("order-service").await;
    let asked = async || sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut connection).await.ok();
    until("the database to tell the time", LIMIT, asked).await
}
