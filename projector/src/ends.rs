//! Where the topics begin and end, asked of the broker itself.

use std::collections::HashMap;

use anyhow::Context;
use rdkafka::consumer::BaseConsumer;
use shared::{
    broker::{
        self, BrokerSettings, Logged,
        topics::{REQUEST_TIMEOUT, partition_count},
    },
    consumer::Place,
    contract::topics::Topic,
};

use crate::intake::{GROUP, READS};

/// All that a view is the fold of. What operators ask is done by the one that serves.
pub fn places(partitions: i32) -> Vec<Place> {
    let folded = READS.into_iter().filter(|topic| *topic != Topic::DeadLettersCommands);
    folded.flat_map(|topic| (0..partitions).map(move |partition| (topic, partition))).collect()
}

/// The first offset and the next one of each of [`places`].
pub async fn spans(broker: &BrokerSettings) -> anyhow::Result<HashMap<Place, (i64, i64)>> {
    let places = places(partition_count(broker).await?);
    let client = broker.reader(GROUP);
    let asked = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer<Logged> = client.create_with_context(Logged)?;
        broker::spans(&consumer, &places, REQUEST_TIMEOUT).context("the ends of the topics")
    });
    asked.await.context("asking for the ends of the topics")?
}
