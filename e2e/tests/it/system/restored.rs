//! The database of order-service from a backup that is a hundred orders old: it takes back what the topics have.

use e2e::system::{Order, System};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const SERVICE: &str = "order-service";
const DATABASE: &str = "order_service";

#[tokio::test]
async fn a_database_that_lacks_the_last_hundred_orders_takes_them_back_from_its_topic() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(1_000).await;
    run(&system, &sku, 20).await;
    system.stop(SERVICE).await;
    administer(&system, &[&format!("create database {DATABASE}_copy template {DATABASE} owner {DATABASE}")])
        .await;
    system.restart(SERVICE).await;
    let (before, orders) = (position(&system).await, run(&system, &sku, 100).await);
    let after = position(&system).await;
    assert!(after > before + 300, "the copy lacks them: {before} to {after}");

    system.stop(SERVICE).await;
    administer(
        &system,
        &[
            &format!("drop database {DATABASE} with (force)"),
            &format!("alter database {DATABASE}_copy rename to {DATABASE}"),
        ],
    )
    .await;
    assert_eq!(position(&system).await, before, "it is the copy");
    system.restart(SERVICE).await;
    assert_eq!(position(&system).await, after, "taken back before anything was consumed");
    let more = run(&system, &sku, 20).await;
    for order in orders.iter().chain(&more) {
        let created = system.seen.story(order.id);
        let created = created.iter().filter(|told| told.message_type == "fulfil.order.created.v2").count();
        assert_eq!(created, 1, "no order is created twice");
    }
    // Each log position is on the topic with one content, and every order has ended.
    system.adds_up_in_the_end().await;
}

/// Orders that end in each way.
async fn run(system: &System, sku: &str, count: i64) -> Vec<Order> {
    let prices = [100, 100, 1_013, 1_016];
    let orders: Vec<Order> =
        (0..count).map(|n| Order::new(sku, 1, prices[n as usize % prices.len()])).collect();
    system.publish(orders.iter().map(Order::create).collect()).await;
    for order in &orders {
        system.end(order.id).await;
    }
    orders
}

/// The end of the log.
async fn position(system: &System) -> i64 {
    let mut connection = system.database(SERVICE).await;
    sqlx::query_scalar("select coalesce(max(position), 0) from event")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn administer(system: &System, statements: &[&str]) {
    let url = format!("postgres://postgres@{}/postgres", system.status.postgres);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe((*statement).to_owned())).execute(&mut connection).await.unwrap();
    }
}
