//! The admin port.

use std::{
    collections::HashMap,
    io::ErrorKind,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::json;
use shared::{
    consumer::{Operator, Suspicion, console},
    contract::topics::Topic,
    failure::Brake,
    http::{Limits, Readiness, admin, healthcheck},
    log::{self, GivenUp},
    telemetry::Metrics,
    testing::{
        self,
        http::{Served, served},
    },
};
use uuid::Uuid;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn admin() -> (Served, Readiness, Metrics) {
    let (admin, readiness, metrics, _) = operated().await;
    (admin, readiness, metrics)
}

async fn operated() -> (Served, Readiness, Metrics, Operator) {
    operated_on("postgres://127.0.0.1:1/nothing").await
}

async fn operated_on(database_url: &str) -> (Served, Readiness, Metrics, Operator) {
    let (readiness, metrics) =
        (Readiness::new(&["broker", "database"]), Metrics::new("order-service", "1.2.3"));
    let (console, operator) = console();
    let routes =
        admin::routes("order-service", "1.2.3", readiness.clone(), metrics.clone(), console, database_url);
    (served(routes, Limits::default()).await, readiness, metrics, operator)
}

async fn checked(admin: &Served) -> Result<(), String> {
    let (addr, deadline) = (admin.addr, Instant::now() + Duration::from_secs(60));
    loop {
        let checked = tokio::task::spawn_blocking(move || healthcheck(addr)).await.unwrap();
        match checked {
            // A slow machine: its two seconds are over.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                    && Instant::now() < deadline => {}
            checked => return checked.map_err(|error| error.to_string()),
        }
    }
}

#[tokio::test]
async fn ready_says_what_is_missing_and_healthcheck_repeats_it() {
    let (admin, readiness, _) = admin().await;
    let reply = admin.get("/readyz").await;
    assert_eq!(reply.status, 503);
    assert_eq!(
        reply.json(),
        serde_json::json!({"ready": false, "missing": {"broker": "not yet", "database": "not yet"}})
    );

    readiness.found("broker");
    readiness.lacks("database", "connection refused");
    assert!(checked(&admin).await.unwrap_err().contains("connection refused"));
    assert_eq!(admin.get("/livez").await.status, 200);

    readiness.found("database");
    assert_eq!((admin.get("/readyz").await.status, checked(&admin).await), (200, Ok(())));
    readiness.lacks("broker", "the broker is away");
    assert!(!readiness.is_ready());
}

#[tokio::test]
async fn metrics_come_in_the_text_that_the_scraper_asks_for() {
    let (admin, _, metrics) = admin().await;
    metrics.relay_backlog.set(42);
    let plain = admin.get("/metrics").await;
    assert!(plain.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(plain.body.contains("fulfil_relay_backlog 42"));
    assert!(plain.body.contains(r#"service="order-service""#), "{}", plain.body);
    let accept = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")];
    let open = admin.send("GET", "/metrics", &accept, "").await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn an_operator_is_heard_by_the_loop_and_told_what_cannot_be() {
    let (admin, _, _, mut operator) = operated().await;
    let bad =
        admin.send("POST", "/consumer/resume", &JSON, r#"{"accept_data_loss":["orders.events"]}"#).await;
    assert_eq!((bad.status, bad.json()["errors"][0]["pointer"].as_str()), (422, Some("/accept_data_loss/0")));
    assert_eq!(admin.send("POST", "/consumer/resume", &JSON, r#"{"accept":[]}"#).await.status, 400);

    let place = (Topic::OrdersEvents, 3);
    operator.suspect(Suspicion { place, next: 7, low: 10, high: 20 });
    tokio::spawn(async move {
        loop {
            let loss = operator.listen(&mut Brake::default(), &[(place, Some(7))], &HashMap::new());
            if let Some(loss) = loss {
                operator.given_up(loss, GivenUp::Done, &Metrics::new("test", "1"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let why = "DATA_LOSS_SUSPECTED: orders.events:3 is at 7, but the topic has 10 to 20";
    assert_eq!(
        admin.get("/consumer").await.json(),
        json!({"paused_ms": 0, "partitions": [
            {"topic": "orders.events", "partition": 3, "next": 7, "end": 20, "suspected": why}
        ]})
    );
    let other =
        admin.send("POST", "/consumer/resume", &JSON, r#"{"accept_data_loss":["orders.events:2"]}"#).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("not-suspected")));
    let accepted =
        admin.send("POST", "/consumer/resume", &JSON, r#"{"accept_data_loss":["orders.events:3"]}"#).await;
    let goes_on = json!({"paused": false, "accepted": [{"topic": "orders.events", "partition": 3, "from": 7, "to": 10}]});
    assert_eq!((accepted.status, accepted.json()), (200, goes_on));
    let nothing = admin.send("POST", "/consumer/resume", &[], "").await;
    assert_eq!((nothing.status, nothing.json()), (200, json!({"paused": false, "accepted": []})));
}

#[tokio::test]
async fn who_asks_what_waits_behind_a_letter_is_told_where_the_database_is_away_and_where_the_letter_is_anothers()
 {
    let path = format!("/dead-letters/{}/followers", Uuid::from_u128(7));
    let (admin, ..) = operated().await;
    let away = admin.get(&path).await;
    assert_eq!((away.status, away.header("retry-after")), (503, Some("1")));
    let url = testing::database().await;
    log::connect::migrate(&url).await.unwrap();
    let (admin, ..) = operated_on(&url).await;
    let asked = join_all((0..3).map(|_| admin.get(&path))).await;
    assert!(asked.iter().all(|reply| reply.status == 404), "{asked:?}");
    assert_eq!(admin.get("/dead-letters/7/followers").await.status, 400);
}

#[tokio::test]
async fn the_version_names_service_and_build() {
    let (admin, ..) = admin().await;
    assert_eq!(
        admin.get("/version").await.json(),
        serde_json::json!({"service": "order-service", "version": "1.2.3"})
    );
    assert_eq!(admin.get("/nothing").await.json()["code"], "not-found");
}

#[tokio::test]
async fn a_process_that_does_not_answer_is_not_healthy() {
    let (admin, ..) = admin().await;
    admin.trigger.stop();
    let addr = admin.addr;
    admin.ended.await.unwrap();
    assert!(tokio::task::spawn_blocking(move || healthcheck(addr)).await.unwrap().is_err());
}
