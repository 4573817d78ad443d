//! What the query API asks of the owners of dead letters, on `dead-letters.commands`.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use shared::{
    broker::{BrokerSettings, Logged},
    contract::envelope::Outgoing,
};

/// Past this the asker is told that the broker did not take it. It may still arrive: a repeat changes nothing.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);

/// Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    producer: FutureProducer<Logged>,
}

impl Commands {
    pub fn new(broker: &BrokerSettings) -> anyhow::Result<Self> {
        let producer =
            broker.producer().create_with_context(Logged).context("creating the producer of commands")?;
        Ok(Self { producer })
    }

    /// Sends a command and waits until the broker has it. A message that died without a key is named by its id in
    /// the command; its commands have no key either.
    ///
    /// # Errors
    /// Why the broker did not take it, in words.
    pub async fn send(&self, command: Outgoing, key: Option<Bytes>) -> Result<(), String> {
        let headers = command.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: value.as_deref() })
        });
        let mut record = FutureRecord::<[u8], [u8]>::to(command.topic.name()).headers(headers);
        record.key = key.as_deref();
        record.payload = command.value.as_deref();
        let delivered = self.producer.send(record, Duration::ZERO);
        match tokio::time::timeout(ACKNOWLEDGED_WITHIN, delivered).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, _))) => Err(error.to_string()),
            Err(_) => Err(format!("no acknowledgement within {} s", ACKNOWLEDGED_WITHIN.as_secs())),
        }
    }
}
