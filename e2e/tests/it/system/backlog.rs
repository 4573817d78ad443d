//! A service that was away finds all that happened meanwhile: it works it off in order, in the memory that it always
//! has, however much it is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use e2e::system::{Order, System, until};
use shared::{
    contract::topics::partition_of,
    testing::{is_long, short_or_long},
};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::sleep;
use uuid::Uuid;

const PUBLISHED_AT_ONCE: usize = 10_000;
const PARTITIONS: i32 = 4;
/// More than it has while it is busy at the beginning.
const MORE_MIB_MAX: u64 = 100;
const BACKLOG: &str = "fulfil_relay_backlog";

/// Who is started when, what the backlog becomes there, and what is looked at to know how far it is.
struct Stage {
    service: &'static str,
    /// Messages that wait for it, for each order.
    messages: usize,
    /// One for each order once it is through.
    done: &'static str,
    /// What was decided of each order, and of which; `None`: the view has no order of its own.
    decided: Option<(&'static str, &'static str)>,
}

const STAGES: [Stage; 4] = [
    Stage {
        service: "order-service",
        messages: 1,
        done: "event where type = 'fulfil.order.created.v2'",
        decided: Some(("fulfil.order.created.v2", "substr(stream, 7)")),
    },
    Stage {
        service: "inventory-service",
        messages: 1,
        done: "event where type = 'fulfil.stock.reserved.v1'",
        decided: Some(("fulfil.stock.reserved.v1", "substr(stream, 13)")),
    },
    Stage {
        service: "payment-service",
        messages: 1,
        // Calls to the provider end as they end.
        done: "event where type = 'fulfil.payment.authorized.v1'",
        decided: Some(("fulfil.payment.requested.v1", "substr(stream, 9)")),
    },
    // Created, reserved, the new level of the stock, requested, authorized.
    Stage {
        service: "projector",
        messages: 5,
        done: "view.timeline where type = 'fulfil.payment.authorized.v1'",
        decided: None,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_a_million_events_is_worked_off_in_order_and_in_the_same_memory() {
    let orders = short_or_long(1_000, 200_000);
    let limit = Duration::from_secs(short_or_long(180, 7_200));
    let system = match is_long() {
        true => {
            // The clock of an order runs while nobody is there to hear of it.
            let environment = [("ORDER_DEADLINE", "12h"), ("RELAY_BACKLOG_MAX", "10000000")];
            let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
            System::unwatched("-backlog", environment.into()).await
        }
        false => System::to_harm().await,
    };
    let Some(mut system) = system else { return };
    let sku = system.stocked(2 * orders as i64).await;
    let mut before = BTreeMap::new();
    for stage in &STAGES {
        system.stop(stage.service).await;
        before.insert(stage.service, stage.count(&mut system.database(stage.service).await).await);
    }
    let published = publish(&system, &sku, orders).await;

    for stage in &STAGES {
        stage.work_off(&mut system, before[stage.service], orders, limit).await;
        if let Some((event, order)) = stage.decided {
            let mut connection = system.database(stage.service).await;
            let decided = decided(&mut connection, event, order, orders).await;
            assert!(
                by_partition(&decided) == by_partition(&published),
                "{}: in another order",
                stage.service
            );
            system.stop(stage.service).await;
        }
    }
    let since = Instant::now();
    for service in ["order-service", "inventory-service", "payment-service"] {
        system.restart(service).await;
    }
    let completed = "event where type = 'fulfil.order.completed.v1'";
    let mut connection = system.database("order-service").await;
    let done_before = count(&mut connection, completed).await;
    until("all orders to be completed", limit, async || {
        (count(&mut connection, completed).await - done_before >= orders).then_some(())
    })
    .await;
    println!(
        "{orders} orders went on together and were completed {:.1} s later",
        since.elapsed().as_secs_f64()
    );
    if is_long() {
        system.conserves_goods_and_money().await;
    } else {
        system.adds_up_in_the_end().await;
    }
}

/// Nobody answers meanwhile, so no order ends: new ones are held back, and go on all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_backlog_of_orders_some_are_begun_and_finished_before_more_are_begun() {
    const ORDERS: usize = 4_000;
    const HELD_BACK: &str = "fulfil_counted_total{what=\"held_back\"}";
    let limit = Duration::from_secs(180);
    let Some(mut system) = System::to_harm().await else { return };
    // Of which there is none, so that each ends after one answer.
    let sku = format!("E2E-NONE-{}", Uuid::now_v7().simple());
    let mut connection = system.database("order-service").await;
    let cancelled = "event where type = 'fulfil.order.cancelled.v1'";
    let cancelled_before = count(&mut connection, cancelled).await;
    let begun_before = STAGES[0].count(&mut connection).await;
    system.stop("inventory-service").await;
    system.stop("order-service").await;
    publish(&system, &sku, ORDERS).await;
    system.restart("order-service").await;
    until("order-service to hold orders back", limit, async || {
        (system.metric("order-service", 0, HELD_BACK).await > 0.0).then_some(())
    })
    .await;
    until("all orders to be begun", limit, async || {
        (STAGES[0].count(&mut connection).await - begun_before >= ORDERS).then_some(())
    })
    .await;
    system.restart("inventory-service").await;
    until("all orders to end", limit, async || {
        (count(&mut connection, cancelled).await - cancelled_before >= ORDERS).then_some(())
    })
    .await;
    system.adds_up_in_the_end().await;
}

impl Stage {
    /// From its start to its last message; then its relay has published what became of them.
    async fn work_off(&self, system: &mut System, before: usize, orders: usize, limit: Duration) {
        let since = Instant::now();
        system.restart(self.service).await;
        let mut connection = system.database(self.service).await;
        let mut early = None;
        // Counting a million rows costs as much as it disturbs.
        let pause = Duration::from_millis(short_or_long(0, 1_000));
        until(&format!("{} to have worked off its backlog", self.service), limit, async || {
            sleep(pause).await;
            let done = self.count(&mut connection).await - before;
            if done >= orders / 4 {
                early.get_or_insert(system.memory_peak_mib(self.service));
            }
            (done >= orders).then_some(())
        })
        .await;
        let took = since.elapsed().as_secs_f64();
        let (early, peak) = (early.unwrap_or_default(), system.memory_peak_mib(self.service));
        println!(
            "{}: {} messages in {took:.1} s, its start included: {:.0}/s; {early} MiB after a quarter, {peak} MiB at most",
            self.service,
            self.messages * orders,
            (self.messages * orders) as f64 / took,
        );
        assert!(peak <= early + MORE_MIB_MAX, "{}: {early} MiB and then {peak} MiB", self.service);
        until(&format!("{} to have published it all", self.service), limit, async || {
            (system.metric(self.service, 0, BACKLOG).await == 0.0).then_some(())
        })
        .await;
    }

    async fn count(&self, connection: &mut PgConnection) -> usize {
        count(connection, self.done).await
    }
}

async fn count(connection: &mut PgConnection, of: &str) -> usize {
    let count = format!("select count(*) from {of}");
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(connection).await.unwrap();
    count as usize
}

/// The last ones, as they were decided.
async fn decided(connection: &mut PgConnection, event: &str, order: &str, orders: usize) -> Vec<Uuid> {
    let ids = format!(
        "select ({order})::uuid from event where type = '{event}' order by position desc limit {orders}"
    );
    let mut ids: Vec<Uuid> = sqlx::query_scalar(AssertSqlSafe(ids)).fetch_all(connection).await.unwrap();
    ids.reverse();
    ids
}

async fn publish(system: &System, sku: &str, orders: usize) -> Vec<Uuid> {
    let mut published = Vec::new();
    while published.len() < orders {
        let some = PUBLISHED_AT_ONCE.min(orders - published.len());
        let some: Vec<Order> = (0..some).map(|_| Order::new(sku, 1, 100)).collect();
        system.publish(some.iter().map(Order::create).collect()).await;
        published.extend(some.iter().map(|order| order.id));
    }
    published
}

fn by_partition(orders: &[Uuid]) -> BTreeMap<i32, Vec<Uuid>> {
    let mut by_partition: BTreeMap<i32, Vec<Uuid>> = BTreeMap::new();
    for order in orders {
        by_partition.entry(partition_of(order.to_string().as_bytes(), PARTITIONS)).or_default().push(*order);
    }
    by_partition
}
