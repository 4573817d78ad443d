//! Whatever is not answered as asked is a problem, with the caller's trace id.

use axum::{Router, routing::post};
use shared::{
    http::{IdempotencyKey, Limits, PathParam, Problem, Trace},
    telemetry::metrics::Exposition,
    testing::http::{Reply, Served, served},
};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn service() -> Served {
    let router = Router::new()
        .route("/things/{id}", post(async |PathParam(number): PathParam<Number>| number.0.to_string()))
        .route("/keys", post(async |IdempotencyKey(key): IdempotencyKey| key.unwrap_or_default()))
        .route("/trace", post(async |trace: Trace| trace.traceparent()))
        .route("/full", post(async || Problem::unavailable("too much", 7)))
        .route("/panic", post(async || -> &'static str { panic!("a planted panic") }));
    served(router, Limits::default()).await
}

struct Number(u32);

impl std::str::FromStr for Number {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "is not a number".to_owned())
    }
}

fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (status, Some("application/problem+json")),
        "{reply:?}"
    );
    let body = reply.json();
    assert_eq!(body["type"], format!("/problems/{code}"));
    assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()));
    assert!(body["title"].is_string() && body["detail"].is_string() && body["errors"].is_array(), "{body}");
    assert_eq!(body["trace_id"].as_str().map(str::len), Some(32), "{body}");
}

#[tokio::test]
async fn what_is_not_there_and_what_may_not_be_done_are_problems() {
    let service = service().await;
    assert_problem(&service.get("/nowhere").await, 404, "not-found");
    let refused = service.get("/keys").await;
    assert_problem(&refused, 405, "method-not-allowed");
    assert_eq!(refused.header("allow"), Some("POST"));
    assert_problem(&service.send("BREW", "/keys", &[], "").await, 405, "method-not-allowed");
    assert_problem(&service.post("/things/x", "").await, 400, "invalid");
    assert_eq!(service.post("/things/x", "").await.json()["errors"][0]["pointer"], "/id");
    assert_problem(&service.post("/things/%ff", "").await, 400, "invalid");
    assert_eq!(service.post("/things/7", "").await.body, "7");
    let full = service.post("/full", "").await;
    assert_problem(&full, 503, "unavailable");
    assert_eq!(full.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn a_panic_is_the_requests_own_and_tells_nothing() {
    let service = service().await;
    let reply = service.post("/panic", "").await;
    assert_problem(&reply, 500, "internal");
    assert!(!reply.body.contains("planted"), "{reply:?}");
    assert_eq!(service.post("/things/7", "").await.status, 200);
}

#[tokio::test]
async fn a_callers_trace_goes_on_into_the_command_and_into_the_problem() {
    let service = service().await;
    let traceparent = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
    let header = [("traceparent", traceparent.as_str())];
    assert_eq!(service.send("GET", "/nowhere", &header, "").await.json()["trace_id"], TRACE_ID);
    let passed_on = service.send("POST", "/trace", &header, "").await.body;
    assert!(passed_on.starts_with(&format!("00-{TRACE_ID}-")) && passed_on != traceparent, "{passed_on}");
}

#[tokio::test]
async fn an_idempotency_key_is_printable_and_stands_once() {
    let service = service().await;
    let keyed = async |keys: &[&str]| {
        let headers: Vec<_> = keys.iter().map(|key| ("Idempotency-Key", *key)).collect();
        service.send("POST", "/keys", &headers, "").await
    };
    assert_eq!(keyed(&["  a key  "]).await.body, "a key");
    assert_eq!(keyed(&[]).await.body, "");
    assert_eq!(keyed(&[&"k".repeat(255)]).await.status, 200);
    let (long, twice, empty) = ("k".repeat(256), ["a", "b"], [""]);
    for bad in [&[long.as_str()][..], &twice, &empty, &["schlüssel"]] {
        let reply = keyed(bad).await;
        assert_problem(&reply, 400, "invalid");
        assert_eq!(reply.json()["errors"][0]["pointer"], "/Idempotency-Key");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let service = service().await;
    service.post("/things/1", "").await;
    service.post("/things/2", "").await;
    service.get("/nowhere/3").await;
    let text = service.metrics.text(Exposition::Prometheus);
    for line in [
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/things/{id}",http_response_status_code="200"} 2"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="unmatched",http_response_status_code="404"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("nowhere"));
}
