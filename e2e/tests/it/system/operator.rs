//! What goes on only when a person says so: a group that pauses since most of what came was poison, and a partition whose
//! topic has lost what the group had not read.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cli::{
    exit::Exit,
    kafka::{Delivered, Record},
};
use e2e::system::{Order, System, until};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use serde_json::{Value, json};
use shared::{
    contract::{
        dead_letter::header,
        topics::{Topic, partition_of},
    },
    testing::{is_long, short_or_long},
};

const GROUP: &str = "order-service";
const LIMIT: Duration = Duration::from_secs(180);
/// A pause comes after over half of as many, and these are two batches.
const TAKEN_MAX: usize = 1_000;
const PARTITIONS: i32 = 4;

#[tokio::test]
async fn a_group_that_reads_nothing_but_poison_pauses_until_it_is_told_to_go_on() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(100).await;
    let count = short_or_long(700, 10_000) as usize;
    let poison = |number: usize| Record {
        topic: Topic::OrdersCommands,
        partition: None,
        key: Some(Bytes::from(number.to_string())),
        value: Some(Bytes::from("no order at all")),
        headers: Vec::new(),
    };
    // Among the messages of other tests it would be less than half.
    system.adds_up_in_the_end().await;
    let begun = Instant::now();
    let places = system.publish((0..count).map(poison).collect()).await;
    let paused = until("the group to pause", LIMIT, async || {
        Some(standing(&system, GROUP).await).filter(|standing| standing["paused_ms"].as_u64() > Some(0))
    })
    .await;
    // The others are not concerned, and what waits behind the pause is not lost.
    assert_eq!(standing(&system, "inventory-service").await["paused_ms"], 0, "{paused}");
    assert!(system.cli(&["consumer", "status"]).contains("pauses for"));
    let order = Order::new(&sku, 1, 100);
    system.publish(vec![order.create()]).await;
    let mut pauses = 0;
    until("every poison message to be a dead letter", LIMIT * 2, async || {
        if standing(&system, GROUP).await["paused_ms"].as_u64() > Some(0) {
            let said = system.cli(&["consumer", "resume", "--service", GROUP]);
            assert!(said.contains("pauses no longer"), "{said}");
            pauses += 1;
            // What is left of a short run is too little for another pause.
            let paused_ms = standing(&system, GROUP).await["paused_ms"].as_u64();
            assert!(is_long() || paused_ms == Some(0), "{paused_ms:?} of the pause are left");
        }
        let dead = letters(&system);
        let is_dead = |place: &Delivered| {
            let (topic, partition) = (Topic::OrdersCommands, place.partition);
            dead.contains(&system.letter_id(GROUP, topic, partition, place.offset).to_string())
        };
        places.iter().all(is_dead).then_some(())
    })
    .await;
    assert_eq!(system.end(order.id).await, "completed");
    assert!(pauses >= count.div_ceil(TAKEN_MAX), "{count} messages in a row, {pauses} pauses");
    println!("{count} poison messages in a row: {pauses} pauses, {:.1} s", begun.elapsed().as_secs_f64());
    system.adds_up_in_the_end().await;
}

#[tokio::test]
async fn what_a_topic_has_lost_is_given_up_only_by_an_operator() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(100).await;
    // The group stands somewhere in each partition.
    let orders: Vec<Order> = (0..40).map(|_| Order::new(&sku, 1, 100)).collect();
    system.publish(orders.iter().map(Order::create).collect()).await;
    for order in &orders {
        system.end(order.id).await;
    }
    system.stop(GROUP).await;
    let lost = Order::new(&sku, 1, 100);
    let place = system.publish(vec![lost.create()]).await[0];
    let is_seen = async || {
        let seen = system.seen.on(Topic::OrdersCommands);
        seen.iter().any(|raw| (raw.partition, raw.offset) == (place.partition, place.offset)).then_some(())
    };
    until("it to be on the topic", LIMIT, is_seen).await;
    delete_until(&system, place.partition, place.offset + 1).await;
    let restarting = system.restarting(GROUP);

    let named = format!("orders.commands:{}", place.partition);
    let why =
        until("the loss to be noticed", LIMIT, async || suspected(&system, place.partition).await).await;
    let next = place.offset + 1;
    let expected =
        format!("DATA_LOSS_SUSPECTED: {named} is at {}, but the topic has {next} to {next}", place.offset);
    assert_eq!(why, expected);
    let said = system.cli(&["consumer", "status"]);
    assert!(said.contains("does not read 1: messages are missing"), "{said}");

    let admin = system.service(GROUP).admin.clone();
    let said: Value =
        serde_json::from_str(&system.cli(&["consumer", "status", "--admin", &admin, "--json"])).unwrap();
    assert_eq!((&said["service"], &said["paused_ms"]), (&json!(GROUP), &json!(0)));
    assert!(said["partitions"].as_array().unwrap().iter().any(|of| of["suspected"] == why), "{said}");

    // Nothing of it is read, and the other partitions are.
    let of_partition = |is_lost: bool| {
        let mut orders = std::iter::repeat_with(|| Order::new(&sku, 1, 100));
        let is_wanted = |order: &Order| {
            let partition = partition_of(order.id.to_string().as_bytes(), PARTITIONS);
            (partition == place.partition) == is_lost
        };
        orders.find(is_wanted).expect("there is no end of them")
    };
    let (behind, beside) = (of_partition(true), of_partition(false));
    system.publish(vec![behind.create(), beside.create()]).await;
    assert_eq!(system.end(beside.id).await, "completed");
    assert!(system.seen.story(behind.id).is_empty(), "it waits behind what is missing");

    // Not by accident.
    let accept = |place: &'static str| ["consumer", "resume", "--yes", "--accept-data-loss", place];
    let unnamed = system.cli_ends(Exit::Usage, &accept("orders.commands"));
    assert!(unnamed.contains("is not TOPIC:PARTITION"), "{unnamed}");
    let other = format!("orders.commands:{}", (place.partition + 1) % PARTITIONS);
    let refused =
        system.cli_ends(Exit::Refused, &["consumer", "resume", "--yes", "--accept-data-loss", &other]);
    assert!(refused.contains(&format!("no loss is suspected at {other}")), "{refused}");
    let unsaid = system.cli_ends(Exit::Usage, &["consumer", "resume", "--accept-data-loss", &named]);
    assert!(unsaid.contains("takes --yes"), "{unsaid}");
    let would = system.cli(&["consumer", "resume", "--dry-run", "--accept-data-loss", &named]);
    assert!(would.contains("would give up"), "{would}");
    system.cli(&["consumer", "resume"]);
    assert!(suspected(&system, place.partition).await.is_some(), "nobody has said so yet");

    let said = system.cli(&["consumer", "resume", "--yes", "--accept-data-loss", &named]);
    let goes_on = format!("{GROUP} 0 goes on with {named} at {next} instead of {}", place.offset);
    assert!(said.contains(&goes_on), "{said}");
    assert_eq!(system.end(behind.id).await, "completed");
    assert!(system.seen.story(lost.id).is_empty(), "it is lost");
    let is_ready = async || suspected(&system, place.partition).await.is_none().then_some(());
    until("nothing to be suspected any more", LIMIT, is_ready).await;
    restarting.await.unwrap();
    system.adds_up_in_the_end().await;
}

/// As its admin port says.
async fn standing(system: &System, service: &str) -> Value {
    let url = format!("{}/consumer", system.service(service).admin);
    // A process that is starting has not taken its port yet.
    let answered = async || reqwest::get(&url).await.ok()?.error_for_status().ok()?.json().await.ok();
    until("the admin port to answer", LIMIT, answered).await
}

/// Why nothing is read of a partition of the commands.
async fn suspected(system: &System, partition: i32) -> Option<String> {
    let standing = standing(system, GROUP).await;
    let partitions = standing["partitions"].as_array().unwrap();
    let found =
        partitions.iter().find(|of| of["topic"] == "orders.commands" && of["partition"] == partition)?;
    found["suspected"].as_str().map(str::to_owned)
}

/// The ids of all dead letters.
fn letters(system: &System) -> BTreeSet<String> {
    let all = system.seen.on(Topic::DeadLetters);
    all.iter().filter_map(|raw| raw.headers.text(header::ID).map(str::to_owned)).collect()
}

/// As retention does.
async fn delete_until(system: &System, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = system.broker.admin().create().unwrap();
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(Topic::OrdersCommands.name(), partition, Offset::Offset(offset)).unwrap();
    admin.delete_records(&until, &AdminOptions::new()).await.unwrap();
}
