//! A thousand orders at once, each fifth sent twice, in any order; and the same with every service killed on the way.

use std::{collections::BTreeMap, time::Duration};

use e2e::system::{Order, System, until};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use uuid::Uuid;

const ORDERS: usize = 1_000;
const STOCK: i64 = 10_000;
/// Far more than it takes: what does not end is what fails here.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_thousand_orders_with_duplicates_in_any_order_all_end() {
    let mut system = System::alone().await;
    let sku = system.stocked(STOCK).await;
    let orders = orders(&sku);
    send(&system, &orders, 1).await;
    all_end(&system, &orders).await;
    assert_ends(&system, &orders, &sku).await;
    system.adds_up_in_the_end().await;
}

#[tokio::test]
async fn a_thousand_orders_all_end_though_every_service_is_killed_on_the_way() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(STOCK).await;
    let orders = orders(&sku);
    let victims = ["order-service", "inventory-service", "payment-service", "projector"];
    for (number, (some, victim)) in orders.chunks(ORDERS / victims.len()).zip(victims).enumerate() {
        send(&system, some, number as u64).await;
        // Under way, and not done.
        let begun = async || (ended(&system, some) > some.len() / 10).then_some(());
        until("the first orders to end", LIMIT, begun).await;
        assert!(ended(&system, some) < some.len(), "killed in the middle, not after it");
        system.kill_and_restart(victim).await;
    }
    all_end(&system, &orders).await;
    assert_ends(&system, &orders, &sku).await;
    system.adds_up_in_the_end().await;
}

/// Of every ten one is declined, one fails to be captured, and one asks for more than there ever is.
fn orders(sku: &str) -> Vec<Order> {
    let order = |number| match number % 10 {
        3 => Order::new(sku, 1, 1_013),
        6 => Order::new(sku, 1, 1_016),
        9 => Order::new(sku, STOCK + 1, 100),
        _ => Order::new(sku, 1 + number % 3, 100),
    };
    (0..ORDERS as i64).map(order).collect()
}

/// Each fifth once more; seeded, so that a failure can be repeated.
async fn send(system: &System, orders: &[Order], seed: u64) {
    let mut records: Vec<_> = orders.iter().map(Order::create).collect();
    records.extend_from_within(..orders.len() / 5);
    records.shuffle(&mut StdRng::seed_from_u64(seed));
    system.publish(records).await;
}

fn ended(system: &System, orders: &[Order]) -> usize {
    orders.iter().filter(|order| system.seen.end(order.id).is_some()).count()
}

async fn all_end(system: &System, orders: &[Order]) {
    let left = || orders.iter().filter(|order| system.seen.end(order.id).is_none()).map(|order| order.id);
    let all = async || left().next().is_none().then_some(());
    let waited = tokio::time::timeout(LIMIT, until("all orders to end", LIMIT * 2, all)).await;
    let left: Vec<Uuid> = left().collect();
    assert!(waited.is_ok(), "{} orders have not ended, such as {:?}", left.len(), left.first());
}

/// Each as its number says, and so many goods gone as the completed ones have.
async fn assert_ends(system: &System, orders: &[Order], sku: &str) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for order in orders {
        let end = system.reason(order.id).or_else(|| system.seen.end(order.id).map(str::to_owned));
        *counts.entry(end.unwrap_or_default()).or_default() += 1;
    }
    let tenth = ORDERS / 10;
    let expected = [
        ("capture_failed", tenth),
        ("completed", 7 * tenth),
        ("out_of_stock", tenth),
        ("payment_declined", tenth),
    ];
    assert_eq!(counts, expected.map(|(end, count)| (end.to_owned(), count)).into());
    let view = BTreeMap::from([("completed".to_owned(), 7 * tenth), ("settled".to_owned(), 3 * tenth)]);
    until("the view to show the same", LIMIT, async || (system.view_of(sku).await == view).then_some(()))
        .await;
    let completed = orders.iter().filter(|order| system.seen.end(order.id) == Some("completed"));
    let gone: i64 = completed.map(|order| order.quantity).sum();
    system.stock_is(sku, (STOCK - gone, 0)).await;
}
