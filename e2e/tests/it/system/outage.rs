//! Somebody is away for a while: nothing is lost, nothing is decided too early.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use e2e::system::{Order, System, record, structured, until};
use nix::sys::signal::Signal;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use serde_json::json;
use shared::contract::topics::Topic;

const LIMIT: Duration = Duration::from_secs(180);

#[tokio::test]
async fn no_order_expires_while_what_answers_it_waits_in_the_backlog() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(1_000).await;
    let provider = system.status.provider_pid.unwrap();
    // Until they are there, and order-service is not, before they are due: on a slow machine not at the first try.
    let mut tries = [4, 8, 16, 32, 64].into_iter();
    let (orders, deadline) = loop {
        let seconds = tries.next().expect("twenty orders are created within a minute");
        let deadline = Utc::now() + TimeDelta::seconds(seconds);
        let orders: Vec<Order> = (0..20).map(|_| Order::new(&sku, 1, 100)).collect();
        let create = |order: &Order| {
            let mut data = order.data();
            data["deadline_at"] = json!(deadline);
            record(Topic::OrdersCommands, order.id, &structured("fulfil.order.create.v2", &data))
        };
        // Nobody answers before order-service is gone.
        system.signal(provider, Signal::SIGSTOP);
        system.publish(orders.iter().map(create).collect()).await;
        for order in &orders {
            system.happens(order.id, "fulfil.order.created.v2").await;
        }
        system.signal(system.pid("order-service", 0), Signal::SIGKILL);
        let is_in_time = Utc::now() < deadline;
        system.signal(provider, Signal::SIGCONT);
        if is_in_time {
            break (orders, deadline);
        }
        system.restart("order-service").await;
    };
    for order in &orders {
        system.happens(order.id, "fulfil.payment.authorized.v1").await;
    }
    until("the deadline to be over", LIMIT, async || (Utc::now() > deadline).then_some(())).await;
    // The deadlines are due before the first answer is read.
    let confirmed = orders.iter().filter(|order| system.seen.has(order.id, "fulfil.order.confirmed.v1"));
    assert_eq!(confirmed.count(), 0, "order-service was gone before the first answer");
    system.restart("order-service").await;
    for order in &orders {
        assert_eq!(system.end(order.id).await, "completed", "{:?}", system.reason(order.id));
    }
    system.adds_up_in_the_end().await;
}

#[tokio::test]
async fn a_thousand_buyers_of_a_hundred_pieces_get_a_hundred() {
    const PIECES: i64 = 100;
    let mut system = System::alone().await;
    let sku = system.stocked(PIECES).await;
    let orders: Vec<Order> = (0..1_000).map(|_| Order::new(&sku, 1, 100)).collect();
    system.publish(orders.iter().map(Order::create).collect()).await;
    let cancel = |order: &Order| {
        let data = json!({"order_id": order.id, "reason": "too slow"});
        record(Topic::OrdersCommands, order.id, &structured("fulfil.order.cancel.v1", &data))
    };
    system.publish(orders.iter().step_by(10).map(cancel).collect()).await;
    let mut completed = 0;
    for order in &orders {
        completed += i64::from(system.end(order.id).await == "completed");
    }
    assert!((1..=PIECES).contains(&completed), "{completed} were sold");
    system.stock_is(&sku, (PIECES - completed, 0)).await;
    system.adds_up_in_the_end().await;
}

/// Kafka's offsets are for lag tools: nobody reads them.
#[tokio::test]
async fn what_becomes_of_the_groups_offsets_changes_nothing() {
    let Some(mut system) = System::to_harm().await else { return };
    let sku = system.stocked(1_000).await;
    let before = complete(&system, &sku, 40).await;
    let groups = ["order-service", "inventory-service", "payment-service", "projector"];
    for becomes in [Some(Offset::Beginning), Some(Offset::End), None] {
        for group in groups {
            system.signal(system.pid(group, 0), Signal::SIGKILL);
        }
        // While nobody reads, somebody "resets" the groups, or deletes them.
        let more: Vec<Order> = (0..20).map(|_| Order::new(&sku, 1, 100)).collect();
        system.publish(more.iter().map(Order::create).collect()).await;
        for group in groups {
            match becomes {
                Some(offset) => commit(&system, group, offset).await,
                None => delete(&system, group).await,
            }
        }
        for group in groups {
            system.restart(group).await;
        }
        for order in &more {
            assert_eq!(system.end(order.id).await, "completed");
        }
    }
    for order in &before {
        let created = system.seen.story(order.id);
        let created = created.iter().filter(|told| told.message_type == "fulfil.order.created.v2").count();
        assert_eq!(created, 1, "nothing was done twice");
    }
    system.adds_up_in_the_end().await;
}

async fn complete(system: &System, sku: &str, count: usize) -> Vec<Order> {
    let orders: Vec<Order> = (0..count).map(|_| Order::new(sku, 1, 100)).collect();
    system.publish(orders.iter().map(Order::create).collect()).await;
    for order in &orders {
        assert_eq!(system.end(order.id).await, "completed");
    }
    orders
}

async fn commit(system: &System, group: &str, offset: Offset) {
    let (broker, group) = (system.broker.clone(), group.to_owned());
    let commit = move || {
        let consumer: BaseConsumer = broker.reader(&group).create().unwrap();
        let mut offsets = TopicPartitionList::new();
        for topic in Topic::ALL {
            for partition in 0..4 {
                let (low, high) = consumer.fetch_watermarks(topic.name(), partition, LIMIT).unwrap();
                let next = if offset == Offset::End { high } else { low };
                offsets.add_partition_offset(topic.name(), partition, Offset::Offset(next)).unwrap();
            }
        }
        consumer.commit(&offsets, CommitMode::Sync)
    };
    // The dead member's session must be over before anybody else may commit for the group.
    let committed = async || {
        let commit = commit.clone();
        tokio::task::spawn_blocking(commit).await.unwrap().ok()
    };
    until("the group's offsets to be set", LIMIT, committed).await;
}

async fn delete(system: &System, group: &str) {
    let admin: AdminClient<DefaultClientContext> = system.broker.admin().create().unwrap();
    // Its members' sessions must be over.
    until("the group to be deleted", LIMIT, async || {
        let deleted = admin.delete_groups(&[group], &AdminOptions::new()).await;
        deleted.is_ok_and(|groups| groups.iter().all(Result::is_ok)).then_some(())
    })
    .await;
}
