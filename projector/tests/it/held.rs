//! An order of which something died: what is told of it, what waits behind that, and what is to be done.

use std::sync::LazyLock;

use serde_json::{Value, json};
use shared::contract::{dead_letter::header, envelope::Outgoing, topics::Topic};
use uuid::Uuid;

use crate::{
    http::{Api, id, orders},
    letter_groups::{change, record},
    project::take_all,
    sagas::{Path, place},
};

static KEY: LazyLock<String> = LazyLock::new(|| id(1).to_string());

/// A letter of the first order.
fn died(letter: u128, group: &str, (topic, stage, code): (&str, &str, &str)) -> Outgoing {
    let headers = [
        (header::GROUP, group),
        (header::TOPIC, topic),
        (header::PARTITION, "0"),
        (header::OFFSET, "1"),
        (header::STAGE, stage),
        (header::CODE, code),
        (header::MESSAGE, "it cannot be"),
        (header::FINGERPRINT, "f1"),
        (header::FAILED_AT, &format!("2026-11-24T10:02:{letter:02}Z")),
    ];
    record(letter, &KEY, &headers)
}

const IMPOSSIBLE: (&str, &str, &str) = ("inventory.events", "decide", "contradiction");
const UNREADABLE: (&str, &str, &str) = ("orders.commands", "decode", "invalid-json");
const REFUSED: (&str, &str, &str) = ("orders.commands", "decide", "order-state");
const TOO_EARLY: (&str, &str, &str) = ("inventory.events", "hold", "unknown-order");

fn letter_id(number: u128) -> Value {
    json!(Uuid::from_u128(number))
}

async fn timeline(api: &Api) -> (Vec<(Value, bool)>, Value) {
    let (status, timeline) = api.get(&format!("/orders/{}/timeline", id(1))).await;
    assert_eq!(status, 200, "{timeline}");
    let letters = timeline["dead_letters"].as_array().unwrap().iter();
    let letters = letters.map(|letter| (letter["id"].clone(), letter["holds"].as_bool().unwrap())).collect();
    (letters, timeline["awaiting"][0]["held_behind"].clone())
}

#[tokio::test]
async fn what_is_awaited_is_told_with_the_letter_that_it_waits_behind_until_that_is_done_with() {
    let mut api = Api::new().await;
    take_all(&mut api.projection, orders(&[(1, Path::Open, "SKU-1"), (2, Path::Open, "SKU-1")]).in_order())
        .await;
    let records = place([
        died(1, "order-service", IMPOSSIBLE),
        died(2, "payment-service", UNREADABLE),
        died(3, "payment-service", REFUSED),
        died(4, "payment-service", TOO_EARLY),
        died(5, "payment-service", IMPOSSIBLE),
        died(6, "projector", IMPOSSIBLE),
        died(7, "payment-service", IMPOSSIBLE),
        change(7, &KEY, "discarded"),
        change(5, &KEY, "parked"),
        change(5, &KEY, "redriven"),
        change(6, &KEY, "redriven"),
    ]);
    let (died, rest) = records.split_at(9);
    take_all(&mut api.projection, died.to_vec()).await;
    // The payment is awaited from payment-service.
    let told = |holds: &[(u128, bool)]| -> Vec<(Value, bool)> {
        holds.iter().map(|(number, holds)| (letter_id(*number), *holds)).collect()
    };
    let all = [(1, true), (2, false), (3, false), (4, false), (5, true), (6, true)];
    assert_eq!(timeline(&api).await, (told(&all), letter_id(5)));
    let (_, other) = api.get(&format!("/orders/{}/timeline", id(2))).await;
    assert_eq!((&other["dead_letters"], &other["awaiting"][0]["held_behind"]), (&json!([]), &Value::Null));

    let html = api.screen(&format!("/orders/{}", id(1))).await;
    let held = |letter: u128| {
        let letter = Uuid::from_u128(letter);
        format!("held behind <a href=\"/dead-letters/{letter}\">dead letter 00000000</a>")
    };
    assert!(html.contains(&held(5)), "{html}");
    assert!(html.contains("<b class=\"bad\">contradiction</b> in payment-service: it cannot be"), "{html}");
    for (number, is_open) in [(1, true), (2, true), (5, true), (6, true), (7, false)] {
        let letter = Uuid::from_u128(number);
        let form = format!("data-post=\"/dead-letters/{letter}/redrive\"");
        let command = format!("data-copy=\"fulfil dlq redrive {letter} --reason ");
        assert_eq!([html.contains(&form), html.contains(&command)], [is_open; 2], "{number}: {html}");
        assert_eq!(html.contains(&format!("\"/dead-letters/{letter}\"")), is_open, "{number}");
    }

    // The view itself did not take something: it may have come.
    take_all(&mut api.projection, rest[..1].to_vec()).await;
    let left = [(1, true), (2, false), (3, false), (4, false), (6, true)];
    assert_eq!(timeline(&api).await, (told(&left), letter_id(6)));
    take_all(&mut api.projection, rest[1..].to_vec()).await;
    assert_eq!(timeline(&api).await, (told(&left[..4]), Value::Null));
    let html = api.screen(&format!("/orders/{}", id(1))).await;
    assert!(!html.contains("held behind") && html.contains("/dead-letters/00000000"), "{html}");
}

#[tokio::test]
async fn of_an_order_that_nobody_told_of_the_letters_are_told() {
    let mut api = Api::new().await;
    let order = format!("/orders/{}", id(1));
    assert_eq!(api.browse(&order).await.status, 404);
    take_all(&mut api.projection, place([died(1, "order-service", UNREADABLE)])).await;
    let letter = Uuid::from_u128(1);
    let (status, problem) = api.get(&format!("{order}/timeline")).await;
    assert_eq!(status, 404);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with(&format!("dead letter {letter} of order-service: invalid-json")), "{detail}");
    assert_eq!(api.get(&order).await.0, 404);
    let html = api.screen(&order).await;
    assert!(
        html.contains("order-service has not told of this order. What died has its id as key."),
        "{html}"
    );
    assert!(html.contains(&format!("<a href=\"/dead-letters/{letter}\">")), "{html}");
    assert!(html.contains(&format!("fulfil dlq list --key {}", id(1))), "{html}");
    assert_eq!(api.browse(&format!("{order}?event=1")).await.status, 400);
    assert_eq!(api.browse(&format!("/orders/{}", id(2))).await.status, 404);
}

#[tokio::test]
async fn what_was_too_early_for_an_order_is_shown_with_what_becomes_of_it() {
    let mut api = Api::new().await;
    let mut early = orders(&[(1, Path::Open, "SKU-1")]).in_order();
    early.retain(|raw| raw.topic == Topic::InventoryEvents);
    take_all(&mut api.projection, early).await;
    let html = api.screen(&format!("/orders/{}", id(1))).await;
    let told =
        "order-service has not told of this order: what others tell of it waits for that at the services";
    assert!(html.contains(told) && html.contains("stock reserved"), "{html}");
    let (_, timeline) = api.get(&format!("/orders/{}/timeline", id(1))).await;
    assert_eq!((&timeline["status"], &timeline["awaiting"]), (&Value::Null, &json!([])));
}
