//! An order as somebody follows it from a terminal.

use cli::exit::Exit;
use e2e::system::{Order, System};
use serde_json::Value;
use uuid::Uuid;

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
    assert!(nobody.contains("there is no order"), "{nobody}");
    assert_eq!(system.end(silent.id).await, "completed");
}
