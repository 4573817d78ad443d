//! The topics as they stand on the broker: made, listed, compared with the contract.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, Producer},
};
use tokio::time::{Instant, sleep};

use super::{BrokerSettings, Logged};
use crate::contract::topics::Topic;

/// How long one question to the broker may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// From a topic's creation until every partition has a leader.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(20);
const LEADERS_POLL: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// Infrastructure: wait and ask again.
    #[error("the broker at {bootstrap_servers} does not answer: {reason}")]
    Unreachable { bootstrap_servers: String, reason: String },
    #[error("the broker has no topic {}: run `fulfil topic ensure`", names(.0))]
    Missing(Vec<Topic>),
    #[error("the topics must have equal partition counts, or a key's messages are on several replicas: {}", counts(.0))]
    Unequal(BTreeMap<Topic, i32>),
    #[error("the broker did not make topic {topic}: {reason}")]
    Refused { topic: String, reason: String },
}

/// A topic of ours after [`ensure_topics`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnsuredTopic {
    pub topic: Topic,
    pub created: bool,
    pub partitions: i32,
    /// How it differs from the contract, in words; left as it is, because a change loses or moves messages.
    pub differences: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTopic {
    pub name: String,
    pub partitions: i32,
}

/// The settings of a topic on the broker.
pub fn topic_config(topic: Topic, replication: i32) -> Vec<(&'static str, String)> {
    let retention_ms = topic.retention().map_or(-1, |retention| retention.as_millis() as i64);
    let mut config = vec![
        ("cleanup.policy", "delete".into()),
        ("retention.ms", retention_ms.to_string()),
        ("retention.bytes", "-1".into()),
        ("compression.type", "producer".into()),
        ("max.message.bytes", topic.message_bytes_max().to_string()),
        ("message.timestamp.type", "LogAppendTime".into()),
    ];
    if replication > 0 {
        config.push(("min.insync.replicas", if replication >= 3 { "2" } else { "1" }.into()));
    }
    config
}

/// Makes the topics of the contract that are not there and says how the others differ from it. Run again it
/// changes nothing. `replication` -1 is the broker's default.
pub async fn ensure_topics(
    settings: &BrokerSettings,
    partitions: i32,
    replication: i32,
) -> Result<Vec<EnsuredTopic>, TopicsError> {
    let admin: AdminClient<Logged> =
        settings.admin().create_with_context(Logged).map_err(|error| unreachable(settings, error))?;
    let options =
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let configs = Topic::ALL.map(|topic| topic_config(topic, replication));
    let wanted: Vec<_> = Topic::ALL
        .into_iter()
        .zip(&configs)
        .map(|(topic, config)| {
            let new = NewTopic::new(topic.name(), partitions, TopicReplication::Fixed(replication));
            config.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let results =
        admin.create_topics(&wanted, &options).await.map_err(|error| unreachable(settings, error))?;
    let mut created = Vec::new();
    for result in results {
        match result {
            Ok(name) => created.extend(Topic::parse(&name)),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicsError::Refused { topic, reason: code.to_string() }),
        }
    }
    let counts = leaders(settings).await?;
    let resources = Topic::ALL.map(|topic| ResourceSpecifier::Topic(topic.name()));
    let described =
        admin.describe_configs(&resources, &options).await.map_err(|error| unreachable(settings, error))?;
    let ensured = Topic::ALL.into_iter().zip(&configs).zip(described).map(|((topic, config), described)| {
        let actual_partitions = counts[&topic];
        let mut differences = differences(config, described.as_ref().ok());
        if actual_partitions != partitions {
            differences.insert(0, format!("partitions is {actual_partitions}, not {partitions}"));
        }
        EnsuredTopic { topic, created: created.contains(&topic), partitions: actual_partitions, differences }
    });
    Ok(ensured.collect())
}

/// All topics of the broker but Kafka's own, by name.
pub async fn list_topics(settings: &BrokerSettings) -> Result<Vec<ListedTopic>, TopicsError> {
    let settings = settings.clone();
    blocking(move || {
        let mut listed: Vec<_> = metadata(&settings, None)?
            .into_iter()
            .filter(|topic| !topic.name.starts_with("__"))
            .map(|topic| ListedTopic { partitions: topic.leaders.len() as i32, name: topic.name })
            .collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    })
    .await
}

/// The partition count that all topics of the contract have.
pub async fn partition_count(settings: &BrokerSettings) -> Result<i32, TopicsError> {
    let settings = settings.clone();
    blocking(move || equal_count(present(metadata(&settings, None)?))).await
}

/// The partition count of one topic; `None`: there is no such topic. Blocks: not on a thread of the runtime.
pub fn partitions_of(settings: &BrokerSettings, topic: &str) -> Result<Option<i32>, TopicsError> {
    let found = metadata(settings, Some(topic))?.into_iter().next();
    Ok(found.map(|topic| topic.leaders.len() as i32).filter(|partitions| *partitions > 0))
}

struct Described {
    name: String,
    /// By partition; -1 where there is none.
    leaders: Vec<i32>,
}

fn metadata(settings: &BrokerSettings, topic: Option<&str>) -> Result<Vec<Described>, TopicsError> {
    let client: BaseProducer<Logged> =
        settings.admin().create_with_context(Logged).map_err(|error| unreachable(settings, error))?;
    let metadata = client
        .client()
        .fetch_metadata(topic, REQUEST_TIMEOUT)
        .map_err(|error| unreachable(settings, error))?;
    let topics = metadata.topics().iter().map(|topic| Described {
        name: topic.name().to_owned(),
        leaders: topic.partitions().iter().map(|partition| partition.leader()).collect(),
    });
    Ok(topics.collect())
}

fn present(topics: Vec<Described>) -> BTreeMap<Topic, i32> {
    let ours = topics.into_iter().filter_map(|topic| {
        let partitions = topic.leaders.len() as i32;
        Topic::parse(&topic.name).filter(|_| partitions > 0).map(|topic| (topic, partitions))
    });
    ours.collect()
}

fn equal_count(counts: BTreeMap<Topic, i32>) -> Result<i32, TopicsError> {
    let missing: Vec<_> = Topic::ALL.into_iter().filter(|topic| !counts.contains_key(topic)).collect();
    if !missing.is_empty() {
        return Err(TopicsError::Missing(missing));
    }
    match counts.values().copied().min() {
        Some(least) if counts.values().all(|partitions| *partitions == least) => Ok(least),
        _ => Err(TopicsError::Unequal(counts)),
    }
}

/// Waits until each partition of each topic has a leader: a new topic is known before it can be written to.
async fn leaders(settings: &BrokerSettings) -> Result<BTreeMap<Topic, i32>, TopicsError> {
    let deadline = Instant::now() + LEADERS_TIMEOUT;
    loop {
        let asked = settings.clone();
        let topics = blocking(move || metadata(&asked, None)).await?;
        let led = |topic: &Described| !topic.leaders.is_empty() && topic.leaders.iter().all(|id| *id >= 0);
        let ready: Vec<_> = topics.into_iter().filter(led).collect();
        let counts = present(ready);
        if counts.len() == Topic::ALL.len() {
            return Ok(counts);
        }
        if Instant::now() > deadline {
            let missing = Topic::ALL.into_iter().filter(|topic| !counts.contains_key(topic));
            return Err(TopicsError::Missing(missing.collect()));
        }
        sleep(LEADERS_POLL).await;
    }
}

fn differences(wanted: &[(&'static str, String)], actual: Option<&ConfigResource>) -> Vec<String> {
    let Some(actual) = actual else { return Vec::new() };
    let differ = wanted.iter().filter_map(|(name, value)| {
        let found = actual.get(name)?.value.clone().unwrap_or_default();
        (found != *value).then(|| format!("{name} is {found}, not {value}"))
    });
    differ.collect()
}

async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, TopicsError> + Send + 'static,
) -> Result<T, TopicsError> {
    match tokio::task::spawn_blocking(ask).await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn unreachable(settings: &BrokerSettings, error: KafkaError) -> TopicsError {
    TopicsError::Unreachable {
        bootstrap_servers: settings.bootstrap_servers.clone(),
        reason: error.to_string(),
    }
}

fn names(topics: &[Topic]) -> String {
    topics.iter().map(|topic| topic.name()).collect::<Vec<_>>().join(", ")
}

fn counts(counts: &BTreeMap<Topic, i32>) -> String {
    counts.iter().map(|(topic, count)| format!("{} has {count}", topic.name())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(partitions: i32) -> BTreeMap<Topic, i32> {
        Topic::ALL.map(|topic| (topic, partitions)).into()
    }

    #[test]
    fn equal_counts_are_the_count() {
        assert_eq!(equal_count(all(12)).unwrap(), 12);
    }

    #[test]
    fn another_count_of_one_topic_is_refused_in_one_line() {
        let mut topics = all(4);
        topics.insert(Topic::InventoryStock, 6);
        let line = equal_count(topics).unwrap_err().to_string();
        assert!(line.contains("inventory.stock has 6") && line.contains("orders.events has 4"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_topic_that_is_missing_is_named_with_what_to_run() {
        let mut topics = all(4);
        topics.remove(&Topic::DeadLetters);
        let line = equal_count(topics).unwrap_err().to_string();
        assert_eq!(line, "the broker has no topic dead-letters: run `fulfil topic ensure`");
    }
}
