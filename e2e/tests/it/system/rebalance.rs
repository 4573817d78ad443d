//! A stranger in every group: partitions are taken and given back all the time.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use e2e::system::{Edge, Load, Loading, Mix, System};
use rdkafka::consumer::{BaseConsumer, Consumer};
use shared::{broker::BrokerSettings, contract::topics::Topic, testing::short_or_long};
use tokio::time::sleep;

const GROUPS: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
/// At least: it comes and goes, a rebalance each time.
const STAYS: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
const SEED: u64 = 10;
const ORDERS_A_WAVE: usize = 10;
const WAVE_EVERY: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_all_the_time_have_no_effect_on_what_becomes_of_orders() {
    let Some(mut system) = System::to_harm().await else { return };
    let edge = Edge::of(&system);
    let letters = system.seen.on(Topic::DeadLetters).len();
    let load = Load::new(SEED, Mix { poison_per_mille: 0, ..Mix::default() });
    load.stock(&edge).await;
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE_EVERY);
    let (stop, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let strangers = GROUPS.map(|group| {
        let (broker, stop, given) = (system.broker.clone(), Arc::clone(&stop), Arc::clone(&given));
        thread::spawn(move || come_and_go(&broker, group, &stop, &given))
    });
    sleep(Duration::from_secs(short_or_long(8, 300))).await;
    let least = short_or_long(1, 100);
    let deadline = Instant::now() + LIMIT;
    while given.load(Relaxed) < least && Instant::now() < deadline {
        sleep(POLL).await;
    }
    stop.store(true, Relaxed);
    for stranger in strangers {
        stranger.join().unwrap();
    }
    let since = Instant::now();
    let load = loading.stop().await;
    for order in &load.journal.accepted {
        system.end(*order).await;
    }
    let given = given.load(Relaxed);
    println!(
        "partitions were taken away {given} times; all of {} orders had ended {:.1} s after the last time",
        load.journal.accepted.len(),
        since.elapsed().as_secs_f64()
    );
    assert!(given >= least, "strangers were given partitions {given} times only");
    assert!(!load.journal.accepted.is_empty());
    assert_eq!(
        system.seen.on(Topic::DeadLetters).len(),
        letters,
        "a rebalance is no reason for a dead letter"
    );
    system.adds_up_with(&load.journal.told).await;
}

/// Joins as one more replica would, takes what it is given, does nothing with it, and leaves for as long.
fn come_and_go(broker: &BrokerSettings, group: &str, stop: &AtomicBool, given: &AtomicU64) {
    let topics = Topic::ALL.map(|topic| topic.name());
    while !stop.load(Relaxed) {
        let mut config = broker.reader(group);
        config.set("partition.assignment.strategy", "range").set("session.timeout.ms", "6000");
        let stranger: BaseConsumer = config.create().unwrap();
        stranger.subscribe(&topics).unwrap();
        let has = Cell::new(false);
        // Not before it was given something, which a busy group takes its time for.
        turns(
            stop,
            |since| since < STAYS || !has.get(),
            || {
                // Where nobody has committed yet there is nothing to read, which is an error.
                let _ = stranger.poll(POLL);
                if !has.get() && stranger.assignment().is_ok_and(|assigned| assigned.count() > 0) {
                    has.set(true);
                    given.fetch_add(1, Relaxed);
                }
            },
        );
        stranger.unsubscribe();
        drop(stranger);
        turns(stop, |since| since < STAYS, || thread::sleep(POLL));
    }
}

fn turns(stop: &AtomicBool, goes_on: impl Fn(Duration) -> bool, mut turn: impl FnMut()) {
    let since = Instant::now();
    while goes_on(since.elapsed()) && !stop.load(Relaxed) {
        turn();
    }
}
