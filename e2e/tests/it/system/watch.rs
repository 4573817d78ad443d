//! An order as somebody follows it from a terminal.

use std::time::Duration;

use cli::exit::Exit;
use e2e::system::{Order, System, structured, until};
use serde_json::{Value, json};
use shared::contract::topics::Topic;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::readme::typed;

fn types(said: &str) -> Vec<String> {
    let objects = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter_map(|object| Some(object["type"].as_str()?.to_owned())).collect()
}

/// The provider is silent at first, so that there is something to watch.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_until_it_is_completed() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    let order = Order::new(&sku, 1, 1_014);
    system.publish(vec![order.create()]).await;
    system.happens(order.id, "fulfil.payment.requested.v1").await;
    let id = order.id.to_string();
    let said = system.cli(&["order", "watch", &id, "--json"]);
    let types = types(&said);
    for (message_type, count) in [
        ("fulfil.order.created.v2", 1),
        ("fulfil.payment.authorized.v1", 1),
        ("fulfil.order.completed.v1", 1),
    ] {
        assert_eq!(types.iter().filter(|of| *of == message_type).count(), count, "{message_type}: {said}");
    }
    let awaits =
        |what: &str| said.lines().any(|line| line.starts_with("{\"awaiting\"") && line.contains(what));
    assert!(awaits("PaymentAuthorized|PaymentDeclined"), "{said}");
    assert!(said.ends_with("\"status\":\"completed\"}\n"), "{said}");
    let again = system.cli(&["order", "watch", &id]);
    assert!(again.contains("\torder-service\torder.created\t"), "{again}");
    assert!(again.ends_with("COMPLETED\n"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_watch_says_how_the_order_ended() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    let declined = Order::new(&sku, 1, 113);
    system.publish(vec![declined.create()]).await;
    let said = system.cli_ends(Exit::Refused, &["order", "watch", &declined.id.to_string()]);
    assert!(said.contains("payment.declined") && said.ends_with("SETTLED\n"), "{said}");

    let silent = Order::new(&sku, 1, 1_014);
    system.publish(vec![silent.create()]).await;
    system.shown(silent.id, "created").await;
    let said = system.cli_ends(Exit::Waited, &["order", "watch", &silent.id.to_string(), "--timeout", "1ms"]);
    assert!(said.contains("awaiting "), "{said}");
    let nobody = system.cli_ends(Exit::NotFound, &["order", "watch", &Uuid::now_v7().to_string()]);
    assert!(nobody.contains("there is no event of order"), "{nobody}");
    assert_eq!(system.end(silent.id).await, "completed");
}

/// Nothing happens to the order itself while its letter comes and goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_an_order_is_told_while_it_is_followed() {
    let system = System::shared().await;
    let sku = system.stocked(10).await;
    let order = Order::new(&sku, 1, 1_014);
    system.publish(vec![order.create()]).await;
    system.happens(order.id, "fulfil.payment.requested.v1").await;
    system.shown(order.id, "created").await;
    let file = NamedTempFile::new().unwrap();
    let said = || std::fs::read_to_string(file.path()).unwrap();
    let watch = format!("fulfil order watch {} > {}", order.id, file.path().display());
    let meanwhile = async {
        let says = async |text: &str| {
            until(text, Duration::from_secs(60), async || said().contains(text).then_some(())).await;
        };
        let impossible = structured("fulfil.stock.committed.v1", &json!({"order_id": order.id}));
        let place = system.say(Topic::InventoryEvents, order.id, &impossible).await;
        let letter = system.letter_id("order-service", Topic::InventoryEvents, place.partition, place.offset);
        let named = format!("dead letter {} of order-service", &letter.to_string()[..8]);
        says(&format!("{named}, dead, ")).await;
        says(&format!("held behind {named}: contradiction")).await;
        let why = json!({"by": "e2e", "reason": "it never was"});
        let asked = system.post("projector", &format!("/dead-letters/{letter}/discard"), &why).await;
        assert!(asked.status.is_success(), "{}", asked.body);
    };
    let (watched, ()) = tokio::join!(typed(&system, &watch), meanwhile);
    assert!(watched.status.success() && said().ends_with("COMPLETED\n"), "{watched:?}: {}", said());
}
