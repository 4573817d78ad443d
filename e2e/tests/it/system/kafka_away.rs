//! Kafka away under load: orders are taken over HTTP until the backlog is full, in little memory, and worked off faster
//! than they came.

use std::time::{Duration, Instant};

use e2e::system::{System, until};
use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::testing::{is_long, short_or_long};
use tokio::time::sleep;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(180);
const SERVICES: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
const MORE_MIB_MAX: u64 = 200;
/// Of the rate at which orders came while Kafka was away.
const DRAIN_MIN: f64 = 2.0;

#[tokio::test]
async fn while_kafka_is_away_http_takes_orders_until_the_backlog_is_full_and_all_of_them_end() {
    // Orders come some thirty a second, on a busy machine ten.
    let backlog_max: usize = short_or_long(60, 5_000);
    let away = Duration::from_secs(short_or_long(0, 600));
    let environment = [("RELAY_BACKLOG_MAX".to_owned(), backlog_max.to_string())].into();
    let Some(mut system) = System::of_its_own("-outage", environment).await else { return };
    let sku = system.stocked(1_000_000).await;
    let before = SERVICES.map(|service| system.memory_mib(service));
    system.signal(system.status.kafka_pid.unwrap(), Signal::SIGKILL);
    let since = Instant::now();
    let mut accepted = Vec::new();
    let refused = until("orders to be refused", LIMIT + away, async || {
        let answer = order(&system, &sku).await;
        match answer.status {
            StatusCode::ACCEPTED => {
                accepted.push(answer.body["order_id"].as_str().unwrap().parse::<Uuid>().unwrap());
                None
            }
            _ => Some(answer),
        }
    })
    .await;
    let arrival = accepted.len() as f64 / since.elapsed().as_secs_f64();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert!(accepted.len() >= backlog_max, "only {} were taken", accepted.len());
    // A cancel makes the backlog shorter in the end, so it is taken.
    let cancelled = accepted[0];
    let answer = system.post("order-service", &format!("/orders/{cancelled}/cancel"), &json!({})).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    while since.elapsed() < away {
        assert_eq!(order(&system, &sku).await.status, StatusCode::SERVICE_UNAVAILABLE);
        sleep(Duration::from_millis(100)).await;
    }

    system.restart("kafka").await;
    let back = Instant::now();
    for order in &accepted {
        let what = format!("the end of order {order}");
        let end = until(&what, LIMIT + away, async || system.seen.end(*order)).await;
        assert_eq!(end, if *order == cancelled { "settled" } else { "completed" });
    }
    let drain = accepted.len() as f64 / back.elapsed().as_secs_f64();
    let more: Vec<u64> = SERVICES
        .iter()
        .zip(before)
        .map(|(service, before)| system.memory_peak_mib(service).saturating_sub(before))
        .collect();
    println!(
        "Kafka away for {:.0} s: {} orders taken, {arrival:.0}/s, and then refused; all had ended {:.1} s after it was \
         back, {drain:.0}/s; MiB more at most: {more:?}",
        (back - since).as_secs_f64(),
        accepted.len(),
        back.elapsed().as_secs_f64()
    );
    assert!(more.iter().all(|more| *more <= MORE_MIB_MAX), "{more:?} MiB more");
    if is_long() {
        assert!(drain >= DRAIN_MIN * arrival, "drained at {drain:.0}/s what came at {arrival:.0}/s");
    }
    until("orders to be taken again", LIMIT, async || {
        (order(&system, &sku).await.status == StatusCode::ACCEPTED).then_some(())
    })
    .await;
    system.adds_up_in_the_end().await;
}

async fn order(system: &System, sku: &str) -> e2e::system::Answer {
    let lines: Value = json!([{"sku": sku, "quantity": 1, "unit_price_minor": 100}]);
    let body = json!({"user_id": "u1", "lines": lines, "currency": "EUR"});
    system.post("order-service", "/orders", &body).await
}
