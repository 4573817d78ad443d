//! Who leads a partition and who keeps up with it, as the brokers say.

use std::{sync::Arc, time::Duration};

use rdkafka::consumer::{BaseConsumer, Consumer};
use shared::{broker::BrokerSettings, contract::topics::Topic};

const ASK_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct Brokers {
    client: Arc<BaseConsumer>,
}

struct Partition {
    topic: String,
    partition: i32,
    leader: i32,
    in_sync: Vec<i32>,
    replicas: Vec<i32>,
}

impl Brokers {
    pub(crate) fn of(broker: &BrokerSettings) -> Self {
        Self { client: Arc::new(broker.reader("nobody").create().unwrap()) }
    }

    /// `None` where there is none right now, or nobody answers.
    pub(crate) async fn leader(&self, topic: Topic, partition: i32) -> Option<i32> {
        let all = self.ask().await;
        let found = all.into_iter().find(|known| known.topic == topic.name() && known.partition == partition);
        found.map(|known| known.leader).filter(|leader| *leader > 0)
    }

    /// Every partition of every topic, Kafka's own too, is on so many brokers, and all of them have all of it.
    pub(crate) async fn all_in_sync(&self, count: usize) -> Option<()> {
        let all = self.ask().await;
        let is_whole = |known: &Partition| known.replicas.len() == count && known.in_sync.len() == count;
        (!all.is_empty() && all.iter().all(is_whole)).then_some(())
    }

    /// Empty where nobody answers.
    async fn ask(&self) -> Vec<Partition> {
        let client = Arc::clone(&self.client);
        let asked =
            tokio::task::spawn_blocking(move || client.fetch_metadata(None, ASK_TIMEOUT)).await.unwrap();
        let Ok(metadata) = asked else { return Vec::new() };
        let partitions = metadata.topics().iter().flat_map(|topic| {
            topic.partitions().iter().map(|partition| Partition {
                topic: topic.name().to_owned(),
                partition: partition.id(),
                leader: partition.leader(),
                in_sync: partition.isr().to_vec(),
                replicas: partition.replicas().to_vec(),
            })
        });
        partitions.collect()
    }
}
