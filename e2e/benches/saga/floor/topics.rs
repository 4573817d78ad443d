//! Topics of the floor's own, beside those of the product on the same broker.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::RDKafkaErrorCode,
};
use shared::{
    broker::{BrokerSettings, topics::topic_config},
    contract::topics::Topic,
};

/// As many as `dev up` makes.
pub(super) const PARTITIONS: i32 = 4;
pub(super) const TOPICS: [Topic; 5] = [
    Topic::OrdersCommands,
    Topic::OrdersEvents,
    Topic::InventoryEvents,
    Topic::InventoryStock,
    Topic::PaymentsEvents,
];
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn name(topic: Topic) -> String {
    format!("floor.{}", topic.name())
}

/// Empty ones.
pub(super) async fn make(broker: &BrokerSettings) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = broker.admin().create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let names = TOPICS.map(name);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for gone in admin.delete_topics(&names, &options).await? {
        if let Err((topic, code)) = gone
            && code != RDKafkaErrorCode::UnknownTopicOrPartition
        {
            bail!("topic {topic} cannot be removed: {code}");
        }
    }
    let configs = TOPICS.map(|topic| topic_config(topic, -1));
    let wanted: Vec<_> = names
        .iter()
        .zip(&configs)
        .map(|(name, config)| {
            let new = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(-1));
            config.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        // What was removed is still there for a moment.
        let made = admin.create_topics(&wanted, &options).await?;
        let failed = made.into_iter().find_map(Result::err);
        match failed {
            None | Some((_, RDKafkaErrorCode::TopicAlreadyExists)) if is_empty(broker, &names)? => {
                return Ok(());
            }
            Some((topic, code)) if tokio::time::Instant::now() > deadline => {
                bail!("topic {topic} cannot be made: {code}")
            }
            _ if tokio::time::Instant::now() > deadline => bail!("the floor's topics do not become empty"),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

fn is_empty(broker: &BrokerSettings, names: &[&str]) -> anyhow::Result<bool> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = broker.reader("floor").create().context("a reader")?;
    for name in names {
        for partition in 0..PARTITIONS {
            match consumer.fetch_watermarks(name, partition, TIMEOUT) {
                Ok((low, end)) if low == end => {}
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}
