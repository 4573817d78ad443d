//! The memory of services that find a long queue when they start.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cli::{kafka, load};
use serde::{Deserialize, Serialize};
use shared::{broker::BrokerSettings, contract::topics::Topic};
use tokio::time::{interval, timeout};

use crate::{product::Product, table};

const LOOK: Duration = Duration::from_millis(500);
const MEGA: f64 = 1e6;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Backlog {
    /// On the topic when the services began.
    pub(crate) orders: usize,
    /// That order-service had not taken when the last look was over.
    pub(crate) left: i64,
    pub(crate) seconds: u64,
    /// Of the four together, the most at one moment.
    pub(crate) rss_mb: f64,
    pub(crate) rss_mb_by_service: BTreeMap<String, f64>,
}

/// Nobody waits until they are through.
pub(crate) async fn measure(product: &Product, orders: usize, seconds: u64) -> anyhow::Result<Backlog> {
    let status = product.status().await?;
    let broker = BrokerSettings::new(status.kafka.clone());
    let inventory = status.service("inventory-service", 0).context("there is an inventory-service")?;
    let backlog = load::Backlog::stocked(&inventory.http, orders).await?;
    product.stop_services().await?;
    let began = Instant::now();
    backlog.send(broker.clone()).await?;
    println!("backlog    {orders} orders on the topic in {:.0} s", began.elapsed().as_secs_f64());
    product.up(1).await?;
    let status = product.status().await?;
    let (mut resident, mut looks) = (load::Resident::default(), interval(LOOK));
    let looking = async {
        loop {
            looks.tick().await;
            resident.look(&status);
        }
    };
    let _: Result<(), _> = timeout(Duration::from_secs(seconds), looking).await;
    // A process that is gone has no memory.
    let run = product.status().await?.services.iter().all(|service| service.pid.is_some());
    ensure!(run, "a service did not live through it");
    let lag = tokio::task::spawn_blocking(move || kafka::lag(&broker, "order-service")).await??;
    let left = lag.iter().filter(|lag| lag.topic == Topic::OrdersCommands).map(kafka::Lag::messages).sum();
    let services = resident.services.into_iter();
    let measured = Backlog {
        orders,
        left,
        seconds,
        rss_mb: resident.together as f64 / MEGA,
        rss_mb_by_service: services.map(|(name, bytes)| (name, bytes as f64 / MEGA)).collect(),
    };
    table::tell_backlog(&measured);
    Ok(measured)
}
