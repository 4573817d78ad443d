//! Two builds at once. `make upgrade` makes the programs of the next one from this tree and `e2e/next.patch`: it has
//! an event and a version that this build does not know. Services are replaced replica by replica under load, there, back,
//! and there again.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use e2e::system::{Edge, Load, Loading, Mix, Order, System, programs, until};
use nix::sys::signal::Signal;
use serde_json::json;
use shared::contract::topics::Topic;

/// The folder of the next build's programs.
const NEXT: &str = "FULFIL_NEXT";
const NEW_EVENT: &str = "fulfil.order.screened.v1";
const NEW_VERSION: &str = "fulfil.order.confirmed.v2";
const OLD_VERSION: &str = "fulfil.order.confirmed.v1";
/// Who decides comes first on the way there, and last on the way back: readers of the old build hear the new one.
const THERE: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
const BACK: [&str; 4] = ["projector", "payment-service", "inventory-service", "order-service"];
const READERS: [&str; 3] = ["inventory-service", "payment-service", "projector"];
const REPLICAS: u16 = 2;
const UNANSWERED: usize = 8;
const SEED: u64 = 22;
const ORDERS_A_WAVE: usize = 10;
const WAVE_EVERY: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the programs of the next build: make upgrade"]
async fn what_the_next_build_says_waits_for_it_and_nothing_of_it_is_lost() {
    let next = PathBuf::from(env::var_os(NEXT).unwrap_or_else(|| panic!("{NEXT} is not set: make upgrade")));
    let now = programs();
    let Some(mut system) = System::of_its_own("-upgrade", Default::default()).await else { return };
    system.scale(REPLICAS).await;
    let edge = Edge::of(&system);
    let load = Load::new(SEED, Mix::default());
    load.stock(&edge).await;

    let loading = Loading::start(load, edge.clone(), ORDERS_A_WAVE, WAVE_EVERY);
    let took = system.recovered(Instant::now()).await;
    println!("this build alone: an order on every partition within {:.1} s", took.everywhere.as_secs_f64());
    let [first, rest @ ..] = THERE;
    replace(&mut system, first, &next).await;
    let sku = system.stocked(100).await;
    let screened = Order::new(&sku, 2, 100);
    let confirmed = Order::new(&sku, 1, 100);
    system.publish(vec![screened.create(), confirmed.create()]).await;
    for reader in READERS {
        cannot_read(&system, reader, &screened).await;
        cannot_read(&system, reader, &confirmed).await;
    }
    assert!(system.seen.has(screened.id, NEW_EVENT) && system.seen.has(confirmed.id, NEW_VERSION));
    for service in rest {
        replace(&mut system, service, &next).await;
    }
    for order in [&screened, &confirmed] {
        assert_eq!(system.end(order.id).await, "completed");
    }
    let load = loading.stop().await;
    all_end(&system, &load, "on the way there").await;

    // Their payment is asked for, and not answered before order-service is this build again: it cannot read what the answer
    // is about.
    let provider = system.status.provider_pid.unwrap();
    system.signal(provider, Signal::SIGSTOP);
    let unanswered: Vec<Order> = (0..UNANSWERED).map(|_| Order::new(&sku, 2, 100)).collect();
    system.publish(unanswered.iter().map(Order::create).collect()).await;
    for order in &unanswered {
        system.happens(order.id, "fulfil.payment.requested.v1").await;
    }
    let loading = Loading::start(load, edge, ORDERS_A_WAVE, WAVE_EVERY);
    for service in BACK {
        replace(&mut system, service, &now).await;
    }
    system.signal(provider, Signal::SIGCONT);
    // What is begun now is this build's, whatever waits beside it.
    let order = Order::new(&sku, 2, 100);
    system.publish(vec![order.create()]).await;
    assert_eq!(system.end(order.id).await, "completed");
    assert!(system.seen.has(order.id, OLD_VERSION) && !system.seen.has(order.id, NEW_EVENT));
    let load = loading.stop().await;
    for order in &unanswered {
        cannot_read(&system, "order-service", order).await;
        let refused = system.post("order-service", &format!("/orders/{}/cancel", order.id), &json!({})).await;
        assert_eq!(refused.status, 503, "nobody decides on what he cannot read: {refused:?}");
        assert_eq!(system.seen.end(order.id), None);
    }

    for service in THERE {
        replace(&mut system, service, &next).await;
    }
    for order in &unanswered {
        assert_eq!(system.end(order.id).await, "completed");
    }
    system.all_accounted_for(&load).await;
    let events = system.seen.on(Topic::OrdersEvents);
    let of_type = |name: &str| {
        let quoted = format!("\"{name}\"");
        let is_it = |value: &[u8]| value.windows(quoted.len()).any(|part| part == quoted.as_bytes());
        events.iter().filter(|raw| raw.value.as_deref().is_some_and(is_it)).count()
    };
    println!(
        "{} orders accepted; {NEW_EVENT} {}, {NEW_VERSION} {}, {OLD_VERSION} {}",
        load.journal.accepted.len(),
        of_type(NEW_EVENT),
        of_type(NEW_VERSION),
        of_type(OLD_VERSION),
    );
    adds_up(&system, &next);
}

/// One replica after the other.
async fn replace(system: &mut System, service: &str, programs: &Path) {
    for replica in 0..REPLICAS {
        system.replace(service, replica, programs).await;
    }
}

/// Within the limit: it holds what is about the order as newer than itself.
async fn cannot_read(system: &System, service: &str, order: &Order) {
    until(&format!("{service} to hold {}", order.id), LIMIT, async || {
        (system.held_as_newer(service, order.id).await > 0).then_some(())
    })
    .await;
}

async fn all_end(system: &System, load: &Load, when: &str) {
    let since = Instant::now();
    for order in &load.journal.accepted {
        until("an accepted order to end", LIMIT, async || system.seen.end(*order)).await;
    }
    let orders = load.journal.accepted.len();
    println!(
        "{when}: all of {orders} orders ended {:.1} s after the last was said",
        since.elapsed().as_secs_f64()
    );
}

/// Only the next build can read all of it.
fn adds_up(system: &System, next: &Path) {
    let folder = Path::new(&system.service("order-service").log).ancestors().nth(2).unwrap();
    let audit =
        Command::new(next.join("fulfil")).args(["doctor", "--audit", "--dir"]).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&audit.stdout);
    assert!(audit.status.success(), "{said}{}", String::from_utf8_lossy(&audit.stderr));
    println!("{said}");
}
