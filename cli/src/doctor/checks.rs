//! What is asked: the broker, its topics, every service, how far each group is behind, dead letters.

use std::time::Duration;

use reqwest::Client;
use shared::broker::topics::{TopicsError, partition_count};

use super::{Check, bad, ok, warn};
use crate::{
    dlq,
    exit::Exit,
    kafka::{Lag, lag},
    output::count,
    place::Place,
};

const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// More than a moment's worth.
const LAG_MESSAGES_MAX: i64 = 1_000;
const GROUPS: [&str; 4] = ["order-service", "inventory-service", "payment-service", "projector"];

pub(super) async fn all(place: &Place) -> Vec<Check> {
    let mut checks = vec![topics(place).await];
    let has_topics = checks.iter().all(|check| check.exit == Exit::Done);
    checks.extend(services(place).await);
    if has_topics {
        for group in GROUPS {
            checks.push(group_lag(place, group).await);
        }
        checks.push(letters(place).await);
    }
    checks
}

async fn topics(place: &Place) -> Check {
    let bootstrap = &place.broker.bootstrap_servers;
    match partition_count(&place.broker).await {
        Ok(partitions) => ok("kafka", format!("{bootstrap}, all topics with {partitions} partitions each")),
        Err(error @ TopicsError::Unreachable { .. }) => bad("kafka", Exit::Unreachable, error.to_string()),
        Err(error) => bad("kafka", Exit::Failed, error.to_string()),
    }
}

async fn services(place: &Place) -> Vec<Check> {
    let Ok(client) = Client::builder().no_proxy().timeout(PROBE_TIMEOUT).build() else { return Vec::new() };
    let admins = place.admins();
    let mut checks = Vec::with_capacity(admins.len());
    for admin in admins {
        checks.push(ready(&client, &admin.name(), &admin.url).await);
    }
    checks
}

async fn ready(client: &Client, name: &str, admin: &str) -> Check {
    match client.get(format!("{admin}/readyz")).send().await {
        Ok(response) if response.status().is_success() => ok(name, "ready"),
        Ok(response) => {
            let status = response.status();
            let said = response.text().await.unwrap_or_default();
            bad(name, Exit::Failed, format!("not ready ({status}): {}", said.trim()))
        }
        Err(_) => bad(name, Exit::Unreachable, format!("{admin} is not there: fulfil dev status")),
    }
}

async fn group_lag(place: &Place, group: &'static str) -> Check {
    let broker = place.broker.clone();
    let name = format!("{group} keeps up");
    let lags = match tokio::task::spawn_blocking(move || lag(&broker, group)).await {
        Ok(Ok(lags)) => lags,
        Ok(Err(error)) => return bad(&name, Exit::Unreachable, format!("{error:#}")),
        Err(error) => return bad(&name, Exit::Failed, error.to_string()),
    };
    let behind: i64 = lags.iter().map(Lag::messages).sum();
    let worst = lags.iter().max_by_key(|lag| lag.messages());
    match worst {
        None => warn(&name, "has not committed anything yet"),
        Some(_) if behind == 0 => ok(&name, ""),
        Some(worst) => {
            let detail = format!(
                "{} messages behind, {} of them on {}[{}]",
                count(behind),
                count(worst.messages()),
                worst.topic,
                worst.partition
            );
            if behind > LAG_MESSAGES_MAX { bad(&name, Exit::Failed, detail) } else { ok(&name, detail) }
        }
    }
}

async fn letters(place: &Place) -> Check {
    match dlq::load(place).await {
        Err(error) => bad("dead letters", Exit::Unreachable, format!("{error:#}")),
        Ok(letters) => match letters.iter().filter(|letter| letter.is_open()).count() {
            0 => ok("dead letters", "none wait"),
            open => warn("dead letters", format!("{open} wait for somebody: fulfil dlq list")),
        },
    }
}
