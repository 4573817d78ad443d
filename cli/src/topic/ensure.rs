//! Making the topics of the contract where they are missing, each with its own settings.
//!
//! What exists is left as it is: partitions and retention of a topic in use are an operator's decision.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::RDKafkaErrorCode,
};
use shared::contract::topics::Topic;

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    Made,
    WasThere,
}

/// All of them, in the contract's order.
pub async fn ensure(bootstrap: &str, partitions: i32) -> anyhow::Result<Vec<(Topic, Ensured)>> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .context("the Kafka client refuses its settings")?;
    let settings: Vec<[(&str, String); 4]> = Topic::ALL.into_iter().map(settings).collect();
    let wanted: Vec<NewTopic<'_>> = Topic::ALL
        .into_iter()
        .zip(&settings)
        .map(|(topic, settings)| {
            // -1: as many replicas as the cluster's own default says.
            let new = NewTopic::new(topic.name(), partitions, TopicReplication::Fixed(-1));
            settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let answers = admin.create_topics(&wanted, &options).await.context("Kafka did not answer")?;
    let mut ensured = Vec::with_capacity(answers.len());
    for (topic, answer) in Topic::ALL.into_iter().zip(answers) {
        match answer {
            Ok(_) => ensured.push((topic, Ensured::Made)),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => ensured.push((topic, Ensured::WasThere)),
            Err((name, error)) => bail!("topic {name} cannot be made: {error}"),
        }
    }
    Ok(ensured)
}

fn settings(topic: Topic) -> [(&'static str, String); 4] {
    let retention_ms = topic.retention().map_or(-1, |retention| retention.as_millis() as i64);
    [
        ("retention.ms", retention_ms.to_string()),
        ("max.message.bytes", topic.message_bytes_max().to_string()),
        // What a service compressed is not compressed again.
        ("compression.type", "producer".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stay_for_ever_and_commands_a_week() {
        let retention = |topic: Topic| settings(topic)[0].1.clone();
        assert_eq!(retention(Topic::OrdersEvents), "-1");
        assert_eq!(retention(Topic::InventoryStock), "-1");
        assert_eq!(retention(Topic::OrdersCommands), "604800000");
    }

    #[tokio::test]
    async fn a_second_time_finds_them_all_there() {
        let bootstrap = shared::testing::kafka();
        ensure(&bootstrap, 4).await.unwrap();
        let again = ensure(&bootstrap, 4).await.unwrap();
        assert_eq!(again.len(), Topic::ALL.len());
        assert!(again.iter().all(|(_, ensured)| *ensured == Ensured::WasThere));
    }
}
