//! The whole system beside dumps of all its databases, which hold a snapshot each for minutes. The log alone is tried in
//! `shared/tests/it/log/snapshot_held.rs`, and in the gate.

use std::time::{Duration, Instant};

use e2e::system::{Order, System, until};
use shared::testing::short_or_long;
use sqlx::{Connection, PgConnection};

/// Orders that are under way at any time.
const UNDER_WAY: usize = 200;
const LIMIT: Duration = Duration::from_secs(120);
const SENT: &str = "messaging_client_sent_messages_total";
/// Events of an order that is completed: created, confirmed, progressed, completed.
const EVENTS: usize = 4;
const SERVICES: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
/// Of what was done without a snapshot.
const RATIO_MIN: f64 = 0.5;

struct Work<'a> {
    system: &'a System,
    sku: String,
    sent: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make long"]
async fn orders_end_half_as_fast_at_least_while_dumps_hold_a_snapshot_of_every_database() {
    let Some(mut system) = System::unwatched("-snapshot", Default::default()).await else { return };
    let (around, held) =
        (Duration::from_secs(short_or_long(5, 60)), Duration::from_secs(short_or_long(15, 600)));
    let sku = system.stocked(1_000_000).await;
    let mut work = Work { system: &system, sku, sent: 0 };
    work.on(around).await;
    let without = work.on(around).await;
    let mut dumps = Vec::new();
    for service in SERVICES {
        dumps.push(dump(&system, service).await);
    }
    work.on(held - around).await;
    let with = work.on(around).await;
    for dump in dumps {
        dump.close().await.unwrap();
    }
    work.on(around / 2).await;
    let after = work.on(around).await;
    println!(
        "orders/s: {without:.0} before, {with:.0} at the end of {} s of snapshots, {after:.0} after them; {} orders",
        held.as_secs(),
        work.sent
    );
    let expected = without.min(after);
    assert!(with >= RATIO_MIN * expected, "{with:.0} orders/s of {expected:.0}");
    assert!(after >= RATIO_MIN * without, "it did not recover: {after:.0} orders/s of {without:.0}");
    until("all orders to end", LIMIT, async || (work.ended().await == work.sent).then_some(())).await;
    system.conserves_goods_and_money().await;
}

impl Work<'_> {
    /// Orders that ended in a second, over some time.
    async fn on(&mut self, time: Duration) -> f64 {
        let (since, before) = (Instant::now(), self.ended().await);
        while since.elapsed() < time {
            let ended = self.ended().await;
            let more = (ended + UNDER_WAY).saturating_sub(self.sent);
            let orders: Vec<Order> = (0..more).map(|_| Order::new(&self.sku, 1, 100)).collect();
            self.system.publish(orders.iter().map(Order::create).collect()).await;
            self.sent += more;
        }
        (self.ended().await - before) as f64 / since.elapsed().as_secs_f64()
    }

    async fn ended(&self) -> usize {
        self.system.metric("order-service", 0, SENT).await as usize / EVENTS
    }
}

/// A session that holds a snapshot until it is closed. The limits of the services' roles are not those of a dump.
async fn dump(system: &System, service: &str) -> PgConnection {
    let database = service.replace('-', "_");
    let url = format!("postgres://postgres@{}/{database}", system.status.postgres);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin transaction isolation level repeatable read; select count(*) from pg_class")
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}
