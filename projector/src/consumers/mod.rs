//! How the consumer groups stand: what Kafka knows of them, and what the admin ports say that the projector was told of.
//! However many ask, they are asked once in two seconds, and nobody waits for long.

mod kafka;
mod assignment;
mod admin;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use shared::{broker::BrokerSettings, http::followers::FollowersBody};
use tokio::{
    task::spawn_blocking,
    time::{timeout, timeout_at},
};
use uuid::Uuid;

use crate::cached::Cached;

pub use admin::{AdminAddr, Process, Said};
pub use kafka::{Group, Partition};

/// By their services.
pub const GROUPS: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];
/// For all that is asked of the broker.
const BROKER_ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// For who shows it beside other things.
const SOON: Duration = Duration::from_millis(300);
/// What is older is not told as how they stand.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// After that.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Consumers {
    broker: BrokerSettings,
    admins: Arc<[AdminAddr]>,
    seen: Cached<Standing>,
}

/// As it was seen last.
#[derive(Debug)]
pub struct Standing {
    /// Why nothing, or not where the topics end, is known of Kafka.
    pub broker: Option<String>,
    /// Of [`GROUPS`], in that order.
    pub groups: Vec<Group>,
    /// Those that the projector was told of.
    pub processes: Vec<Process>,
}

impl Consumers {
    pub fn new(broker: &BrokerSettings, admins: &[AdminAddr]) -> Self {
        Self { broker: broker.clone(), admins: admins.into(), seen: Cached::default() }
    }

    pub async fn standing(&self) -> Arc<Standing> {
        self.seen.get(async || self.look().await).await
    }

    /// What waits behind a letter of another group, as its service says; or why that is not known.
    pub async fn followers(&self, letter: Uuid) -> Result<FollowersBody, String> {
        match self.admins.is_empty() {
            true => Err("SERVICE_ADMIN_URLS names no admin port of its service".to_owned()),
            false => admin::followers(&self.admins, letter).await,
        }
    }

    /// As it stands now where that is told soon, else as it was seen a moment ago, if it was.
    pub async fn soon(&self) -> Option<Arc<Standing>> {
        let all = self.clone();
        // Looked at to its end, for the next who asks.
        let looked = tokio::spawn(async move { all.standing().await });
        match timeout(SOON, looked).await {
            Ok(Ok(standing)) => Some(standing),
            _ => self.seen.within(KNOWN_FOR),
        }
    }

    async fn look(&self) -> Standing {
        let (kafka, processes) = tokio::join!(self.look_at_kafka(), admin::standing(&self.admins));
        let (broker, groups) = kafka;
        Standing { broker, groups, processes }
    }

    /// The groups beside each other: one whose coordinator is away takes no time from the others.
    async fn look_at_kafka(&self) -> (Option<String>, Vec<Group>) {
        let (broker, deadline) = (self.broker.clone(), Instant::now() + BROKER_ANSWERS_WITHIN);
        let silent = |name| Group { name, ..Group::default() };
        let places = match asked(deadline, move || kafka::places(&broker, deadline)).await {
            Ok(places) => Arc::new(places),
            Err(why) => return (Some(format!("the topics: {why}")), GROUPS.map(silent).into()),
        };
        let (broker, all) = (self.broker.clone(), Arc::clone(&places));
        let (spans, why) = match asked(deadline, move || kafka::spans(&broker, &all, deadline)).await {
            Ok(spans) => (Arc::new(spans), None),
            Err(why) => (Arc::default(), Some(format!("where the topics end: {why}"))),
        };
        let groups = GROUPS.map(async |name| {
            let (broker, places, spans) = (self.broker.clone(), Arc::clone(&places), Arc::clone(&spans));
            let group = move || Ok(kafka::group(&broker, name, &places, &spans, deadline));
            asked(deadline, group).await.unwrap_or_else(|why| Group { unanswered: vec![why], ..silent(name) })
        });
        (why, join_all(groups).await)
    }
}

/// Of the client, which may stay with a server that says nothing for longer than it was given: whoever waits does not.
async fn asked<T: Send + 'static>(
    deadline: Instant,
    ask: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, String> {
    match timeout_at((deadline + GIVEN_UP_AFTER).into(), spawn_blocking(ask)).await {
        Ok(Ok(found)) => found.map_err(|error| format!("{error:#}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the broker says nothing".to_owned()),
    }
}
