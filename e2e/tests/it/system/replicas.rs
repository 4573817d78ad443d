//! Two of each service: they share the work, and one is enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use e2e::system::{Order, System, until};
use nix::sys::signal::Signal;
use shared::contract::{
    envelope::Raw,
    topics::{Topic, partition_of},
};

const WRITERS: [&str; 3] = ["order-service", "inventory-service", "payment-service"];
const LIMIT: Duration = Duration::from_secs(180);
const TRIES_MAX: usize = 2;
const PARTITIONS: i32 = 4;
const STOCK: i64 = 10_000;
const CONSUMED: &str = "messaging_client_consumed_messages_total";
const FENCED: &str = "fulfil_fenced_batches_total";
const SENT: &str = "messaging_client_sent_messages_total";

#[tokio::test]
async fn two_replicas_share_the_work_and_one_goes_on_when_the_other_is_killed() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(STOCK).await;
    system.scale(2).await;
    shared_by_now(&system, &sku).await;

    // Where a busy machine cost one its session, the other has all of it for a while.
    let mut tries = 0;
    loop {
        tries += 1;
        let before = figures(&system, CONSUMED).await;
        complete(&system, &sku, 200).await;
        let after = figures(&system, CONSUMED).await;
        let taken: Vec<[f64; 2]> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| [after[0] - before[0], after[1] - before[1]])
            .collect();
        let is_shared = |taken: &[f64; 2]| taken.iter().all(|one| one * 4.0 >= taken.iter().sum());
        if taken.iter().all(is_shared) {
            break;
        }
        assert!(tries < TRIES_MAX, "of {WRITERS:?} each replica took {taken:?}");
        shared_by_now(&system, &sku).await;
    }

    // Both kinds of death: of who publishes, and of who only processes.
    let mut victims = Vec::new();
    for service in WRITERS {
        let leader = leader(&system, service, &sku).await;
        victims.push((service, if service == "payment-service" { 1 - leader } else { leader }));
    }
    let orders = send(&system, &sku, 60).await;
    for (service, victim) in &victims {
        system.signal(system.pid(service, *victim), Signal::SIGKILL);
    }
    let since = Instant::now();
    all_complete(&system, &orders).await;
    complete(&system, &sku, 40).await;
    eprintln!("each service lost a replica; all was done {:.1} s later", since.elapsed().as_secs_f64());
    for (service, victim) in victims {
        system.restart_replica(service, victim).await;
    }
    complete(&system, &sku, 20).await;
    system.scale(1).await;
    complete(&system, &sku, 20).await;
    system.adds_up_in_the_end().await;
}

#[tokio::test]
async fn a_frozen_relay_leader_is_replaced_and_loses_nothing_when_it_wakes() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(STOCK).await;
    system.scale(2).await;
    shared_by_now(&system, &sku).await;
    let mut leaders = Vec::new();
    for service in WRITERS {
        let leader = leader(&system, service, &sku).await;
        leaders.push(system.pid(service, leader));
    }
    // In the middle of their work.
    let orders = send(&system, &sku, 60).await;
    for pid in &leaders {
        system.signal(*pid, Signal::SIGSTOP);
    }
    let since = Instant::now();
    all_complete(&system, &orders).await;
    complete(&system, &sku, 20).await;
    eprintln!(
        "each service went on without its leader; all was done {:.1} s later",
        since.elapsed().as_secs_f64()
    );
    for pid in &leaders {
        system.signal(*pid, Signal::SIGCONT);
    }
    complete(&system, &sku, 40).await;
    system.scale(1).await;
    complete(&system, &sku, 20).await;
    system.adds_up_in_the_end().await;
}

/// It had decided, and was about to write: what the other has done meanwhile is not done again, and people can see it.
#[tokio::test]
async fn a_replica_that_was_frozen_before_its_append_is_refused_when_it_wakes_and_counts_it() {
    const SERVICE: &str = "inventory-service";
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(STOCK).await;
    system.scale(2).await;
    shared_by_now(&system, &sku).await;
    // So that it does not freeze over the end of an order, of which it makes nothing.
    all_taken(&system, SERVICE).await;
    let before = system.metric(SERVICE, 1, FENCED).await;
    let armed = system.arm(SERVICE, 1, "message.appending", "1*return(freeze)").await;
    let mut orders = Vec::new();
    until("it to be about to append", LIMIT, async || {
        let hit = armed.was_hit().then_some(());
        if hit.is_none() {
            orders.extend(send_to_each_partition(&system, &sku).await);
        }
        hit
    })
    .await;
    let since = Instant::now();
    // A rebalance may have made it freeze over such an end all the same: where the other has gone just as far, that is done
    // and not refused. So the other goes further everywhere.
    orders.extend(send_to_each_partition(&system, &sku).await);
    all_complete(&system, &orders).await;
    all_taken(&system, SERVICE).await;
    let took = since.elapsed().as_secs_f64();
    system.signal(system.pid(SERVICE, 1), Signal::SIGCONT);
    let refused = async || (system.metric(SERVICE, 1, FENCED).await > before).then_some(());
    until("its append to be refused", LIMIT, refused).await;
    eprintln!("the other replica had done its work {took:.1} s later");
    complete(&system, &sku, 20).await;
    system.scale(1).await;
    system.adds_up_in_the_end().await;
}

/// Both replicas of each service have partitions once both take messages.
async fn shared_by_now(system: &System, sku: &str) {
    let before = figures(system, CONSUMED).await;
    until("both replicas to take messages", LIMIT, async || {
        complete(system, sku, 8).await;
        let now = figures(system, CONSUMED).await;
        let grown = now.iter().zip(&before).all(|(now, before)| now[0] > before[0] && now[1] > before[1]);
        grown.then_some(())
    })
    .await;
}

/// A service has finished all that is on the topics that it takes from.
async fn all_taken(system: &System, service: &str) {
    let mut database = system.database(service).await;
    until(&format!("{service} to take all that there is"), LIMIT, async || {
        let positions: Vec<(String, i32, i64)> =
            sqlx::query_as("select topic, partition, next from position")
                .fetch_all(&mut database)
                .await
                .unwrap_or_else(|error| panic!("the positions of {service}: {error}"));
        let topics: BTreeSet<&str> = positions.iter().map(|(topic, ..)| topic.as_str()).collect();
        let is_behind = |raw: &Arc<Raw>| {
            let is_past = |(topic, partition, next): &(String, i32, i64)| {
                (topic.as_str(), *partition) == (raw.topic.name(), raw.partition) && *next > raw.offset
            };
            !positions.iter().any(is_past)
        };
        let mut on_them = topics.into_iter().filter_map(Topic::parse).flat_map(|topic| system.seen.on(topic));
        (!on_them.any(|raw| is_behind(&raw))).then_some(())
    })
    .await;
}

/// The replica whose relay publishes: that of which the count of sent messages grows.
async fn leader(system: &System, service: &str, sku: &str) -> u16 {
    let sent = async |replica| system.metric(service, replica, SENT).await;
    let before = [sent(0).await, sent(1).await];
    complete(system, sku, 4).await;
    until("one relay to publish", LIMIT, async || {
        for replica in [0_u16, 1] {
            if sent(replica).await > before[usize::from(replica)] {
                return Some(replica);
            }
        }
        None
    })
    .await
}

/// Of each service, by replica.
async fn figures(system: &System, metric: &str) -> Vec<[f64; 2]> {
    let mut all = Vec::new();
    for service in WRITERS {
        all.push([system.metric(service, 0, metric).await, system.metric(service, 1, metric).await]);
    }
    all
}

async fn complete(system: &System, sku: &str, orders: usize) {
    let orders = send(system, sku, orders).await;
    all_complete(system, &orders).await;
}

async fn send(system: &System, sku: &str, orders: usize) -> Vec<Order> {
    publish(system, (0..orders).map(|_| Order::new(sku, 1, 100)).collect()).await
}

async fn send_to_each_partition(system: &System, sku: &str) -> Vec<Order> {
    let mut orders = BTreeMap::new();
    while orders.len() < PARTITIONS as usize {
        let order = Order::new(sku, 1, 100);
        orders.insert(partition_of(order.id.to_string().as_bytes(), PARTITIONS), order);
    }
    publish(system, orders.into_values().collect()).await
}

async fn publish(system: &System, orders: Vec<Order>) -> Vec<Order> {
    system.publish(orders.iter().map(Order::create).collect()).await;
    orders
}

async fn all_complete(system: &System, orders: &[Order]) {
    for order in orders {
        let end =
            until(&format!("the end of order {}", order.id), LIMIT, async || system.seen.end(order.id)).await;
        assert_eq!(end, "completed");
    }
}
