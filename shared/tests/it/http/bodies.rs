//! What a body must be before a handler sees it.

use axum::{Router, routing::post};
use serde::Deserialize;
use shared::{
    contract::limits::{HTTP_BODY_BYTES_MAX, JSON_DEPTH_MAX},
    http::{Json, JsonOrNothing, Limits},
    testing::http::{Served, listen, served},
};
use tokio::io::AsyncWriteExt;

#[derive(Default, Deserialize)]
struct Thing {
    quantity: i64,
}

async fn service() -> Served {
    let router = Router::new()
        .route("/things", post(async |Json(thing): Json<Thing>| thing.quantity.to_string()))
        .route("/maybe", post(async |JsonOrNothing(thing): JsonOrNothing<Thing>| thing.quantity.to_string()));
    served(router, Limits::default()).await
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_400_with_the_place() {
    let service = service().await;
    assert_eq!(service.post("/things", r#"{"quantity":5,"later":{"field":[1]}}"#).await.body, "5");
    let deep =
        format!(r#"{{"quantity":1,"x":{}{}}}"#, "[".repeat(JSON_DEPTH_MAX), "]".repeat(JSON_DEPTH_MAX));
    for (body, pointer) in [
        ("", ""),
        ("{", ""),
        ("5", ""),
        ("null", ""),
        (r#"{"quantity":5} and more"#, ""),
        (r#"{"quantity":5,"quantity":5}"#, ""),
        (deep.as_str(), ""),
        (r#"{"quantity":"5"}"#, "/quantity"),
        (r#"{"quantity":1.0}"#, "/quantity"),
        (r#"{"quantity":1e3}"#, "/quantity"),
        (r#"{"quantity":99999999999999999999}"#, "/quantity"),
        (r#"{"quantity":null}"#, "/quantity"),
        (r#"{}"#, "/quantity"),
    ] {
        let reply = service.post("/things", body).await;
        assert_eq!((reply.status, &reply.json()["code"]), (400, &"invalid".into()), "{body}: {reply:?}");
        assert_eq!(reply.json()["errors"][0]["pointer"], pointer, "{body}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_header_is_415() {
    let service = service().await;
    let sent = async |headers: &[(&str, &str)]| {
        service.send("POST", "/things", headers, r#"{"quantity":5}"#).await.status
    };
    assert_eq!(sent(&[("content-type", "application/json; charset=utf-8")]).await, 200);
    assert_eq!(sent(&[("content-type", "application/vnd.fulfil+json")]).await, 200);
    assert_eq!(sent(&[]).await, 415);
    assert_eq!(sent(&[("content-type", "text/plain")]).await, 415);
    assert_eq!(sent(&[("content-type", "application/x-www-form-urlencoded")]).await, 415);
    assert_eq!(sent(&[("content-type", "application/json"), ("content-encoding", "gzip")]).await, 415);
}

#[tokio::test]
async fn a_body_that_may_be_left_out_is_read_where_it_is_there() {
    let service = service().await;
    assert_eq!(service.send("POST", "/maybe", &[], "").await.body, "0");
    assert_eq!(
        service.say("POST /maybe HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.body,
        "0"
    );
    assert_eq!(service.post("/maybe", r#"{"quantity":5}"#).await.body, "5");
    assert_eq!(service.send("POST", "/maybe", &[], r#"{"quantity":5}"#).await.status, 415);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_announcement_or_as_soon_as_it_is_too_long() {
    let service = service().await;
    let of_bytes = |bytes: usize| format!(r#"{{"quantity":5,"x":"{}"}}"#, "x".repeat(bytes - 21));
    assert_eq!(of_bytes(100).len(), 100);
    assert_eq!(service.post("/things", &of_bytes(HTTP_BODY_BYTES_MAX)).await.status, 200);
    assert_eq!(service.post("/things", &of_bytes(HTTP_BODY_BYTES_MAX + 1)).await.status, 413);

    let head =
        "POST /things HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n";
    // 1 GiB is announced and never sent: the answer does not wait for it.
    let announced = service.say(&format!("{head}content-length: 1073741824\r\n\r\n")).await;
    assert_eq!((announced.status, &announced.json()["code"]), (413, &"too-large".into()));

    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let mut endless = service.connect_and_say(&format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
    // Until the server has heard enough, which it says and then closes.
    while endless.write_all(chunk.as_bytes()).await.is_ok() {}
    assert_eq!(service.post("/things", r#"{"quantity":5}"#).await.status, 200);

    let mut long = service.connect_and_say(&format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
    for _ in 0..5 {
        long.write_all(chunk.as_bytes()).await.unwrap();
    }
    long.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(listen(long).await.status, 413);
}
